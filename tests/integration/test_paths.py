# SPDX-License-Identifier: Apache-2.0
"""Paths of sockets: as long as they may be on every system, and no longer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from cove.system.paths import SOCKET_PATH_LIMIT, MachinePaths
from tests.integration.world import BUSYBOX, Home, Machine, talk


def sockets_below(root: Path) -> list[str]:
    """Paths of all sockets that are bound below a folder, by whomever, as the kernel knows them."""
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    paths = [line.split(maxsplit=7)[7] for line in lines if len(line.split(maxsplit=7)) == 8]
    found = {str(path) for path in root.rglob("*") if path.is_socket()}
    return sorted(found | {path for path in paths if path.startswith(f"{root}/")})


@pytest.mark.parametrize("driver", ["uml", "qemu"])
def test_the_longest_home_there_can_be(cache: Path, tmp_path: Path, driver: str) -> None:
    """Everything works in it, shared folders and their daemons too; one byte more is refused at once."""
    deepest = len(bytes(MachinePaths(Path("/m/default")).longest_socket()))
    with tempfile.TemporaryDirectory(prefix="cove-long-", dir="/tmp") as parent:
        root = Path(parent) / ("h" * (SOCKET_PATH_LIMIT - deepest - len(parent) - 1))
        home = Home(root, cache)
        (tmp_path / "file").write_text("shared")
        accel = ("--accel", "tcg") if driver == "qemu" else ()
        try:
            home.cove("create", "--driver", driver, *accel, "--mount-none", "--mount", tmp_path)
            machine = home.machine()
            machine.start(deadline=280)
            assert machine.run("--rm", "-v", f"{tmp_path}:/s", BUSYBOX, "cat", "/s/file").stdout == b"shared"
            found = sockets_below(root)
            assert len(found) > 6
            assert not [path for path in found if len(path.encode()) > SOCKET_PATH_LIMIT]
            if driver == "uml":
                assert max(len(path.encode()) for path in found) == SOCKET_PATH_LIMIT
            home.cove("stop")
        finally:
            home.close()
        longer = Home(Path(f"{root}h"), cache)
        refused = talk(longer.cove("create", code=2))
        assert f"{SOCKET_PATH_LIMIT + 1} bytes, where a unix socket may have {SOCKET_PATH_LIMIT}" in refused
        assert not longer.root.exists()
        (finding,) = [one for one in longer.json("doctor")["findings"] if one["id"] == "socket-path-long"]
        assert "COVE_HOME" in finding["fix"]


def test_no_two_files_differ_in_case_alone(uml: Machine, cache: Path) -> None:
    """As a Mac's file system usually does not tell A from a. The toolbox is unpacked on Linux alone."""
    uml.run("--rm", BUSYBOX, "true")
    seen: dict[str, Path] = {}
    files = 0
    for folder in (uml.home.root, cache):
        for path in folder.rglob("*"):
            if cache / "tools" in path.parents or uml.home.root / "user" in path.parents:
                continue
            files += 1
            assert seen.setdefault(str(path).casefold(), path) == path
    assert files > 50
    for name in ("Default", "DEFAULT", "dEv"):
        assert "cannot name a machine" in talk(uml.home.cove("create", name, code=2))
