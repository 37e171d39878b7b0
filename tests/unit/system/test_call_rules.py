# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from cove.system import call_rules
from cove.system.call_rules import Call, CallRules, every, program


def test_the_program_is_what_the_kernel_takes() -> None:
    code = program(CallRules(never=every("bpf", "clone3"), sealed=(Call("socket", argument=0, equals=1),)))
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    assert steps == [
        (0x20, 0, 0, 4),
        (0x15, 1, 0, 0xC000003E),
        (0x06, 0, 0, 0x50000 | errno.ENOSYS),
        (0x20, 0, 0, 0),
        (0x35, 0, 1, 0x40000000),
        (0x06, 0, 0, 0x50000 | errno.ENOSYS),
        *[(0x15, 0, 1, 321), (0x06, 0, 0, 0x50000 | errno.EPERM)],
        *[(0x15, 0, 1, 435), (0x06, 0, 0, 0x50000 | errno.ENOSYS)],
        *[(0x15, 0, 4, 41), (0x20, 0, 0, 16), (0x15, 0, 1, 1), (0x06, 0, 0, 0x7FC00000), (0x20, 0, 0, 0)],
        (0x06, 0, 0, 0x7FFF0000),
    ]


def test_the_numbers_are_the_kernels() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    known = {
        words[1].removeprefix("__NR_"): int(words[2])
        for words in (line.split() for line in header.read_text().splitlines())
        if len(words) == 3 and words[1].startswith("__NR_") and words[2].isdigit()
    }
    # newer calls may be missing in an older header
    assert {
        name: known.get(name, number) for name, number in call_rules._NUMBERS.items()
    } == call_rules._NUMBERS
