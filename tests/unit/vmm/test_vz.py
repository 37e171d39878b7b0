# SPDX-License-Identifier: Apache-2.0
"""Virtualization.framework through vfkit: its arguments and its life, held by a stand-in as strict as the real one."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import MachineError, UnsupportedError, UsageError
from cove.spec.machine import MachineSpec
from cove.spec.shares import Share
from cove.system.process import Command
from cove.vmm.base import BootFiles, Runtime, Vm
from cove.vmm.vfkit_argv import arguments, vz_plan
from cove.vmm.vfkit_rest import change_state, machine_state
from cove.vmm.vz import Vz
from tests.unit.vmm import fake_vfkit
from tests.unit.vmm.fake_vfkit import VfkitError, check, string_slice

TOOLS = {"vfkit": Command((sys.executable, fake_vfkit.__file__), {})}


@pytest.fixture
def machine(tmp_path: Path) -> tuple[MachineSpec, BootFiles, Runtime]:
    """A machine with real files; its paths hold what paths hold."""
    folder = tmp_path / "m, x=1"
    folder.mkdir()
    for name in ("kernel", "initrd", "root", "data", "settings"):
        (folder / name).write_bytes(bytes(0x38) + b"ARMd")
    plain = tmp_path / "p"
    plain.mkdir()
    for name in ("root", "data", "settings"):
        (plain / name).touch()
    (plain / "share").mkdir()
    spec = MachineSpec(
        name="m", driver="vz", accel="none", cpus=4, memory=2**31, disk=2**36, architecture="aarch64", binfmt=True,
        shares=(Share(path=str(plain / "share")),),
    )  # fmt: skip
    boot = BootFiles(
        kernel=folder / "kernel", initrd=folder / "initrd", root=plain / "root", data=plain / "data",
        settings=plain / "settings", cmdline="quiet audit=0",
    )  # fmt: skip
    runtime = Runtime(
        folder=tmp_path, net_socket=tmp_path / "n", qmp_socket=tmp_path / "r s", uml_dir=tmp_path / "u",
        console_log=tmp_path / "console.log", memory_dir=tmp_path, mtu=1500, words=("cove.hostname=m",),
    )  # fmt: skip
    return spec, boot, runtime


@pytest.fixture
def gateway(machine: tuple[MachineSpec, BootFiles, Runtime]) -> Iterator[socket.socket]:
    """Where gvproxy would take frames."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(machine[2].net_socket))
        listener.settimeout(10)
        yield listener


def test_vfkit_understands_every_word(machine: tuple[MachineSpec, BootFiles, Runtime]) -> None:
    spec, boot, runtime = machine
    found = check(arguments(vz_plan(spec, boot, runtime)))
    assert (found["cpus"], found["memory"]) == (4, 2048)
    assert found["bootloader"]["kernel"] == str(boot.kernel)
    assert found["bootloader"]["initrd"] == str(boot.initrd)
    assert found["bootloader"]["cmdline"].startswith(
        "quiet audit=0 console=hvc0 panic=-1 cove.root=/dev/vda "
    )
    assert found["rest"] == str(runtime.qmp_socket)
    kinds = [kind for kind, _ in found["devices"]]
    assert kinds == [
        "virtio-blk", "virtio-blk", "virtio-blk", "virtio-net", "virtio-fs", "rosetta", "virtio-rng",
        "virtio-balloon", "virtio-serial",
    ]  # fmt: skip
    root, data, settings = (options for kind, options in found["devices"] if kind == "virtio-blk")
    assert "readonly" in root
    assert "readonly" in settings
    assert data == {"path": str(boot.data), "deviceId": "cove-data"}


@given(st.text(alphabet=st.characters(exclude_characters='"\0', min_codepoint=32), min_size=1))
def test_a_command_line_comes_through_whole(words: str) -> None:
    assert string_slice(f'linux,cmdline="{words}"') == ["linux", f'cmdline="{words}"']


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_rosetta_is_for_apple_silicon_alone(
    machine: tuple[MachineSpec, BootFiles, Runtime], architecture: str
) -> None:
    spec, boot, runtime = machine
    plan = vz_plan(replace(spec, architecture=architecture), boot, runtime)  # type: ignore[arg-type]
    assert plan.rosetta == (architecture == "aarch64")
    assert ("cove.rosetta=rosetta" in plan.cmdline) == plan.rosetta


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": (Share(path="/a,b"),)}, "holds ','"),
        ({"shares": (Share(path="/a\nb"),)}, r"holds '\\n'"),
    ],
)
def test_what_vfkit_cannot_carry_is_refused(
    machine: tuple[MachineSpec, BootFiles, Runtime], change: dict[str, object], message: str
) -> None:
    spec, boot, runtime = machine
    with pytest.raises(UsageError, match=message):
        arguments(vz_plan(replace(spec, **change), boot, runtime))  # type: ignore[arg-type]


def test_a_socket_that_vfkit_could_not_bind_is_refused_before(
    machine: tuple[MachineSpec, BootFiles, Runtime],
) -> None:
    spec, boot, runtime = machine
    with pytest.raises(UsageError, match="may have 103") as caught:
        arguments(vz_plan(spec, boot, replace(runtime, net_socket=Path("/" + "x" * 90 + "/n"))))
    assert caught.value.hint == "Set a shorter COVE_HOME."
    with pytest.raises(UsageError, match="2047"):
        arguments(vz_plan(spec, replace(boot, cmdline="x" * 2000), runtime))


def test_an_accelerator_is_refused(machine: tuple[MachineSpec, BootFiles, Runtime]) -> None:
    spec, boot, runtime = machine
    with pytest.raises(UnsupportedError, match="vz cannot use the accelerator hvf"):
        Vz().command(replace(spec, accel="hvf"), boot, runtime, TOOLS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cpu", "1"], "unknown flag: --cpu"),
        (["--cpus"], "flag needs an argument"),
        (["--cpus", "-1"], "invalid syntax"),
        (["--memory", "2G"], "invalid syntax"),
        (["--device", "virtio-gpu2"], "unknown device type"),
        (["--device", "virtio-rng,x=1"], "unknown option for virtio-rng"),
        (["--device", "virtio-fs,sharedDir=/,mountTag=a,readonly"], "unknown option for virtio-fs"),
        (["--device", "virtio-net,mac=5a:94:ef:e4:0c:ee"], "must be set"),
        (["--device", "virtio-net,nat,mac=5a:94"], "invalid MAC"),
        (["--device", "virtio-blk,path=/nonexistent"], "no such file"),
        (["--device", "virtio-blk,path=/etc/hosts,readonly=on"], "unexpected value"),
        (["--device", "virtio-serial,stdio,logFilePath=/x"], "must be set"),
        (["--device", "rosetta"], "mount tag"),
        (["--timesync", "port=1"], "unknown option for timesync"),
        (["--restful-uri", "unix://host/x"], "host is forbidden"),
        (["--bootloader", 'linux,kernel="/x'], "mismatched"),
        (["more"], "unknown command"),
    ],
)
def test_the_stand_in_is_strict(
    machine: tuple[MachineSpec, BootFiles, Runtime], words: list[str], message: str
) -> None:
    spec, boot, runtime = machine
    with pytest.raises(VfkitError, match=message):
        check([*arguments(vz_plan(spec, boot, runtime)), *words])


async def started(
    machine: tuple[MachineSpec, BootFiles, Runtime], seen: asyncio.Queue[str], **env: str
) -> Vm:
    spec, boot, runtime = machine
    driver = Vz()
    command = driver.command(spec, boot, runtime, TOOLS)
    vm = await driver.start(Command(command.argv, env), runtime, seen.put_nowait)
    async with asyncio.timeout(20):
        while not (await seen.get()).startswith("cove-stage engine"):
            pass
    return vm


async def test_a_machines_life_over_its_restful_service(
    machine: tuple[MachineSpec, BootFiles, Runtime], gateway: socket.socket
) -> None:
    vm = await started(machine, asyncio.Queue())
    assert gateway.recv(16) == b"VFKT"
    rest = machine[2].qmp_socket
    assert await machine_state(rest) == "VirtualMachineStateRunning"
    await change_state(rest, "Pause")
    assert await machine_state(rest) == "VirtualMachineStatePaused"
    with pytest.raises(MachineError, match="VZErrorDomain"):
        await change_state(rest, "Pause")
    await change_state(rest, "Resume")
    await vm.power_button()
    ended = await asyncio.wait_for(vm.wait(), 10)
    assert (ended.ending, ended.code) == ("shutdown", 0)
    with pytest.raises(MachineError, match="does not answer"):
        await machine_state(rest)


async def test_a_guest_that_panics_does_not_boot_again_and_again(
    machine: tuple[MachineSpec, BootFiles, Runtime], gateway: socket.socket
) -> None:
    vm = await started(machine, asyncio.Queue(), FAKE_VFKIT_PANIC="1")
    ended = await asyncio.wait_for(vm.wait(), 20)
    assert (ended.ending, ended.reason) == (
        "panic", "the guest's kernel panicked: VFS: Unable to mount root fs"
    )  # fmt: skip
    assert gateway.recv(16) == b"VFKT"


async def test_a_vfkit_that_refuses_is_a_failure_in_its_words(
    machine: tuple[MachineSpec, BootFiles, Runtime],
) -> None:
    spec, boot, runtime = machine
    boot.kernel.write_bytes(b"\x1f\x8b")
    driver = Vz()
    vm = await driver.start(driver.command(spec, boot, runtime, TOOLS), runtime, lambda _line: None)
    ended = await asyncio.wait_for(vm.wait(), 20)
    assert ended.ending == "failed"
    assert "kernel must be uncompressed" in ended.reason


async def test_it_can_be_killed_and_lacks_growing(
    machine: tuple[MachineSpec, BootFiles, Runtime], gateway: socket.socket
) -> None:
    vm = await started(machine, asyncio.Queue())
    assert gateway.fileno() >= 0
    await vm.kill()
    assert (await vm.wait()).ending == "killed"
    with pytest.raises(UnsupportedError, match="the driver vz cannot grow"):
        await Vz().grow_disk(machine[2].qmp_socket, machine[1].data, 1)
