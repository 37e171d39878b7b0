# SPDX-License-Identifier: Apache-2.0
"""``cove doctor``."""

from __future__ import annotations

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
        output.data(report(found))
    return 1 if found.problems else 0


def report(found: Examination) -> str:
    """An examination for people."""
    paragraphs = [
        f"{finding.severity}: {_headline(finding)} [{finding.id}]\n"
        f"  why: {_indented(finding.why)}\n"
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


def _indented(text: str) -> str:
    return text.replace("\n", "\n       ")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""
