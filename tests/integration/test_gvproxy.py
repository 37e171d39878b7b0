# SPDX-License-Identifier: Apache-2.0
"""The real gvproxy of the toolbox: start, forwards, refusals, end. No guest is needed."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from cove.errors import ConflictError, NetworkError, NotFoundError
from cove.net.forwards import to_port, to_unix
from cove.net.gvproxy import Gvproxy
from cove.spec.machine import DRIVERS
from cove.system.process import Command

pytestmark = pytest.mark.integration


class Tools(Protocol):
    def command(self, name: str) -> Command: ...


@pytest.fixture(params=[name for name in DRIVERS if name != "vz" or sys.platform == "darwin"])
async def network(request: pytest.FixtureRequest, toolbox: Tools, tmp_path: Path) -> AsyncIterator[Gvproxy]:
    folder = tmp_path / "odd % name"  # gvproxy takes its sockets as URLs
    folder.mkdir(mode=0o700)
    found = Gvproxy(
        toolbox.command("gvproxy"),
        driver=request.param,
        net_socket=folder / "net.sock",
        api_socket=folder / "gv.sock",
        log=folder / "gvproxy.log",
    )
    await found.start()
    yield found
    await found.stop()


async def test_it_forwards_nothing_at_first(network: Gvproxy) -> None:
    assert await network.api.forwards() == ()


async def test_ports_come_and_go(network: Gvproxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        forward = to_port(80, host_port=taken.getsockname()[1])
        with pytest.raises(ConflictError, match="is taken"):
            await network.api.expose(forward)
    await network.api.expose(forward)
    assert await network.api.forwards() == (forward,)
    await network.api.unexpose(forward)
    with pytest.raises(NotFoundError):
        await network.api.unexpose(forward)


async def test_unix_sockets_are_private(network: Gvproxy, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    await network.expose_unix(path, 1025)
    assert path.stat().st_mode & 0o777 == 0o600
    assert await network.api.forwards() == (to_unix(path, 1025),)


async def test_it_ends_when_stopped(network: Gvproxy) -> None:
    identity = network.identity
    assert identity is not None
    await network.stop()
    assert not identity.alive()
    assert "gvproxy" in await network.wait()


async def test_two_side_by_side(toolbox: Tools, tmp_path: Path) -> None:
    networks = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        networks.append(
            Gvproxy(
                toolbox.command("gvproxy"),
                driver="uml",
                net_socket=folder / "net.sock",
                api_socket=folder / "gv.sock",
                log=folder / "log",
            )
        )
    try:
        for network in networks:
            await network.start()
        assert [await network.api.forwards() for network in networks] == [(), ()]
    finally:
        for network in networks:
            await network.stop()


GATEWAY, GUEST = bytes([192, 168, 127, 1]), bytes([192, 168, 127, 2])
MAC = bytes.fromhex("5a94efe40cee")


def arp_request() -> bytes:
    """Who has 192.168.127.1? (RFC 826)"""
    return (
        b"\xff" * 6
        + MAC
        + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
        + MAC
        + GUEST
        + bytes(6)
        + GATEWAY
    )


def echo_request(to: bytes, payload: bytes) -> bytes:
    """A ping (RFC 792) in an IPv4 packet in a frame."""

    def checksum(data: bytes) -> int:
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total & 0xFFFF) + (total >> 16)
        return ~(total + (total >> 16)) & 0xFFFF

    def icmp(check: int) -> bytes:
        return struct.pack("!BBHHH", 8, 0, check, 7, 1) + payload

    def ip(check: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 1, check) + GUEST + GATEWAY

    return to + MAC + b"\x08\x00" + ip(checksum(ip(0))) + icmp(checksum(icmp(0)))


async def test_frames_of_virtualization_framework_go_both_ways(toolbox: Tools, tmp_path: Path) -> None:
    """The socket that vfkit gives to Virtualization.framework, with a peer that does what vfkit does.

    gvproxy 0.8.1, which is Debian's, takes these frames on macOS alone; later ones on every Unix.
    """
    network = Gvproxy(
        toolbox.command("gvproxy"), driver="vz", net_socket=tmp_path / "net.sock", api_socket=tmp_path / "gv.sock",
        log=tmp_path / "log", mtu=1500,
    )  # fmt: skip
    try:
        await network.start()
    except NetworkError as error:
        if "unsupported 'unixgram' scheme" in (error.details or ""):
            pytest.skip("this gvproxy takes no datagrams on Linux")
        raise
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(str(tmp_path / "vfkit-1-2.sock"))
            peer.connect(str(tmp_path / "net.sock"))
            peer.settimeout(20)
            peer.send(b"VFKT")
            peer.send(arp_request())
            answer = peer.recv(2000)
            assert (answer[:6], answer[12:14], answer[28:32]) == (MAC, b"\x08\x06", GATEWAY)
            gateway = answer[22:28]
            for size in (8, 1472):  # 1472 and 28 are the 1500 bytes of the largest packet
                payload = bytes(range(256)) * 6
                peer.send(echo_request(gateway, payload[:size]))
                answer = peer.recv(2000)
                assert (answer[:6], answer[23], answer[34]) == (MAC, 1, 0)
                assert answer[42:] == payload[:size]
    finally:
        await network.stop()
