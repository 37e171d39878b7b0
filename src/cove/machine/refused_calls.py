# SPDX-License-Identifier: Apache-2.0
"""Which of the host's system calls the children of a supervisor are refused.

What a program needs was found by running it: gvproxy 0.8.1, virtiofsd 1.13, QEMU 10.0, User-Mode Linux 6.12.
"""

from __future__ import annotations

import os
import socket
import stat

from cove.spec.machine import Driver
from cove.system.call_rules import Call, CallRules, every

_NAMESPACES = 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x20000
"""The flags of clone(2) for cgroup, uts, ipc, user, pid, net and mount namespaces."""

_NEVER = (
    *(Call(name, argument=0, any_bit=_NAMESPACES) for name in ("clone", "unshare")),
    # devices, which only root could make
    *(Call(name, argument=at, any_bit=stat.S_IFCHR) for name, at in (("mknod", 1), ("mknodat", 2))),
    *every(
        # of the host's kernel, what only few programs need and most of its holes were found in
        *("setns", "clone3", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
        # it makes calls that no filter sees
        *("io_uring_setup", "io_uring_enter", "io_uring_register"),
        # mounts
        *("mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"),
        *("fspick", "mount_setattr", "quotactl", "quotactl_fd", "fanotify_init"),
        # other processes of the user, where Landlock does not keep them apart
        *("process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
        # what matters should the user be root
        *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon"),
        *("swapoff", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname"),
        *("setdomainname", "iopl", "ioperm", "syslog", "open_by_handle_at"),
    ),
)  # fmt: skip
_PTRACE = every("ptrace")
"""User-Mode Linux lives by it."""

_SOCKETS = every("socket", "connect", "bind", "listen")
_CHANGES = (
    *(Call(name, argument=at, any_bit=os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
      for name, at in (("open", 1), ("openat", 2))),
    *every("openat2", "creat", "truncate", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat"),
    *every("renameat2", "link", "linkat", "symlink", "symlinkat", "chmod", "fchmodat", "fchmodat2", "chown"),
    *every("lchown", "fchownat"),
)  # fmt: skip
"""All that changes the host's files."""

_UNIX = Call("socket", argument=0, equals=socket.AF_UNIX)
"""Landlock cannot say which sockets in the file system may be connected to: engines, agents, buses of the user."""

GVPROXY = CallRules(never=(*_NEVER, *_PTRACE), sealed=(*every("bind", "listen"), _UNIX, *_CHANGES))
"""Once sealed it listens on nothing more, changes no file, and connects to nothing but the network."""

SHARE = CallRules(never=(*_NEVER, *_PTRACE, *_SOCKETS), sealed=every("dup"))
"""A share daemon is given the one socket that it needs.

Once sealed, it calls dup(2) for one thing alone: when the guest says that a file is being closed (FUSE_FLUSH), it
closes a duplicate of its own. It passes ENOSYS on, from which the guest's kernel learns that nothing is done at such
a moment, and never asks again: one request less for each file that is opened.
"""


def vmm_calls(driver: Driver) -> CallRules:
    """Once sealed, a VMM makes no socket any more and connects to none."""
    return CallRules(never=_NEVER if driver == "uml" else (*_NEVER, *_PTRACE), sealed=_SOCKETS)
