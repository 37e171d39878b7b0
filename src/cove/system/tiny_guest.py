# SPDX-License-Identifier: Apache-2.0
"""The smallest guest that proves that a kernel boots: an initramfs with one program of about 200 bytes.

The program writes :data:`MARKER` to the console and restarts the machine. It is written here as machine code,
because a host has no compiler. Pure: everything is bytes.

Formats: ELF-64 (elf(5)), cpio "newc" (the kernel's driver-api/early-userspace/buffer-format.rst), system call
numbers of x86_64 (the kernel's arch/x86/entry/syscalls/syscall_64.tbl) and of arm64 (include/uapi/asm-generic/
unistd.h), instructions of Intel's and Arm's architecture manuals.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from cove.spec.machine import Architecture

MARKER = "cove-kernel-booted"
"""The line on the console that proves it."""

_BASE = 0x400000
_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")

_MACHINES: Mapping[Architecture, int] = {"x86_64": 62, "aarch64": 183}
_WRITE, _PAUSE, _REBOOT = 1, 34, 169
_ARM_WRITE, _ARM_PPOLL, _ARM_REBOOT = 64, 73, 142
_REBOOT_MAGIC, _REBOOT_MAGIC2, _RESTART = 0xFEE1DEAD, 0x28121969, 0x01234567


def tiny_initramfs(architecture: Architecture = "x86_64") -> bytes:
    """An uncompressed initramfs whose /init is the program."""
    return _cpio_entry("init", 0o100755, tiny_program(architecture)) + _cpio_entry("TRAILER!!!", 0, b"")


def tiny_program(architecture: Architecture = "x86_64") -> bytes:
    """The program, a static ELF executable for Linux."""
    code = _code if architecture == "x86_64" else _arm_code
    message = f"\n{MARKER}\n".encode()
    headers = _ELF_HEADER.size + _PROGRAM_HEADER.size
    # the code's length does not depend on where the message lies, so the first round finds it
    address = _BASE + headers + len(code(0, len(message)))
    body = code(address, len(message)) + message
    header = _ELF_HEADER.pack(
        b"\x7fELF\x02\x01\x01",  # 64 bits, little-endian, version 1; padded with zeros
        *(2, _MACHINES[architecture], 1),  # executable, its processor, version 1
        *(_BASE + headers, _ELF_HEADER.size, 0, 0),  # entry, program headers, no sections, no flags
        *(_ELF_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0),
    )
    size = headers + len(body)
    # one segment to load, readable and executable, page-aligned
    segment = _PROGRAM_HEADER.pack(1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + body


def _code(message: int, length: int) -> bytes:
    write = _load(edi=1, esi=message, edx=length) + _system_call(_WRITE)
    restart = _load(edi=_REBOOT_MAGIC, esi=_REBOOT_MAGIC2, edx=_RESTART) + _system_call(_REBOOT)
    # should the restart be refused: a process 1 that ends would be a panic
    pause = _system_call(_PAUSE)
    return write + restart + pause + b"\xeb" + struct.pack("b", -len(pause) - 2)


def _load(*, edi: int, esi: int, edx: int) -> bytes:
    """Mov edi, esi and edx: the first three arguments of a system call."""
    return (
        b"\xbf" + struct.pack("<I", edi) + b"\xbe" + struct.pack("<I", esi) + b"\xba" + struct.pack("<I", edx)
    )


def _system_call(number: int) -> bytes:
    """Mov eax, number; syscall."""
    return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"


def _arm_code(message: int, length: int) -> bytes:
    write = _arm_call(_ARM_WRITE, 1, message, length)
    restart = _arm_call(_ARM_REBOOT, _REBOOT_MAGIC, _REBOOT_MAGIC2, _RESTART)
    # arm64 has no pause(2): wait for nothing, without end
    pause = _arm_call(_ARM_PPOLL, 0, 0, 0, 0)
    back = 0x14000000 | (-len(pause) // 4 & 0x3FFFFFF)
    return write + restart + pause + struct.pack("<I", back)


def _arm_call(number: int, *arguments: int) -> bytes:
    """Load x0 and following, then x8 with the number; svc 0."""
    loads = [word for register, value in enumerate(arguments) for word in _arm_load(register, value)]
    return struct.pack(f"<{len(loads) + 3}I", *loads, *_arm_load(8, number), 0xD4000001)


def _arm_load(register: int, value: int) -> tuple[int, int]:
    """Movz and movk: the lower 16 bits, then those above; all others become zero."""
    return 0xD2800000 | (value & 0xFFFF) << 5 | register, 0xF2A00000 | (value >> 16) << 5 | register


def _cpio_entry(name: str, mode: int, data: bytes) -> bytes:
    # inode, mode, uid, gid, links, mtime, size, device and rdev numbers, length of the name, checksum
    fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
