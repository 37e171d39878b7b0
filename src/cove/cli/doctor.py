# SPDX-License-Identifier: Apache-2.0
"""``cove doctor``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.options import JSON

if TYPE_CHECKING:
    from cove.sdk import Examination, Finding


@click.command(short_help="What is wrong here, and what mends it.")
@click.option(
    "--network", is_flag=True, help="Ask the network, too: name servers, proxies, Debian's archive."
)
@JSON
@click.pass_obj
def doctor(session: Session, network: bool, as_json: bool) -> int:
    """What is wrong with this host and its machines, why it matters, and what mends it.

    Changes nothing. Exits with 1 if there is a problem; warnings do not count.
    """
    found = session.client().examine(network=network)
    if as_json:
        output.as_json(found.to_dict())
    else:
        output.data(report(found, width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    return 1 if found.problems else 0


def report(found: Examination, *, width: int | None = None) -> str:
    """An examination for people.

    Args:
        found: what was found.
        width: columns of the terminal that shows it; None leaves lines as long as they are. Fixes are never broken,
            so that they can be copied.
    """
    paragraphs = [
        f"{_broken(f'{finding.severity}: {_headline(finding)} [{finding.id}]', '  ', width)}\n"
        f"{_broken(f'  why: {_indented(finding.why)}', '       ', width)}\n"
        f"  fix: {_indented(finding.fix)}"
        for finding in found.findings
    ]
    warnings = len(found.findings) - found.problems
    counts = [_count(found.problems, "problem"), _count(warnings, "warning")]
    said = ", ".join(text for text in counts if text) or "Nothing is wrong here"
    skipped = "".join(f"\nNot looked at: {id_} ({why})" for id_, why in found.skipped.items())
    return "\n\n".join([*paragraphs, f"{said}.{skipped}"])


def _headline(finding: Finding) -> str:
    return finding.what if finding.subject in finding.what else f"{finding.subject}: {finding.what}"


def _broken(text: str, indent: str, width: int | None) -> str:
    """Lines broken between words; a word that is longer than a line stays whole."""
    if width is None:
        return text
    lines = (
        textwrap.wrap(
            line, max(width, 20), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for line in text.splitlines()
    )
    return "\n".join("\n".join(broken) for broken in lines)


def _indented(text: str) -> str:
    return text.replace("\n", "\n       ")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""
