# SPDX-License-Identifier: Apache-2.0
"""What a folder's file system can do, and what a host offers to hold child processes, as data.

Found by :mod:`cove.system.folders` and :mod:`cove.system.guards`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What the file system under a folder can do. None is what could not be tried.

    Args:
        path: the folder that was tried: the one asked for, or the nearest one above it that exists.
        exists: whether that is the one asked for.
        owned: whether it is ours.
        writable: whether files can be made in it.
        kind: the file system's type, as the host calls it; "" if the host does not say.
        noexec: whether no program can be started from it.
        free: bytes that we may still write.
        sockets: whether unix sockets can be made.
        locks: whether flock(2) keeps a second one out.
        links: whether symlinks can be made.
        modes: whether a file can be made private.
        sparse: whether holes take no space.
        case_sensitive: whether ``a`` and ``A`` are two files.
    """

    path: str
    exists: bool
    owned: bool
    writable: bool
    kind: str
    noexec: bool
    free: int
    sockets: bool | None = None
    locks: bool | None = None
    links: bool | None = None
    modes: bool | None = None
    sparse: bool | None = None
    case_sensitive: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What can hold child processes.

    Args:
        landlock: its version; 0 for none.
        seccomp: whether system calls can be refused, and asked about.
        namespaces: whether we may have a mount namespace of our own.
        barrier: what sysctl(8) would have to set for that, if it is one of the usual settings.
        lsm: the security modules that the kernel started with, if it says.
    """

    landlock: int
    seccomp: bool
    namespaces: bool
    barrier: str = ""
    lsm: tuple[str, ...] = ()
