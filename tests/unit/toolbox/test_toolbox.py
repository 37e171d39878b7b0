# SPDX-License-Identifier: Apache-2.0
"""Prefixes are made and run for real, from packages with programs of this host."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from cove.errors import NetworkError, NotFoundError
from cove.events import Event, StageBegun, StageEnded
from cove.system.process import Command, run
from cove.toolbox.model import Group
from cove.toolbox.toolbox import Toolbox, ensure, unused
from tests.unit.toolbox.conftest import LIB, TinyArchive

ENV: dict[str, str] = {}


def never() -> NoReturn:
    raise AssertionError("the archive is not needed")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return tmp_path / "it's my $tools"


@pytest.fixture
def box(group: Group, archive: TinyArchive, tools: Path) -> Toolbox:
    return ensure(group, archive=lambda: archive, tools=tools, env=ENV)


def output(command: Command, *arguments: str) -> str:
    return run(command.with_args(*arguments), doing="testing", deadline=20).stdout.decode()


def test_programs_run(box: Toolbox) -> None:
    assert box.forms == {"dynamic": "loader", "patched": "patched", "plain": "plain"}
    assert output(box.command("dynamic"), "X=a b", "sh", "-c", 'echo "$X"') == "a b\n"
    assert output(box.command("patched"), "X=a b", "sh", "-c", 'echo "$X"') == "a b\n"
    assert output(box.command("plain"), "a", "b  c") == "plain a b  c\n"


def test_programs_use_the_prefixs_libraries(box: Toolbox) -> None:
    loader = box.command("dynamic").argv[0]
    listed = output(Command((loader, "--list", str(box.path("usr/bin/patched"))), {}))
    assert f"{box.root}/{LIB}/libc.so.6" in listed


def test_nothing_leaks_to_programs_started_by_programs(box: Toolbox) -> None:
    for name in ("dynamic", "patched"):
        lines = output(box.command(name)).splitlines()
        ours = {line.partition("=")[0] for line in lines} - set(os.environ)
        assert ours <= {"TOOL_LIB", "_"}, "only what the group asks for"


def test_wrappers(box: Toolbox) -> None:
    path = box.executable("dynamic")
    assert output(Command((str(path),), {}), "X=a  'b", "sh", "-c", 'echo "$X"') == "a  'b\n"
    assert f"TOOL_LIB={box.root}/{LIB}" in output(Command((str(path),), {})).splitlines()
    with pytest.raises(NotFoundError, match="no script"):
        box.executable("plain")


def test_what_is_kept_and_what_is_not(box: Toolbox) -> None:
    assert box.path("usr/share/doc/tool/copyright").is_file()
    for gone in ("usr/share/man", "usr/lib/unused", "usr/bin/extra"):
        assert not box.path(gone).exists()
    assert box.firmware == ()


def test_provenance(box: Toolbox, archive: TinyArchive) -> None:
    files = {file.program: file for file in box.packages()}
    deb = hashlib.sha256((archive.folder / "tool.deb").read_bytes()).hexdigest()
    plain = files["plain"]
    assert (plain.package, plain.version, plain.deb_sha256, plain.suite) == ("tool", "1", deb, "trixie")
    assert plain.sha256 == hashlib.sha256(plain.path.read_bytes()).hexdigest()
    assert [file.patched for file in files.values()] == [False, True, False]


def test_later_starts_need_no_archive(box: Toolbox, group: Group, tools: Path) -> None:
    assert ensure(group, archive=never, tools=tools, env=ENV) == box


@pytest.mark.parametrize("damaged", ["usr/bin/plain", f"{LIB}/libc.so.6", "wrappers/dynamic", "lock.json"])
@pytest.mark.parametrize("removed", [True, False])
def test_damage_is_noticed_and_mended(
    box: Toolbox, group: Group, tools: Path, archive: TinyArchive, damaged: str, removed: bool
) -> None:
    if removed:
        box.path(damaged).unlink()
    else:
        box.path(damaged).write_bytes(b"")
    mended = ensure(group, archive=lambda: archive, tools=tools, env=ENV)
    assert archive.fetched == 2
    assert mended == box
    assert output(mended.command("plain")) == "plain\n"


def test_a_damaged_pointer_is_mended(box: Toolbox, group: Group, tools: Path, archive: TinyArchive) -> None:
    for text in ("{", "[]", "{}", json.dumps({"key": 1})):
        (tools / "test.json").write_text(text)
        assert ensure(group, archive=lambda: archive, tools=tools, env=ENV) == box


def test_a_moved_folder_is_made_anew(box: Toolbox, group: Group, tools: Path, archive: TinyArchive) -> None:
    moved = tools.rename(tools.with_name("moved"))
    again = ensure(group, archive=lambda: archive, tools=moved, env=ENV)
    assert archive.fetched == 2
    assert output(again.command("patched"), "echo", "runs") == "runs\n"
    assert unused(moved) == [moved / box.path("").name]


def test_refresh(box: Toolbox, group: Group, tools: Path, archive: TinyArchive) -> None:
    same = ensure(group, archive=lambda: archive, tools=tools, env=ENV, refresh=True)
    assert (same, archive.fetched) == (box, 1)
    archive.version = "2"
    newer = ensure(group, archive=lambda: archive, tools=tools, env=ENV, refresh=True)
    assert newer.root != box.root
    assert output(box.command("plain")) == "plain\n", "the old one still works for who runs from it"
    assert unused(tools) == [box.root]
    assert ensure(group, archive=never, tools=tools, env=ENV) == newer


@pytest.mark.parametrize("failure", [NetworkError("no network"), KeyboardInterrupt()])
def test_failure_leaves_nothing(
    group: Group, tools: Path, archive: TinyArchive, failure: BaseException
) -> None:
    archive.fail = failure
    with pytest.raises(type(failure)):
        ensure(group, archive=lambda: archive, tools=tools, env=ENV)
    assert [path.name for path in tools.iterdir()] == [".test.lock"]


def test_an_interrupted_unpacking_leaves_nothing(
    group: Group, tools: Path, archive: TinyArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_deb: Path, into: Path) -> None:
        (into / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("cove.debian.unpack.extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure(group, archive=lambda: archive, tools=tools, env=ENV)
    assert [path.name for path in tools.iterdir()] == [".test.lock"]


def test_leftovers_of_a_killed_process_go(group: Group, tools: Path, archive: TinyArchive) -> None:
    ours, other = tools / ".test-0123456789ab.x1", tools / ".test-more-0123456789ab.x1"
    for folder in (ours, other):
        folder.mkdir(parents=True)
    ensure(group, archive=lambda: archive, tools=tools, env=ENV)
    assert (ours.exists(), other.exists()) == (False, True)
    assert unused(tools) == []


def test_many_at_once_make_it_once(group: Group, tools: Path, archive: TinyArchive) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(ensure, group, archive=lambda: archive, tools=tools, env=ENV) for _ in range(4)]
    assert len({str(job.result().root) for job in jobs}) == 1
    assert archive.fetched == 1


def test_progress_is_told(group: Group, tools: Path, archive: TinyArchive) -> None:
    events: list[Event] = []
    for _ in range(2):
        ensure(group, archive=lambda: archive, tools=tools, env=ENV, report=events.append)
    assert [type(event) for event in events] == [StageBegun, StageEnded], "the second time nothing is done"


def test_plain_json_beside_the_prefix(box: Toolbox, tools: Path) -> None:
    assert json.loads((tools / "test.json").read_text())["prefix"] == box.path("").name
    assert json.loads(box.path("lock.json").read_text())["packages"]
    assert box.path("").stat().st_mode & 0o777 == 0o700
