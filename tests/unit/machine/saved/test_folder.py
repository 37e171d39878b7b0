# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from cove.errors import ConflictError, MachineError
from cove.machine.plan import LaunchPlan
from cove.machine.saved.folder import SavedGuest, describe_guest, host_of
from cove.system.paths import MachinePaths
from cove.vmm.fake import Fake
from tests.unit.machine.world import SPEC, make_plan

FAKE = Fake(suspend=True)


@pytest.fixture
def plan(tmp_path: Path) -> LaunchPlan:
    paths = MachinePaths(tmp_path)
    paths.data_disk.write_bytes(b"disk" * 99)
    made = make_plan(paths)
    for name in ("kernel", "initrd", "root"):
        (tmp_path / name).write_text(name)
    boot = replace(made.boot, kernel=tmp_path / "kernel", initrd=tmp_path / "initrd", root=tmp_path / "root")
    return replace(made, boot=boot)


def write(guest: SavedGuest, plan: LaunchPlan) -> None:
    with guest.writing() as scratch:
        scratch.memory.write_bytes(b"memory")
        scratch.devices.write_bytes(b"devices")
        assert not scratch.exists
        scratch.seal(describe_guest(FAKE, plan, created=1.0))


@pytest.fixture
def guest(tmp_path: Path, plan: LaunchPlan) -> SavedGuest:
    made = SavedGuest(tmp_path / "saved")
    write(made, plan)
    return made


def fits(guest: SavedGuest, plan: LaunchPlan) -> list[str]:
    return guest.misfits(FAKE, SPEC, plan.boot.data)


def test_whole_guest_fits(guest: SavedGuest, plan: LaunchPlan) -> None:
    assert guest.exists
    assert guest.size > 0
    assert guest.read().plan == plan
    assert fits(guest, plan) == []


def test_half_written_guest_is_none(tmp_path: Path, plan: LaunchPlan) -> None:
    guest = SavedGuest(tmp_path / "saved")
    with suppress(KeyboardInterrupt), guest.writing() as scratch:
        scratch.devices.write_bytes(b"devices")
        raise KeyboardInterrupt
    with pytest.raises(MachineError, match="wrote nothing"), guest.writing() as scratch:
        scratch.seal(describe_guest(FAKE, plan, created=1.0))
    assert not guest.exists
    assert not list(tmp_path.glob(".saved.*"))


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path, plan: LaunchPlan) -> None:
    (tmp_path / ".saved.killed").mkdir()
    (tmp_path / ".saved.killed" / "memory").write_bytes(b"half")
    guest = SavedGuest(tmp_path / "saved")
    write(guest, plan)
    assert not list(tmp_path.glob(".saved.*"))
    with pytest.raises(ConflictError):
        write(guest, plan)
    assert guest.exists


@pytest.mark.parametrize("name", ["kernel", "root", "data.img", "saved/memory", "saved/devices"])
def test_changed_files_do_not_fit(guest: SavedGuest, plan: LaunchPlan, tmp_path: Path, name: str) -> None:
    os.utime(tmp_path / name, ns=(1, 1))
    assert len(fits(guest, plan)) == 1
    (tmp_path / name).unlink()
    assert len(fits(guest, plan)) == 1


def test_contents_of_the_disk_count_more_than_its_times(guest: SavedGuest, plan: LaunchPlan) -> None:
    disk = plan.boot.data
    times = disk.stat()
    disk.write_bytes(b"DISK" * 99)
    os.utime(disk, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fits(guest, plan) == ["its data disk was changed meanwhile"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 1}', "not json"])
def test_damaged_record_does_not_fit(guest: SavedGuest, plan: LaunchPlan, text: str) -> None:
    guest.record.write_text(text)
    (reason,) = fits(guest, plan)
    assert "does not describe a saved guest" in reason


def test_a_disk_that_gets_another_file_fits_before_and_after(guest: SavedGuest, plan: LaunchPlan) -> None:
    disk = plan.boot.data
    scratch = disk.with_name("scratch")
    for number in range(3):
        scratch.write_bytes(b"overlay %d" % number)
        guest.expect_disk(scratch)
        assert fits(guest, plan) == []
        scratch.rename(disk)
        assert fits(guest, plan) == []
    scratch.write_bytes(b"overlay 1")
    scratch.rename(disk)
    assert len(fits(guest, plan)) == 1


def test_shared_guest_fits_its_own_disk_alone_and_survives_the_other(
    guest: SavedGuest, plan: LaunchPlan, tmp_path: Path
) -> None:
    disk = tmp_path / "other.qcow2"
    disk.write_bytes(b"overlay")
    other = SavedGuest(tmp_path / "other")
    guest.link_to(other, disk)
    assert other.misfits(FAKE, SPEC, disk) == []
    assert len(other.misfits(FAKE, SPEC, plan.boot.data)) == 1
    assert fits(guest, plan) == []
    assert other.memory.samefile(guest.memory)
    guest.discard()
    assert other.misfits(FAKE, SPEC, disk) == []


def test_consumed_guest_is_gone(guest: SavedGuest, tmp_path: Path) -> None:
    guest.consume()
    assert not guest.exists
    assert guest.used.exists()
    guest.discard()
    assert not list(tmp_path.glob("*saved*"))
    guest.discard()


def test_host_counts_only_where_it_runs_the_guest(plan: LaunchPlan) -> None:
    assert host_of(plan) == ""
    assert host_of(replace(plan, spec=replace(SPEC, driver="qemu", accel="tcg"))) == ""
    assert host_of(replace(plan, spec=replace(SPEC, driver="qemu", accel="kvm")))
