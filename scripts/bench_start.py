# SPDX-License-Identifier: Apache-2.0
"""How long machines take to answer docker, in all ways to start, beside the VM that Lima-like tools boot.

That VM is Debian with systemd, networkd and docker.io, built here by Cove's builder from the same archive and booted
as an ordinary user by the same QEMU under the same accelerator; no cloud-init, no ssh, no snapd, so it is quicker
than what those tools boot. All ways are measured in turn in one run. Everything is ended and removed afterwards, also
after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cove.machine.assets import Workshop
from cove.sdk import Client, Machine
from cove.system.process import Command

COVE = Path(sys.executable).parent / "cove"
PATIENCE = 300.0
LISTEN = 2375
YAML = Path(__file__).with_name("bench_systemd.yml")


def cove(*args: str) -> float:
    """Seconds that a command of ``cove`` takes; one that fails ends the benchmark with what it said."""
    begun = time.perf_counter()
    done = subprocess.run([str(COVE), *args], check=False, capture_output=True, timeout=2 * PATIENCE)
    if done.returncode != 0:
        raise SystemExit(f"cove {' '.join(args)}: {done.stderr.decode(errors='replace')}")
    return time.perf_counter() - begun


def answer(connect: Callable[[], socket.socket], deadline: float) -> bool:
    """Whether docker answers a ping there."""
    try:
        with connect() as client:
            client.settimeout(deadline)
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.0 200") or False
    except OSError:
        return False


def over_unix(path: Path) -> Callable[[], socket.socket]:
    """Connects to an engine's socket."""

    def connect() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        return client

    return connect


@contextmanager
def command(*args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of ``cove`` that runs meanwhile; one that fails ends the benchmark with what it said."""
    with subprocess.Popen([str(COVE), *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as started:
        try:
            yield started
            said = started.communicate(timeout=PATIENCE)[1]
        finally:
            started.kill()
        if started.returncode != 0:
            raise SystemExit(f"cove {' '.join(args)}: {said.decode(errors='replace')}")


@dataclass(frozen=True)
class Ours:
    """One machine of Cove's.

    Args:
        machine: stopped, with all that it needs in the cache.
    """

    machine: Machine

    def answers(self, *args: str) -> float:
        """Seconds from the exec of a command (or from now) to docker's answer on the machine's socket."""
        begun = time.perf_counter()
        with command(*args) if args else nullcontext():
            while not answer(over_unix(self.machine.docker_socket), PATIENCE):
                if time.perf_counter() - begun > PATIENCE:
                    raise SystemExit(f"{self.machine.name} does not answer")
                time.sleep(0.005)  # nobody tells that a socket is there
            return time.perf_counter() - begun

    def cold(self) -> float:
        """A stopped machine; stopped again."""
        seconds = self.answers("start", self.machine.name)
        cove("stop", self.machine.name)
        return seconds

    def instant(self) -> dict[str, float]:
        """Suspend, resume, sleep, wake on connect, clone; stopped again."""
        name, copy, found = self.machine.name, Ours(Client().machine("copy")), {}
        cove("start", name)
        found["suspend"] = cove("suspend", name)
        found["warm resume"] = self.answers("start", name)
        cove("suspend", "--asleep", name)
        found["wake on connect"] = self.answers()
        cove("suspend", name)
        try:
            found["clone, started"] = copy.answers("clone", "--start", name, "copy")
        finally:
            cove("delete", "--force", "copy")
        cove("stop", "--force", name)
        return found


class Beside:
    """The VM beside ours.

    Args:
        folder: its own; it has an init, ``root.img`` and a kernel after :meth:`build`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workshop: Workshop = Client().workshop()

    def build(self) -> None:
        """Make its disk, and boot it once: systemd does more the first time."""
        for kind in ("kernel+erofs", "tar"):
            cove("build", "--no-sbom", "-f", kind, "--name", "beside", "--dir", str(self._folder), str(YAML))
        tool = self._workshop.toolbox("image").command("mke2fs")
        image = self._folder / "root.img"
        # from a tar owners come along, whoever runs this
        argv = ["-q", "-t", "ext4", "-d", str(self._folder / "beside.tar"), str(image), "3G"]
        subprocess.run([*tool.argv, *argv], env={**os.environ, **tool.env}, check=True, capture_output=True)
        self.boot()

    def boot(self) -> float:
        """From QEMU's exec to docker's answer; ended by its power button."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        monitor = self._folder / "qmp"
        tool = self._command(port, monitor)
        begun = time.perf_counter()
        with (self._folder / "console.log").open("wb") as console:
            vm = subprocess.Popen(
                tool.argv,
                env={**os.environ, **tool.env},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            while not answer(lambda: socket.create_connection(("127.0.0.1", port), 1), 2):
                if vm.poll() is not None or time.perf_counter() - begun > PATIENCE:
                    raise SystemExit((self._folder / "console.log").read_text(errors="replace")[-2000:])
                time.sleep(0.05)  # QEMU's forwarder tells nobody that the guest listens
            seconds = time.perf_counter() - begun
            power_button(monitor)
            with suppress(subprocess.TimeoutExpired):
                vm.wait(60)
            return seconds
        finally:
            vm.kill()
            vm.wait()

    def _command(self, port: int, monitor: Path) -> Command:
        monitor.unlink(missing_ok=True)
        box = self._workshop.toolbox("qemu")
        firmware = [word for folder in box.firmware for word in ("-L", str(folder))]
        here = self._folder
        return box.command("qemu-system-x86_64").with_args(
            *firmware, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2G",
            "-kernel", str(here / "beside-kernel"), "-initrd", str(here / "beside-stage.img"),
            "-append", "console=ttyS0 quiet root=/dev/vda rootfstype=ext4 rw no_timer_check",
            "-drive", f"file={here / 'root.img'},format=raw,if=virtio",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{LISTEN}",
            "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
            "-serial", "stdio", "-qmp", f"unix:{monitor},server=on,wait=off",
        )  # fmt: skip


def power_button(monitor: Path) -> None:
    """Press it, as QEMU's monitor can (QMP)."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(monitor))
        stream = client.makefile("rwb")
        for command in ("qmp_capabilities", "system_powerdown"):
            stream.readline()
            stream.write(json.dumps({"execute": command}).encode() + b"\n")
            stream.flush()
        stream.readline()


@contextmanager
def prepared(driver: str) -> Iterator[Ours]:
    """A machine with all that it needs in the cache, stopped; deleted afterwards."""
    accel = {"qemu": "tcg"}.get(driver, "auto")
    machine = Client().machines.create(driver, driver=driver, accel=accel, mount_none=True)
    try:
        cove("start", driver)
        cove("stop", driver)
        yield Ours(machine)
    finally:
        machine.delete(force=True)


def measure(rounds: int, drivers: Sequence[str], *, beside: bool) -> dict[str, list[float]]:
    """All ways in turn, so that a busy computer is as unfair to one as to the other."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="cove-beside-", dir="/var/tmp") as scratch, ExitStack() as stack:
        ours = {driver: stack.enter_context(prepared(driver)) for driver in drivers}
        other = Beside(Path(scratch)) if beside else None
        if other is not None:
            other.build()
        for _ in range(rounds):
            for driver, one in ours.items():
                found.setdefault(f"{label(driver)}: cold start", []).append(one.cold())
            if other is not None:
                found.setdefault("Debian with systemd, qemu/tcg: cold start", []).append(other.boot())
            if "qemu" in ours:
                for name, seconds in ours["qemu"].instant().items():
                    found.setdefault(f"{label('qemu')}: {name}", []).append(seconds)
    return found


def label(driver: str) -> str:
    """How a driver is named in the table."""
    return {"qemu": "qemu/tcg"}.get(driver, driver)


def show(found: dict[str, list[float]]) -> None:
    """The table, and the ratios that are promised."""
    middle = {name: statistics.median(samples) for name, samples in found.items()}
    for name, samples in found.items():
        print(f"{name:46}{middle[name]:8.2f} s   {min(samples):.2f} to {max(samples):.2f}")
    cold = middle.get("qemu/tcg: cold start")
    pairs = (
        (
            "qemu/tcg: cold start to the systemd VM's",
            cold,
            middle.get("Debian with systemd, qemu/tcg: cold start"),
        ),
        ("qemu/tcg: cold start to warm resume", cold, middle.get("qemu/tcg: warm resume")),
    )
    for name, one, two in pairs:
        if one and two:
            print(f"{name:46}{one / two:8.2f} x")


def stop_on_signals() -> None:
    """SIGTERM ends as Ctrl-C does: what is running is ended on the way out."""

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print all samples as JSON instead of a table")
    parser.add_argument(
        "--rounds", type=int, default=7, metavar="N", help="measurements of each (default: 7)"
    )
    parser.add_argument(
        "--driver", choices=("uml", "qemu"), action="append", help="only this one; repeatable"
    )
    parser.add_argument("--no-systemd", action="store_true", help="without the VM beside ours")
    wanted = parser.parse_args()
    stop_on_signals()
    home = tempfile.mkdtemp(prefix="cove-bench-", dir="/tmp")
    os.environ["COVE_HOME"] = home
    try:
        found = measure(wanted.rounds, wanted.driver or ("uml", "qemu"), beside=not wanted.no_systemd)
    finally:
        shutil.rmtree(home)
    if wanted.json:
        print(json.dumps({"load": os.getloadavg()[0], "seconds": found}, indent=2))
    else:
        show(found)
        print(f"\n{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
