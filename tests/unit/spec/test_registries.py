# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import UsageError
from cove.spec.registries import NO_REGISTRIES, Registries, read_recorded, read_registries


def test_what_can_be_used() -> None:
    hosts = [
        "localhost",
        "10.0.0.1:5000",
        "reg.corp:5000",
        "10.0.0.0/8",
        "fd00::/8",
        "[::1]:5000",
        "localhost",
    ]
    mirrors = ["https://m.example", "http://localhost:5000/", "http://localhost:5000"]
    found = read_registries(hosts, mirrors)
    assert found.insecure == tuple(hosts[:-1])
    assert found.mirrors == ("https://m.example", "http://localhost:5000")


def test_all_that_cannot_be_used_is_named() -> None:
    hosts = ["http://a", "a/b", "a:b", "", "-a", 3]
    mirrors = [
        "m.example",
        "ftp://m",
        "https://m/path",
        "https://u:p@m",
        "https://m?x",
        "https://m:99999",
        "https://",
    ]
    with pytest.raises(UsageError) as caught:
        read_registries(hosts, mirrors)
    assert caught.value.details is not None
    assert len(caught.value.details.splitlines()) == len(hosts) + len(mirrors)


def test_both() -> None:
    one, other = Registries(insecure=("a",), mirrors=("x",)), Registries(insecure=("b", "a"))
    assert one.plus(other) == Registries(insecure=("a", "b"), mirrors=("x",))
    assert NO_REGISTRIES.plus(one) == one


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"insecure": []}, {"insecure": "a", "mirrors": []}, {"insecure": ["/"], "mirrors": []}],
)
def test_a_record_of_another_shape(value: object) -> None:
    with pytest.raises(UsageError):
        read_recorded(value)
