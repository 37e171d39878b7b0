# SPDX-License-Identifier: Apache-2.0
"""Which system calls a child is refused, and the kernel's program for it. Pure; :mod:`cove.system.seccomp` applies it.

Refusing by number cannot be tricked, unlike looking at memory of the child, which it could change meanwhile: only
numbers and plain arguments are looked at. Whoever refuses anything has to refuse io_uring, which makes calls past
the filter.

Source: seccomp(2), linux/seccomp.h, linux/filter.h, asm/unistd_64.h of the Linux kernel.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

_NUMBERS = {
    "open": 2, "dup": 32, "socket": 41, "connect": 42, "bind": 49, "listen": 50, "clone": 56, "ptrace": 101,
    "truncate": 76,
    "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90,
    "chown": 92, "lchown": 94, "syslog": 103, "mknod": 133, "pivot_root": 155, "adjtimex": 159, "chroot": 161,
    "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265,
    "symlinkat": 266, "fchmodat": 268, "unshare": 272, "perf_event_open": 298, "fanotify_init": 300,
    "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "renameat2": 316, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "openat2": 437,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "fchmodat2": 452,
}  # fmt: skip

_AUDIT_ARCH_X86_64 = 0xC000003E
_X32_BIT = 0x40000000

_ALLOW, _ERRNO, _USER_NOTIF = 0x7FFF0000, 0x00050000, 0x7FC00000
_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16


@dataclass(frozen=True)
class Call:
    """A system call, or only some of its uses. A 32-bit argument can be looked at, nothing that it points to.

    Args:
        name: as in its manual page.
        argument: number of the argument that decides, from 0; None means every use.
        equals: the value of that argument that is meant.
        any_bit: uses are meant where the argument has any of these bits.
    """

    name: str
    argument: int | None = None
    equals: int | None = None
    any_bit: int = 0


@dataclass(frozen=True, kw_only=True)
class CallRules:
    """What a child is refused.

    Args:
        never: from the start; the caller gets EPERM.
        sealed: once its :class:`Seal` is closed; the caller gets ENOSYS.
    """

    never: tuple[Call, ...] = ()
    sealed: tuple[Call, ...] = ()


def program(rules: CallRules) -> bytes:
    """The filter as the kernel's instructions (struct sock_filter). Pure."""
    code = [
        _step(_LOAD, _AT_ARCH),
        _step(_JUMP_EQUAL, _AUDIT_ARCH_X86_64, 1, 0),
        _step(_RETURN, _ERRNO | errno.ENOSYS),  # calls as another processor makes them have other numbers
        _step(_LOAD, _AT_NUMBER),
        _step(_JUMP_ABOVE, _X32_BIT, 0, 1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for calls, verdict in ((rules.never, _ERRNO | errno.EPERM), (rules.sealed, _USER_NOTIF)):
        for call in calls:
            # its flags lie in memory; a C library that gets ENOSYS makes do with clone, whose flags can be seen
            code += _rule(call, _ERRNO | errno.ENOSYS if call.name == "clone3" else verdict)
    return b"".join([*code, _step(_RETURN, _ALLOW)])


def _rule(call: Call, verdict: int) -> list[bytes]:
    number = _NUMBERS[call.name]
    if call.argument is None:
        return [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, verdict)]
    value = call.any_bit if call.equals is None else call.equals
    return [
        _step(_JUMP_EQUAL, number, 0, 4),
        _step(_LOAD, _AT_ARGUMENTS + 8 * call.argument),
        _step(_JUMP_ANY_BIT if call.equals is None else _JUMP_EQUAL, value, 0, 1),
        _step(_RETURN, verdict),
        _step(_LOAD, _AT_NUMBER),
    ]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def every(*names: str) -> tuple[Call, ...]:
    """These calls in all their uses."""
    return tuple(Call(name) for name in names)
