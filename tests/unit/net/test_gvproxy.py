# SPDX-License-Identifier: Apache-2.0
"""Gvproxy's command line, and its start with programs that stand in for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.errors import NetworkError
from cove.net import gvproxy
from cove.net.gvproxy import Gvproxy, gvproxy_command
from cove.spec.machine import DRIVERS, Driver
from cove.system.confine import Confinement
from cove.system.process import Command
from tests.unit.system.test_hide import can_hide

# opens what gvproxy opens and answers 200 to every request
STAND_IN = """
import asyncio, socket, sys
from urllib.parse import unquote
where = {flag: unquote(value.split("://")[-1]) for flag, value in zip(sys.argv[1::2], sys.argv[2::2])}
async def serve(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    print(head.split(b"\\r\\n")[0].decode(), flush=True)
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    writer.close()
async def main():
    server = await asyncio.start_unix_server(serve, where["-listen"])
    frames = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    frames.bind(where["-listen-bess"])
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("case", "folder"), [("plain", "/m"), ("odd_path", "/a b%?#")])
def test_command(driver: Driver, case: str, folder: str, golden: Callable[[str, str], None]) -> None:
    command = gvproxy_command(
        Command(("/t/gvproxy",), {}),
        driver=driver,
        net_socket=Path(folder, "net.sock"),
        api_socket=Path(folder, "gv.sock"),
        mtu=9000,
        ssh_port=40000,
    )
    golden(f"gvproxy_argv/{driver}_{case}.args", "\n".join(command.argv) + "\n")


def made(tmp_path: Path, *argv: str, confinement: Confinement | None = None) -> Gvproxy:
    return Gvproxy(
        Command(argv, {}),
        driver="uml",
        net_socket=tmp_path / "net.sock",
        api_socket=tmp_path / "gv.sock",
        log=tmp_path / "log",
        confinement=confinement,
    )


async def test_start_withdraws_the_ssh_forward(tmp_path: Path) -> None:
    (tmp_path / "net.sock").write_text("left by a dead run")
    network = made(tmp_path, sys.executable, "-I", "-c", STAND_IN)
    assert network.identity is None
    await network.start()
    assert network.identity is not None
    assert network.identity.alive()
    assert (tmp_path / "net.sock").stat().st_mode & 0o777 == 0o600
    await network.stop()
    assert not network.identity.alive()
    assert "POST /services/forwarder/unexpose" in (tmp_path / "log").read_text()
    # its reason is what it said last, whichever of our connections that was about
    assert await asyncio.wait_for(network.wait(), 5) == (tmp_path / "log").read_text().splitlines()[-1]


async def test_one_that_ends_at_once(tmp_path: Path) -> None:
    network = made(tmp_path, "/bin/sh", "-c", "echo exiting: no such host; exit 0")
    with pytest.raises(NetworkError, match="ended at once") as caught:
        await network.start()
    assert caught.value.details == "exiting: no such host"


async def test_taken_ports_are_tried_again(tmp_path: Path) -> None:
    script = 'echo x >> "$0"; echo "bind: address already in use"'
    count = tmp_path / "count"
    network = made(tmp_path, "/bin/sh", "-c", script, str(count))
    with pytest.raises(NetworkError, match="no free port"):
        await network.start()
    assert count.read_text().count("x") == gvproxy._PORT_TRIES


NO_SERVER = (
    'msg="gvproxy exiting: cannot add network services: no DNS servers configured in /etc/resolv.conf"'
)


@pytest.mark.parametrize(
    ("text", "stands_in"), [("# nothing\nsearch a\n", True), ("nameserver 10.0.0.1\n", False)]
)
async def test_a_host_without_a_name_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, stands_in: bool
) -> None:
    conf = tmp_path / "resolv.conf.of.the.host"
    conf.write_text(text)
    monkeypatch.setattr(gvproxy, "_RESOLV_CONF", conf)
    bounds = Confinement(read=(Path("/"),), write=(tmp_path,), connect_tcp=True)
    network = made(tmp_path, "/bin/sh", "-c", f"cat {conf}; echo done", confinement=bounds)
    with pytest.raises(NetworkError, match="ended at once") as caught:
        await network.start()
    assert (tmp_path / "resolv.conf").exists() == stands_in
    if can_hide():
        assert ("nameserver 127.0.0.1" in (caught.value.details or "")) == stands_in


async def test_and_where_nothing_can_stand_in(tmp_path: Path) -> None:
    network = made(tmp_path, "/bin/sh", "-c", f"echo '{NO_SERVER}'")
    with pytest.raises(NetworkError, match="names no name server") as caught:
        await network.start()
    assert "nameserver 127.0.0.1" in (caught.value.hint or "")
