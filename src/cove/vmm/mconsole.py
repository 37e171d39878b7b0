# SPDX-License-Identifier: Apache-2.0
"""User-Mode Linux's management console: one datagram with a command, datagrams with the reply.

The protocol is that of ``arch/um/drivers/mconsole.h`` in the kernel's source, in the host's byte order:

    request = magic u32 (0xcafebabe), version u32 (2), length u32, data[512]
    reply   = error u32, more u32 (another part follows), length u32, data[512]
"""

from __future__ import annotations

import asyncio
import socket
import struct
import tempfile
from pathlib import Path

from cove.errors import MachineError, UsageError

MAGIC = 0xCAFEBABE
VERSION = 2
DATA_LIMIT = 512

_REQUEST = struct.Struct(f"=III{DATA_LIMIT}s")
_REPLY_HEAD = struct.Struct("=III")


def encode_request(command: str) -> bytes:
    """A command as its datagram.

    Raises:
        UsageError: it is longer than the protocol allows.
    """
    data = command.encode()
    if len(data) >= DATA_LIMIT:
        raise UsageError(f"a console command may have {DATA_LIMIT - 1} bytes, this one has {len(data)}")
    return _REQUEST.pack(MAGIC, VERSION, len(data), data)


def decode_reply(datagram: bytes) -> tuple[bool, bool, str]:
    """A reply's datagram as: it is an error, more follows, the text.

    Raises:
        MachineError: it is no such reply.
    """
    if len(datagram) < _REPLY_HEAD.size:
        raise MachineError(f"the kernel's console answered with {len(datagram)} bytes, which is no reply")
    error, more, length = _REPLY_HEAD.unpack_from(datagram)
    text = datagram[_REPLY_HEAD.size :][: min(length, DATA_LIMIT)]
    # the length counts the C string's final NUL in some kernels and not in others
    return bool(error), bool(more), text.rstrip(b"\0").decode(errors="replace").strip()


async def mconsole(path: Path, command: str, *, deadline: float = 5.0) -> str:
    """Send one command, such as "version", "cad" (ctrl-alt-del), "halt" or "sysrq s".

    Args:
        path: the console's socket.
        command: the command and its arguments.
        deadline: seconds for the whole exchange.

    Returns:
        the reply's text.

    Raises:
        MachineError: nobody listens, no reply came in time, or the kernel refused the command.
    """
    request = encode_request(command)
    # a datagram socket gets its reply only under a name of its own, and the kernel takes no abstract one
    with (
        tempfile.TemporaryDirectory(prefix="cove-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own,
    ):
        own.setblocking(False)
        own.bind(f"{folder}/r")
        try:
            own.connect(str(path))
            async with asyncio.timeout(deadline):
                return await _exchange(own, request, command)
        except TimeoutError as error:
            problem = f"did not answer {command!r} within {deadline:.0f} s"
            raise MachineError(f"the kernel's console {problem}") from error
        except OSError as error:
            problem = f"cannot be reached: {error.strerror}"
            raise MachineError(f"the kernel's console {problem}", details=str(path)) from error


async def _exchange(own: socket.socket, request: bytes, command: str) -> str:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(own, request)
    texts: list[str] = []
    more = True
    while more:
        failed, more, text = decode_reply(await loop.sock_recv(own, _REQUEST.size))
        texts.append(text)
        if failed:
            raise MachineError(f"the kernel's console refused {command!r}", details="\n".join(texts))
    return "\n".join(texts)
