# SPDX-License-Identifier: Apache-2.0
"""version, explain, inspect and list say what is, not what was meant."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import BUSYBOX, Machine


@pytest.fixture(scope="module")
def layers(machine: Machine) -> dict[str, dict[str, Any]]:
    machine.run("-d", "--rm", "--name", "explained", BUSYBOX, "sleep", "1000")
    try:
        return {layer["layer"]: layer for layer in machine.home.json("explain", machine.name)}
    finally:
        machine.docker("rm", "-f", "explained")


def host_layers(layers: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        layer
        for layer in layers.values()
        if Path(layer.get("file", "x")).is_absolute() and layer.get("sha256")
    ]


def test_versions_are_the_running_ones(machine: Machine) -> None:
    found = machine.home.json("version", machine.name)
    server = found["server"]
    assert found["client"]["kernel"] == platform.release()
    assert server["kernel"] == machine.shell("uname", "-r").stdout.decode().strip()
    assert server["driver"] == machine.name
    package, version = server["kernel_package"].split()
    lock = json.loads((image_folder(machine) / "lock.json").read_text())
    known = {one["name"]: one["version"] for one in lock["packages"]}
    if machine.name == "qemu":
        assert known[package] == version
        assert package.startswith("linux-image-")
    else:
        assert package == "user-mode-linux"
    engine = json.loads(machine.docker("version", "--format", "json").stdout)
    assert server["engine"] == engine["Server"]["Version"]
    assert "crun" in server["runtime"]


def image_folder(machine: Machine) -> Path:
    assert machine.home.cache is not None
    return machine.home.cache / "images" / str(machine.inspect()["image"])


def test_every_file_on_the_host_is_what_explain_says(layers: dict[str, dict[str, Any]]) -> None:
    found = [layer for layer in host_layers(layers) if "(in the guest)" not in layer["file"]]
    assert len(found) >= 4
    for layer in found:
        assert hashlib.sha256(Path(layer["file"]).read_bytes()).hexdigest() == layer["sha256"], layer


def test_every_process_on_the_host_runs_that_file(
    machine: Machine, layers: dict[str, dict[str, Any]]
) -> None:
    pids = {layer["pid"]: layer for layer in layers.values() if isinstance(layer.get("pid"), int)}
    processes = machine.processes()
    assert processes["supervisor"] in pids
    for role in ("gvproxy", "vmm"):
        pid = processes[role]
        # started through the prefix's own loader, or by itself
        names = {
            str(Path(f"/proc/{pid}/exe").readlink()),
            *Path(f"/proc/{pid}/cmdline").read_text().split("\0"),
        }
        assert pids[pid]["file"] in names


def test_packages_are_those_of_the_lock_beside_the_files(layers: dict[str, dict[str, Any]]) -> None:
    checked = 0
    for layer in host_layers(layers):
        if "package" not in layer or "(in the guest)" in layer["file"]:
            continue
        name, version, *_ = layer["package"].split()
        lock_file = next(
            folder / "lock.json" for folder in Path(layer["file"]).parents if (folder / "lock.json").is_file()
        )
        packages = {one["name"]: one for one in json.loads(lock_file.read_text())["packages"]}
        assert packages[name]["version"] == version
        assert packages[name]["sha256"] == layer["package sha256"]
        checked += 1
    assert checked >= 3


def test_the_guests_part_is_read_from_the_guest(machine: Machine, layers: dict[str, dict[str, Any]]) -> None:
    engine = layers["Guest: Docker Engine"]
    pid = machine.shell("cat", "/run/cove/dockerd.pid").stdout.decode().strip()
    assert engine["pid"].split()[0] == pid
    path = engine["file"].split()[0]
    assert machine.shell("sha256sum", path).stdout.decode().split()[0] == engine["sha256"]
    kernel = machine.shell("cat", "/proc/version").stdout.decode().strip()
    assert layers["Guest kernel"]["what"] == kernel
    assert layers["Host kernel"]["version"].split()[1] == platform.release()


def test_a_container_is_the_last_layer(layers: dict[str, dict[str, Any]]) -> None:
    last = list(layers.values())[-1]
    assert last["layer"] == "Container explained"
    assert last["image"] == BUSYBOX


def test_people_and_programs_are_told_the_same(uml: Machine) -> None:
    text = uml.home.cove("explain", uml.name).stdout.decode()
    assert uml.home.json("explain", uml.name)[2]["sha256"] in text
    assert "uml" in uml.home.cove("list").stdout.decode()
    assert uml.name in uml.home.names()
    assert uml.home.json("status", uml.name)["name"] == uml.name


def test_stages_have_names_and_times(machine: Machine) -> None:
    stages = machine.inspect()["stages"]
    assert [stage["name"] for stage in stages][-1] == "engine"
    assert all(stage["seconds"] >= 0 for stage in stages)
