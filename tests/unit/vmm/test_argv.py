# SPDX-License-Identifier: Apache-2.0
"""The whole command lines of both drivers as golden files, wrong input included."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import CoveError, UsageError
from cove.spec.facts import HostFacts
from cove.spec.fill import fill
from cove.spec.machine import Architecture, MachineRequest, MachineSpec
from cove.spec.shares import Share
from cove.system.process import Command
from cove.units import GIB, MIB
from cove.vmm.base import BootFiles, Runtime, Vmm
from cove.vmm.boards import BOARDS
from cove.vmm.qemu import Qemu
from cove.vmm.qemu_argv import escape
from cove.vmm.uml import Uml
from cove.vmm.uml_argv import UMID, mconsole_socket
from cove.vmm.vz import Vz

DRIVERS: dict[str, Vmm] = {"uml": Uml(), "qemu": Qemu(), "vz": Vz()}
UML = MachineSpec(name="default", driver="uml", accel="none", cpus=1, memory=2 * GIB, disk=64 * GIB)
TCG = dataclasses.replace(UML, driver="qemu", accel="tcg", cpus=2)
KVM = dataclasses.replace(TCG, accel="kvm", cpus=4, memory=512 * MIB)
NINE_P = dataclasses.replace(
    TCG, mount_type="9p", shares=(Share(path="/home/a,b"), Share(path="/mnt/x", writable=False))
)
ARM = dataclasses.replace(TCG, architecture="aarch64")
BOOT = BootFiles(
    kernel=Path("/i/kernel"),
    initrd=Path("/i/initrd"),
    root=Path("/i/root.erofs"),
    data=Path("/m/data.img"),
    settings=Path("/m/settings.img"),
    cmdline="quiet cgroup_no_v1=all",
)
RUNTIME = Runtime(
    folder=Path("/m"),
    net_socket=Path("/m/net.sock"),
    qmp_socket=Path("/m/qmp.sock"),
    uml_dir=Path("/m/uml"),
    console_log=Path("/m/console.log"),
    memory_dir=Path("/dev/shm"),
    words=("cove.hostname=default",),
)
ON_MAC = dataclasses.replace(RUNTIME, seccomp=False)
SHARES = (Path("/m/fs/0.sock"), Path("/m/fs/1.sock"))
TOOLS = {
    "qemu-system-x86_64": Command(
        ("/t/ld.so", "--argv0", "qemu", "/t/qemu"), {"QEMU_MODULE_DIR": "/t/modules"}
    ),
    "qemu-system-aarch64": Command(("/t/qemu-arm",), {}),
    "linux.uml": Command(("/t/linux.uml",), {"A": "b"}),
    "vfkit": Command(("/opt/homebrew/bin/vfkit",), {}),
}

VZ = dataclasses.replace(
    UML,
    driver="vz",
    cpus=4,
    architecture="aarch64",
    shares=(Share(path="/Users/you"), Share(path="/Volumes/x")),
)

CASES: dict[str, tuple[MachineSpec, BootFiles, Runtime]] = {
    "uml_argv/plain": (UML, BOOT, RUNTIME),
    "uml_argv/small_mtu": (UML, BOOT, dataclasses.replace(RUNTIME, mtu=1500, words=("a=1 b=2", ""))),
    "uml_argv/space_in_path": (UML, dataclasses.replace(BOOT, data=Path("/John Doe/data.img")), RUNTIME),
    "uml_argv/comma_in_socket": (UML, BOOT, dataclasses.replace(RUNTIME, net_socket=Path("/a,b/net.sock"))),
    "uml_argv/machine_folder_with_spaces": (
        UML,
        dataclasses.replace(BOOT, data=Path("/John Doe/m/data.img")),
        dataclasses.replace(
            RUNTIME,
            folder=Path("/John Doe/m"),
            net_socket=Path("/John Doe/m/net.sock"),
            uml_dir=Path("/John Doe/m/uml"),
        ),
    ),
    "uml_argv/colon_in_path": (UML, dataclasses.replace(BOOT, root=Path("/a:b/root")), RUNTIME),
    "uml_argv/second_disk_smuggled": (UML, BOOT, dataclasses.replace(RUNTIME, words=("x ubd2=/etc/passwd",))),
    "uml_argv/line_end_in_word": (UML, BOOT, dataclasses.replace(RUNTIME, words=("a\nb",))),
    "uml_argv/too_long": (UML, dataclasses.replace(BOOT, cmdline="x" * 2000), RUNTIME),
    "uml_argv/shares": (UML, BOOT, dataclasses.replace(RUNTIME, shares=SHARES)),
    "uml_argv/share_smuggled": (UML, BOOT, dataclasses.replace(RUNTIME, words=("virtio_uml.device=/x:26",))),
    "uml_argv/two_cpus": (dataclasses.replace(UML, cpus=2), BOOT, RUNTIME),
    "uml_argv/kvm": (dataclasses.replace(UML, accel="kvm"), BOOT, RUNTIME),
    "qemu_argv/tcg": (TCG, BOOT, RUNTIME),
    "qemu_argv/kvm": (
        KVM,
        BOOT,
        dataclasses.replace(RUNTIME, firmware=(Path("/t/qemu"), Path("/t/seabios"))),
    ),
    "qemu_argv/clone": (
        TCG,
        dataclasses.replace(BOOT, data=Path("/m/data.qcow2"), layers=(Path("/layers/1.img"),)),
        dataclasses.replace(
            RUNTIME,
            memory_file=Path("/m/saved/memory"),
            memory_private=True,
            incoming=Path("/m/saved/devices"),
        ),
    ),
    "qemu_argv/clone_with_shares": (
        dataclasses.replace(TCG, shares=(Share(path="/home/you"),)),
        BOOT,
        dataclasses.replace(RUNTIME, memory_file=Path("/memory"), memory_private=True, shares=SHARES),
    ),
    "vz_argv/plain": (VZ, BOOT, dataclasses.replace(ON_MAC, mtu=1500)),
    "vz_argv/rosetta": (dataclasses.replace(VZ, binfmt=True), BOOT, ON_MAC),
    "vz_argv/intel": (dataclasses.replace(VZ, architecture="x86_64", binfmt=True), BOOT, ON_MAC),
    "vz_argv/comma_in_image": (VZ, dataclasses.replace(BOOT, kernel=Path("/a,b/kernel")), ON_MAC),
    "vz_argv/comma_in_disk": (VZ, dataclasses.replace(BOOT, data=Path("/a,b/data")), ON_MAC),
    "vz_argv/quote_in_words": (VZ, dataclasses.replace(BOOT, cmdline='a="b"'), ON_MAC),
    "vz_argv/long_socket": (VZ, BOOT, dataclasses.replace(ON_MAC, net_socket=Path(f"/{'x' * 80}/n"))),
    "vz_argv/hvf": (dataclasses.replace(VZ, accel="hvf"), BOOT, ON_MAC),
    "qemu_argv/9p": (NINE_P, BOOT, RUNTIME),
    "qemu_argv/x86_64_hvf": (dataclasses.replace(NINE_P, accel="hvf"), BOOT, ON_MAC),
    "qemu_argv/aarch64_hvf": (
        dataclasses.replace(NINE_P, accel="hvf", architecture="aarch64"),
        BOOT,
        ON_MAC,
    ),
    "qemu_argv/aarch64_tcg": (ARM, BOOT, RUNTIME),
    "qemu_argv/aarch64_kvm": (dataclasses.replace(ARM, accel="kvm"), BOOT, RUNTIME),
    "qemu_argv/comma_in_paths": (
        TCG,
        dataclasses.replace(BOOT, root=Path("/a,b/root"), data=Path("/a,readonly=on/data")),
        dataclasses.replace(RUNTIME, net_socket=Path("/a,b/net"), qmp_socket=Path("/a,b/qmp")),
    ),
    "qemu_argv/shares": (TCG, BOOT, dataclasses.replace(RUNTIME, shares=SHARES)),
    "qemu_argv/memory_file": (
        TCG,
        BOOT,
        dataclasses.replace(RUNTIME, memory_file=Path("/dev/shm/a,b/memory"), shares=SHARES),
    ),
    "qemu_argv/incoming": (
        TCG,
        BOOT,
        dataclasses.replace(RUNTIME, memory_file=Path("/dev/shm/memory"), incoming=Path("/m/saved/devices")),
    ),
    "qemu_argv/memory_private": (
        TCG,
        BOOT,
        dataclasses.replace(
            RUNTIME, memory_file=Path("/m/memory"), memory_private=True, incoming=Path("/m/devices")
        ),
    ),
    "qemu_argv/memory_private_shared": (
        TCG,
        BOOT,
        dataclasses.replace(RUNTIME, memory_file=Path("/m/memory"), memory_private=True, shares=SHARES),
    ),
    "qemu_argv/no_accel": (dataclasses.replace(TCG, accel="none"), BOOT, RUNTIME),
    "qemu_argv/line_end_in_path": (TCG, dataclasses.replace(BOOT, data=Path("/a\nb")), RUNTIME),
    "qemu_argv/line_end_in_cmdline": (TCG, dataclasses.replace(BOOT, cmdline="a\nb"), RUNTIME),
    "qemu_argv/too_long": (TCG, dataclasses.replace(BOOT, cmdline="x" * 2048), RUNTIME),
}


@pytest.mark.parametrize("name", CASES)
def test_command(name: str, golden: Callable[[str, str], None]) -> None:
    spec, boot, runtime = CASES[name]
    try:
        command = DRIVERS[spec.driver].command(spec, boot, runtime, TOOLS)
    except CoveError as error:
        golden(f"{name}.err", f"{type(error).__name__}: {error.message}\nhint: {error.hint}\n")
    else:
        env = [f"{key}={value}" for key, value in sorted(command.env.items())]
        golden(f"{name}.args", "\n".join([*env, *map(_one_line, command.argv)]) + "\n")


@pytest.mark.parametrize("spec", [UML, TCG, ARM])
def test_a_missing_tool_is_named(spec: MachineSpec) -> None:
    with pytest.raises(CoveError, match="is not in the toolbox"):
        DRIVERS[spec.driver].command(spec, BOOT, RUNTIME, {})


@pytest.mark.parametrize("spec", [UML, TCG])
def test_pure(spec: MachineSpec) -> None:
    found: Vmm = DRIVERS[spec.driver]
    assert found.command(spec, BOOT, RUNTIME, TOOLS) == found.command(spec, BOOT, RUNTIME, TOOLS)


@given(st.text(min_size=1))
def test_escaped_values_stay_one_value(value: str) -> None:
    try:
        escaped = escape(value)
    except UsageError:
        assert any(ord(character) < 32 for character in value)
        return
    # as QEMU's parser reads it: a doubled comma is a comma, a single one ends the value
    assert "," not in escaped.replace(",,", "")
    assert escaped.replace(",,", ",") == value


def test_the_management_console_lies_in_the_machines_folder() -> None:
    assert mconsole_socket(RUNTIME) == Path("/m/uml") / UMID / "mconsole"


def _one_line(word: str) -> str:
    return word.replace("\n", "\\n")


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_under_hvf_all_is_as_in_the_emulation_but_the_processor(architecture: Architecture) -> None:
    """So that what runs here under tcg proves the rest of what a Mac is given."""
    hvf = dataclasses.replace(NINE_P, accel="hvf", architecture=architecture)
    words = DRIVERS["qemu"].command(hvf, BOOT, ON_MAC, TOOLS).argv
    emulated = DRIVERS["qemu"].command(dataclasses.replace(hvf, accel="tcg"), BOOT, RUNTIME, TOOLS).argv
    board = BOARDS[architecture]
    for one in board.kernel_words.get("tcg", ()):
        emulated = tuple(word.replace(f" {one}", "") for word in emulated)
    there = emulated.index("-sandbox")
    without = (*emulated[:there], *emulated[there + 2 :])
    at = without.index("-accel")
    assert words == (*without[:at], *board.cpus["hvf"], *without[at + len(board.cpus["tcg"]) :])


RECORDED = sorted((Path(__file__).parents[2] / "hosts").glob("*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_recorded_host(path: Path, golden: Callable[[str, str], None]) -> None:
    """The whole command line of the machine that ``cove create`` makes there, or the error instead."""
    facts = HostFacts.from_dict(json.loads(path.read_text()))
    runtime = dataclasses.replace(RUNTIME, seccomp=facts.system == "linux")
    try:
        spec, _ = fill(MachineRequest(name="default", shares=(Share(path="/home/you"),)), facts)
        command = DRIVERS[spec.driver].command(spec, BOOT, runtime, TOOLS)
    except CoveError as error:
        golden(f"hosts/{path.stem}.err", f"{type(error).__name__}: {error.message}\nhint: {error.hint}\n")
    else:
        golden(f"hosts/{path.stem}.args", "\n".join(map(_one_line, command.argv)) + "\n")
