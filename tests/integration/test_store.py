# SPDX-License-Identifier: Apache-2.0
"""The content store filled from a real registry: Debian's docker-registry on the loopback, by the real command."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cove.sdk import Client
from cove.system.process import Command
from tests.integration.registry import PASSWORD, USER, Authority, Registry, programs, registry
from tests.integration.world import Home, talk, wait_until
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member

LARGE = 96 << 20


@pytest.fixture(scope="module")
def tools(cache: Path) -> dict[str, Command]:
    home = Home.make(cache)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COVE_CACHE", str(cache))
            return dict(programs(Client(home.root).workshop()))
    finally:
        home.close()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> LayoutMaker:
    """An image for two platforms, one of them with zstd layers, and a large one."""
    maker = LayoutMaker(tmp_path_factory.mktemp("layouts") / "layout")
    index = maker.index(
        [
            maker.manifest([layer_tar(member("etc/amd", b"amd"))], {"Cmd": ["/bin/x"]}),
            maker.manifest([layer_tar(member("etc/arm", b"arm"))], architecture="arm64", compression="zstd"),
        ]
    )
    maker.name(index, "docker.io/org/app:1")
    noise = layer_tar(member("noise", random.Random(1).randbytes(LARGE)))
    maker.name(maker.manifest([noise], compression="none"), "docker.io/org/large:1")
    return maker


def push(base: str, layout: LayoutMaker, **headers: str) -> None:
    """Everything of a layout, by hand: Cove does not push."""

    def send(method: str, url: str, data: bytes, kind: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(url, data, {"Content-Type": kind, **headers}, method=method)
        return urllib.request.urlopen(request, timeout=60)

    blobs = {f"sha256:{path.name}": path.read_bytes() for path in (layout.folder / "blobs/sha256").iterdir()}
    manifests = {digest: data for digest, data in blobs.items() if b'"schemaVersion"' in data[:40]}
    for entry in layout.manifests:
        repository, _, tag = (
            entry["annotations"]["io.containerd.image.name"].partition("/")[2].rpartition(":")
        )
        for digest, data in blobs.items():
            if digest not in manifests:
                place = send("POST", f"{base}/v2/{repository}/blobs/uploads/", b"").headers["Location"]
                place = place if place.startswith("http") else base + place
                send("PUT", f"{place}&digest={digest}", data)
        ordered = sorted(manifests.items(), key=lambda one: b'"manifests"' in one[1])
        for digest, data in ordered:
            send("PUT", f"{base}/v2/{repository}/manifests/{digest}", data, json.loads(data)["mediaType"])
        send("PUT", f"{base}/v2/{repository}/manifests/{tag}", blobs[entry["digest"]], entry["mediaType"])


@pytest.fixture(scope="module")
def plain(
    tools: dict[str, Command], layout: LayoutMaker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    with registry(tools["docker-registry"], tmp_path_factory.mktemp("registry") / "plain") as running:
        push(f"http://127.0.0.1:{running.port}", layout)
        yield running


def own(home: Home) -> Home:
    """The home with a cache of its own, so with an empty store."""
    home.cache = None
    return home


def test_by_tag_by_digest_and_for_all_platforms(home: Home, plain: Registry, layout: LayoutMaker) -> None:
    own(home)
    name = f"127.0.0.1:{plain.port}/org/app"
    digest = layout.manifests[0]["digest"]
    assert home.cove("cache", "pull", f"{name}:1").stdout.decode() == f"{name}:1@{digest}\n"
    [image] = home.json("cache", "ls")
    assert image["platforms"] == ["linux/amd64"]
    home.cove("cache", "pull", f"{name}@{digest}", "--all-platforms")
    assert [one["platforms"] for one in home.json("cache", "ls")][-1] == ["linux/amd64", "linux/arm64"]
    missing = home.cove("cache", "pull", f"{name}:2", code=1)
    assert "does not have it" in talk(missing)
    tar = home.cove("cache", "export", f"{name}:1").stdout
    again = home.cove("cache", "import", "-", "--name", "again:1", stdin=tar)
    assert again.stdout == b"docker.io/library/again:1\n"


def test_a_build_takes_what_it_needs_from_the_registry(
    home: Home, plain: Registry, layout: LayoutMaker, tmp_path: Path
) -> None:
    own(home)
    (tmp_path / "x.yml").write_text(f"init:\n  - 127.0.0.1:{plain.port}/org/app:1\n")
    pulled = home.cove("build", "-f", "tar", "--no-sbom", "-o", "-", str(tmp_path / "x.yml")).stdout
    assert b"etc/amd" in pulled
    offline = ["--offline", "build", "-f", "tar", "--no-sbom", "-o", "-", str(tmp_path / "x.yml")]
    assert home.cove(*offline).stdout == pulled


def test_a_private_authority_and_logins(
    home: Home, tools: dict[str, Command], layout: LayoutMaker, tmp_path: Path
) -> None:
    own(home)
    authority = Authority(tools["openssl"], tmp_path)
    secure = registry(
        tools["docker-registry"], tmp_path / "secure", tls=authority.issue("localhost"), users=True
    )
    with secure as running:
        name, base = f"localhost:{running.port}/org/app:1", f"localhost:{running.port}"
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        small = LayoutMaker(tmp_path / "small")
        small.image("docker.io/org/app:1", layer_tar(member("x", b"x")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(authority.certificate))
            push(f"https://{base}", small, Authorization=f"Basic {basic}")
        assert "no certificate that is trusted" in talk(home.cove("cache", "pull", name, code=1))
        certificates = home.root / "user/certs.d" / base
        certificates.mkdir(parents=True)
        (certificates / "ca.crt").write_bytes(authority.certificate.read_bytes())
        assert "wants to know who we are" in talk(home.cove("cache", "pull", name, code=1))
        config = home.root / "user/config.json"
        config.write_text(
            json.dumps({"auths": {base: {"auth": base64.b64encode(b"someone:wrong").decode()}}})
        )
        assert "refuses our credentials" in talk(home.cove("cache", "pull", name, code=1))
        config.write_text(json.dumps({"auths": {base: {"auth": basic}}}))
        home.cove("cache", "pull", name)
        home.cove("cache", "rm", name)
        helper = tmp_path / "bin/docker-credential-tests"
        helper.parent.mkdir()
        answer = json.dumps({"ServerURL": base, "Username": USER, "Secret": PASSWORD})
        helper.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s' '{answer}'\n")
        helper.chmod(0o755)
        home.env["PATH"] = f"{helper.parent}:{os.environ['PATH']}"
        config.write_text(json.dumps({"credHelpers": {base: "tests"}}))
        home.cove("cache", "pull", name)


def test_a_pull_that_was_killed_goes_on(home: Home, plain: Registry) -> None:
    own(home)
    name = f"127.0.0.1:{plain.port}/org/large:1"
    blobs = home.root / "cache/content/blobs/sha256"
    with slow_line(plain.port) as port:
        slow = f"127.0.0.1:{port}/org/large:1"
        with home.begun("cache", "pull", slow) as child:
            wait_until(
                lambda: sum(path.stat().st_size for path in blobs.glob(".*.part")) > 4 << 20, "some bytes"
            )
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
    assert home.json("cache", "ls") == []
    before = sum(path.stat().st_size for path in blobs.glob(".*.part"))
    assert before >= 4 << 20
    home.cove("cache", "pull", name)
    assert "206" in plain.said
    assert [one["name"] for one in home.json("cache", "ls")] == [name]
    for path in blobs.iterdir():
        with path.open("rb") as blob:
            assert hashlib.file_digest(blob, "sha256").hexdigest() == path.name


def test_two_at_once(home: Home, plain: Registry) -> None:
    own(home)
    name = f"127.0.0.1:{plain.port}/org/large:1"
    with home.begun("cache", "pull", name) as one, home.begun("cache", "pull", name) as other:
        assert (one.wait(120), other.wait(120)) == (0, 0)
    assert [image["name"] for image in home.json("cache", "ls")] == [name]
    assert not list((home.root / "cache/content").rglob("*.part"))


@contextmanager
def slow_line(goal: int) -> Iterator[int]:
    """A port of the loopback that leads to another one and carries 8 MiB a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, goal), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(server: socket.socket, goal: int) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        other = socket.create_connection(("127.0.0.1", goal))
        threading.Thread(target=_carry, args=(client, other, 0), daemon=True).start()
        threading.Thread(target=_carry, args=(other, client, 1 / 128), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket, pause: float) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
            time.sleep(pause)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
