# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from cove.host.names.message import AAAA, NO_SUCH_NAME, REFUSED, SERVER_FAILURE, code, read_question
from cove.host.names.resolver import Resolver
from tests.unit.host.names.server import NameServer, name_server
from tests.unit.host.names.test_message import query

HOST = IPv4Address("192.168.127.254")


class Files:
    """The two files, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "resolv.conf"
        self.hosts = folder / "hosts"
        self.resolver = Resolver(HOST, resolv_conf=self.conf, hosts=self.hosts)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def addresses(question: bytes, answer: bytes) -> list[str]:
    """What an answer of ours, or of our server, holds."""
    parsed = read_question(question)
    assert parsed is not None
    records = answer[parsed.end :]
    assert len(records) % 16 == 0
    return [str(IPv4Address(records[start + 12 : start + 16])) for start in range(0, len(records), 16)]


async def found(resolver: Resolver, name: str) -> Sequence[str] | int:
    """The addresses of a name, or the code of the answer."""
    asked = query(name)
    answer = await resolver.answer(asked, stream=False)
    return code(answer) or addresses(asked, answer)


@pytest.mark.parametrize(
    "name", ["host.docker.internal", "GATEWAY.docker.internal", "host.containers.internal"]
)
async def test_names_of_the_host(files: Files, name: str) -> None:
    assert await found(files.resolver, name) == [str(HOST)]


async def test_other_names_of_dockers_are_none(files: Files) -> None:
    assert await found(files.resolver, "other.docker.internal") == NO_SUCH_NAME


async def test_localhost_is_the_one_who_asks(files: Files) -> None:
    files.hosts.write_text("127.0.0.1 localhost\n")
    assert await found(files.resolver, "localhost") == ["127.0.0.1"]


async def test_the_hosts_file_counts_and_is_read_anew(files: Files) -> None:
    files.hosts.write_text("10.9.8.7 build.corp\n127.0.1.1 me\n::1 six\n")
    assert await found(files.resolver, "build.corp") == ["10.9.8.7"]
    assert await found(files.resolver, "me") == [str(HOST)]  # what the host has on its loopback
    assert await found(files.resolver, "six") == []
    files.hosts.write_text("10.9.8.6 build.corp\n")
    assert await found(files.resolver, "build.corp") == ["10.9.8.6"]


async def test_ipv6_is_never_promised(files: Files) -> None:
    asked = query("anything.example", AAAA)
    answer = await files.resolver.answer(asked, stream=False)
    assert (code(answer), addresses(asked, answer)) == (0, [])


async def test_what_is_no_question_is_refused(files: Files) -> None:
    assert code(await files.resolver.answer(query("x.example")[:-1], stream=False)) == REFUSED


async def test_a_changed_resolv_conf_counts_with_the_next_question(files: Files) -> None:
    async with (
        name_server(NameServer({"a.example": "10.0.0.1"})) as office,
        name_server(NameServer({"a.example": "10.0.0.2"}), "127.0.0.2") as vpn,
    ):
        files.conf.write_text(f"nameserver 127.0.0.1\nport {office.port}\n")
        assert await found(files.resolver, "a.example") == ["10.0.0.1"]
        new = files.conf.with_suffix(".new")
        new.write_text(f"nameserver 127.0.0.2\nport {vpn.port}\nsearch corp.example\n")
        new.replace(files.conf)  # as NetworkManager does
        assert await found(files.resolver, "a.example") == ["10.0.0.2"]
        assert files.resolver.conf.search == ("corp.example",)
        assert await found(files.resolver, "b.example") == NO_SUCH_NAME
        files.conf.write_text(f"nameserver 127.0.0.1\nport {office.port}\n")
        assert await found(files.resolver, "a.example") == ["10.0.0.1"]


async def test_nobody_there_is_a_failure_and_not_a_missing_name(files: Files) -> None:
    """A missing name would be remembered by who asks."""
    async with name_server(NameServer({})) as server:
        port = server.port
    files.conf.write_text(f"nameserver 127.0.0.1\nport {port}\n")
    assert await found(files.resolver, "a.example") == SERVER_FAILURE


async def test_questions_of_other_kinds_are_passed_on(files: Files) -> None:
    async with name_server(NameServer({"a.example": "10.0.0.1"})) as server:
        files.conf.write_text(f"nameserver 127.0.0.1\nport {server.port}\n")
        await files.resolver.answer(query("a.example", 15), stream=False)
        await files.resolver.answer(query("host.docker.internal", 15), stream=False)
        assert server.asked == ["a.example"]
