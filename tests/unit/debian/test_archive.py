# SPDX-License-Identifier: Apache-2.0
"""The whole way, over loopback HTTP: InRelease, Packages, .deb; from lists, tables, fetch and store too."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cove.debian.archive import SUITES, Archive
from cove.debian.downloads import Patience
from cove.debian.lock import Lock
from cove.debian.mirrors import Mirror
from cove.errors import (
    CoveError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    OfflineError,
    SignatureError,
    UsageError,
)  # fmt: skip
from cove.events import Event, Note, Transfer

from .world import NOW, Server, World, serve

PATIENCE = Patience(connect=2, stall=2, attempts=3, backoff=0.001)
DEAD = Mirror(main="http://127.0.0.1:9/debian", security="http://127.0.0.1:9/debian-security")


class Setup:
    """A world, its server, a cache and what was reported."""

    def __init__(self, world: World, server: Server, cache: Path) -> None:
        self.world, self.server, self.cache = world, server, cache
        self.events: list[Event] = []
        self.now = NOW

    def archive(self, **options: Any) -> Archive:
        options = {
            "mirrors": [self.server.mirror],
            "patience": PATIENCE,
            "keyring": self.world.keyring,
        } | options
        return Archive(cache=self.cache, report=self.events.append, now=lambda: self.now, **options)

    def republish(self) -> None:
        self.server.files = self.world.publish()

    def notes(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Note))

    def deb_path(self, name: str, version: str = "1.0") -> str:
        return f"/debian/pool/main/{name}_{version}_amd64.deb"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    world = World()
    world.add("a", size=3000, Depends="b (>= 1.0)")
    world.add("b", size=200_000)
    world.add("b", "1.0+deb13u1", suite="trixie-security", size=200_000)
    with serve(world.publish()) as server:
        yield Setup(world, server, tmp_path / "cache")


def test_from_names_to_verified_files(setup: Setup) -> None:
    archive = setup.archive()
    lock = archive.resolve(["a"])
    assert [(p.name, p.version, p.suite) for p in lock.packages] == [
        ("a", "1.0", "trixie"),
        ("b", "1.0+deb13u1", "trixie-security"),
    ]
    debs = archive.fetch(lock)
    for package in lock.packages:
        assert hashlib.sha256(debs[package.name].read_bytes()).hexdigest() == package.sha256
    last = [event for event in setup.events if isinstance(event, Transfer) and event.key == "packages"][-1]
    assert last.finished
    assert last.done == last.total == lock.size
    assert archive.mirror == setup.server.mirror
    assert all(headers["User-Agent"].startswith("cove/") for _, headers in setup.server.log)
    assert not list(setup.cache.rglob("*.part"))


@pytest.mark.parametrize("by_hash", [True, False])
def test_index_by_digest_or_by_name(setup: Setup, by_hash: bool) -> None:
    setup.world.by_hash = by_hash
    setup.republish()
    setup.archive().resolve(["a"])
    assert any("by-hash" in path for path, _ in setup.server.log) is by_hash


def test_by_hash_promised_but_missing_falls_back_to_the_name(setup: Setup) -> None:
    index = setup.world.index("trixie")
    folder = "/debian/dists/trixie/main/binary-amd64"
    del setup.server.files[f"{folder}/by-hash/SHA256/{hashlib.sha256(index).hexdigest()}"]
    setup.server.files[f"{folder}/Packages.xz"] = index
    assert setup.archive().resolve(["a"]).get("a")


# --- tampering ------------------------------------------------------------------------------------


def test_a_tampered_inrelease_is_refused(setup: Setup) -> None:
    path = "/debian/dists/trixie-updates/InRelease"
    signed = setup.server.files[path].replace(b"Codename", b"codename")
    setup.server.files[path] = signed
    with pytest.raises(SignatureError) as caught:
        setup.archive().resolve(["a"])
    error = caught.value
    assert error.name == "trixie-updates/InRelease"
    assert setup.world.key.extract_certificate().fingerprint in error.expected
    assert hashlib.sha256(signed).hexdigest() in error.found
    assert not (setup.cache / "lists/trixie-updates.InRelease").exists()


def test_a_tampered_index_is_refused(setup: Setup) -> None:
    path = next(path for path in setup.server.files if "trixie/main/binary-amd64" in path)
    good = setup.server.files[path]
    bad = good[:-1] + bytes([good[-1] ^ 1])
    setup.server.files[path] = bad
    with pytest.raises(IntegrityError) as caught:
        setup.archive().resolve(["a"])
    error = caught.value
    assert error.name == "trixie/main/binary-amd64/Packages.xz"
    assert hashlib.sha256(good).hexdigest() in error.expected
    assert hashlib.sha256(bad).hexdigest() in error.found
    assert not list(setup.cache.rglob(f"{hashlib.sha256(good).hexdigest()}*"))


@pytest.mark.parametrize("change", ["flip", "longer", "shorter"])
def test_a_tampered_deb_is_refused(setup: Setup, change: str) -> None:
    path = setup.deb_path("a")
    good = setup.server.files[path]
    changes = {"flip": good[:-1] + b"\xff", "longer": good + b"x", "shorter": good[:-1]}
    lock = setup.archive().resolve(["a"])
    setup.server.files[path] = changes[change]
    with pytest.raises(IntegrityError) as caught:
        setup.archive().fetch(lock)
    assert caught.value.name == "a_1.0_amd64.deb"
    assert hashlib.sha256(good).hexdigest() in caught.value.expected
    if change != "longer":  # that is not read to its end
        assert hashlib.sha256(changes[change]).hexdigest() in caught.value.found
    assert not any(path.name.startswith("a_1.0") for path in (setup.cache / "debs").iterdir())


def test_the_next_mirror_helps_against_a_tampering_one(setup: Setup) -> None:
    lock = setup.archive().resolve(["a"])
    with serve(setup.world.publish()) as other:
        setup.server.files[setup.deb_path("a")] = b"evil"[:4] * 1000
        archive = setup.archive(mirrors=[setup.server.mirror, other.mirror])
        assert archive.fetch(lock)
        assert archive.mirror == other.mirror
    assert "is not what the archive signed for" in setup.notes()


def test_a_cached_deb_that_was_altered_is_fetched_again(setup: Setup) -> None:
    archive = setup.archive()
    lock = archive.resolve(["a"])
    path = archive.fetch(lock)["a"]
    good = path.read_bytes()
    path.write_bytes(b"evil")
    with pytest.raises(IntegrityError, match="is not what"):
        setup.archive(offline=True).fetch(lock)
    assert setup.archive().fetch(lock)["a"].read_bytes() == good


def test_a_cached_inrelease_that_was_altered_is_refused_offline(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    place = setup.cache / "lists/trixie.InRelease"
    place.write_bytes(place.read_bytes().replace(b"Date: ", b"Date:  Mon, "))
    with pytest.raises(SignatureError):
        setup.archive(offline=True).resolve(["a"])
    assert setup.archive().resolve(["a"])


# --- freshness ------------------------------------------------------------------------------------


def test_an_expired_release_is_refused_online(setup: Setup) -> None:
    setup.now = NOW + timedelta(days=8)
    with pytest.raises(SignatureError) as caught:
        setup.archive().resolve(["a"])
    assert "valid until" in caught.value.found


def test_an_expired_release_is_used_offline_and_said(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    setup.now = NOW + timedelta(days=8)
    assert setup.archive(offline=True).resolve(["a"]).get("a")
    assert "was valid until" in setup.notes()


def test_within_six_hours_nobody_is_asked(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    asked = len(setup.server.log)
    setup.now = NOW + timedelta(hours=5)
    assert setup.archive().resolve(["a"]).get("a")
    assert len(setup.server.log) == asked


def test_later_it_is_asked_conditionally(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    setup.now = NOW + timedelta(hours=7)
    setup.server.log.clear()
    setup.archive().resolve(["a"])
    assert len(setup.server.log) == len(SUITES)
    assert all("If-None-Match" in headers for _, headers in setup.server.log)
    setup.archive().resolve(["a"])
    assert len(setup.server.log) == len(SUITES)


def test_an_update_is_seen(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    setup.world.add("a", "2.0", suite="trixie-updates")
    setup.world.date = NOW + timedelta(hours=6)
    setup.republish()
    setup.now = NOW + timedelta(hours=7)
    package = setup.archive().resolve(["a"]).get("a")
    assert package
    assert (package.version, package.suite) == ("2.0", "trixie-updates")


def test_a_mirror_that_goes_back_in_time_is_not_followed(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    setup.world.date = NOW - timedelta(days=3)
    setup.world.packages["trixie-security"].clear()
    setup.republish()
    setup.now = NOW + timedelta(hours=7)
    package = setup.archive().resolve(["b"]).get("b")
    assert package
    assert package.suite == "trixie-security"


def test_unreachable_mirrors_are_bridged_while_the_cache_is_valid(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    setup.now = NOW + timedelta(days=1)
    assert setup.archive(mirrors=[DEAD]).resolve(["a"])
    assert "No Debian mirror" in setup.notes()
    setup.now = NOW + timedelta(days=8)
    with pytest.raises(NetworkError):
        setup.archive(mirrors=[DEAD]).resolve(["a"])


def test_a_clock_that_is_behind(setup: Setup) -> None:
    setup.now = NOW - timedelta(days=30)
    with pytest.raises(CoveError) as caught:
        setup.archive().resolve(["a"])
    assert "clock" in (caught.value.hint or "")


# --- network --------------------------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_stopped(setup: Setup) -> None:
    archive = setup.archive()
    lock = archive.resolve(["b"])
    path = "/debian-security/pool/main/b_1.0+deb13u1_amd64.deb"
    setup.server.faults[path] = ["cut:100000", "cut:nolength:50000"]
    archive.fetch(lock)
    ranges = [headers.get("Range") for headers in setup.server.asked(path)]
    assert ranges[0] is None
    assert ranges[1:] == ["bytes=100000-", "bytes=150000-"]


def test_another_process_takes_up_what_the_first_left(setup: Setup) -> None:
    lock = setup.archive().resolve(["b"])
    path = "/debian-security/pool/main/b_1.0+deb13u1_amd64.deb"
    setup.server.faults[path] = ["cut:100000", "500", "500", "500"]
    with pytest.raises(NetworkError):
        setup.archive().fetch(lock)
    (part,) = setup.cache.rglob("*.part")
    assert part.stat().st_size == 100000
    assert setup.archive().fetch(lock)
    assert setup.server.asked(path)[-1]["Range"] == "bytes=100000-"


def test_ctrl_c_leaves_a_part_that_is_taken_up(setup: Setup) -> None:
    lock = setup.archive().resolve(["b"])
    path = "/debian-security/pool/main/b_1.0+deb13u1_amd64.deb"
    setup.server.faults[path] = ["hold:100000"]

    def interrupt() -> None:
        setup.server.holding.wait(10)
        while not any(isinstance(event, Transfer) and event.done for event in setup.events):
            pass  # until the client has read some of it
        os.kill(os.getpid(), signal.SIGINT)

    setup.events.clear()
    hand = threading.Thread(target=interrupt)
    hand.start()
    with pytest.raises(KeyboardInterrupt):
        setup.archive().fetch(lock)
    setup.server.go_on.set()
    hand.join()
    (part,) = setup.cache.rglob("*.part")
    assert 0 < part.stat().st_size < lock.size
    have = part.stat().st_size
    assert setup.archive().fetch(lock)
    assert setup.server.asked(path)[-1]["Range"] == f"bytes={have}-"


def test_a_stalled_server_is_given_up(setup: Setup) -> None:
    lock = setup.archive().resolve(["a"])
    setup.server.faults[setup.deb_path("a")] = ["hold:10"]
    try:
        debs = setup.archive(patience=replace(PATIENCE, stall=0.2)).fetch(lock)
    finally:
        setup.server.go_on.set()
    assert debs["a"].exists()
    assert setup.server.asked("a_1.0_amd64.deb")[-1]["Range"] == "bytes=10-"


def test_a_wrong_part_is_thrown_away_and_loaded_anew(setup: Setup) -> None:
    lock = setup.archive().resolve(["b"])
    part = setup.cache / "debs" / f".{lock.packages[0].sha256}.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"junk")
    debs = setup.archive().fetch(lock)
    assert hashlib.sha256(debs["b"].read_bytes()).hexdigest() == lock.packages[0].sha256
    last = [event for event in setup.events if isinstance(event, Transfer)][-1]
    assert last.done == last.total


def test_a_server_without_ranges(setup: Setup) -> None:
    setup.server.ranges = False
    lock = setup.archive().resolve(["b"])
    setup.server.faults["/debian-security/pool/main/b_1.0+deb13u1_amd64.deb"] = ["cut:100000"]
    assert setup.archive().fetch(lock)


@pytest.mark.parametrize("fault", ["500", "503", "429"])
def test_a_busy_server_is_asked_again(setup: Setup, fault: str) -> None:
    setup.server.faults["/debian/dists/trixie/InRelease"] = [fault, fault]
    setup.server.faults[setup.deb_path("a")] = [fault, fault]
    archive = setup.archive()
    assert archive.fetch(archive.resolve(["a"]))


def test_in_the_end_it_gives_up(setup: Setup) -> None:
    setup.server.faults["/debian/dists/trixie/InRelease"] = ["500"] * 10
    with pytest.raises(NetworkError) as caught:
        setup.archive().resolve(["a"])
    assert "HTTP 500" in (caught.value.details or "")
    assert len(setup.server.asked("/trixie/InRelease")) == PATIENCE.attempts


def test_a_missing_deb_says_that_an_update_may_have_come(setup: Setup) -> None:
    lock = setup.archive().resolve(["a"])
    del setup.server.files[setup.deb_path("a")]
    with pytest.raises(NetworkError, match=r"a_1\.0_amd64\.deb is not on 127\.0\.0\.1") as caught:
        setup.archive().fetch(lock)
    assert "update" in (caught.value.hint or "")


def test_the_next_mirror_is_used_when_one_is_dead(setup: Setup) -> None:
    archive = setup.archive(mirrors=[DEAD, setup.server.mirror])
    assert archive.fetch(archive.resolve(["a"]))
    assert archive.mirror == setup.server.mirror
    assert "trying the next mirror" in setup.notes()


def test_a_proxy_is_used(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", setup.server.url)
    far = Mirror(main="http://mirror.invalid/debian", security="http://mirror.invalid/debian-security")
    with pytest.raises(NetworkError):  # the server below is no real proxy: it answers 404 for foreign hosts
        setup.archive(mirrors=[far]).resolve(["a"])
    assert {headers["Host"] for _, headers in setup.server.log} == {"mirror.invalid"}
    setup.server.log.clear()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert setup.archive().resolve(["a"])


# --- offline and errors ---------------------------------------------------------------------------


def test_offline_from_the_cache(setup: Setup) -> None:
    archive = setup.archive()
    lock = archive.resolve(["a"])
    archive.fetch(lock)
    setup.server.log.clear()
    again = setup.archive(offline=True, mirrors=[DEAD])
    assert again.resolve(["a"]) == lock
    assert set(again.fetch(lock)) == {"a", "b"}
    assert setup.server.log == []


def test_offline_without_a_cache(setup: Setup) -> None:
    with pytest.raises(OfflineError, match="trixie is not in the cache"):
        setup.archive(offline=True).resolve(["a"])
    lock = setup.archive().resolve(["a"])
    with pytest.raises(OfflineError, match="2 packages") as caught:
        setup.archive(offline=True).fetch(lock)
    assert caught.value.details == "a, b"
    for table in setup.cache.rglob("*.table"):
        table.unlink()
    with pytest.raises(OfflineError, match="package lists"):
        setup.archive(offline=True).resolve(["a"])


def test_another_architecture(setup: Setup) -> None:
    with pytest.raises(NotFoundError, match="m68k"):
        setup.archive(architecture="m68k").resolve(["a"])


def test_a_table_of_another_format_is_made_again(setup: Setup) -> None:
    setup.archive().resolve(["a"])
    for table in setup.cache.rglob("*.table"):
        table.write_text("old format\n")
    assert setup.archive().resolve(["a"]).get("a")


def test_no_mirror_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Debian mirror"):
        Archive(cache=tmp_path, mirrors=[])


def test_the_environment_names_the_mirror(tmp_path: Path) -> None:
    archive = Archive(cache=tmp_path, env={"COVE_DEBIAN_MIRROR": "http://x/debian"})
    assert archive.mirror == Mirror(main="http://x/debian", security="http://x/debian-security")
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_do_not_disturb_each_other(setup: Setup) -> None:
    lock = setup.archive().resolve(["a"])
    results: list[dict[str, Path]] = []
    threads = [threading.Thread(target=lambda: results.append(setup.archive().fetch(lock))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for package in lock.packages:
        assert hashlib.sha256(results[0][package.name].read_bytes()).hexdigest() == package.sha256
    assert not list(setup.cache.rglob("*.part"))


def test_an_empty_lock_needs_nothing(setup: Setup) -> None:
    assert setup.archive(offline=True).fetch(Lock(())) == {}


def test_the_real_clock_is_the_default(tmp_path: Path) -> None:
    assert abs(Archive(cache=tmp_path, env={})._now() - datetime.now(NOW.tzinfo)) < timedelta(seconds=5)
