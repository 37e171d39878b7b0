# SPDX-License-Identifier: Apache-2.0
"""Copy files between the host and a guest, through the guest's agent; as scp does, without ssh."""

from __future__ import annotations

import os
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cove.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from cove.sdk.machine import Machine

# a target that is a folder gets the source's name in it, as with cp
_INTO = '[ ! -d "$1" ] || set -- "$1/$2"; cat > "$1"'
_UNPACK = '[ ! -d "$1" ] || set -- "$1/$2"; mkdir -p "$1" && tar -x -C "$1" -f -'


def to_guest(machine: Machine, source: str, target: str, *, recursive: bool) -> int:
    """Copy a file, or with ``recursive`` a folder, into the guest.

    Returns:
        0, or the exit code of what failed in the guest, which said why on stderr.

    Raises:
        NotFoundError: there is no such source.
        UsageError: it is a folder, and ``recursive`` is not given.
    """
    path = Path(source)
    if not path.exists():
        raise NotFoundError(f"{source} does not exist")
    if path.is_dir() and not recursive:
        raise UsageError(f"{source} is a folder", hint="Use -r.")
    name = path.resolve().name
    if not path.is_dir():
        with path.open("rb") as stream:
            return _run(machine, ["/bin/sh", "-c", _INTO, "sh", target, name], stream.fileno(), None)
    ours, theirs = os.pipe()
    thread = threading.Thread(target=_pack, args=(path, theirs))
    thread.start()
    try:
        return _run(machine, ["/bin/sh", "-c", _UNPACK, "sh", target, name], ours, None)
    finally:
        os.close(ours)
        thread.join()


def from_guest(machine: Machine, source: str, target: str, *, recursive: bool) -> int:
    """Copy a file, or with ``recursive`` a folder, out of the guest; see :func:`to_guest`."""
    path = Path(target)
    name = source.rstrip("/").rpartition("/")[2]
    if path.is_dir() and name:
        path = path / name
    if not recursive:
        if machine.guest().exec(["test", "-f", source]).code != 0:
            raise NotFoundError(f"{machine.name} has no file {source}", hint="Use -r for folders.")
        with path.open("wb") as stream:
            return _run(machine, ["cat", source], None, stream.fileno())
    if machine.guest().exec(["test", "-d", source]).code != 0:
        raise NotFoundError(f"{machine.name} has no folder {source}")
    path.mkdir(parents=True, exist_ok=True)
    ours, theirs = os.pipe()
    thread = threading.Thread(target=_unpack, args=(ours, path))
    thread.start()
    try:
        return _run(machine, ["tar", "-c", "-C", source, "-f", "-", "."], None, theirs)
    finally:
        os.close(theirs)
        thread.join()


def _run(machine: Machine, argv: list[str], stdin: int | None, stdout: int | None) -> int:
    """Run a program in the guest with a file or pipe as its stdin or stdout."""
    kept = [os.dup(0), os.dup(1)]
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null if stdin is None else stdin, 0)
        if stdout is not None:
            os.dup2(stdout, 1)
        return machine.guest().interactive(argv, tty=False)
    finally:
        os.dup2(kept[0], 0)
        os.dup2(kept[1], 1)
        for handle in (*kept, null):
            os.close(handle)


def _pack(folder: Path, handle: int) -> None:
    with os.fdopen(handle, "wb") as stream:
        try:
            with tarfile.open(fileobj=stream, mode="w|") as archive:
                archive.add(folder, arcname=".")
        except BrokenPipeError:
            pass  # the guest gave up, and said why


def _unpack(handle: int, folder: Path) -> None:
    # what a guest sends is not to leave the folder, nor to make devices or set-uid programs
    with os.fdopen(os.dup(handle), "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(folder, filter="data")
    os.close(handle)
