# SPDX-License-Identifier: Apache-2.0
"""The engine as programs use it: docker-py, through what ``cove env`` says."""

from __future__ import annotations

import os
import shlex
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound, NotFound

from tests.integration.world import BUSYBOX, Machine


def connect(machine: Machine) -> docker.DockerClient:
    """A client made from the lines that a shell would evaluate."""
    lines = machine.home.cove("env", machine.name, "--shell", "bash").stdout.decode()
    words = shlex.split(next(line for line in lines.splitlines() if line.startswith("export ")))
    environment = dict(word.split("=", 1) for word in words[1:])
    return docker.DockerClient.from_env(environment=environment, timeout=120)


@pytest.fixture(scope="module")
def engine(machine: Machine) -> Iterator[docker.DockerClient]:
    machine.docker("pull", BUSYBOX)
    client = connect(machine)
    yield client
    client.close()


def test_version_and_info(engine: docker.DockerClient, machine: Machine) -> None:
    assert engine.ping()
    version, info = engine.version(), engine.info()
    assert version["Os"] == "linux"
    assert version["KernelVersion"] == machine.shell("uname", "-r").stdout.decode().strip()
    assert info["Driver"] == "overlay2"
    assert info["CgroupVersion"] == "2"
    assert not info["LiveRestoreEnabled"]
    assert {"crun", "runc"} <= set(info["Runtimes"])
    assert not [line for line in info.get("Warnings") or [] if "TCP" in line or "insecure" in line.lower()]


def test_run_logs_and_exec(engine: docker.DockerClient) -> None:
    assert engine.containers.run(BUSYBOX, "echo hello", remove=True) == b"hello\n"
    container = engine.containers.run(BUSYBOX, ["sh", "-c", "echo out; sleep 1000"], detach=True)
    try:
        lines = container.logs(stream=True, follow=True)
        assert next(lines) == b"out\n"
        lines.close()
        code, output = container.exec_run(["sh", "-c", "echo $A; exit 4"], environment={"A": "b"})
        assert (code, output) == (4, b"b\n")
    finally:
        container.remove(force=True)


def test_what_is_not_there_is_refused(engine: docker.DockerClient) -> None:
    with pytest.raises(NotFound):
        engine.containers.get("no-such-container")
    with pytest.raises(ImageNotFound):
        engine.images.get("no-such-image")


def test_attach_in_both_directions(engine: docker.DockerClient) -> None:
    """A hijacked connection, closed for writing on our side first."""
    container = engine.containers.create(BUSYBOX, ["sh", "-c", "sort; echo end"], stdin_open=True)
    try:
        stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        raw = stream._sock
        raw.sendall(b"b\na\n")
        raw.shutdown(1)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
        raw.close()
        stream.close()
        frames = []
        while answer:
            size = int.from_bytes(answer[4:8])
            frames.append(answer[8 : 8 + size])
            answer = answer[8 + size :]
        assert b"".join(frames) == b"a\nb\nend\n"
        assert container.wait(timeout=30)["StatusCode"] == 0
    finally:
        container.remove(force=True)


def test_events_arrive_as_they_happen(engine: docker.DockerClient) -> None:
    label = f"cove-test={uuid.uuid4()}"
    # the engine answers before it has subscribed us, so the first event could be missed without a time to begin at
    events = engine.events(
        decode=True, filters={"type": "container", "label": label}, since=int(time.time()) - 60
    )
    seen: list[str] = []
    died = threading.Event()

    def watch() -> None:
        for event in events:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                died.set()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    engine.containers.run(BUSYBOX, "true", remove=True, labels=dict([label.split("=")]))
    arrived = died.wait(60)
    events.close()
    watcher.join(10)
    events._response.close()  # docker-py leaves it open
    assert arrived, seen
    assert [action for action in seen if action != "attach"] == ["create", "start", "die", "destroy"]


def test_files_go_in_and_out(uml: Machine, tmp_path: Path) -> None:
    """docker cp, there and back."""
    source = os.urandom(300_000)
    uml.run("-d", "--name", "files", BUSYBOX, "sleep", "1000")
    try:
        (tmp_path / "in").write_bytes(source)
        uml.docker("cp", tmp_path / "in", "files:/copied")
        uml.docker("cp", "files:/copied", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == source
    finally:
        uml.docker("rm", "-f", "files")


def test_a_named_volume_outlives_a_restart(machine: Machine) -> None:
    client = connect(machine)
    try:
        volume = client.volumes.create("kept")
        mount = {"kept": {"bind": "/data", "mode": "rw"}}
        client.containers.run(BUSYBOX, ["sh", "-c", "echo precious >/data/file"], volumes=mount, remove=True)
        before = machine.boot_id()
        machine.home.cove("restart", machine.name)
        assert machine.boot_id() != before
        # the same client goes on: the socket has the same path
        read = client.containers.run(BUSYBOX, "cat /data/file", volumes=mount, remove=True)
        assert read == b"precious\n"
        volume.remove()
    finally:
        client.close()


def test_restart_policies_hold_across_a_restart(uml: Machine) -> None:
    uml.run(
        "-d", "--name", "phoenix", "--restart", "always", "--stop-signal", "KILL", BUSYBOX, "sleep", "1000"
    )
    try:
        uml.home.cove("restart", uml.name)
        state = uml.docker("inspect", "-f", "{{.State.Running}}", "phoenix").stdout
        assert state == b"true\n"
    finally:
        uml.docker("rm", "-f", "phoenix")
