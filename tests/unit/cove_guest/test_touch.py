# SPDX-License-Identifier: Apache-2.0
"""Touching wakes whoever watches and changes nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the agent runs on Linux", allow_module_level=True)

from cove.system.watch import TreeWatch
from cove_guest import kernel

_ATTRIB, _CLOSE_WRITE = 4, 8


def test_nothing_changes_but_watchers_wake(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("contents")
    file.chmod(0o4751)
    os.utime(file, (1, 2))
    handle = kernel._check(kernel._libc.inotify_init1(os.O_NONBLOCK))
    try:
        kernel._libc.inotify_add_watch(handle, os.fsencode(file), _ATTRIB | _CLOSE_WRITE)
        assert kernel.touch(str(file))
        data = os.read(handle, 4096)
    finally:
        os.close(handle)
    masks = {int.from_bytes(data[at + 4 : at + 8], sys.byteorder) for at in range(0, len(data), 16)}
    assert masks == {_ATTRIB, _CLOSE_WRITE}
    found = file.stat()
    assert (found.st_mode & 0o7777, found.st_mtime, file.read_text()) == (0o4751, 2, "contents")


def test_it_does_not_wake_the_host_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    watching = TreeWatch()
    try:
        watching.follow([tmp_path])
        assert kernel.touch(str(tmp_path / "file"))
        assert kernel.touch(str(tmp_path))
        assert watching.changed() == {}
    finally:
        watching.close()


def test_what_cannot_be_touched_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("gone", "pipe", "link"):
        assert not kernel.touch(str(tmp_path / name))
