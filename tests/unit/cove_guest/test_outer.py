# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

import pytest

from cove_guest import outer

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t017FA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br-1\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t007FA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
# local 172.17.0.2:54321, remote 93.184.216.34:443 established; 172.17.0.3:5432 established; a listener
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 020011AC:D431 22D8B85D:01BB 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   1: 020011AC:D432 030011AC:1538 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
"""
INNER = outer.inner_networks(ROUTES)


@pytest.mark.parametrize(
    ("address", "out"),
    [
        ("93.184.216.34", True),
        ("192.168.127.1", True),  # the gateway: what comes from the host
        ("192.168.127.254", True),
        ("127.0.0.1", False),
        ("172.17.0.3", False),
        ("172.18.255.1", False),
        ("172.19.0.1", True),
        ("::ffff:93.184.216.34", True),
        ("::ffff:172.17.0.3", False),
        ("::1", False),
        ("fd00::1", False),
    ],
)
def test_what_leads_out(address: str, out: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert outer.leads_out(socket.inet_pton(family, address), INNER) is out


@pytest.mark.skipif(sys.byteorder != "little", reason="the table was recorded on such a machine")
def test_connections_of_a_recorded_table() -> None:
    found = list(outer.connections(TCP, socket.AF_INET))
    assert [(socket.inet_ntoa(each[3]), each[4]) for each in found] == [
        ("93.184.216.34", 443),
        ("172.17.0.3", 5432),
    ]
    assert socket.inet_ntoa(found[0][1]) == "172.17.0.2"
    assert found[0][2] == 54321


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/net/tcp")
def test_a_real_connection_is_found_and_its_request_is_whole() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        table = Path("/proc/self/net/tcp").read_text()
        port = server.getsockname()[1]
        (found,) = [each for each in outer.connections(table, socket.AF_INET) if each[4] == port]
        assert (found[1], found[3]) == (bytes([127, 0, 0, 1]),) * 2
        request = outer.destroy_request(found)
        length, kind, flags, _, _ = struct.unpack_from("=IHHII", request)
        assert (length, kind, flags) == (len(request), 21, 5)
        assert len(request) == 16 + 56  # nlmsghdr and inet_diag_req_v2
        assert struct.unpack_from(">HH", request, 24) == (found[2], port)


def test_nothing_outside_nothing_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outer, "_one_per_namespace", list)
    assert outer.cut() == 0
