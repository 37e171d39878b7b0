# SPDX-License-Identifier: Apache-2.0
"""The guest for arm64, as it boots on Apple silicon but for what executes it: here every instruction is emulated.

And programs of other architectures in containers, on guests of both.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from cove.vmm.qmp import qmp
from tests.integration.world import BUSYBOX, Home, Machine, talk, wait_until


def test_an_arm64_guest_runs_containers_and_obeys_its_power_button(home: Home) -> None:
    home.cove("create", "arm", "--arch", "arm64", "--binfmt", "--start", deadline=600)
    machine = home.machine("arm")
    assert machine.inspect()["architecture"] == "aarch64"
    assert machine.run("--rm", BUSYBOX, "uname", "-m").stdout == b"aarch64\n"
    assert machine.docker("info", "--format", "{{.Architecture}}").stdout == b"aarch64\n"
    image = machine.docker("image", "inspect", BUSYBOX, "--format", "{{.Os}}/{{.Architecture}}")
    assert image.stdout == b"linux/arm64\n"
    # its own interpreter runs programs for amd64, here within the emulation
    foreign = machine.run("--rm", "--platform", "linux/amd64", BUSYBOX, "uname", "-m")
    assert foreign.stdout == b"x86_64\n"
    boot = machine.boot_id()
    home.cove("suspend", "arm")
    assert machine.inspect()["status"] == "suspended"
    home.cove("start", "arm")
    assert machine.boot_id() == boot
    # ctrl-alt-del on the keyboard that this machine was given: no agent and no network are asked
    monitor = Path(home.root) / "m/arm/vm/qmp.sock"
    keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
    asyncio.run(qmp(monitor, "send-key", {"keys": keys}))
    wait_until(lambda: machine.inspect()["status"] == "stopped", "the end of the machine")
    assert machine.inspect()["reason"] == "the guest powered itself off"


def test_containers_of_another_architecture_run_where_it_was_asked_for(uml: Machine, home: Home) -> None:
    # without --binfmt the kernel knows no such program
    refused = uml.run("--rm", "--platform", "linux/arm64", BUSYBOX, "true", code=None)
    assert refused.returncode != 0
    assert "exec format error" in talk(refused).lower()
    uml.run("--rm", "--platform", "linux/amd64", BUSYBOX, "true")
    home.cove("create", "--driver", "uml", "--binfmt", "--start", deadline=600)
    machine = home.machine()
    script = "uname -m; id -u; echo two words | cut -d ' ' -f 2"
    assert machine.sh(script, "--platform", "linux/arm64") == "aarch64\n0\nwords\n"
    assert machine.sh(script, "--platform", "linux/amd64") == "x86_64\n0\nwords\n"
    refused = machine.run("--rm", "--platform", "linux/s390x", BUSYBOX, "true", code=2)
    assert "linux/amd64, linux/arm64" in talk(refused)
    # a machine that is told to forget it boots an image without
    home.cove("set", "--no-binfmt")
    home.cove("restart")
    assert machine.shell("ls", "/proc/sys/fs/binfmt_misc").stdout == b""


def test_kernel_modules_come_when_they_are_wanted(machine: Machine) -> None:
    machine.shell("sh", "-c", "mount -t iso9660 none /mnt", code=None)
    assert b"iso9660" in machine.shell("cat", "/proc/filesystems").stdout


def test_qemu_shares_folders_by_itself_as_on_a_mac(home: Home, tmp_path: Path) -> None:
    """The machine that a Mac with Apple silicon gets from QEMU, word for word but for the accelerator."""
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro/file").write_text("from the host")
    mounts = ["--mount-none", "--mount", str(tmp_path / "rw"), "--mount", f"{tmp_path / 'ro'}:ro"]
    home.cove("create", "--arch", "aarch64", "--mount-type", "9p", *mounts, "--start", deadline=900)
    machine = home.machine()
    assert set(machine.processes()) == {"supervisor", "gvproxy", "vmm"}
    volumes = ["-v", f"{tmp_path / 'rw'}:/rw", "-v", f"{tmp_path / 'ro'}:/ro"]
    script = (
        "cat /ro/file; echo from the guest > /rw/file; ln -s file /rw/link; touch /ro/file || echo refused"
    )
    assert machine.sh(script, *volumes) == "from the hostrefused\n"
    assert (tmp_path / "rw/link").read_text() == "from the guest\n"
    assert (tmp_path / "rw/link").readlink() == Path("file")
