# SPDX-License-Identifier: Apache-2.0
"""Confine a child process with Landlock: it sees only the files it was given, and cannot open TCP ports.

Landlock needs no privilege and cannot be undone by the process or its children. Where the host's kernel has none
(before 5.13, or switched off) children run unconfined, and :func:`landlock_abi` says so. What an older Landlock
cannot restrict is left out.

Source: linux/landlock.h and Documentation/userspace-api/landlock.rst of the Linux kernel.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cove.system.call_rules import CallRules

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What a child may do. Paths that do not exist are left out.

    Args:
        read: files and folders that it may read and execute.
        write: files and folders that it may also change; for a folder all below it.
        connect_tcp: whether it may connect to TCP ports.
        bind_tcp: the only TCP ports that it may listen on.
        hide: folders that are empty for it, but for what the others name in them; see :mod:`cove.system.hide`.
        calls: system calls that it is refused; see :mod:`cove.system.call_rules`.
        stand_ins: files in whose place it sees others, where the host lets us; see :mod:`cove.system.hide`.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    connect_tcp: bool = False
    bind_tcp: tuple[int, ...] = ()
    hide: tuple[Path, ...] = ()
    calls: CallRules | None = None
    stand_ins: Mapping[Path, Path] = field(default_factory=dict)


@cache
def landlock_abi() -> int:
    """The version of Landlock that this host's kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


@contextmanager
def ruleset(confinement: Confinement | None) -> Iterator[int | None]:
    """A descriptor of the rules for :func:`restrict_self`, closed at the end; None where there is nothing to do.

    Raises:
        OSError: the kernel refused a rule.
    """
    abi = landlock_abi()
    if confinement is None or abi == 0:
        yield None
        return
    handled = _handled(abi)
    network = 0 if abi < 4 else _BIND_TCP | (0 if confinement.connect_tcp else _CONNECT_TCP)
    scope = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= 6 else 0
    attributes = struct.pack("=QQQ", handled, network, scope)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    handle = _checked(_syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        _add_paths(handle, confinement.read, handled & (_EXECUTE | _READ_FILE | _READ_DIR))
        _add_paths(handle, confinement.write, handled & ~_EXECUTE)
        for port in confinement.bind_tcp if network else ():
            _checked(_syscall(_ADD_RULE, handle, _NET_PORT, struct.pack("=QQ", _BIND_TCP, port), 0))
        yield handle
    finally:
        os.close(handle)


def restrict_self(handle: int) -> None:
    """Confine the calling process for ever; between fork and exec. Also gives up gaining privileges by exec.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_syscall(_RESTRICT_SELF, handle, 0))


def _handled(abi: int) -> int:
    return _RIGHTS_BY_ABI[max(version for version in _RIGHTS_BY_ABI if version <= abi)]


def _add_paths(handle: int, paths: Iterable[Path], rights: int) -> None:
    for path in paths:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there cannot be reached either
        try:
            allowed = rights if path.is_dir() else rights & _FILE_RIGHTS
            rule = struct.pack("=Qi", allowed, opened)
            _checked(_syscall(_ADD_RULE, handle, _PATH_BENEATH, rule, 0))
        finally:
            os.close(opened)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    return result


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
