# SPDX-License-Identifier: Apache-2.0
"""Troubles made for real, and found."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cove.host import system_socket
from cove.machine import autostart
from cove.machine.contexts import context_store, write_context
from cove.machine.doctor.examine import examine
from cove.machine.doctor.finding import Finding
from cove.machine.doctor.gather import gather
from cove.machine.doctor.network import asked, connection_trouble
from cove.machine.store import State, StateRecord, Store, write_state
from cove.spec.shares import Share
from cove.system.paths import Home
from cove.system.process import Identity
from tests.unit.machine.world import SPEC, short_home

HOST = {
    "no-driver", "kvm-absent", "kvm-forbidden", "kvm-unusable", "memory-place", "landlock-missing",
    "landlock-old", "seccomp-missing", "namespaces-missing", "disk-full", "disk-low", "dns-none",
    "host-file-missing", "home-remote",
}  # fmt: skip
"""What may be wrong with whatever host runs the tests."""


@pytest.fixture
def store() -> Iterator[Store]:
    with short_home() as home:
        home.root.chmod(0o700)
        yield Store(home)


@pytest.fixture
def env(store: Store, tmp_path: Path) -> dict[str, str]:
    """A user who has nothing."""
    return {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}


def found(store: Store, env: dict[str, str]) -> dict[str, Finding]:
    findings = examine(gather(store, env)).findings
    return {finding.id: finding for finding in findings if finding.id not in HOST}


def test_a_new_user_has_nothing_wrong(store: Store, env: dict[str, str]) -> None:
    assert found(store, env) == {}
    store.create(SPEC)
    before = sorted(store.home.root.rglob("*"))
    assert found(store, env) == {}
    assert sorted(store.home.root.rglob("*")) == before


def test_a_home_that_is_not_there_yet(env: dict[str, str], tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    assert set(found(Store(Home(home, home / "cache")), env)) <= {"socket-path-long"}
    assert not (tmp_path / "not").exists()


def test_files_of_machines(store: Store, env: dict[str, str]) -> None:
    store.create(SPEC).paths.spec.write_text("{}")
    lost = store.create(replace(SPEC, name="lost", shares=(Share(path="/no/such/folder"),)))
    store.set_image(lost, "an-image")
    write_state(lost.paths, StateRecord(state=State.STOPPED))
    rest = store.home.machine("rest").root
    rest.mkdir()
    (rest / "data.img").touch()
    findings = found(store, env)
    assert set(findings) == {"machine-damaged", "data-disk-missing", "share-missing", "machine-remnant"}
    assert findings["machine-damaged"].subject == "dev"
    assert findings["share-missing"].fix == "mkdir -p /no/such/folder"
    assert findings["machine-remnant"].fix.startswith(f"rm -r {rest}, unless")


def test_processes_of_a_dead_supervisor(store: Store, env: dict[str, str]) -> None:
    paths = store.create(SPEC).paths
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        try:
            identity = Identity.of(child.pid)
            assert identity is not None
            gone = Identity(2**22 - 1, "1")
            record = StateRecord(state=State.RUNNING, processes={"supervisor": gone, "gvproxy": identity})
            write_state(paths, record)
            finding = found(store, env)["machine-leftovers"]
            assert f"gvproxy {child.pid}" in finding.what
        finally:
            child.send_signal(signal.SIGKILL)
    assert found(store, env)["machine-failed"].what == (
        "it has failed: the supervisor died while the machine was running"
    )


def test_a_running_machine_that_says_nothing(store: Store, env: dict[str, str]) -> None:
    paths = store.create(SPEC).paths
    own = Identity.of(os.getpid())
    assert own is not None
    ports = [
        {
            "container": "web",
            "protocol": "tcp",
            "address": "::",
            "port": port,
            "container_port": 1,
            "error": error,
        }
        for port, error in ((80, os.strerror(13)), (8080, os.strerror(98)), (8081, None))
    ]
    write_state(paths, StateRecord(state=State.RUNNING, processes={"supervisor": own}, ports=tuple(ports)))
    assert set(found(store, env)) == {
        "supervisor-silent", "agent-silent", "engine-silent", "port-low", "port-taken",
    }  # fmt: skip


def test_the_driver_of_a_machine(store: Store, env: dict[str, str]) -> None:
    store.create(replace(SPEC, driver="vz"))
    assert found(store, env)["machine-driver"].subject == "dev"


def test_config(store: Store, env: dict[str, str]) -> None:
    store.home.config.write_text("dokcer: {}\n")
    assert found(store, env)["config-damaged"].why == "unknown setting 'dokcer'"


def test_paths_that_are_too_long(env: dict[str, str], tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir(mode=0o700)
    finding = found(Store(Home(deep, deep / "cache")), env)["socket-path-long"]
    assert finding.subject.startswith(f"{deep}/m/default/vm/u/")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_somebody_else(store: Store, env: dict[str, str]) -> None:
    os.chown(store.home.root, 12345, 12345)
    assert "home-foreign" in found(store, env)
    os.chown(store.home.root, 0, 0)


def test_proxies(store: Store, env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        env |= {"https_proxy": f"http://127.0.0.1:{port}", "HTTP_PROXY": "http://me:secret@:x"}
        findings = found(store, env)
        assert set(findings) == {"proxy-malformed"}
        assert "secret" not in json.dumps([finding.to_dict() for finding in findings.values()])
    del env["HTTP_PROXY"]
    finding = found(store, env)["proxy-unreachable"]
    assert (finding.subject, "Connection refused" in finding.what) == ("https_proxy", True)
    env["NO_PROXY"] = env.pop("https_proxy")
    store.home.config.write_text(f"proxies: {{http-proxy: 'localhost:{port}'}}\n")
    assert found(store, env)["proxy-unreachable"].subject == "proxies: http-proxy"


def test_a_proxy_elsewhere_is_not_asked_unless_allowed(store: Store, env: dict[str, str]) -> None:
    env["HTTPS_PROXY"] = "http://192.0.2.1:3128"
    examination = examine(gather(store, env))
    assert "proxy-unreachable" in examination.skipped
    assert "proxy-unreachable" not in {finding.id for finding in examination.findings}


def test_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connection_trouble("127.0.0.1", port) == ""
    assert connection_trouble("127.0.0.1", port) == "Connection refused"


def test_contexts(store: Store, env: dict[str, str], tmp_path: Path) -> None:
    env["DOCKER_CONFIG"] = str(tmp_path / "docker")
    machine = store.create(SPEC)
    contexts = context_store(store.home, env)
    write_context(machine, contexts)
    assert found(store, env) == {}
    store.remove(machine.paths)
    assert found(store, env)["context-stale"].severity == "warning"
    contexts.use("cove-dev")
    finding = found(store, env)["context-stale"]
    assert (finding.severity, finding.fix) == ("problem", "docker context rm --force cove-dev")


def test_docker_host(store: Store, env: dict[str, str]) -> None:
    path = store.create(SPEC).paths.docker_socket
    env["DOCKER_HOST"] = f"unix://{path}"
    assert found(store, env)["docker-host-stale"].subject == str(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert found(store, env) == {}
    env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"  # somebody else's
    assert found(store, env) == {}


def test_a_current_context_that_is_not_there(store: Store, env: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text('{"currentContext": "colima"}')
    finding = found(store, env)["context-missing"]
    assert (finding.subject, finding.fix) == ("colima", "docker context use default")
    assert found(store, env | {"DOCKER_CONTEXT": "default"}) == {}
    assert found(store, env | {"DOCKER_HOST": "tcp://192.0.2.1:2375"}) == {}
    assert found(store, env | {"DOCKER_CONTEXT": "gone"})["context-missing"].fix == "unset DOCKER_CONTEXT"
    machine = store.create(SPEC)
    write_context(machine, context_store(store.home, env))
    assert found(store, env | {"DOCKER_CONTEXT": "cove-dev"}) == {}


def test_the_system_socket(
    store: Store, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "docker.sock"
    monkeypatch.setattr(system_socket, "SYSTEM_SOCKET", place)
    path = store.create(SPEC).paths.docker_socket
    place.symlink_to(path)
    assert found(store, env)["system-socket-stale"].subject == str(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert found(store, env) == {}
    place.unlink()
    place.symlink_to(tmp_path / "nothing of ours")
    assert found(store, env) == {}


def test_docker_configuration(store: Store, env: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text("{")
    assert found(store, env)["docker-config-damaged"].subject == str(config)
    config.write_text('{"credsStore": "desktop", "credHelpers": {"a": "here", "b": "desktop"}}')
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker-credential-here").touch(0o755)
    env["PATH"] = str(programs)
    assert found(store, env)["credential-helper-missing"].subject == "docker-credential-desktop"
    (programs / "docker-credential-desktop").touch(0o755)
    assert found(store, env) == {}


def test_a_machine_that_is_gone_and_started_at_logins(store: Store, env: dict[str, str]) -> None:
    machine = store.create(SPEC)
    autostart.enable(machine, env)
    with short_home() as other:
        autostart.enable(Store(other).create(replace(SPEC, name="theirs")), env)
        assert found(store, env) == {}
        store.remove(machine.paths)
        assert found(store, env)["autostart-stale"].subject == "dev"


def test_programs_of_the_host(store: Store, env: dict[str, str], tmp_path: Path) -> None:
    env |= {"COVE_TOOLS": "system", "PATH": str(tmp_path)}
    findings = [one for one in examine(gather(store, env)).findings if one.id == "tool-missing"]
    assert {"docker", "net", "image"} <= {finding.subject for finding in findings}
    assert all("was not found" in finding.why and "apt install" in finding.fix for finding in findings)


def test_name_servers_that_say_nothing(store: Store, env: dict[str, str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver 127.0.0.1\nport {port}\n")
    store.home.config.write_text(f"resolv_conf: {conf}\n")
    facts = gather(store, env)
    assert facts.names.servers == ("127.0.0.1",)
    assert asked(facts.names, port).silent == ("127.0.0.1",)
    conf.write_text("search example\n")
    assert gather(store, env).names.servers == ()
