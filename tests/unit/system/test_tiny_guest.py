# SPDX-License-Identifier: Apache-2.0
"""The probe's guest as bytes. It is never executed here: as root its reboot call would mean this host."""

from __future__ import annotations

import struct

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


def test_the_initramfs_holds_one_executable() -> None:
    archive = tiny_initramfs()
    assert archive[:6] == b"070701"
    fields = [int(archive[6 + 8 * at : 14 + 8 * at], 16) for at in range(13)]
    mode, size, name_length = fields[1], fields[6], fields[11]
    assert mode == 0o100755
    assert archive[110 : 110 + name_length] == b"init\0"
    start = (110 + name_length + 3) // 4 * 4
    assert archive[start : start + size] == tiny_program()
    assert archive.rstrip(b"\0").endswith(b"TRAILER!!!")
    assert len(archive) % 4 == 0
