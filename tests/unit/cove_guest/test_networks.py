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
