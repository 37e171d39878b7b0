# SPDX-License-Identifier: Apache-2.0
"""Refuse system calls to a child process: some from its first instruction, others from a moment of our choice on.

A program needs more while it starts than later: it makes its sockets, then it only serves them. So a filter
(seccomp, which needs no privilege and cannot be undone) asks us about such calls. While the child starts we let all
of them pass; :meth:`Seal.close` closes the descriptor over which we are asked, and from then on the kernel itself
refuses them. Nothing of ours stands in the way of any call after that.

Linux on x86-64, 5.5 and later; elsewhere children run without (:func:`available`).

Source: seccomp(2), seccomp_unotify(2), linux/seccomp.h of the Linux kernel.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
import sys
from functools import cache

from cove.system.call_rules import CallRules, program

_SYS_SECCOMP = 317
_SET_MODE_FILTER = 1
_SPEC_ALLOW, _NEW_LISTENER = 1 << 2, 1 << 3
_PR_SET_NO_NEW_PRIVS = 38

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, ..._resp)
_ASKED = 80
_CONTINUE = 1


@cache
def available() -> bool:
    """Whether this host's kernel can hold a child to such rules."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and _sizes() is not None


class Seal:
    """Our end of a child's filter: everything that we are asked about is allowed until it is closed.

    Args:
        handle: the descriptor over which the kernel asks.
    """

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def fileno(self) -> int:
        """The descriptor; it is readable when there is something to :meth:`allow`. -1 when closed."""
        return -1 if self._handle is None else self._handle

    def allow(self) -> None:
        """Let the call pass that the child waits with; one that it gave up meanwhile is nothing."""
        if self._handle is None:
            return
        asked = bytearray(_ASKED)
        try:
            fcntl.ioctl(self._handle, _RECEIVE, asked)
            (number,) = struct.unpack_from("=Q", asked)
            fcntl.ioctl(self._handle, _SEND, struct.pack("=QqiI", number, 0, 0, _CONTINUE))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                raise

    def close(self) -> None:
        """From now on the kernel refuses what is sealed. Closed twice is fine."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def refuse(rules: CallRules, channel: socket.socket) -> None:
    """Hold the calling process, its children and what they execute to the rules; between fork and exec.

    The descriptor for a :class:`Seal` goes through ``channel``, if there is anything to seal and the kernel gives us
    one: it has one for a process at most, and a manager of containers may have taken it. Without it nothing can be
    sealed, and the rest holds. Also gives up gaining privileges by exec.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _error()
    # without SPEC_ALLOW kernels before 5.16 make a filtered process pay for a mitigation (SSBD) all the time
    handle = _install(libc, program(rules), _SPEC_ALLOW | (_NEW_LISTENER if rules.sealed else 0))
    if handle < 0 and rules.sealed and ctypes.get_errno() == errno.EBUSY:
        handle = _install(libc, program(CallRules(never=rules.never)), _SPEC_ALLOW)
        if handle == 0:
            return
    if handle < 0:
        raise _error()
    if rules.sealed:
        channel.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))])
        os.close(handle)


def receive(channel: socket.socket) -> Seal | None:
    """The seal of a child that has called :func:`refuse` and gone on; None if there is none."""
    channel.setblocking(False)
    try:
        _, handles, _, _ = socket.recv_fds(channel, 1, 1)
    except BlockingIOError:
        return None
    return Seal(handles[0]) if handles else None


def _install(libc: ctypes.CDLL, code: bytes, flags: int) -> int:
    """0 or a descriptor, or -1 with errno set."""
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    result: int = libc.syscall(ctypes.c_long(_SYS_SECCOMP), _SET_MODE_FILTER, flags, header)
    return result


def _sizes() -> tuple[int, ...] | None:
    """What the kernel says of its messages (SECCOMP_GET_NOTIF_SIZES, since 5.0); None without seccomp(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = (ctypes.c_uint16 * 3)()
    # _CONTINUE came with 5.5
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    if release < (5, 5) or libc.syscall(ctypes.c_long(_SYS_SECCOMP), 3, 0, found) != 0:
        return None
    return tuple(found)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"seccomp: {os.strerror(number)}")
