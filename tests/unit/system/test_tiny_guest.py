# SPDX-License-Identifier: Apache-2.0
"""The probe's guest as bytes. It is never executed here: as root its reboot call would mean this host."""

from __future__ import annotations

import struct

import pytest

from cove.spec.machine import Architecture
from cove.system.tiny_guest import MARKER, tiny_initramfs, tiny_program


def test_the_program_is_a_static_elf() -> None:
    program = tiny_program()
    assert program.startswith(b"\x7fELF\x02\x01\x01")
    kind, machine = struct.unpack_from("<HH", program, 16)
    assert (kind, machine) == (2, 62)
    entry, headers = struct.unpack_from("<QQ", program, 24)
    assert headers == 64
    assert len(program) < 300
    # the entry is the first instruction after the two headers: mov edi, 1
    assert program[entry - 0x400000 :][:5] == b"\xbf\x01\x00\x00\x00"


def test_the_message_lies_where_the_code_says() -> None:
    program = tiny_program()
    code = 64 + 56
    (address,) = struct.unpack_from("<I", program, code + 6)
    (length,) = struct.unpack_from("<I", program, code + 11)
    assert program[address - 0x400000 :][:length] == f"\n{MARKER}\n".encode()


def test_the_program_for_arm_loads_the_address_of_its_message() -> None:
    program = tiny_program("aarch64")
    assert struct.unpack_from("<HH", program, 16) == (2, 183)
    code = 64 + 56
    # the second pair of movz and movk: x1, the lower and the upper half of the address
    low, high = struct.unpack_from("<II", program, code + 8)
    assert (low & 0x1F, high & 0x1F) == (1, 1)
    address = (low >> 5 & 0xFFFF) | (high >> 5 & 0xFFFF) << 16
    message = f"\n{MARKER}\n".encode()
    assert program[address - 0x400000 :] == message
    # the last instruction before it leads back to the last wait: ten loads and its call
    (back,) = struct.unpack_from("<I", program, address - 0x400000 - 4)
    assert back == 0x14000000 | (-11 & 0x3FFFFFF)


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_initramfs_holds_one_executable(architecture: Architecture) -> None:
    archive = tiny_initramfs(architecture)
    assert archive[:6] == b"070701"
    fields = [int(archive[6 + 8 * at : 14 + 8 * at], 16) for at in range(13)]
    mode, size, name_length = fields[1], fields[6], fields[11]
    assert mode == 0o100755
    assert archive[110 : 110 + name_length] == b"init\0"
    start = (110 + name_length + 3) // 4 * 4
    assert archive[start : start + size] == tiny_program(architecture)
    assert archive.rstrip(b"\0").endswith(b"TRAILER!!!")
    assert len(archive) % 4 == 0
