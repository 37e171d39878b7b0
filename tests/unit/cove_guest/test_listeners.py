# SPDX-License-Identifier: Apache-2.0
"""What listens: the kernel's tables, recorded and real, and the news that the agent sends."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from cove_guest import listeners
from tests.unit.cove_guest.agents import Agent, until
from tests.unit.cove_guest.test_relay import chunk, exactly

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1004 1 0 100 0 0 10 0
   1: 027FA8C0:0400 017FA8C0:C462 01 00000000:00000000 02:00000BB3 00000000     0        0 1259 3 0 21 4 31 10 -1
"""
TABLE6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:270F 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1257 1 0 100
   1: 00000000000000000000000001000000:2328 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 958 1 0 100
"""
ID = "7cfc3293a98092c0fd4b7545988064eb61f318072bd508c7b58a6221c816dbbc"


def test_tables() -> None:
    assert listeners.parse_table(TABLE) == {"1004": ("127.0.0.1", 8081)}
    assert listeners.parse_table(TABLE6) == {"1257": ("::", 9999), "958": ("::1", 9000)}


def test_containers_are_told_from_services() -> None:
    assert listeners.container_of(f"0::/docker/{ID}\n") == ID
    assert listeners.container_of(f"0::/docker/{ID}/nested\n") == ID
    assert listeners.container_of("0::/\n") == ""
    assert listeners.container_of(f"0::/docker/{ID.upper()}\n") == ""


def test_real_sockets_have_their_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = str(os.fstat(server.fileno()).st_ino)
        table = Path("/proc/net/tcp").read_text()
        assert listeners.parse_table(table)[inode] == server.getsockname()
        assert listeners.find_owners({inode, "1"}).keys() == {inode}


def test_scan_forgets_what_is_closed() -> None:
    owners = {"1": ID}
    listeners.scan(owners)
    assert "1" not in owners


def test_agent_tells_at_once_and_ends_with_the_host(agent: Agent) -> None:
    with agent.dial(agent.relay) as connection:
        connection.sendall(chunk(b"listeners"))
        length = int.from_bytes(exactly(connection, 4), "big")
        assert exactly(connection, length).endswith(b"\n")
    until(agent.idle, "the scan to end")
