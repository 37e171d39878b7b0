# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from cove_guest import kernel, ops, ops_disk, session, spawn
from cove_guest.engine import Engine
from cove_guest.requests import Context, Request
from cove_guest.wire import RefusedError


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(
        engine=Engine(str(tmp_path / "docker.sock")), data=str(tmp_path), run=str(tmp_path), init=-1
    )


def test_info_is_of_this_machine(context: Context) -> None:
    info = ops.run(context, "info", Request({}))
    memory, disk = info["memory"], info["disk"]
    assert isinstance(memory, dict)
    assert isinstance(disk, dict)
    assert (
        0 < memory["available"] <= memory["total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )
    assert 0 < disk["used"] <= disk["total"]
    assert info["services"] == {}


def test_clock_get(context: Context) -> None:
    told = ops.run(context, "clock_get", Request({}))
    assert isinstance(told["seconds"], float)
    assert abs(told["seconds"] - time.time()) < 5


@pytest.mark.parametrize("seconds", [-1, "1", None, True, float("inf")])
def test_clock_refuses(context: Context, seconds: object) -> None:
    with pytest.raises(RefusedError, match="seconds must be"):
        ops.run(context, "clock", Request({"seconds": seconds}))


def test_services_from_their_files(context: Context, tmp_path: Path) -> None:
    (tmp_path / "dockerd.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "dockerd.starts").write_text("3\n")
    (tmp_path / "containerd.pid").write_text("4194305\n")  # above the kernel's highest
    (tmp_path / "fsck.log").write_text("x")
    assert ops.run(context, "services", Request({})) == {
        "containerd": {"pid": 4194305, "running": False, "restarts": 0},
        "dockerd": {"pid": os.getpid(), "running": True, "restarts": 2},
    }
    assert ops.services(str(tmp_path / "none")) == {}


def test_parse_mounts() -> None:
    text = "/dev/vdb /var/lib ext4 rw,noatime 0 0\nnone /a\\040b\\134c tmpfs rw 0 0\n"
    assert ops_disk.parse_mounts(text) == [
        {"source": "/dev/vdb", "target": "/var/lib", "fstype": "ext4", "options": ["rw", "noatime"]},
        {"source": "none", "target": "/a b\\c", "fstype": "tmpfs", "options": ["rw"]},
    ]


def test_mounts_has_the_root(context: Context) -> None:
    found = ops.run(context, "mounts", Request({}))["mounts"]
    assert isinstance(found, list)
    assert "/" in [entry["target"] for entry in found]


def test_refused_mount_names_the_error_and_the_place(context: Context, tmp_path: Path) -> None:
    target = tmp_path / "new"
    with pytest.raises(RefusedError, match=str(target)) as caught:
        ops.run(context, "mount", Request({"target": str(target), "fstype": "no-such-fs", "options": "ro"}))
    assert caught.value.code in ("ENODEV", "EPERM")
    with pytest.raises(RefusedError) as caught:
        ops.run(context, "umount", Request({"target": str(target), "options": ["lazy"]}))
    assert caught.value.code in ("EINVAL", "EPERM")


@pytest.mark.parametrize(
    "arguments", [{}, {"target": 3}, {"target": "/x\0y"}, {"target": "/tmp", "options": [1]}]
)
def test_bad_mount(context: Context, arguments: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as caught:
        ops.run(context, "umount", Request(arguments))
    assert caught.value.code == "bad-argument"


def test_trim_says_when_the_disk_cannot(context: Context) -> None:
    try:
        done = ops.run(context, "trim", Request({}))
    except RefusedError as error:
        done = {"code": error.code}
    assert done.get("code") in ("EOPNOTSUPP", "ENOTTY", "EPERM", "EINVAL") or isinstance(done["bytes"], int)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (0, "")),
        (["rw", "defaults"], (0, "")),
        (["ro", "noatime", "size=4m", "mode=755"], (1 | 1024, "size=4m,mode=755")),
        (["rbind"], (4096 | 16384, "")),
    ],
)
def test_split_options(options: list[str], expected: tuple[int, str]) -> None:
    assert kernel.split_options(options) == expected


def test_candidates() -> None:
    assert spawn.candidates("ls", "/bin::/usr/bin") == ["/bin/ls", "./ls", "/usr/bin/ls"]
    assert spawn.candidates("./ls", "/bin") == ["./ls"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"argv": "ls"},
        {"argv": []},
        {"argv": ["a\0b"]},
        {"argv": [1]},
        {"argv": ["a"], "env": {"A": 1}},
        {"argv": ["a"], "env": [1]},
        {"argv": ["a"], "cwd": 1},
        {"argv": ["a"], "tty": True, "rows": 70000},
    ],
)  # fmt: skip
def test_bad_program(arguments: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as caught:
        spawn.Program(arguments)
    assert caught.value.code == "bad-argument"


def test_search_domains_are_written_whole(context: Context, tmp_path: Path) -> None:
    for domains, text in (
        (["corp.example", "lan"], "nameserver 192.168.127.1\nsearch corp.example lan\n"),
        ([], "nameserver 192.168.127.1\n"),
    ):
        assert ops.run(context, "search", Request({"domains": domains})) == {}
        assert (tmp_path / "resolv.conf").read_text() == text
    assert not (tmp_path / "resolv.conf.new").exists()


@pytest.mark.parametrize("domains", [None, "a", ["a b"], ["a\nnameserver 1.2.3.4"], [1], ["\u00e4"]])
def test_search_domains_that_are_none_are_refused(context: Context, domains: object) -> None:
    with pytest.raises(RefusedError, match="must be a list of domains"):
        ops.run(context, "search", Request({"domains": domains}))


class Disk:
    """The data disk's state; the real calls would freeze the disk that these tests run on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frozen = False
        self.entropy = b""
        monkeypatch.setattr(kernel, "freeze", self.freeze)
        monkeypatch.setattr(kernel, "thaw", self.thaw)
        monkeypatch.setattr(kernel, "add_entropy", self.add)

    def freeze(self, _folder: str) -> None:
        if self.frozen:
            raise OSError(16, "Device or resource busy")
        self.frozen = True

    def thaw(self, _folder: str) -> bool:
        was, self.frozen = self.frozen, False
        return was

    def add(self, seed: bytes) -> None:
        assert not self.frozen
        self.entropy += seed


def test_frozen_disk_thaws_by_itself(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    ops.run(context, "freeze", Request({"seconds": 0.05}))
    with pytest.raises(RefusedError) as caught:
        ops.run(context, "freeze", Request({"seconds": 0.05}))
    assert caught.value.code == "EBUSY"
    end = time.monotonic() + 10
    while disk.frozen:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_thaw_and_wake(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    ops.run(context, "freeze", Request({"seconds": 60}))
    assert ops.run(context, "thaw", Request({})) == {"frozen": True}
    assert ops.run(context, "thaw", Request({})) == {"frozen": False}
    ops.run(context, "freeze", Request({"seconds": 60}))
    set_to: list[float] = []
    monkeypatch.setattr(time, "clock_settime", lambda _clock, seconds: set_to.append(seconds))
    answer = ops.run(context, "wake", Request({"seconds": 1e9, "entropy": "00ff"}))
    assert (answer["frozen"], disk.frozen, disk.entropy, set_to) == (True, False, b"\x00\xff", [1e9])


def test_clone_becomes_a_machine_of_its_own(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Disk(monkeypatch)
    context.machine_id = str(tmp_path / "machine-id")
    names: list[str] = []
    monkeypatch.setattr(kernel, "set_hostname", names.append)
    drawn = set()
    for number in range(2):
        ops.run(context, "wake", Request({"seconds": 0, "entropy": "", "hostname": f"c-{number}"}))
        text = (tmp_path / "machine-id").read_text()
        assert re.fullmatch("[0-9a-f]{32}\n", text)
        drawn.add(text)
    assert names == ["c-0", "c-1"]
    assert len(drawn) == 2
    ops.run(context, "wake", Request({"seconds": 0, "entropy": ""}))
    assert (tmp_path / "machine-id").read_text() in drawn


def test_busy_counts_programs_of_the_host(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ops.run(context, "busy", Request({})) == {"sessions": 0}
    monkeypatch.setattr(session, "_RUNNING", {1, 2})
    assert ops.run(context, "busy", Request({})) == {"sessions": 2}


@pytest.mark.parametrize("entropy", ["xyz", 5, None])
def test_wake_refuses(context: Context, monkeypatch: pytest.MonkeyPatch, entropy: object) -> None:
    Disk(monkeypatch)
    with pytest.raises(RefusedError):
        ops.run(context, "wake", Request({"seconds": 1.0, "entropy": entropy}))
