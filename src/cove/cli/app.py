# SPDX-License-Identifier: Apache-2.0
"""The command line: its options, its exit codes, and what a failure looks like."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import click

from cove.cli import output
from cove.cli.context import Session
from cove.cli.groups import OrderedGroup
from cove.errors import (
    CoveError,
    DeadlineError,
    MachineError,
    NetworkError,
    StorageError,
    ToolError,
    UnsupportedError,
    UsageError,
)
from cove.version import __version__

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

READER_GONE = 128 + signal.SIGPIPE
"""Exit code when nobody reads our output any more, as shells have it."""


_PASS_THROUGH = ("run", "docker", "shell", "ssh")
"""Commands whose arguments belong to another program."""


@click.group(
    cls=OrderedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.option("-m", "--machine", metavar="NAME", help="The machine that is meant (default: default).")
@click.option("--offline", is_flag=True, help="Fetch nothing: use what is in the cache.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.version_option(__version__, "-V", "--version", prog_name="cove", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context, machine: str | None, offline: bool, quiet: bool) -> None:
    """A Docker Engine in its own Linux kernel: no root, no KVM, nothing to install.

    \b
      cove run --rm -it cove.internal/debian bash     a shell in a container
      cove docker ps                                  docker's own command line
      cove explain                                    where does the Linux kernel come from?
    """  # noqa: D301  (click wants the character itself)
    context.obj = Session(machine=machine, offline=offline, quiet=quiet)
    context.call_on_close(context.obj.close)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Never raises for what a user can do wrong."""
    try:
        result = cli.main(list(arguments), prog_name="cove", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as wanted:
        return wanted.exit_code
    except click.exceptions.Abort:
        output.talk("cove: interrupted")
        return INTERRUPTED
    except output.ReaderGoneError:
        return READER_GONE
    except click.ClickException as problem:
        problem.show(sys.stderr)
        return problem.exit_code
    except CoveError as problem:
        json_wanted = "--json" in arguments and command_of(arguments) not in _PASS_THROUGH
        output.error(problem, json_wanted=json_wanted)
        if not json_wanted and doctor_may_know(problem, arguments):
            output.talk("cove doctor looks for what else may be wrong here.")
        return exit_code(problem, arguments)
    except KeyboardInterrupt:
        output.talk("cove: interrupted")
        return INTERRUPTED


def exit_code(problem: CoveError, arguments: Sequence[str]) -> int:
    """The exit code of a failure: where docker's own code follows, 125 says that docker was never reached."""
    if command_of(arguments) in ("run", "docker") and not isinstance(problem, UsageError):
        return 125
    return problem.exit_code


def doctor_may_know(problem: CoveError, arguments: Sequence[str]) -> bool:
    """Whether the cause of a failure may be one of those that ``cove doctor`` looks for: a start that failed."""
    starts = command_of(arguments) in ("start", "restart", "run", "docker", "create", "up", "machine")
    causes = (MachineError, ToolError, StorageError, DeadlineError, NetworkError, UnsupportedError)
    return starts and isinstance(problem, causes)


def command_of(arguments: Sequence[str]) -> str | None:
    """The command among the arguments, behind our own options."""
    words = iter(arguments)
    for word in words:
        if word in ("-m", "--machine"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None
