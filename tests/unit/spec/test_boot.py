# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.spec.boot import (
    DiskWish,
    Publish,
    check_publishes,
    disk_format,
    parse_disk,
    parse_publish,
)
from cove.units import GIB, MIB


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("/d.img", DiskWish(path=Path("/d.img"))),
        ("file=d.img,size=1G", DiskWish(path=Path("d.img"), size=GIB)),
        ("d.img,size=512,format=qcow2", DiskWish(path=Path("d.img"), size=512 * MIB, format="qcow2")),
        ("size=2G", DiskWish(size=2 * GIB)),
        ("x,format=vhd", DiskWish(path=Path("x"), format="vpc")),
    ],
)
def test_disks(text: str, wish: DiskWish) -> None:
    assert parse_disk(text) == wish


@pytest.mark.parametrize(
    "text", ["", "format=raw", "x,size=", "x,format=zip", "x,y", "x,colour=red", "file="]
)
def test_no_disks(text: str) -> None:
    with pytest.raises(UsageError):
        parse_disk(text)


@pytest.mark.parametrize(
    ("text", "publish"),
    [
        ("8080:80", Publish(host=8080, guest=80)),
        ("53:53/udp", Publish(host=53, guest=53, protocol="udp")),
        ("0.0.0.0:1:2/tcp", Publish(host=1, guest=2, address="0.0.0.0")),
        ("[::1]:1:2", Publish(host=1, guest=2, address="::1")),
    ],
)
def test_publishes(text: str, publish: Publish) -> None:
    assert parse_publish(text) == publish


@pytest.mark.parametrize("text", ["", "80", "0:1", "1:65536", "a:b", "1:2/sctp", "x:1:2", "1:2:3:4"])
def test_publishes_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        parse_publish(text)


def test_a_port_is_published_once() -> None:
    check_publishes([parse_publish("1:1"), parse_publish("1:1/udp"), parse_publish("0.0.0.0:1:1")])
    with pytest.raises(UsageError, match="twice"):
        check_publishes([parse_publish("1:1"), parse_publish("1:2")])


def test_formats() -> None:
    assert (disk_format(None), disk_format("vhd"), disk_format("raw")) == (None, "vpc", "raw")
    with pytest.raises(UsageError):
        disk_format("zip")
