# SPDX-License-Identifier: Apache-2.0
"""Registries on the host's loopback: with a private authority and a password, insecure, as a mirror, behind a proxy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from cove.sdk import Client
from tests.integration.registry import PASSWORD, USER, Authority, Proxy, Registry, programs, proxy, registry
from tests.integration.world import BUSYBOX, Home, Machine, talk


@dataclass
class World:
    """One machine and what is on the loopback of its host.

    Args:
        machine: knows ``authority``, that ``plain`` and ``mirror`` are insecure, and ``mirror``.
        secure: with a certificate of ``authority``, and users.
        foreign: with a certificate of an authority that the machine does not know.
        plain: plain http.
        late: plain http too, and the machine does not know at first.
        mirror: plain http.
        proxy: leads to ``secure`` as registry.test, and to ``plain`` as plain.test.
    """

    machine: Machine
    secure: Registry
    foreign: Registry
    foreign_authority: Path
    plain: Registry
    late: Registry
    mirror: Registry
    proxy: Proxy


@pytest.fixture(scope="module", params=["uml", "qemu"])
def world(
    request: pytest.FixtureRequest, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("registries")
    with ExitStack() as stack:
        home = Home.make(cache)
        stack.callback(home.close)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COVE_CACHE", str(cache))
            tools = programs(Client(home.root).workshop())
        places = [folder / name for name in ("one", "other")]
        for place in places:
            place.mkdir()
        known, foreign = (Authority(tools["openssl"], place) for place in places)

        def serve(name: str, tls: tuple[Path, Path] | None = None, *, users: bool = False) -> Registry:
            return stack.enter_context(
                registry(tools["docker-registry"], folder / name, tls=tls, users=users)
            )

        secure = serve("secure", known.issue("host.docker.internal", "registry.test"), users=True)
        plain, mirror = serve("plain"), serve("mirror")
        hops = stack.enter_context(proxy({"registry.test:443": secure.port, "plain.test:80": plain.port}))
        home.env |= {"HTTPS_PROXY": hops.url, "HTTP_PROXY": hops.url, "NO_PROXY": "localhost"}
        (home.root / "config.yml").write_text(
            f"ca_certificates: [{known.certificate}]\ndocker: {{labels: [cove=test]}}\n"
        )
        accel = ("--accel", "tcg") if request.param == "qemu" else ()
        home.cove(
            "create", "--driver", request.param, *accel, "--registry-mirror", f"http://127.0.0.1:{mirror.port}",
            *(word for each in (plain.name, mirror.name, "plain.test") for word in ("--insecure-registry", each)),
        )  # fmt: skip
        machine = home.machine()
        machine.start(deadline=300)
        machine.docker("pull", BUSYBOX)
        yield World(
            machine=machine, secure=secure, foreign=serve("foreign", foreign.issue("host.docker.internal")),
            foreign_authority=foreign.certificate, plain=plain, late=serve("late"), mirror=mirror, proxy=hops,
        )  # fmt: skip


def login(world: World, name: str, password: str, *, code: int = 0) -> str:
    done = world.machine.docker(
        "login", "-u", USER, "--password-stdin", name, stdin=password.encode(), code=code
    )
    return done.stdout.decode() + talk(done)


def push(world: World, name: str, *, code: int = 0) -> str:
    """Push the built-in image under this name, and forget the name."""
    world.machine.docker("tag", BUSYBOX, name)
    done = world.machine.docker("push", "-q", name, code=code)
    world.machine.docker("rmi", name)
    return talk(done)


def pull_and_run(world: World, name: str) -> None:
    world.machine.docker("pull", "-q", name)
    assert world.machine.run("--rm", name, "echo", "hello").stdout == b"hello\n"
    world.machine.docker("rmi", name)


def test_a_private_authority_and_a_password(world: World) -> None:
    name = f"{world.secure.name}/cove/hello"
    assert "no basic auth credentials" in push(world, name, code=1)
    assert "401 Unauthorized" in login(world, world.secure.name, "wrong", code=1)
    assert "Login Succeeded" in login(world, world.secure.name, PASSWORD)
    push(world, name)
    pull_and_run(world, name)


def test_a_credential_helper_of_this_host(world: World, tmp_path: Path) -> None:
    """As docker-credential-osxkeychain on a Mac: docker asks it, and no file has secrets."""
    home = world.machine.home
    secrets, asked = tmp_path / "keychain", tmp_path / "asked"
    helper = tmp_path / "bin/docker-credential-keychain"
    helper.parent.mkdir()
    helper.write_text(
        f"#!/bin/sh\necho $1 >> {asked}\n"
        f"case $1 in store) cat > {secrets};; erase) rm -f {secrets};;\n"
        f"get) [ -f {secrets} ] && cat {secrets} || {{ echo credentials not found in native keychain; exit 1; }};;\n"
        "list) echo '{}';; esac\n"
    )
    helper.chmod(0o755)
    config = home.root / "user/config.json"
    before, path = config.read_bytes() if config.exists() else None, home.env.get("PATH")
    home.env["PATH"] = f"{helper.parent}:{os.environ['PATH']}"
    config.write_text('{"credsStore": "keychain"}')
    try:
        name = f"{world.secure.name}/cove/keychain"
        assert "no basic auth credentials" in push(world, name, code=1)
        assert "Login Succeeded" in login(world, world.secure.name, PASSWORD)
        assert json.loads(secrets.read_bytes())["Username"] == USER
        assert PASSWORD not in config.read_text()
        push(world, name)
        pull_and_run(world, name)
        assert {"get", "store"} <= set(asked.read_text().split())
        world.machine.docker("logout", world.secure.name)
        assert not secrets.exists()
        assert "no basic auth credentials" in push(world, name, code=1)
    finally:
        config.unlink()
        if before is not None:
            config.write_bytes(before)
        home.env["PATH"] = path or os.environ["PATH"]


def test_a_build_from_there(world: World, tmp_path: Path) -> None:
    login(world, world.secure.name, PASSWORD)
    push(world, f"{world.secure.name}/cove/base")
    (tmp_path / "Dockerfile").write_text(f"FROM {world.secure.name}/cove/base\nRUN echo built > /made\n")
    world.machine.docker("build", "-q", "-t", "made", tmp_path)
    assert world.machine.run("--rm", "made", "cat", "/made").stdout == b"built\n"


def test_an_insecure_registry(world: World) -> None:
    push(world, f"{world.plain.name}/hello")
    pull_and_run(world, f"{world.plain.name}/hello")


def test_an_authority_that_nobody_named(world: World) -> None:
    """Refused, until its certificate lies in docker's own certs.d of the user and the machine hears of it."""
    name = f"{world.foreign.name}/hello"
    assert "certificate signed by unknown authority" in push(world, name, code=1)
    config = Path(world.machine.home.environment["DOCKER_CONFIG"])
    place = config / "certs.d" / world.foreign.name
    place.mkdir(parents=True)
    (place / "ca.crt").write_bytes(world.foreign_authority.read_bytes())
    world.machine.home.cove("set", "--insecure-registry", "another.test:5000")
    push(world, name)
    pull_and_run(world, name)


def test_an_insecure_registry_named_later_counts_at_once(world: World) -> None:
    """And what runs goes on."""
    world.machine.run("-d", "--name", "stays", BUSYBOX, "sleep", "3600")
    name = f"{world.late.name}/hello"
    assert "server gave HTTP response to HTTPS client" in push(world, name, code=1)
    world.machine.home.cove("set", "--insecure-registry", world.late.name)
    push(world, name)
    pull_and_run(world, name)
    assert world.machine.docker("ps", "-q", "--filter", "name=stays").stdout
    world.machine.docker("rm", "-f", "stays")


def test_a_mirror_is_asked_first(world: World) -> None:
    push(world, f"{world.mirror.name}/library/only-on-the-mirror")
    before = len(world.mirror.said)
    pull_and_run(world, "only-on-the-mirror")
    assert "/v2/library/only-on-the-mirror/manifests" in world.mirror.said[before:]


def test_pulls_go_through_the_hosts_proxy(world: World) -> None:
    """Which listens on the host's loopback, wants a password, and alone knows these names."""
    login(world, world.secure.name, PASSWORD)
    push(world, f"{world.secure.name}/cove/behind")
    push(world, f"{world.plain.name}/behind")
    assert world.proxy.asked == [] or all("test" in each for each in world.proxy.asked)
    login(world, "registry.test", PASSWORD)
    pull_and_run(world, "registry.test/cove/behind")
    pull_and_run(world, "plain.test/behind")
    assert {"CONNECT registry.test:443", "GET plain.test:80"} <= set(world.proxy.asked)
    assert world.proxy.refused == 0


def proxies_in(text: bytes | str) -> dict[str, str]:
    lines = (text if isinstance(text, str) else text.decode()).splitlines()
    return {
        name: value
        for name, _, value in (line.partition("=") for line in lines)
        if name.endswith(("PROXY", "proxy"))
    }


def test_containers_get_the_hosts_proxies(world: World) -> None:
    """From every client, as they reach them, unless they have others."""
    url = world.proxy.url.replace("127.0.0.1", "host.docker.internal")
    given = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), url)
    given |= dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,.docker.internal")
    assert proxies_in(world.machine.sh("env")) == given
    others = proxies_in(world.machine.sh("env", "-e", "HTTP_PROXY=http://other:1", "-e", "no_proxy="))
    assert others == {
        "HTTP_PROXY": "http://other:1", "no_proxy": "", "HTTPS_PROXY": url, "https_proxy": url,
    }  # fmt: skip
    with closing(docker.DockerClient(base_url=world.machine.socket)) as client:
        assert proxies_in(client.containers.run(BUSYBOX, "env", remove=True)) == given


def test_and_so_do_builds(world: World, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN env > /env\n")
    (tmp_path / "compose.yml").write_text("services: {made: {build: ., image: made-too}}\n")
    world.machine.docker("build", "-q", "-t", "made", tmp_path)
    world.machine.docker("compose", "-f", tmp_path / "compose.yml", "build", "-q")
    for image in ("made", "made-too"):
        found = proxies_in(world.machine.run("--rm", image, "cat", "/env").stdout)
        assert found["http_proxy"] == world.proxy.url.replace("127.0.0.1", "host.docker.internal")


def test_what_the_users_docker_configuration_says_counts(world: World, tmp_path: Path) -> None:
    """With a proxy on the host's loopback put right, for Cove's docker and for any other."""
    file = Path(world.machine.home.environment["DOCKER_CONFIG"]) / "config.json"
    before = file.read_text() if file.exists() else "{}"
    # another step than in any other build: proxies do not count for its cache
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN env > /env # of a user\n")
    try:
        file.write_text(
            json.dumps({**json.loads(before), "proxies": {"default": {"httpProxy": "http://localhost:1"}}})
        )
        assert proxies_in(world.machine.sh("env"))["HTTP_PROXY"] == "http://host.docker.internal:1"
        world.machine.docker("build", "-q", "-t", "made", tmp_path)
        found = proxies_in(world.machine.run("--rm", "made", "cat", "/env").stdout)
        assert found["HTTP_PROXY"] == "http://host.docker.internal:1"
        environment = {"Env": ["HTTP_PROXY=http://localhost:1"]}
        with closing(docker.DockerClient(base_url=world.machine.socket)) as client:
            shown = client.containers.run(BUSYBOX, "env", environment=environment["Env"], remove=True)
        assert proxies_in(shown)["HTTP_PROXY"] == "http://host.docker.internal:1"
    finally:
        file.write_text(before)


def test_no_password_of_a_proxy_can_be_read_by_others(world: World) -> None:
    machine = world.machine
    info = json.loads(machine.docker("info", "--format", "{{json .}}").stdout)
    assert "host.docker.internal" in info["HttpProxy"]
    secret = "pass%20word"
    assert secret not in json.dumps(info)
    assert secret not in machine.shell("cat", "/proc/cmdline").stdout.decode()
    for pid in machine.processes().values():
        assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in Path(machine.inspect()["folder"]).rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 24 and secret.encode() in path.read_bytes():
            assert path.name == "settings.img"
            assert path.stat().st_mode & 0o077 == 0
    found = machine.shell("sh", "-c", f"grep -rl {secret} /run/cove | xargs stat -c %a").stdout.split()
    assert found
    assert set(found) == {b"600"}


def test_what_the_user_said_about_the_engine_holds(world: World) -> None:
    assert world.machine.docker("info", "--format", "{{.Labels}}").stdout == b"[cove=test]\n"
    found = world.machine.inspect()["registries"]
    assert world.plain.name in found["insecure"]
    assert len(found["mirrors"]) == 1


def test_settings_that_dockerd_refuses_are_told_soon(home: Home) -> None:
    (home.root / "config.yml").write_text("docker: {no-such-key: 1}\n")
    home.cove("create", "--driver", "uml", "--memory", "512M")
    said = talk(home.cove("start", code=1, deadline=60))
    assert "dockerd does not start: " in said
    assert "no-such-key" in said


def test_settings_that_cove_refuses_are_told_at_once(home: Home) -> None:
    (home.root / "config.yml").write_text("docker: {hosts: [tcp://0.0.0.0:2375]}\nproxies: 3\n")
    home.cove("create", "--driver", "uml")
    said = talk(home.cove("start", code=2))
    assert "Cove needs hosts for itself" in said
    assert "proxies: it is neither" in said
    assert "is not an insecure registry" in talk(
        home.cove("create", "x", "--insecure-registry", "http://a", code=2)
    )
