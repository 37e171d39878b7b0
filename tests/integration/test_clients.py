# SPDX-License-Identifier: Apache-2.0
"""Docker's clients as they come from their registries, led to a machine by its context or by ``cove env``."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiodocker
import pytest

from tests.integration.world import BUSYBOX, Home, Machine, clean_environment, talk

DEBIAN = "cove.internal/debian"

TESTCONTAINERS = f"""
import urllib.request
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

assert testcontainers_config.ryuk_docker_socket == "/var/run/docker.sock"
command = ["sh", "-c", "mkdir /w; echo hello > /w/hello; echo ready; exec httpd -f -p 80 -h /w"]
with (
    DockerContainer("{BUSYBOX}").with_command(command).with_exposed_ports(80)
    .waiting_for(LogMessageWaitStrategy("ready")) as container
):
    url = f"http://{{container.get_container_host_ip()}}:{{container.get_exposed_port(80)}}/hello"
    print(urllib.request.urlopen(url, timeout=30).read().decode().strip())
"""

ASK_ENGINE = """
use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new("/var/run/docker.sock") or die "$!";
print $socket "GET /version HTTP/1.0\\r\\n\\r\\n";
print while <$socket>;
"""


def user_config(home: Home) -> Path:
    """The docker configuration of the user of this home."""
    return Path(home.environment["DOCKER_CONFIG"])


def meta_file(config: Path, context: str) -> Path:
    return config / "contexts" / "meta" / hashlib.sha256(context.encode()).hexdigest() / "meta.json"


def variables(machine: Machine) -> dict[str, str]:
    found: dict[str, str] = machine.home.json("env", machine.name)
    return found


def test_a_context_comes_and_goes_with_its_machine(home: Home) -> None:
    config = user_config(home)
    home.cove("create", "--driver", "uml")
    home.cove("create", "dev", "--driver", "uml")
    assert [one["name"] for one in home.json("context", "ls")] == ["cove", "cove-dev"]
    assert not (config / "config.json").exists()  # none is made the current one
    home.cove("delete", "-f", "dev")
    assert [one["name"] for one in home.json("context", "ls")] == ["cove"]
    assert not meta_file(config, "cove-dev").parent.exists()


def test_a_context_in_use_is_left_with_its_machine(home: Home) -> None:
    home.cove("create", "dev", "--driver", "uml")
    config = user_config(home) / "config.json"
    config.write_text('{"credsStore": "mine"}')
    assert home.cove("context", "use", "dev").stdout == b"cove-dev\n"
    assert json.loads(config.read_text()) == {"credsStore": "mine", "currentContext": "cove-dev"}
    home.cove("delete", "-f", "dev")
    assert json.loads(config.read_text()) == {"credsStore": "mine"}


def test_a_context_of_the_users_own_is_left_alone(home: Home) -> None:
    file = meta_file(user_config(home), "cove-dev")
    file.parent.mkdir(parents=True)
    file.write_text('{"Name":"cove-dev","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://h:1"}}}')
    before = file.read_bytes()
    assert "No docker context was written" in talk(home.cove("create", "dev", "--driver", "uml"))
    home.cove("context", "use", "dev", code=1)
    home.cove("delete", "-f", "dev")
    assert file.read_bytes() == before


def test_docker_reads_the_context_and_writes_the_same(uml: Machine) -> None:
    config = user_config(uml.home)
    (shown,) = json.loads(uml.docker("context", "inspect", "cove-uml").stdout)
    assert shown["Endpoints"]["docker"]["Host"] == uml.socket
    twin = ("--description", "Cove machine uml", "--docker", f"host={uml.socket}")
    uml.docker("context", "create", "twin", *twin)
    try:
        theirs = meta_file(config, "twin").read_text()
        ours = meta_file(config, "cove-uml")
        assert ours.read_text() == theirs.replace('"Name":"twin"', '"Name":"cove-uml"')
        assert ours.stat().st_mode == meta_file(config, "twin").stat().st_mode
    finally:
        uml.docker("context", "rm", "twin")


def test_docker_follows_the_current_context(uml: Machine) -> None:
    """The CLI alone, without ``cove`` around it."""
    cli = subprocess.run(
        [sys.executable, "-c", _FIND_DOCKER, str(uml.home.root)], env=uml.home.environment, check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode().splitlines()  # fmt: skip
    environment = clean_environment(DOCKER_CONFIG=str(user_config(uml.home)))
    uml.home.cove("context", "use", "uml")
    try:
        shown = subprocess.run(
            [*cli, "version", "--format", "{{.Server.KernelVersion}}"], env=environment, capture_output=True,
            check=True,
        )  # fmt: skip
    finally:
        uml.docker("context", "use", "default")
    assert shown.stdout == uml.shell("uname", "-r").stdout


_FIND_DOCKER = """
import sys
from pathlib import Path
from cove.sdk import Client
print("\\n".join(Client(Path(sys.argv[1])).workshop().toolbox("docker").command("docker").argv))
"""


async def test_aiodocker(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.docker("pull", BUSYBOX)
    monkeypatch.setenv("DOCKER_HOST", variables(machine)["DOCKER_HOST"])
    async with aiodocker.Docker() as client:
        assert (await client.version())["Os"] == "linux"
        config: dict[str, Any] = {"Image": BUSYBOX, "Cmd": ["echo", "hello"]}
        container = await client.containers.create(config=config)
        try:
            await container.start()
            assert (await container.wait())["StatusCode"] == 0
            assert await container.log(stdout=True) == ["hello\n"]
        finally:
            await container.delete(force=True)


async def test_aiodocker_by_context(uml: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It looks for contexts below the user's home alone."""
    (tmp_path / ".docker").symlink_to(user_config(uml.home))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "cove-uml")
    async with aiodocker.Docker() as client:
        assert (await client.version())["KernelVersion"] == uml.shell("uname", "-r").stdout.decode().strip()


def test_testcontainers(machine: Machine) -> None:
    """Without its own clean-up container (ryuk), whose image is on a registry."""
    machine.docker("pull", BUSYBOX)
    done = subprocess.run(
        [sys.executable, "-c", TESTCONTAINERS],
        env=clean_environment(TESTCONTAINERS_RYUK_DISABLED="true", **variables(machine)),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.decode() == "hello\n", done.stderr.decode()


SOCKET = "/var/run/docker.sock:/var/run/docker.sock"
"""The path that Testcontainers' ryuk, Portainer and CI runners mount."""


def test_a_container_sees_the_engines_socket(machine: Machine) -> None:
    assert machine.sh("test -S /var/run/docker.sock && echo yes", "-v", SOCKET) == "yes\n"


def test_a_container_can_use_the_engine(uml: Machine) -> None:
    answer = uml.run("--rm", "-v", SOCKET, DEBIAN, "perl", "-e", ASK_ENGINE, deadline=400).stdout.decode()
    version = json.loads(answer.partition("\r\n\r\n")[2])
    assert version["KernelVersion"] == uml.shell("uname", "-r").stdout.decode().strip()


def test_env_is_for_every_client(uml: Machine) -> None:
    found = variables(uml)
    assert found == {
        "DOCKER_HOST": uml.socket,
        "TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE": "/var/run/docker.sock",
        "TESTCONTAINERS_HOST_OVERRIDE": "localhost",
        "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    }
    script = (
        'eval "$("$0" env uml --shell bash)"; env; eval "$("$0" env uml --shell bash --unset)"; echo; env'
    )
    cove = str(Path(sys.executable).parent / "cove")
    shell = subprocess.run(
        ["sh", "-c", script, cove], env=uml.home.environment, capture_output=True, check=True
    )
    inside, _, after = shell.stdout.decode().partition("\n\n")
    for name, value in found.items():
        assert f"{name}={value}" in inside.splitlines()
        assert f"\n{name}=" not in after
    assert "DOCKER_HOST" not in os.environ or "DOCKER_HOST" not in uml.home.environment
