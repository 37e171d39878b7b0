# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cove.errors import ConflictError, NotFoundError
from cove.host.system_socket import Occupant, link_line, listens, look, unlink_line
from tests.unit.machine.world import short_home

MACHINE = Path("/home/ann/my home/.cove/m/dev/docker.sock")
WANTED = "sudo ln -sfn '/home/ann/my home/.cove/m/dev/docker.sock' /var/run/docker.sock"


@pytest.fixture
def run() -> Iterator[Path]:
    """A folder in place of /var/run, with a path short enough for sockets."""
    with short_home() as home:
        home.root.mkdir(exist_ok=True)
        yield home.root


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def occupant(**facts: object) -> Occupant:
    return Occupant(**{"path": "/var/run/docker.sock", "kind": "absent", **facts})  # type: ignore[arg-type]


def test_what_is_there(run: Path) -> None:
    place = run / "docker.sock"
    assert look(place) == Occupant(path=str(place), kind="absent")
    with listening(place):
        assert look(place) == Occupant(path=str(place), kind="socket", answers=True)
    assert look(place) == Occupant(path=str(place), kind="socket")
    place.unlink()
    place.touch()
    assert look(place).kind == "other"


def test_links(run: Path) -> None:
    place, engine = run / "docker.sock", run / "engine.sock"
    place.symlink_to("engine.sock")
    with listening(engine):
        assert look(place) == Occupant(path=str(place), kind="link", target=str(engine), answers=True)
    machine = run / "anywhere" / "docker.sock"
    machine.parent.mkdir()
    place.unlink()
    place.symlink_to(machine)
    assert look(place).machine == ""
    (machine.parent / "machine.json").touch()
    assert look(place) == Occupant(path=str(place), kind="link", target=str(machine), machine=str(machine))
    with listening(machine):
        assert look(place).answers


def test_the_link_of_a_machine_that_was_deleted(run: Path) -> None:
    place = run / "docker.sock"
    place.symlink_to(MACHINE)
    assert look(place).machine == str(MACHINE)


def test_a_socket_that_we_may_not_open_is_somebodys(run: Path) -> None:
    run.chmod(0o755)
    with listening(run / "s"):
        (run / "s").chmod(0)
        own = os.geteuid()
        if own == 0:  # who may open every socket
            os.seteuid(65534)
        try:
            assert listens(run / "s")
            assert not listens(run / "nothing")
        finally:
            os.seteuid(own)


@pytest.mark.parametrize(
    "found",
    [
        occupant(),
        occupant(kind="socket"),  # a dead engine's
        occupant(kind="link", target="/nowhere"),
        occupant(kind="link", target="/h/m/old/docker.sock", machine="/h/m/old/docker.sock", answers=True),
    ],
)
def test_a_place_that_may_be_taken(found: Occupant) -> None:
    assert link_line(found, MACHINE) == WANTED


def test_a_link_that_is_right_already() -> None:
    found = occupant(kind="link", target=str(MACHINE), machine=str(MACHINE), answers=True)
    assert link_line(found, MACHINE) is None


@pytest.mark.parametrize(
    "found",
    [
        occupant(kind="socket", answers=True),
        occupant(kind="link", target="/home/ann/.docker/run/docker.sock", answers=True),
    ],
)
def test_another_engine_is_left_alone_unless_it_is_wished(found: Occupant) -> None:
    with pytest.raises(ConflictError, match="another engine listens"):
        link_line(found, MACHINE)
    assert link_line(found, MACHINE, force=True) == WANTED


def test_what_is_no_socket_is_left_alone() -> None:
    with pytest.raises(ConflictError, match="neither a socket nor a link"):
        link_line(occupant(kind="other"), MACHINE, force=True)


def test_only_a_machines_link_is_taken_away() -> None:
    found = occupant(kind="link", target=str(MACHINE), machine=str(MACHINE))
    assert unlink_line(found) == "sudo rm /var/run/docker.sock"
    for other in (occupant(), occupant(kind="socket"), occupant(kind="link", target="/x")):
        with pytest.raises(NotFoundError):
            unlink_line(other)


def test_the_lines_do_what_they_say(run: Path) -> None:
    """Without sudo, in a folder that is ours."""
    place, target = run / "docker.sock", run / "a machine" / "docker.sock"
    target.parent.mkdir()
    (target.parent / "machine.json").touch()
    for before in (None, "/dangling", str(run)):  # a link to a folder is replaced, not filled
        place.unlink(missing_ok=True)
        if before:
            place.symlink_to(before)
        line = link_line(look(place), target)
        assert line is not None
        subprocess.run(shlex.split(line)[1:], check=True, timeout=10)
        assert place.readlink() == target
    assert link_line(look(place), target) is None
    subprocess.run(shlex.split(unlink_line(look(place)))[1:], check=True, timeout=10)
    assert look(place).kind == "absent"
