# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import GuestError, UsageError
from cove.events import Event, Note, silent
from cove.guest.client import GuestClient
from cove.host.proxies import Proxies
from cove.machine import settings as module
from cove.machine.config import Config, load_config
from cove.machine.settings import Applied, Files, gather, pack, tell_engine, write_disk
from cove.spec.registries import Registries
from cove.system.paths import Home
from tests.unit.host.test_authorities import pem
from tests.unit.machine.world import SPEC

EMPTY = {"insecure-registries": [], "registry-mirrors": []}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A host without authorities of its own."""
    monkeypatch.setattr(module, "SYSTEM_CERTS", tmp_path / "absent")
    monkeypatch.setattr(
        "cove.host.authorities.added_authorities.__kwdefaults__", {"anchors": (), "bundles": ()}
    )
    return Home(tmp_path, tmp_path / "cache")


def test_nothing_of_ones_own(home: Home) -> None:
    files = gather(SPEC, Config(), home, {})
    assert {name: json.loads(data) for name, data in files.items()} == {"daemon.json": EMPTY}


def test_everything(home: Home, tmp_path: Path) -> None:
    docker = tmp_path / "user"
    (docker / "certs.d/reg:1").mkdir(parents=True)
    (docker / "certs.d/reg:1/ca.crt").write_bytes(b"ca")
    own = tmp_path / "own.pem"
    own.write_bytes(pem("own"))
    home.config.write_text(
        "docker: {debug: true}\nregistry_mirrors: [https://m.example]\ninsecure_registries: [b:2]\n"
        f"ca_certificates: [{own}]\n"
    )
    spec = replace(SPEC, registries=Registries(insecure=("a:1",), mirrors=("http://127.0.0.1:5000",)))
    env = {"DOCKER_CONFIG": str(docker), "HTTPS_PROXY": "http://u:p@localhost:3128"}
    files = gather(spec, load_config(home.config), home, env)
    assert set(files) == {"daemon.json", "ca/host.crt", "certs.d/reg:1/ca.crt"}
    assert files["ca/host.crt"] == pem("own")
    assert json.loads(files["daemon.json"]) == {
        "debug": True,
        "insecure-registries": ["a:1", "b:2"],
        "registry-mirrors": ["http://host.docker.internal:5000", "https://m.example"],
        "proxies": {"https-proxy": "http://u:p@host.docker.internal:3128", "no-proxy": ".docker.internal"},
    }


def test_proxies_of_the_settings_count_before_the_environments(home: Home) -> None:
    env = {"HTTP_PROXY": "http://env:1"}
    for config, found in (
        (
            Config(proxies=Proxies(http="http://own:1")),
            {"http-proxy": "http://own:1", "no-proxy": ".docker.internal"},
        ),
        (Config(proxies=Proxies()), None),
    ):
        assert json.loads(gather(SPEC, config, home, env)["daemon.json"]).get("proxies") == found


@pytest.mark.parametrize(("contents", "problem"), [(None, "cannot be read"), (b"x", "holds no certificate")])
def test_authorities_that_are_none(home: Home, tmp_path: Path, contents: bytes | None, problem: str) -> None:
    path = tmp_path / "own.pem"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(UsageError, match=problem):
        gather(SPEC, Config(ca_certificates=(path,)), home, {})


def test_too_many_authorities(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "all.pem"
    path.write_bytes(b"".join(pem(f"{number:500}") for number in range(100)))
    with pytest.raises(UsageError, match="a machine can be given") as caught:
        gather(SPEC, Config(ca_certificates=(path,)), home, {})
    assert "ca/host.crt" in (caught.value.details or "")


def test_the_disk_is_for_its_owner_and_the_same_each_time(home: Home) -> None:
    files = {"daemon.json": b"{}", "certs.d/reg:1/ca.crt": b"ca" * 600}
    paths = home.machine("dev")
    paths.root.mkdir(parents=True)
    write_disk(paths, files)
    assert paths.settings.stat().st_mode & 0o777 == 0o600
    data = paths.settings.read_bytes()
    assert data == pack(dict(reversed(files.items())))
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        assert {name: file.read() if file else None for name, file in found.items()} == files


def test_an_engine_is_told_only_what_is_new(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Files] = []
    notes: list[Event] = []

    def send(agent: Path, files: Files) -> Applied:
        sent.append(files)
        return Applied(changed=("daemon.json",), restart=("proxies", "authorities"))

    monkeypatch.setattr(module, "send", send)
    paths = home.machine("dev")
    paths.root.mkdir(parents=True)
    write_disk(paths, {"daemon.json": b"{}"})
    tell_engine(paths, {"daemon.json": b"{}"}, notes.append)
    assert (sent, notes) == ([], [])
    tell_engine(paths, {"daemon.json": b"{ }"}, notes.append)
    assert sent == [{"daemon.json": b"{ }"}]
    assert paths.settings.read_bytes() == pack({"daemon.json": b"{ }"})
    assert any(isinstance(note, Note) and "proxies and authorities" in note.text for note in notes)


def test_settings_that_dockerd_refuses_are_not_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: GuestClient, op: str, **args: object) -> None:
        error = GuestError("unknown key")
        error.code = "invalid"
        raise error

    monkeypatch.setattr(GuestClient, "call", call)
    paths = home.machine("dev")
    paths.root.mkdir(parents=True)
    write_disk(paths, {"daemon.json": b"{}"})
    with pytest.raises(UsageError, match="does not take these settings") as caught:
        tell_engine(paths, {"daemon.json": b"{ }"}, silent)
    assert caught.value.details == "unknown key"
    assert paths.settings.read_bytes() == pack({"daemon.json": b"{}"})
