# SPDX-License-Identifier: Apache-2.0
"""The record that dockerd need not keep, in a database that dockerd wrote."""

from __future__ import annotations

import fcntl
import gzip
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove_guest import networks

DATABASE = gzip.decompress((Path(__file__).parents[2] / "golden/networks/local-kv.db.gz").read_bytes())

GONE = 2**22 + 1
"""No process has this number (pid_max(5))."""


def keys(data: bytes) -> list[bytes]:
    size, root = networks._newest(data)
    (bucket,) = networks._items(data, size, root * size, set())
    place, _ = struct.unpack_from("<QQ", data, bucket[3])
    return [item[2] for item in networks._items(data, size, place * size, set())]


def changed(data: bytes) -> bytes:
    change = networks.forget_default_bridge(data)
    assert change is not None
    start, new = change
    return data[:start] + new + data[start + len(new) :]


def test_one_record_is_gone_and_all_others_are_as_they_were() -> None:
    before, after = keys(DATABASE), keys(changed(DATABASE))
    (gone,) = [key for key in before if key not in after]
    assert gone.startswith(b"docker/network/v1.0/bridge/")
    assert after == [key for key in before if key != gone]
    assert networks.forget_default_bridge(changed(DATABASE)) is None


def test_a_network_of_the_users_stays() -> None:
    own = DATABASE.replace(b'"DefaultBridge":true', b'"DefaultBridge":fals')
    assert networks.forget_default_bridge(own) is None


PAGE = 4096
DEFAULT, OTHER = b'{"DefaultBridge":true}', b"{}"


def leaf(number: int, items: list[tuple[int, bytes, bytes]]) -> bytes:
    """A page of (flags, key, value); see bbolt's page.go."""
    heads, body = b"", b""
    for index, (flags, key, value) in enumerate(items):
        offset = 16 * (len(items) - index) + len(body)
        heads += struct.pack("<IIII", flags, offset, len(key), len(value))
        body += key + value
    return (struct.pack("<QHHI", number, 2, len(items), 0) + heads + body).ljust(PAGE, b"\0")


def branch(number: int, children: list[tuple[bytes, int]]) -> bytes:
    heads, body = b"", b""
    for index, (key, child) in enumerate(children):
        heads += struct.pack("<IIQ", 16 * (len(children) - index) + len(body), len(key), child)
        body += key
    return (struct.pack("<QHHI", number, 1, len(children), 0) + heads + body).ljust(PAGE, b"\0")


def database(*leaves: list[tuple[bytes, bytes]]) -> bytes:
    """A database whose bucket has these leaves below one branch, as bbolt writes it."""
    meta = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, 3, 0, 2, 5 + len(leaves), 7)
    meta += struct.pack("<Q", networks._fnv(meta))
    pages = [(struct.pack("<QHHI", n, 4, 0, 0) + meta).ljust(PAGE, b"\0") for n in (0, 1)]
    pages.append(struct.pack("<QHHI", 2, 16, 0, 0).ljust(PAGE, b"\0"))
    pages.append(leaf(3, [(1, b"libnetwork", struct.pack("<QQ", 4, 0))]))
    pages.append(branch(4, [(each[0][0], 5 + number) for number, each in enumerate(leaves)]))
    pages += [leaf(5 + n, [(0, key, value) for key, value in each]) for n, each in enumerate(leaves)]
    return b"".join(pages)


def mismatched(data: bytes) -> list[bytes]:
    """The keys by which a branch names pages that begin with another: bbolt frees those and still uses them."""
    wrong = []
    for start in range(0, len(data), PAGE):
        _, flags, count, _ = struct.unpack_from("<QHHI", data, start)
        for index in range(count if flags == 1 else 0):
            here = start + 16 + 16 * index
            offset, size, child = struct.unpack_from("<IIQ", data, here)
            key = data[here + offset : here + offset + size]
            _, first, length, _ = struct.unpack_from("<IIII", data, child * PAGE + 16)
            begins = child * PAGE + 16 + first
            if key != data[begins : begins + length]:
                wrong.append(key)
    return wrong


def test_a_page_keeps_the_key_by_which_the_page_above_names_it() -> None:
    """Else dockerd ended at each start with "page 3 already freed"."""
    prefix = b"docker/network/v1.0/"
    first = [(prefix + b"bridge/8226/", DEFAULT), (prefix + b"endpoint_count/8226/", OTHER)]
    data = database(first, [(prefix + b"network/5851/", OTHER)])
    assert mismatched(data) == []
    assert networks.forget_default_bridge(data) is None


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=4, max_size=12, unique=True), st.data())
def test_what_is_changed_is_still_a_tree(names: list[bytes], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(names))
    cut = data.draw(st.integers(2, len(names) - 2))
    records = [(b"docker/network/v1.0/bridge/" + n, DEFAULT if n == chosen else OTHER) for n in sorted(names)]
    before = database(records[:cut], records[cut:])
    change = networks.forget_default_bridge(before)
    if change is None:
        assert chosen in (min(names), sorted(names)[cut])
        return
    after = changed(before)
    assert mismatched(after) == []
    assert keys(after) == [key for key, value in records if value != DEFAULT]


def test_the_file_is_changed_in_place(tmp_path: Path) -> None:
    path = tmp_path / "local-kv.db"
    path.write_bytes(DATABASE)
    networks.main(str(path), GONE)
    assert path.read_bytes() == changed(DATABASE)


def test_the_end_of_dockerd_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "local-kv.db"
    path.write_bytes(DATABASE)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as dockerd:
        waiting = threading.Thread(target=networks.main, args=(str(path), dockerd.pid))
        waiting.start()
        waiting.join(0.1)
        assert path.read_bytes() == DATABASE
        assert dockerd.stdin is not None
        dockerd.stdin.close()
        waiting.join(10)
    assert path.read_bytes() == changed(DATABASE)


def test_one_that_is_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "local-kv.db"
    path.write_bytes(DATABASE)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        networks.main(str(path), GONE)
    assert path.read_bytes() == DATABASE
    assert "left as it is" in capsys.readouterr().err
    networks.main(str(tmp_path / "none"), GONE)


@given(st.integers(0, len(DATABASE) - 1), st.binary(min_size=1, max_size=16), st.integers(0, len(DATABASE)))
def test_what_is_not_understood_is_left_alone(place: int, noise: bytes, end: int) -> None:
    data = (DATABASE[:place] + noise + DATABASE[place + len(noise) :])[:end]
    try:
        change = networks.forget_default_bridge(data)
    except (networks.Odd, struct.error, ValueError):
        return
    if change is not None:
        assert change[0] + len(change[1]) <= len(data)
