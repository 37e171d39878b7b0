# SPDX-License-Identifier: Apache-2.0
"""One boot from beginning to end, with a program in place of User-Mode Linux; real terminals, real processes."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cove.errors import MachineError, UsageError
from cove.machine.boot.prepare import BootPlan
from cove.machine.boot.run import boot_folder, run_guest
from cove.spec.boot import Disk, Guest, Kernel
from cove.system.files import try_lock
from cove.system.process import Command
from cove.units import MIB

# a guest of few words: says what its disk holds, repeats what it hears, ends as it is told
GUEST = r"""
for word; do case $word in ubd0d=*) disk=${word#*=} ;; esac; done
echo "disk: $(cat "$disk")"
while read -r line; do
    case $line in
        off) exit 0 ;;
        restart) echo "reboot: Restarting system"; exit 0 ;;
        panic) echo "Kernel panic - not syncing: no init"; exit 0 ;;
        fail) echo "it is broken" >&2; exit 3 ;;
        *) echo "heard: $line" ;;
    esac
done
"""


@pytest.fixture
def plan(tmp_path: Path) -> BootPlan:
    (tmp_path / "disk").write_text("something")
    guest = Guest(
        name="x", architecture="x86_64", accel="none", cpus=1, memory=64 * MIB, kernel=Kernel(image=None),
        disks=(Disk(path=tmp_path / "disk"),), network=False,
    )  # fmt: skip
    (tmp_path / "memory").mkdir()
    return BootPlan(
        guest=guest,
        driver="uml",
        tools={"linux.uml": Command(("/bin/sh", "-c", GUEST, "guest"), {})},
        firmware=(),
        memory_place=tmp_path / "memory",
        host_cpu=None,
        publish=(),
        adopt=lambda program, into: into.write_bytes(program.read_bytes()) and None,
    )


class Person:
    """Sits before a terminal behind which a boot runs, in a process of its own."""

    def __init__(self, plan: BootPlan, folder: Path) -> None:
        self.pid, self.terminal = pty.fork()
        if not self.pid:  # pragma: no cover
            import asyncio

            code = 99
            try:
                code = asyncio.run(run_guest(plan, folder))
            except MachineError as error:
                os.write(1, f"[{error.message} | {error.details}]".encode())
                code = error.exit_code
            finally:
                os._exit(code)
        self.seen = ""

    def expect(self, text: str) -> None:
        end = time.monotonic() + 30
        while text not in self.seen:
            assert select.select([self.terminal], [], [], end - time.monotonic())[0], self.seen
            try:
                self.seen += os.read(self.terminal, 4096).decode()
            except OSError:
                pytest.fail(f"no {text!r} in {self.seen!r}")

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def end(self) -> int:
        try:
            while piece := os.read(self.terminal, 4096):
                self.seen += piece.decode()
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def sit(plan: BootPlan, tmp_path: Path) -> Iterator[Callable[[], Person]]:
    people: list[Person] = []

    def down() -> Person:
        people.append(Person(plan, tmp_path))
        return people[-1]

    yield down
    for person in people:
        os.close(person.terminal)


pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def test_console_and_power_off(sit: Callable[[], Person]) -> None:
    person = sit()
    person.expect("disk: something")
    person.type("hello\n")
    person.expect("heard: hello")
    person.type("off\n")
    assert person.end() == 0


def test_ctrl_a_x(sit: Callable[[], Person]) -> None:
    person = sit()
    person.expect("disk: something")
    person.type("\x01h")
    person.expect("Ctrl-A x")
    person.type("\x01x")
    assert person.end() == 0


def test_a_restart(sit: Callable[[], Person]) -> None:
    person = sit()
    person.expect("disk: something")
    person.type("restart\n")
    person.expect("Restarting")
    person.seen = ""
    person.expect("disk: something")
    person.type("off\n")
    assert person.end() == 0


@pytest.mark.parametrize(("word", "said"), [("panic", "kernel panicked: no init"), ("fail", "it is broken")])
def test_failures(sit: Callable[[], Person], word: str, said: str) -> None:
    person = sit()
    person.expect("disk: something")
    person.type(f"{word}\n")
    assert person.end() == 1
    assert said in person.seen


def test_a_signal(sit: Callable[[], Person]) -> None:
    person = sit()
    person.expect("disk: something")
    os.kill(person.pid, signal.SIGTERM)
    assert person.end() == 128 + signal.SIGTERM


@contextmanager
def input_from(path: Path) -> Iterator[None]:
    """Our stdin is a file during the block."""
    before = os.dup(0)
    opened = os.open(path, os.O_RDONLY)
    os.dup2(opened, 0)
    os.close(opened)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


async def test_what_is_typed_may_be_a_file(
    plan: BootPlan, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "typed").write_text("one\x01x\noff\n")
    with input_from(tmp_path / "typed"):
        assert await run_guest(plan, tmp_path) == 0
    assert b"heard: one\x01x" in capfdbinary.readouterr().out


class TestFolder:
    def test_it_is_private_and_gone_afterwards(self, tmp_path: Path) -> None:
        with boot_folder(tmp_path / "b") as folder:
            assert folder.stat().st_mode & 0o777 == 0o700
        assert list((tmp_path / "b").iterdir()) == []

    def test_what_others_left_is_cleared_and_what_they_use_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "b/dead").mkdir(parents=True)
        (tmp_path / "b/alive").mkdir()
        handle = try_lock(tmp_path / "b/alive/lock")
        with boot_folder(tmp_path / "b") as folder:
            assert {path.name for path in (tmp_path / "b").iterdir()} == {"alive", folder.name}
        assert handle is not None
        os.close(handle)

    def test_a_long_home_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="too long"), boot_folder(tmp_path / ("b" * 90)):
            pass
        assert list((tmp_path / ("b" * 90)).iterdir()) == []
