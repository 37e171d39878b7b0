# SPDX-License-Identifier: Apache-2.0
"""What every driver promises, held by the fake and by real processes that stand in for a VMM."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from pathlib import Path

import pytest

from cove.errors import MachineError, ToolError, UnsupportedError
from cove.spec.machine import MachineSpec
from cove.system.process import Command, Identity
from cove.vmm.base import BootFiles, Runtime, Vm, Vmm, unsupported
from cove.vmm.fake import STAGES, Fake
from cove.vmm.process_vm import describe_exit, start_process
from cove.vmm.qemu import Qemu
from cove.vmm.uml import Uml
from cove.vmm.vz import Vz

SPEC = MachineSpec(name="m", driver="uml", accel="none", cpus=1, memory=2**30, disk=2**30)
BOOT = BootFiles(kernel=Path("/k"), initrd=Path("/i"), root=Path("/r"), data=Path("/d"), settings=Path("/s"))
SCRIPT = """
trap 'echo "reboot: Power down"; exit 0' USR1
for stage in kernel root disk network agent engine; do echo "cove-stage $stage 0.1"; done
echo warning >&2
while :; do sleep 0.02; done
"""


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(
        folder=tmp_path,
        net_socket=tmp_path / "net",
        qmp_socket=tmp_path / "qmp",
        uml_dir=tmp_path / "uml",
        console_log=tmp_path / "console.log",
        memory_dir=tmp_path / "mem",
    )


async def start(kind: str, runtime: Runtime, seen: asyncio.Queue[str]) -> Vm:
    if kind == "fake":
        fake = Fake()
        return await fake.start(fake.command(SPEC, BOOT, runtime, {}), runtime, seen.put_nowait)
    vms: list[Vm] = []

    async def press() -> None:
        vms[0].identity.signal_group(signal.SIGUSR1)

    command = Command(("/bin/sh", "-c", SCRIPT), {})
    vms.append(await start_process(command, runtime, seen.put_nowait, name="sh", button=press))
    return vms[0]


async def until(seen: asyncio.Queue[str], text: str) -> None:
    async with asyncio.timeout(10):
        while await seen.get() != text:
            pass


@pytest.mark.parametrize("kind", ["fake", "process"])
async def test_boots_and_powers_down(kind: str, runtime: Runtime) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    vm = await start(kind, runtime, seen)
    for stage in STAGES:
        async with asyncio.timeout(10):
            while not (line := await seen.get()).startswith(f"cove-stage {stage} "):
                assert not line.startswith("cove-stage")
    assert vm.identity.alive()
    await vm.power_button()
    ended = await asyncio.wait_for(vm.wait(), 10)
    assert (ended.ending, ended.code, ended.clean) == ("shutdown", 0, True)
    assert await vm.wait() == ended
    assert "reboot: Power down" in runtime.console_log.read_text()


@pytest.mark.parametrize("kind", ["fake", "process"])
async def test_kill_ends_it_and_all_waiters_learn(kind: str, runtime: Runtime) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    vm = await start(kind, runtime, seen)
    waiters = [asyncio.create_task(vm.wait()) for _ in range(3)]
    gone = asyncio.create_task(vm.wait())
    await asyncio.sleep(0)
    gone.cancel()  # one that lost interest changes nothing for the others
    await vm.kill()
    for ended in await asyncio.wait_for(asyncio.gather(*waiters), 10):
        assert (ended.ending, ended.code, ended.clean) == ("killed", -signal.SIGKILL, False)
    await vm.kill()


async def test_a_process_is_gone_after_kill(runtime: Runtime) -> None:
    vm = await start("process", runtime, asyncio.Queue())
    await vm.kill()
    assert Identity.of(vm.identity.pid) is None


async def test_stderr_is_part_of_the_console(runtime: Runtime) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    vm = await start("process", runtime, seen)
    await until(seen, "warning")
    await vm.kill()
    assert "warning" in runtime.console_log.read_text()


async def test_last_words_of_a_vmm_that_fails(runtime: Runtime) -> None:
    async def press() -> None:
        raise unsupported("sh", "press the power button")

    command = Command(("/bin/sh", "-c", "echo qemu: cannot open data.img >&2; exit 1"), {})
    vm = await start_process(command, runtime, lambda _line: None, name="QEMU", button=press)
    ended = await asyncio.wait_for(vm.wait(), 10)
    assert ended.reason == "QEMU failed with exit code 1: qemu: cannot open data.img"
    with pytest.raises(UnsupportedError, match="the driver sh cannot press"):
        await vm.power_button()


async def test_a_missing_program_leaves_nothing(runtime: Runtime) -> None:
    with pytest.raises(ToolError):
        await Uml().start(Command(("/nonexistent",), {}), runtime, lambda _line: None)


@pytest.mark.parametrize(
    ("code", "console", "ending"),
    [
        (0, ["reboot: Power down"], "shutdown"),
        (0, ["[ 3.2] reboot: Restarting system"], "reboot"),
        (0, ["[ 2.3] Kernel panic - not syncing: sysrq triggered crash", "RSP: 0"], "panic"),
        (-6, ["Kernel panic - not syncing: VFS: Unable to mount root fs"], "panic"),
        (-9, [], "killed"),
        (1, [], "failed"),
    ],
)
def test_endings(code: int, console: list[str], ending: str) -> None:
    assert describe_exit("QEMU", code, console).ending == ending


@pytest.mark.parametrize("driver", [Qemu(), Uml(), Vz(), Fake()])
def test_capabilities_are_told(driver: Vmm) -> None:
    assert driver.capabilities.power_button
    assert driver.capabilities.suspend == (driver.name == "qemu")


async def test_who_cannot_suspend_says_who_can(runtime: Runtime, tmp_path: Path) -> None:
    for kind in ("fake", "process"):
        vm = await start(kind, runtime, asyncio.Queue())
        for refused in (vm.save(tmp_path / "saved"), vm.go_on()):
            with pytest.raises(UnsupportedError, match=r"the driver (uml|sh) cannot suspend") as caught:
                await refused
            assert "--driver qemu" in (caught.value.hint or "")
        await vm.kill()
    incoming = dataclasses.replace(runtime, incoming=tmp_path / "saved")
    for driver in (Uml(), Fake()):
        with pytest.raises(UnsupportedError, match="the driver uml cannot suspend"):
            await driver.start(Command(("/nonexistent",), {}), incoming, lambda _line: None)


async def test_the_fake_can_suspend(runtime: Runtime, tmp_path: Path) -> None:
    fake = Fake(suspend=True)
    command = fake.command(SPEC, BOOT, runtime, {})
    vm = await fake.start(command, runtime, lambda _line: None)
    await vm.save(tmp_path / "saved")
    await vm.kill()
    seen: list[str] = []
    incoming = dataclasses.replace(runtime, incoming=tmp_path / "saved")
    vm = await fake.start(command, incoming, seen.append)
    await vm.go_on()
    assert not any("cove-stage" in line for line in seen)
    await vm.kill()
    (tmp_path / "saved").write_text("something else")
    with pytest.raises(MachineError, match="could not load"):
        await fake.start(command, incoming, seen.append)


async def test_the_fake_can_hang_fail_and_lack_a_button(runtime: Runtime) -> None:
    fake = Fake(stages=("kernel",), exit_code=3, power_button=False)
    vm = await fake.start(fake.command(SPEC, BOOT, runtime, {}), runtime, lambda _line: None)
    with pytest.raises(UnsupportedError, match="the driver uml cannot press the power button"):
        await vm.power_button()
    ended = await asyncio.wait_for(vm.wait(), 10)
    assert (ended.ending, ended.code) == ("failed", 3)
    assert "cove-stage kernel" in ended.reason
