# SPDX-License-Identifier: Apache-2.0
"""A small library that User-Mode Linux is loaded with, so that a SIGSTOP to all its processes does not end it.

Each process of a guest is a process of the host that User-Mode Linux traces. What stops one of them is told to its
tracer, which knows what to do with a handful of signals and takes any other for a crash: the guest panics (Linux 6.12,
``userspace`` and ``wait_stub_done`` of arch/um/os-Linux/skas/process.c). So this ``waitpid`` stands before that of
libc: a stop by SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU or SIGCONT that another process sent (``kill -STOP -PGID``, ``pkill
-STOP``) is told as one by SIGALRM, after which the kernel goes on as if nothing had been. It is stopped itself
meanwhile, by the same signal. A traced process that stops itself, as each does once at its start, is told as it is.

It is written here as machine code, because a host has no compiler. Pure: everything is bytes.

Formats: ELF-64 (elf(5), the System V ABI's chapter on dynamic linking), siginfo_t and the words of wait(2) of Linux on
x86_64, PTRACE_GETSIGINFO (ptrace(2)), instructions of Intel's architecture manual.
"""

from __future__ import annotations

import struct

NAME = "libcove-stop-guard.so"
"""Its file's name, and what programs that want it call it."""

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SYM = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_PAGE = 0x1000
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_R, _W, _X = 4, 2, 1
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_RELAENT = 4, 5, 6, 7, 8, 9
_DT_STRSZ, _DT_SYMENT, _DT_SONAME = 10, 11, 14
_GLOB_DAT = 6

_PTRACE_GETSIGINFO = 0x4202
_STOPPED = 0x7F
_SIGALRM, _SIGCONT, _SIGTTOU = 14, 18, 22
_SI_PID = 16
"""Where siginfo_t has the sender's process number."""


def stop_guard() -> bytes:
    """The library, an ELF shared object for x86_64."""
    texts = [b"", b"wait4", b"ptrace", b"waitpid", NAME.encode()]
    strings = b"\0".join(texts) + b"\0"
    at = [strings.index(b"\0" + text + b"\0") + 1 if text else 0 for text in texts]
    table = _EHDR.size + 4 * _PHDR.size
    # one bucket, which begins with the only symbol that is ours
    hashes = struct.pack("<7I", 1, 4, 3, 0, 0, 0, 0)
    symbols = table + len(hashes) + 4
    names = symbols + 4 * _SYM.size
    relocations = names + len(strings) + -len(strings) % 8
    code_at = relocations + 2 * _RELA.size
    tags = (
        (_DT_SONAME, at[4]), (_DT_HASH, table), (_DT_STRTAB, names), (_DT_SYMTAB, symbols),
        (_DT_STRSZ, len(strings)), (_DT_SYMENT, _SYM.size), (_DT_RELA, relocations),
        (_DT_RELASZ, 2 * _RELA.size), (_DT_RELAENT, _RELA.size), (0, 0),
    )  # fmt: skip
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    pointers = _PAGE + len(dynamic)
    code = _code(code_at, pointers, pointers + 8)
    known = [
        _SYM.pack(0, 0, 0, 0, 0, 0),
        *(_SYM.pack(at[number], 0x12, 0, 0, 0, 0) for number in (1, 2)),  # global functions, of others
        _SYM.pack(at[3], 0x12, 0, 1, code_at, len(code)),
    ]
    fixed = [_RELA.pack(pointers + 8 * number, (number + 1) << 32 | _GLOB_DAT, 0) for number in (0, 1)]
    body = hashes + bytes(4) + b"".join(known) + strings.ljust(relocations - names, b"\0") + b"".join(fixed)
    first = _headers(table + len(body) + len(code), len(dynamic)) + body + code
    return first.ljust(_PAGE, b"\0") + dynamic + bytes(16)


def _headers(text: int, dynamic: int) -> bytes:
    """The file's header and the four segments': code, data, what the loader reads, a stack that is not executed."""
    header = _EHDR.pack(
        b"\x7fELF\x02\x01\x01",  # 64 bits, little-endian, version 1; padded with zeros
        *(3, 62, 1),  # a shared object, x86_64, version 1
        *(0, _EHDR.size, 0, 0),  # no entry, program headers, no sections, no flags
        *(_EHDR.size, _PHDR.size, 4, 0, 0, 0),
    )
    data = dynamic + 16
    segments = (
        (_LOAD, _R | _X, 0, 0, 0, text, text, _PAGE),
        (_LOAD, _R | _W, _PAGE, _PAGE, _PAGE, data, data, _PAGE),
        (_DYNAMIC, _R | _W, _PAGE, _PAGE, _PAGE, dynamic, dynamic, 8),
        (_STACK, _R | _W, 0, 0, 0, 0, 0, 16),
    )
    return header + b"".join(_PHDR.pack(*segment) for segment in segments)


def _code(address: int, wait4: int, ptrace: int) -> bytes:
    """``pid_t waitpid(pid_t pid, int *status, int options)`` at ``address``, with where pointers to two others lie."""
    done = (
        b"\x89\xe8"  # mov eax, ebp
        b"\x48\x81\xc4\x88\x00\x00\x00"  # add rsp, 0x88
        b"\x5d\x5b\xc3"  # pop rbp; pop rbx; ret
    )
    # each piece but the last ends with a jump to `done`, whose distance is filled in
    pieces = [
        b"\x53\x55"  # push rbx; push rbp
        b"\x48\x89\xf3"  # mov rbx, rsi: status
        b"\x48\x81\xec\x88\x00\x00\x00"  # sub rsp, 0x88: room for siginfo_t, and the stack aligned
        b"\x31\xc9"  # xor ecx, ecx: no rusage
        b"\xff\x15" + struct.pack("<i", wait4 - (address + 20)) +  # call [wait4]
        b"\x89\xc5"  # mov ebp, eax: who it was
        b"\x85\xc0\x7e",  # test eax, eax; jle
        b"\x48\x85\xdb\x74",  # test rbx, rbx; je
        b"\x8b\x03\x3c" + bytes([_STOPPED]) + b"\x75",  # mov eax, [rbx]; cmp al, stopped; jne
        b"\xc1\xe8\x08"  # shr eax, 8: the signal, and above it what ptrace adds
        b"\x83\xe8" + bytes([_SIGCONT]) +  # sub eax, SIGCONT
        b"\x83\xf8" + bytes([_SIGTTOU - _SIGCONT]) + b"\x77",  # cmp eax, SIGTTOU - SIGCONT; ja
        b"\x89\x6c\x24" + bytes([_SI_PID]) +  # mov [rsp + si_pid], ebp: stays if there is no siginfo
        b"\x48\x89\xe1\x31\xd2\x89\xee"  # mov rcx, rsp; xor edx, edx; mov esi, ebp
        b"\xbf" + struct.pack("<I", _PTRACE_GETSIGINFO) +  # mov edi, PTRACE_GETSIGINFO
        b"\x31\xc0\xff\x15PTRC"  # xor eax, eax; call [ptrace]
        b"\x39\x6c\x24" + bytes([_SI_PID]) + b"\x74",  # cmp [rsp + si_pid], ebp; je
    ]  # fmt: skip
    rewrite = b"\xc7\x03" + struct.pack("<I", _SIGALRM << 8 | _STOPPED)  # mov dword [rbx], stopped by SIGALRM
    length = sum(len(piece) + 1 for piece in pieces) + len(rewrite)
    code = b""
    for piece in pieces:
        code += piece + bytes([length - len(code) - len(piece) - 1])
    call = code.index(b"PTRC")
    code = code.replace(b"PTRC", struct.pack("<i", ptrace - (address + call + 4)))
    return code + rewrite + done
