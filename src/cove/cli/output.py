# SPDX-License-Identifier: Apache-2.0
"""The only place that prints: data to stdout, talk to stderr. Makes sense without colour and without a terminal."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from cove.errors import CoveError, MachineError, UsageError
from cove.events import Event, Note, StageBegun, StageEnded, Transfer
from cove.units import format_seconds, format_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ReaderGoneError(Exception):
    """Whoever read our output has gone; there is nobody to tell."""


@contextmanager
def broken_pipes() -> Iterator[None]:
    """Tell a reader that went away from a connection that broke. To click both are an end without a word.

    Raises:
        ReaderGoneError: the first.
        MachineError: the second.
    """
    try:
        yield
    except BrokenPipeError as error:
        if _reader_is_gone():
            raise ReaderGoneError from error
        raise MachineError(
            f"a connection broke: {error.strerror}",
            hint="The machine may have ended meanwhile: cove status says how it is.",
        ) from error


def _reader_is_gone() -> bool:
    """Whether stdout or stderr is a pipe that nobody can read any more (poll(2))."""
    looking = select.poll()
    for handle in (1, 2):
        looking.register(handle, 0)
    return any(found & select.POLLERR for _, found in looking.poll(0))


def data(text: str) -> None:
    """Print what was asked for."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def as_json(value: object) -> None:
    """Print what was asked for as JSON: keys sorted, stable across releases of the same major version."""
    data(json.dumps(value, indent=2, sort_keys=True))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, as docker does: upper-case header, three spaces between columns."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        data("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write what was asked for to: it takes its place when it is whole, and is not there otherwise.

    Raises:
        UsageError: it cannot be written there.
    """
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
            try:
                yield cast("BinaryIO", out)
                out.flush()
                Path(out.name).chmod(0o666 & ~_umask())
                Path(out.name).replace(path)
            except BaseException:
                Path(out.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def talk(text: str) -> None:
    """Say something to the user, beside the data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error(problem: CoveError, *, json_wanted: bool = False) -> None:
    """Print an error: message, details, hint, and last the path of the full log."""
    if json_wanted:
        data(json.dumps(problem.as_dict(), indent=2, sort_keys=True))
        return
    talk(f"{_red('cove:')} {problem.message}")
    if problem.details:
        talk("  " + problem.details.replace("\n", "\n  "))
    if problem.hint:
        talk(f"\nhint: {problem.hint}")
    if problem.log:
        talk(f"log: {problem.log}")


def _red(text: str) -> str:
    return f"\x1b[1;31m{text}\x1b[0m" if colour() else text


def colour() -> bool:
    """Whether stderr is a terminal that may be coloured (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Reporter:
    """Shows the progress of long work on stderr: bars on a terminal, plain lines elsewhere.

    It draws nothing until the first event, so a command that finds everything ready stays silent.

    Args:
        quiet: show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop drawing; the terminal is free for others afterwards."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._quiet:
            return
        if not (sys.stderr.isatty() and os.environ.get("TERM") != "dumb"):
            self._plain(event)
        else:
            self._draw(event)

    def _plain(self, event: Event) -> None:
        match event:
            case StageEnded():
                self._finish_stage(event)
            case StageBegun():
                self._stages[event.name] = event.label
            case Transfer(finished=True):
                talk(f"{event.label}: {format_size(event.done)}")
            case Transfer():
                pass
            case Note():
                talk(event.text)

    def _finish_stage(self, event: StageEnded) -> None:
        label = self._stages.pop(event.name, event.name)
        talk(f"{label}  {format_seconds(event.seconds)}" if event.ok else f"{label}  failed")

    def _draw(self, event: Event) -> None:
        from rich.markup import escape

        progress = self._bars()
        match event:
            case StageBegun():
                self._stages[event.name] = event.label
                label = escape(event.label)
                self._tasks[event.name] = progress.add_task(label, total=None, kind="stage", rate="")
            case StageEnded():
                self._drop(event.name)
                label = escape(self._stages.pop(event.name, event.name))
                mark = "[green]✓[/]" if event.ok else "[red]✗[/]"
                progress.console.print(f"{mark} {label} [dim]{format_seconds(event.seconds)}[/]")
            case Transfer(finished=True):
                self._drop(event.key)
                label = escape(event.label)
                progress.console.print(f"[green]✓[/] {label} [dim]{format_size(event.done)}[/]")
            case Transfer():
                self._advance(progress, event)
            case Note():
                progress.console.print(event.text, markup=False)

    def _advance(self, progress: Progress, event: Transfer) -> None:
        from rich.markup import escape

        if event.key not in self._tasks:
            label = escape(event.label)
            self._tasks[event.key] = progress.add_task(label, total=event.total, kind="transfer")
        progress.update(self._tasks[event.key], completed=event.done, total=event.total)

    def _drop(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None and self._progress is not None:
            self._progress.remove_task(task)

    def _bars(self) -> Progress:
        if self._progress is None:
            from cove.cli.bars import make_progress

            self._progress = make_progress()
            self._progress.start()
        return self._progress
