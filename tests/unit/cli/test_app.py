# SPDX-License-Identifier: Apache-2.0
"""Help, exit codes and what failures look like."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from cove.cli import app
from cove.cli.app import cli, command_of, exit_code
from cove.cli.groups import COMMANDS, load
from cove.errors import CoveError, DeadlineError, NetworkError, UsageError
from cove.version import __version__
from tests.unit.cli.conftest import Cove

PASSED_ON = {("run",), ("docker",)}
"""Commands whose --help is docker's own."""


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


@pytest.mark.parametrize("path", sorted(set(every_command(cli)) - PASSED_ON), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(cove: Cove, path: tuple[str, ...], option: str) -> None:
    shown = cove(*path, option)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: cove {' '.join(path)} ")
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help
            assert max(parameter.opts, key=len) in shown.out
    assert len(shown.out.splitlines()) > 2


def test_help_lists_every_command_in_the_order_of_need(cove: Cove) -> None:
    shown = cove("--help").out
    listed = re.findall(r"^  ([a-z0-9]+) {2,}\S", shown.partition("Commands:")[2], re.MULTILINE)
    assert listed == [name for name in COMMANDS if not load(name).hidden]
    assert listed[0] == "run"
    assert "\n    cove run --rm -it cove.internal/debian bash     a shell in a container\n" in shown
    assert "\\b" not in shown


def test_words_of_others_do_what_ours_do(cove: Cove) -> None:
    for alias, name in {"up": "start", "down": "stop", "ls": "list", "ssh": "shell"}.items():
        other, own = load(alias), load(name)
        assert (other.hidden, own.hidden) == (True, False)
        assert other.callback is own.callback
    assert cove("ls").out == cove("list").out


def test_alone_it_explains_itself_as_a_mistake(cove: Cove) -> None:
    shown = cove()
    assert (shown.code, shown.out) == (2, "")
    assert "Commands:" in shown.err


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(cove: Cove, option: str) -> None:
    assert cove(option).out == f"cove {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("strat", "Did you mean 'start'?"),
        ("lst", "Did you mean 'list'?"),
        ("ps", "Docker's own commands stand behind 'cove docker': cove docker ps"),
    ],
)
def test_typos_are_answered_with_the_nearest(cove: Cove, typed: str, advice: str) -> None:
    shown = cove(typed)
    assert (shown.code, shown.out) == (2, "")
    assert f"No such command '{typed}'" in shown.err
    assert advice in " ".join(shown.err.split())


@pytest.mark.parametrize(
    "line",
    [
        "start --nonsense", "start a b", "create --cpus many", "logs --source nothing", "logs --tail -1",
        "completion tcsh", "cache nonsense", "create --memory much", "create --disk 0", "create -- -x",
        "-m A status", "-m a status b", "stop --timeout -1", "run --machine", "shell --machine A",
        "create --driver nonsense", "create --accel nonsense",
    ],
)  # fmt: skip
def test_what_the_user_wrote_wrong_is_2(cove: Cove, line: str) -> None:
    shown = cove(*line.split())
    assert (shown.code, shown.out) == (2, ""), shown
    assert shown.err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], None), (["-q"], None), (["run", "x"], "run"), (["-m", "run", "list"], "list"), (["-m"], None),
        (["--machine", "dev", "-q", "docker"], "docker"), (["--machine=run", "list"], "list"),
        (["--offline", "run", "list"], "run"),
    ],
)  # fmt: skip
def test_the_command_is_found_behind_our_options(arguments: Sequence[str], command: str | None) -> None:
    assert command_of(arguments) == command


@pytest.mark.parametrize(
    ("problem", "line", "code"),
    [
        (CoveError("no"), "list", 1),
        (UsageError("no"), "list", 2),
        (DeadlineError("no"), "start", 124),
        (NetworkError("no"), "run x", 125),
        (NetworkError("no"), "-m dev docker ps", 125),
        (DeadlineError("no"), "--offline run x", 125),
        (UsageError("no"), "run x", 2),
        (NetworkError("no"), "-m run list", 1),
        (NetworkError("no"), "shell run", 1),
    ],
)
def test_exit_codes(problem: CoveError, line: str, code: int) -> None:
    assert exit_code(problem, line.split()) == code


def test_docker_is_never_reached_without_a_machine(cove: Cove) -> None:
    for line in ("--offline run x", "--offline docker ps"):
        shown = cove(*line.split())
        assert (shown.code, shown.out) == (125, "")
        assert shown.err.startswith("cove: ") or "\ncove: " in shown.err


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_ctrl_c_is_130(
    cove: Cove, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise interruption

    monkeypatch.setattr(app.cli, "main", interrupted)
    shown = cove("list")
    assert (shown.code, shown.out, shown.err) == (130, "", "cove: interrupted\n")


def test_failures_read_message_details_hint_log(cove: Cove, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    def fail(*_arguments: object, **_options: object) -> None:
        raise CoveError("it broke", details="first\nsecond", hint="mend it", log=Path("/var/log/x"))

    monkeypatch.setattr(app.cli, "main", fail)
    shown = cove("list")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == "cove: it broke\n  first\n  second\n\nhint: mend it\nlog: /var/log/x\n"
    shown = cove("list", "--json")
    assert (shown.code, shown.err) == (1, "")
    assert json.loads(shown.out)["message"] == "it broke"
    shown = cove("run", "image", "program", "--json")  # that one is the container's
    assert (shown.code, shown.out) == (125, "")


def test_bare_failures_are_one_line(cove: Cove) -> None:
    shown = cove("status", "absent")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == "cove: there is no machine 'absent'\n\nhint: Make it: cove create absent\n"


def test_results_that_are_no_exit_code_are_0(cove: Cove, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.cli, "main", lambda *_arguments, **_options: None)
    assert cove("list").code == 0


@pytest.mark.parametrize(
    "group", [(), *((name,) for name in COMMANDS if isinstance(load(name), click.Group))]
)
def test_help_says_whole_sentences_on_a_narrow_terminal(
    cove: Cove, monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = cove(*group, "--help").out.partition("Commands:")[2].splitlines()
    assert commands
    assert not [line for line in commands if line.endswith("...")]


@pytest.mark.parametrize("args", [["--help"], ["version"], ["list", "--json"]])
def test_a_reader_that_goes_away_ends_the_program_and_nothing_else(
    cove: Cove, tmp_path: Path, args: list[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run(
        [sys.executable, "-m", "cove", *args],
        stdout=writer, stderr=subprocess.PIPE, check=False, env={**os.environ, "COVE_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(writer)
    assert (gone.returncode, gone.stderr) == (-signal.SIGPIPE, b"")
    # within a program that is not ours, such as the one that runs these tests, broken connections are errors
    before = signal.getsignal(signal.SIGPIPE)
    assert cove("--help").code == 0
    assert signal.getsignal(signal.SIGPIPE) == before == signal.SIG_IGN


def test_a_connection_that_breaks_is_an_error_with_words(tmp_path: Path) -> None:
    """Not the end of a reader of ours: the signal of both is the same."""
    code = """
import socket, sys
from cove.__main__ import main
from cove.sdk.collection import MachineCollection
def broken(self):
    one, other = socket.socketpair()
    other.close()
    one.sendall(b"x")
MachineCollection.list = broken
sys.argv[1:] = ["list"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, env={**os.environ, "COVE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cove: a connection broke: Broken pipe\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "args", [("--fresh", "-d"), ("-m", "dev", "--fresh", "-itd"), ("--fresh", "-m", "dev", "--detach")]
)
def test_throw_away_engine_is_refused_to_what_stays(cove: Cove, args: tuple[str, ...]) -> None:
    refused = cove("run", *args, "cove.internal/busybox", "sleep", "60")
    assert refused.code == 2
    assert "--fresh throws the engine away when docker returns" in refused.err
    assert "cove clone fresh NAME" in refused.err
    assert cove("list", "--json").out == "[]\n"  # nothing was made
