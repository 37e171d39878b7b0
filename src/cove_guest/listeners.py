# SPDX-License-Identifier: Apache-2.0
"""Which TCP ports host-network containers listen on, told to the host as long as it asks.

No event tells of a listen(2), so the kernel's tables are read once a second; the host asks only while such a
container runs. What dockerd, its proxies and this agent listen on is told apart by the control group.
"""

from __future__ import annotations

import _socket
import os
import time

from cove_guest.engine import wait_readable
from cove_guest.relay import write

_PERIOD = 1.0
_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (net/tcp_states.h)."""

_ID_LENGTH = 64


def serve(connection: _socket.socket) -> None:
    """Send a chunk at first and after each change: a line ``CONTAINER ADDRESS PORT`` for each listening socket.

    Raises:
        RefusedError: ``gone``: the host hung up, which is how this ends.
        OSError: the connection broke.
    """
    owners: dict[str, str] = {}
    told = None
    while True:
        found = scan(owners)
        text = "".join(f"{owner} {address} {port}\n" for owner, address, port in sorted(found)) or "\n"
        if text != told:
            data = text.encode()
            write(connection.fileno(), len(data).to_bytes(4, "big") + data)
            told = text
        wait_readable(-1, time.monotonic() + _PERIOD, connection.fileno())


def scan(owners: dict[str, str]) -> set[tuple[str, str, int]]:
    """The listening sockets of containers: container, address, port.

    Args:
        owners: the container of each socket's inode, or "" if it belongs to none; kept between scans by the caller.
    """
    sockets = {}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as file:
            sockets.update(parse_table(file.read()))
    for inode in [each for each in owners if each not in sockets]:
        del owners[inode]
    if unknown := set(sockets) - set(owners):
        owners.update(find_owners(unknown))
    return {(owners[inode], *place) for inode, place in sockets.items() if owners.get(inode)}


def parse_table(text: str) -> dict[str, tuple[str, int]]:
    """The listening sockets of one table of proc_pid_net(5): address and port by inode."""
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            found[fields[9]] = (_address(address), int(port, 16))
    return found


def _address(text: str) -> str:
    """An address as the kernel writes it: words of 32 bits, each in the order of the processor (little-endian)."""
    raw = bytes.fromhex(text)
    packed = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return _socket.inet_ntop(_socket.AF_INET if len(packed) == 4 else _socket.AF_INET6, packed)


def find_owners(inodes: set[str]) -> dict[str, str]:
    """The container of each socket; one that no process holds yet, or any more, is left out."""
    found: dict[str, str] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            held = [_link(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
            mine = [wanted[each] for each in held if each in wanted]
            if mine:
                with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
                    found.update(dict.fromkeys(mine, container_of(file.read())))
        except OSError:
            continue  # it ended while we looked
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed while we looked


def container_of(cgroup: str) -> str:
    """The container's id in the text of /proc/PID/cgroup, or ""; docker names the group after it."""
    for part in cgroup.strip().split("/"):
        if len(part) == _ID_LENGTH and all(each in "0123456789abcdef" for each in part):
            return part
    return ""
