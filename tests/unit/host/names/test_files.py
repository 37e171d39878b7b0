# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.names.files import ResolvConf, read_hosts, read_resolv_conf


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ResolvConf()),
        ("# by NetworkManager\n", ResolvConf(servers=("127.0.0.1",))),
        ("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan Corp.Example.\n",
         ResolvConf(servers=("127.0.0.53",), search=("lan", "corp.example"))),
        ("nameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver no\nnameserver 2001:db8::1\nnameserver 9.9.9.1",
         ResolvConf(servers=("10.0.0.1", "fe80::1%eth0", "2001:db8::1"))),
        ("search a b\ndomain c\n", ResolvConf(search=("c",))),
        ("search .\n", ResolvConf()),
        ("nameserver\nsearch\nport 0\nport x\n", ResolvConf()),
        ("nameserver 127.0.0.1\nport 5300\n", ResolvConf(port=5300)),
    ],
)  # fmt: skip
def test_resolv_conf(text: str, found: ResolvConf) -> None:
    assert read_resolv_conf(text) == found


def test_hosts() -> None:
    found = read_hosts(
        "127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n10.1.2.3 Build.Corp build # ours\n10.1.2.4 build\nx y\n\n"
    )
    assert found == {
        "localhost": (IPv4Address("127.0.0.1"),),
        "ip6-localhost": (),
        "build.corp": (IPv4Address("10.1.2.3"),),
        "build": (IPv4Address("10.1.2.3"), IPv4Address("10.1.2.4")),
    }


@given(st.text())
def test_nothing_breaks_the_reading(text: str) -> None:
    conf = read_resolv_conf(text)
    assert 1 <= len(conf.servers) <= 3
    assert all(not set(domain) & set(" \t\n\r") for domain in conf.search)
    read_hosts(text)
