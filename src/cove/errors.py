# SPDX-License-Identifier: Apache-2.0
"""The whole error family. Every failure that a user can meet is one of these.

    CoveError                    exit 1    something failed; nothing more special fits
    ├── UsageError               exit 2    the command line or a file the user wrote is wrong
    ├── NotFoundError            exit 1    a machine, file or package that was named does not exist
    ├── ConflictError            exit 1    it exists already, or is in a state that forbids this
    ├── UnsupportedError         exit 1    this driver, host or build cannot do it, by name
    ├── DeadlineError            exit 124  a wait ended without what it waited for (as timeout(1))
    ├── CommandError             exit 1    a program we ran failed; holds argv, exit code, output tail
    ├── ToolError                exit 1    a program we need is missing, too old or broken
    ├── NetworkError             exit 1    a download failed after all retries
    ├── OfflineError             exit 1    not in the cache, and --offline forbids fetching it
    ├── StorageError             exit 1    disk full, read-only or unwritable place
    ├── IntegrityError           exit 1    contents differ from the digest that was signed for
    │   └── SignatureError       exit 1    not signed by a key we trust, or no longer valid
    ├── ArchiveError             exit 1    a .deb, tar or cpio is malformed or tries to escape
    ├── ResolveError             exit 1    package dependencies cannot be satisfied
    ├── MachineError             exit 1    a machine did not start, or died
    │   └── EngineError          exit 1    the Docker Engine refused a request, or cannot be reached
    └── GuestError               exit 1    the guest agent refused or failed a request

The printer shows ``message``, ``details``, ``hint`` and the path of the full log, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class CoveError(Exception):
    """What happened, the detail, what to do next, and where the full log lies.

    Args:
        message: one sentence, what happened and why.
        details: further lines, for example the tail of a log.
        hint: what the user can do next.
        log: path of the full log, printed last.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, details: str | None = None, hint: str | None = None, log: Path | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.hint = hint
        self.log = log

    def as_dict(self) -> dict[str, object]:
        """The error as stable JSON data, for ``--json`` and the supervisor's API."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "details": self.details,
            "hint": self.hint,
            "log": str(self.log) if self.log else None,
        }


class UsageError(CoveError):
    """The command line or a file the user wrote is wrong."""

    exit_code = 2


class NotFoundError(CoveError):
    """A machine, file or package that was named does not exist."""


class ConflictError(CoveError):
    """It exists already, or is in a state that forbids this."""


class UnsupportedError(CoveError):
    """This driver, host or build cannot do what was asked; the message names both."""


class DeadlineError(CoveError):
    """A wait ended without what it waited for."""

    exit_code = 124


class CommandError(CoveError):
    """A program we ran failed.

    Args:
        message: what we wanted from it.
        argv: the exact command.
        returncode: its exit code; negative for a signal, as subprocess has it.
        output: the tail of what it printed.
        hint: what the user can do next.
        log: path of its full log.
    """

    def __init__(
        self,
        message: str,
        *,
        argv: Sequence[str],
        returncode: int | None,
        output: str = "",
        hint: str | None = None,
        log: Path | None = None,
    ) -> None:
        import shlex

        ended = (
            f"exit code {returncode}" if returncode is None or returncode >= 0 else f"signal {-returncode}"
        )
        details = f"$ {shlex.join(argv)}\n({ended})"
        if output.strip():
            details += "\n" + output.strip()
        super().__init__(message, details=details, hint=hint, log=log)
        self.argv = list(argv)
        self.returncode = returncode
        self.output = output


class ToolError(CoveError):
    """A program we need is missing, too old or broken."""


class NetworkError(CoveError):
    """A download failed after all retries."""


class OfflineError(CoveError):
    """What is needed is not in the cache, and ``--offline`` forbids fetching it."""


class StorageError(CoveError):
    """The disk is full, read-only, or the place cannot be written."""


class IntegrityError(CoveError):
    """Contents differ from the digest that was signed for.

    Args:
        name: the file, as the archive names it.
        expected: the digest or size that was signed for.
        found: what the bytes really have.
        hint: what the user can do next.
        message: says it in other words, where nobody signed.
    """

    def __init__(
        self, name: str, *, expected: str, found: str, hint: str | None = None, message: str | None = None
    ) -> None:
        super().__init__(
            message or f"{name} is not what the archive signed for",
            details=f"expected {expected}\nfound    {found}",
            hint=hint or "The mirror or a proxy altered the file. Nothing was used; try another mirror.",
        )
        self.name = name
        self.expected = expected
        self.found = found


class SignatureError(IntegrityError):
    """A signed file is not signed by a key we trust, or is no longer valid."""


class ArchiveError(CoveError):
    """A .deb, tar or cpio is malformed or tries to escape its folder."""


class ResolveError(CoveError):
    """Package dependencies cannot be satisfied; the details name each one."""


class MachineError(CoveError):
    """A machine did not start, or died."""


class EngineError(MachineError):
    """The Docker Engine refused a request, or cannot be reached."""


class GuestError(CoveError):
    """The guest agent refused or failed a request; ``code`` is its one word for why, for programs."""

    code = "failed"
