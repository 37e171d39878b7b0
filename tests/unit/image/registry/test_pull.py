# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from cove.errors import ArchiveError, CommandError, CoveError, IntegrityError, NetworkError, NotFoundError
from cove.events import Event, Note, Transfer
from cove.image.oci.model import Platform
from cove.image.oci.reader import find_image
from cove.image.oci.reference import parse_reference
from cove.image.oci.store import ContentStore
from cove.image.registry.credentials import Credentials
from cove.image.registry.endpoints import RegistrySettings
from cove.image.registry.pull import Puller, RegistrySource
from cove.image.registry.session import Session, _Auth
from cove.image.registry.transport import Patience
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member

from .server import Registry, digest_of

AMD = Platform(architecture="amd64")
ARM = Platform(architecture="arm64")
BIG = layer_tar(member("big", bytes(range(256)) * 4096))
SMALL = layer_tar(member("small", b"hello"))


@pytest.fixture
def maker(tmp_path: Path) -> LayoutMaker:
    maker = LayoutMaker(tmp_path / "layout")
    maker.name(
        maker.index(
            [
                maker.manifest([BIG, SMALL], {"Env": ["A=1"]}, compression="none"),
                maker.manifest([layer_tar(member("arm", b"arm"))], architecture="arm64", compression="zstd"),
            ]
        ),
        "docker.io/org/app:1",
    )
    return maker


@pytest.fixture
def registry(maker: LayoutMaker) -> Iterator[Registry]:
    registry = Registry()
    registry.take(maker.folder)
    with registry.serving():
        yield registry


class World:
    def __init__(self, root: Path) -> None:
        self.store = ContentStore(root)
        self.events: list[Event] = []
        self.config: dict[str, Any] = {}
        self.settings = RegistrySettings()
        self.helpers: dict[str, Any] = {}

    def puller(self) -> Puller:
        return Puller(
            store=self.store, settings=self.settings, config=lambda: self.config, helper=self._helper,
            report=self.events.append,
            patience=Patience(connect=5, stall=5, attempts=3, backoff=0.01, retry_after=1),
        )  # fmt: skip

    def pull(self, name: str, *platforms: Platform) -> Any:
        return self.puller().pull(parse_reference(name), platforms or (AMD,))

    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]

    def login(self, host: str, user: str, password: str) -> None:
        self.config = {"auths": {host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}}}

    def _helper(self, program: str, key: bytes) -> bytes:
        answer = self.helpers[program]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer).encode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store")


def layer_of(registry: Registry) -> str:
    return digest_of(BIG)


def test_a_platform_and_no_more(registry: Registry, world: World) -> None:
    name = f"{registry.host}/org/app:1"
    world.pull(name)
    image = find_image([world.store], name, AMD)
    with image.layers[0].open() as stream:
        assert stream.read() == BIG
    assert image.config["config"]["Env"] == ["A=1"]
    [stored] = world.store.images()
    assert (stored.name, stored.platforms) == (name, ("linux/amd64",))
    assert world.store.find(parse_reference(name), [ARM]) is None
    done = [event for event in world.events if isinstance(event, Transfer) and event.finished]
    assert [event.done for event in done] == [len(BIG) + len(SMALL) + image_config_size(image, registry)]


def image_config_size(image: Any, registry: Registry) -> int:
    manifest = json.loads(registry.blobs[image.manifest.digest])
    return int(manifest["config"]["size"])


def test_all_platforms(registry: Registry, world: World) -> None:
    name = f"{registry.host}/org/app:1"
    world.puller().pull(parse_reference(name), ())
    [stored] = world.store.images()
    assert stored.platforms == ("linux/amd64", "linux/arm64")
    with find_image([world.store], name, ARM).layers[0].open() as stream:
        assert b"arm" in stream.read()  # a zstd layer


def test_by_digest(registry: Registry, world: World) -> None:
    digest = registry.tags["org/app:1"]
    world.pull(f"{registry.host}/org/app@{digest}")
    assert world.store.find(parse_reference(f"elsewhere.example/other@{digest}"), [AMD]) is not None


def test_nothing_is_fetched_twice(registry: Registry, world: World) -> None:
    world.pull(f"{registry.host}/org/app:1")
    registry.requests.clear()
    world.pull(f"{registry.host}/org/app:1")
    assert registry.blob_requests() == []
    assert len(registry.requests) <= 2  # the tag is looked up again


def test_as_a_source_of_images(registry: Registry, world: World) -> None:
    source = RegistrySource(world.puller())
    registry.tags["org/app:latest"] = registry.tags["org/app:1"]
    image = find_image([world.store, source], f"{registry.host}/org/app", AMD)
    assert len(image.layers) == 2
    registry.requests.clear()
    find_image([world.store, source], f"{registry.host}/org/app", AMD)
    assert registry.requests == []


def test_a_cut_connection_goes_on_where_it_ended(registry: Registry, world: World) -> None:
    digest = digest_of(BIG)
    registry.cut[digest] = [1000, 5000, 100]
    world.pull(f"{registry.host}/org/app:1")
    asked = [one.partition(" ")[2] for one in registry.blob_requests() if digest in one]
    assert asked == ["", "bytes=1000-", "bytes=6000-", "bytes=6100-"]


def test_a_pull_goes_on_where_the_last_one_was_cut_off(registry: Registry, world: World) -> None:
    digest = digest_of(BIG)
    registry.cut[digest] = [70_000, 0, 0, 0]
    with pytest.raises(NetworkError, match="again and again"):
        world.pull(f"{registry.host}/org/app:1")
    assert world.store.images() == []
    registry.requests.clear()
    registry.cut.clear()
    world.pull(f"{registry.host}/org/app:1")
    asked = [one.partition(" ")[2] for one in registry.blob_requests() if digest in one]
    assert asked == ["bytes=70000-"]
    assert not list(world.store.root.rglob("*.part"))


def test_a_registry_without_ranges_begins_anew(registry: Registry, world: World) -> None:
    registry.ranges = False
    registry.cut[digest_of(BIG)] = [1000]
    world.pull(f"{registry.host}/org/app:1")
    assert world.store.images()


def test_the_wrong_half_of_an_earlier_attempt_is_thrown_away(registry: Registry, world: World) -> None:
    digest = digest_of(BIG)
    blobs = world.store.root / "blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / f".{digest.partition(':')[2]}.part").write_bytes(b"wrong")
    world.pull(f"{registry.host}/org/app:1")
    assert world.store.images()


@pytest.mark.parametrize("what", ["layer", "config", "manifest", "root"])
def test_what_is_not_what_its_digest_says_is_refused(
    registry: Registry, world: World, maker: LayoutMaker, what: str
) -> None:
    root = registry.tags["org/app:1"]
    manifest = json.loads(registry.blobs[root])["manifests"][0]["digest"]
    config = json.loads(registry.blobs[manifest])["config"]["digest"]
    digest = {"layer": digest_of(BIG), "config": config, "manifest": manifest, "root": root}[what]
    good = registry.blobs[digest]
    registry.altered[digest] = good.swapcase() if what == "layer" else good.replace(b": ", b":\t", 1)
    name = f"{registry.host}/org/app" + (f"@{root}" if what == "root" else ":1")
    with pytest.raises(IntegrityError, match="not what its digest says"):
        world.pull(name)
    assert world.store.images() == []
    world.store.sweep()
    assert not [path for path in (world.store.root / "blobs").rglob("*") if path.is_file()]


def test_more_bytes_than_promised(registry: Registry, world: World) -> None:
    registry.altered[digest_of(BIG)] = BIG + b"!"
    with pytest.raises(IntegrityError):
        world.pull(f"{registry.host}/org/app:1")


def test_an_unknown_name(registry: Registry, world: World) -> None:
    with pytest.raises(NotFoundError) as caught:
        world.pull(f"{registry.host}/org/none:1")
    assert "MANIFEST_UNKNOWN" in str(caught.value.details)


def test_a_platform_that_is_not_there(registry: Registry, world: World) -> None:
    with pytest.raises(NotFoundError, match="not for linux/riscv64") as caught:
        world.pull(f"{registry.host}/org/app:1", Platform(architecture="riscv64"))
    assert "linux/amd64, linux/arm64" in str(caught.value.details)
    assert registry.blob_requests() == []


def test_no_image(registry: Registry, world: World) -> None:
    for data in (b"{}", b"<html>", b'{"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}'):
        registry.blobs["x"] = data
        registry.tags["org/app:odd"] = "x"
        with pytest.raises(ArchiveError):
            world.pull(f"{registry.host}/org/app:odd")


def test_a_manifest_without_bounds(registry: Registry, world: World) -> None:
    registry.blobs["x"] = b'{"a": "' + b"x" * (5 << 20) + b'"}'
    registry.tags["org/app:odd"] = "x"
    with pytest.raises(ArchiveError, match="more than a manifest"):
        world.pull(f"{registry.host}/org/app:odd")


def test_digests_never_become_paths(registry: Registry, world: World) -> None:
    bad = {"mediaType": "x", "digest": "sha256:../../../evil", "size": 1}
    manifest = json.dumps(
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": bad, "layers": []}
    )
    registry.blobs["x"] = manifest.encode()
    registry.tags["org/app:odd"] = "x"
    with pytest.raises(ArchiveError, match="not a digest"):
        world.pull(f"{registry.host}/org/app:odd")


class TestWhoWeAre:
    def test_a_token_for_anybody(self, registry: Registry, world: World) -> None:
        registry.auth = "token"
        world.pull(f"{registry.host}/org/app:1")
        assert any(one.startswith("/token?") for one in registry.requests)

    def test_a_token_for_us(self, registry: Registry, world: World) -> None:
        registry.auth, registry.user, registry.password = "token", "ann", "secret"
        world.login(registry.host, "ann", "secret")
        world.pull(f"{registry.host}/org/app:1")

    def test_a_password(self, registry: Registry, world: World) -> None:
        registry.auth, registry.user, registry.password = "basic", "ann", "secret"
        world.login(registry.host, "ann", "secret")
        world.pull(f"{registry.host}/org/app:1")

    def test_an_identity_token(self, registry: Registry, world: World) -> None:
        registry.auth, registry.user, registry.identity = "token", "ann", "refresh-me"
        world.config = {"auths": {registry.host: {"identitytoken": "refresh-me"}}}
        world.pull(f"{registry.host}/org/app:1")
        assert "POST /token" in registry.requests

    def test_a_credential_helper(self, registry: Registry, world: World) -> None:
        registry.auth, registry.user, registry.password = "token", "ann", "secret"
        world.config = {"credHelpers": {registry.host: "tests"}}
        world.helpers["docker-credential-tests"] = {"Username": "ann", "Secret": "secret"}
        world.pull(f"{registry.host}/org/app:1")

    def test_a_helper_that_fails_is_told_and_done_without(self, registry: Registry, world: World) -> None:
        world.config = {"credsStore": "desktop"}
        world.helpers["docker-credential-desktop"] = CommandError(
            "no", argv=["x"], returncode=1, output="locked"
        )
        world.pull(f"{registry.host}/org/app:1")
        assert any("without credentials" in note for note in world.notes())

    @pytest.mark.parametrize("auth", ["token", "basic"])
    def test_wrong_credentials(self, registry: Registry, world: World, auth: Any) -> None:
        registry.auth, registry.user, registry.password = auth, "ann", "secret"
        world.login(registry.host, "ann", "wrong")
        with pytest.raises(NetworkError, match="refuses our credentials") as caught:
            world.pull(f"{registry.host}/org/app:1")
        assert f"docker login {registry.host}" in str(caught.value.hint)
        assert "wrong" not in str(caught.value.as_dict())

    @pytest.mark.parametrize("auth", ["token", "basic"])
    def test_no_credentials(self, registry: Registry, world: World, auth: Any) -> None:
        registry.auth, registry.user, registry.password = auth, "ann", "secret"
        with pytest.raises(NetworkError, match="wants to know who we are"):
            world.pull(f"{registry.host}/org/app:1")

    def test_tokens_that_expire_in_between(self, registry: Registry, world: World) -> None:
        registry.auth, registry.token_uses = "token", 2
        world.pull(f"{registry.host}/org/app:1")
        assert len([one for one in registry.requests if one.startswith("/token?")]) > 1

    def test_where_blobs_really_are_nobody_learns_who_we_are(
        self, registry: Registry, world: World, maker: LayoutMaker
    ) -> None:
        registry.auth, registry.user, registry.password = "basic", "ann", "secret"
        world.login(registry.host, "ann", "secret")
        store = Registry(cut={digest_of(BIG): [1000]})
        store.take(maker.folder)
        with store.serving():
            # another host by name; a port alone would not make it one
            registry.elsewhere = f"http://{store.host.replace('127.0.0.1', 'localhost')}"
            world.pull(f"{registry.host}/org/app:1")
        assert len(store.blob_requests()) == 4
        assert store.secrets == []
        assert registry.secrets

    def test_a_secret_does_not_leave_tls(self) -> None:
        auth = _Auth(Credentials(username="ann", password="secret"))
        asked = requests.Response()
        asked.url, asked.status_code = "https://a.example/v2/x/manifests/1", 401
        asked.raw = io.BytesIO()
        asked.request = requests.Request("GET", asked.url).prepare()
        asked.headers["Www-Authenticate"] = 'Bearer realm="http://127.0.0.1:9/token",service="x"'
        assert auth.authenticate_request(asked, {}) == ({}, False)


def test_a_refusal_is_not_asked_again_in_the_clear(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(session: Session, _reference: object) -> None:
        asked.append(session.base)
        raise NetworkError("refused")

    monkeypatch.setattr("cove.image.registry.pull.fetch_root", refuse)
    with pytest.raises(NetworkError, match="refused"):
        world.pull("localhost:5000/org/app:1")
    assert asked == ["https://localhost:5000/v2/org/app"]


class TestPatience:
    def test_a_busy_registry_is_asked_again(self, registry: Registry, world: World) -> None:
        registry.failures = [503, 429]
        world.pull(f"{registry.host}/org/app:1")

    def test_a_rate_limit(self, registry: Registry, world: World) -> None:
        registry.failures, registry.retry_after = [429] * 20, "1"
        with pytest.raises(NetworkError, match="no more requests") as caught:
            world.pull(f"{registry.host}/org/app:1")
        assert "docker login" in str(caught.value.hint)
        assert "slow down" in str(caught.value.details)

    def test_a_refusal_is_not_repeated(self, registry: Registry, world: World) -> None:
        registry.failures = [400]
        with pytest.raises(NetworkError, match="HTTP 400"):
            world.pull(f"{registry.host}/org/app:1")
        assert len([one for one in registry.requests if "/manifests/" in one]) == 1

    def test_nobody_there(self, registry: Registry, world: World) -> None:
        with pytest.raises(NetworkError, match="cannot be reached"):
            world.pull("127.0.0.1:9/org/app:1")


class TestMirrors:
    def test_the_mirror_first(self, registry: Registry, world: World) -> None:
        world.settings = world.settings.with_mirrors([f"nowhere.example=http://{registry.host}"])
        world.pull("nowhere.example/org/app:1")
        assert [image.name for image in world.store.images()] == ["nowhere.example/org/app:1"]

    def test_then_the_registry(self, registry: Registry, world: World) -> None:
        with Registry().serving() as empty:
            world.settings = world.settings.with_mirrors([f"{registry.host}=http://{empty.host}"])
            world.pull(f"{registry.host}/org/app:1")
            assert empty.requests
        assert any("trying the next place" in note for note in world.notes())

    def test_a_mirror_that_alters(self, registry: Registry, world: World, maker: LayoutMaker) -> None:
        evil = Registry(altered={digest_of(BIG): b"x" * len(BIG)})
        evil.take(maker.folder)
        with evil.serving():
            world.settings = world.settings.with_mirrors([f"{registry.host}=http://{evil.host}"])
            world.pull(f"{registry.host}/org/app:1")
        with find_image([world.store], f"{registry.host}/org/app:1", AMD).layers[0].open() as stream:
            assert stream.read() == BIG

    def test_our_credentials_are_for_the_registry_alone(
        self, registry: Registry, world: World, maker: LayoutMaker
    ) -> None:
        mirror = Registry(auth="basic", user="ann", password="secret")
        mirror.take(maker.folder)
        world.login(registry.host, "ann", "secret")
        with mirror.serving():
            world.settings = world.settings.with_mirrors([f"{registry.host}=http://{mirror.host}"])
            world.pull(f"{registry.host}/org/app:1")
        assert any("wants to know who we are" in note for note in world.notes())


def test_two_at_once(registry: Registry, world: World) -> None:
    registry.cut[digest_of(BIG)] = [1000, 1000, 1000, 1000]
    problems: list[CoveError] = []

    def pull() -> None:
        try:
            world.pull(f"{registry.host}/org/app:1")
        except CoveError as error:
            problems.append(error)

    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [image.platforms for image in world.store.images()] == [("linux/amd64",)]
    with find_image([world.store], f"{registry.host}/org/app:1", AMD).layers[0].open() as stream:
        assert stream.read() == BIG
