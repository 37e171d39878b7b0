# SPDX-License-Identifier: Apache-2.0
"""What is printed where: data, talk, errors, and progress with a terminal (a real one) and without."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from cove.cli import output
from cove.cli.output import Reporter
from cove.errors import CoveError
from cove.events import Event, Note, StageBegun, StageEnded, Transfer

EVENTS: tuple[Event, ...] = (
    StageBegun("pull", "Pulling [all]"),
    Transfer("k", "Packages [main]", 0, 3 << 20),
    Transfer("k", "Packages [main]", 1 << 20, 3 << 20),
    Transfer("unknown", "Lists", 5, None),
    Note("a note [with brackets]"),
    Transfer("k", "Packages [main]", 3 << 20, 3 << 20, finished=True),
    Transfer("unknown", "Lists", 10, None, finished=True),
    StageEnded("pull", 1.5),
    StageBegun("boot", "Booting"),
    StageEnded("boot", 0.5, ok=False),
    StageEnded("never-begun", 2.0),
    Transfer("at once", "Small", 7, 7, finished=True),
)


@dataclass
class Terminal:
    """A real terminal that stderr is; what was written to it can be read."""

    master: int
    stream: TextIO

    def text(self) -> str:
        """All so far, without what steers the cursor and the colours."""
        self.stream.flush()
        seen = b""
        os.set_blocking(self.master, False)
        try:
            while piece := os.read(self.master, 1 << 16):
                seen += piece
        except BlockingIOError:
            pass
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    with os.fdopen(slave, "w", buffering=1) as stream:
        yield Terminal(master, stream)
    os.close(master)


def test_data_ends_with_a_line_end_and_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output.data("a")
    output.data("b\n")
    output.as_json({"b": 1, "a": "ü"})
    output.talk("talk")
    shown = capsys.readouterr()
    assert shown.out == 'a\nb\n{\n  "a": "\\u00fc",\n  "b": 1\n}\n'
    assert shown.err == "talk\n"


def test_tables_line_up_without_spaces_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME", "X"), [("a", "long value"), ("longer name", "")])
    assert capsys.readouterr().out == "NAME          X\na             long value\nlonger name\n"
    output.table(("NAME",), [])
    assert capsys.readouterr().out == "NAME\n"


def test_progress_without_a_terminal_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter() as report:
        for event in EVENTS:
            report(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "a note [with brackets]",
        "Packages [main]: 3.0 MiB",
        "Lists: 10 B",
        "Pulling [all]  1.50 s",
        "Booting  failed",
        "never-begun  2.00 s",
        "Small: 7 B",
    ]


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=True) as report:
        for event in EVENTS:
            report(event)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_progress_on_a_terminal_is_drawn(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with Reporter() as report:
        for event in EVENTS:
            report(event)
    text = terminal.text()
    for line in (
        "✓ Pulling [all] 1.50 s", "✗ Booting 0.50 s", "✓ Packages [main] 3.0 MiB", "a note [with brackets]",
        "✓ never-begun 2.00 s", "✓ Small 7 B",
    ):  # fmt: skip
        assert line in text


def test_bars_show_bytes_and_stages_their_time(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    report = Reporter()
    report(StageBegun("pull", "Pulling"))
    report(Transfer("k", "Packages", 1 << 20, 4 << 20))
    assert report._progress is not None
    report._progress.refresh()
    report.close()
    text = terminal.text()
    assert re.search(r"Packages .*1\.0/4\.0 MiB", text)
    assert re.search(r"Pulling .*0:00:0\d", text)
    assert report._progress is None
    report.close()


def test_a_terminal_that_cannot_draw_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    report = Reporter()
    report(StageBegun("boot", "Booting"))
    report(StageEnded("boot", 0.5))
    assert report._progress is None
    assert terminal.text() == "Booting  0.50 s\r\n"


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False), ("NO_COLOR", "", True)],
)
def test_colour_only_where_it_is_wanted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str, coloured: bool
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    assert output.colour() is coloured
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    output.error(CoveError("no"))
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_errors_in_full(capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]) -> None:
    problem = CoveError("it broke", details="one\ntwo", hint="mend it", log=Path("/x/log"))
    output.error(problem)
    golden("cli/error.txt", capsys.readouterr().err)
    output.error(problem, json_wanted=True)
    shown = capsys.readouterr()
    assert shown.err == ""
    golden("cli/error.json", shown.out)
