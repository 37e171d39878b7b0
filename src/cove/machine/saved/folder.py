# SPDX-License-Identifier: Apache-2.0
"""The folder of a saved guest. It is there only when it is whole, and the guest has not run since it was written.

``building`` gives a scratch folder that takes this name in one step at the end; ``consume`` takes the name away, for
good, before the guest goes on. So a kill or a power failure at any moment leaves either a guest that can go on from
exactly its disk, or none, and then the disk is that of a machine whose plug was pulled after it had flushed.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cove.errors import CoveError, MachineError
from cove.machine.plan import LaunchPlan
from cove.machine.saved.record import DiskMark, Found, Mark, Saved, form_of, misfits
from cove.spec.machine import MachineSpec
from cove.system.files import allocated, building, read_json, remove_tree, storage_errors, write_json
from cove.system.sparse import sync_file
from cove.vmm.base import Vmm

_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, CoveError)
_HEAD = 64 << 10


class SavedGuest:
    """The saved guest of one machine, there or not.

    Args:
        root: its folder, :attr:`cove.system.paths.MachinePaths.saved` or a snapshot's.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def memory(self) -> Path:
        """The guest's memory, sparse; absent if it lies with its devices."""
        return self.root / "memory"

    @property
    def devices(self) -> Path:
        """What the VMM wrote."""
        return self.root / "devices"

    @property
    def record(self) -> Path:
        """What is recorded of it (JSON); written last."""
        return self.root / "saved.json"

    @property
    def exists(self) -> bool:
        """Whether there is one, whole."""
        return self.record.is_file()

    @property
    def size(self) -> int:
        """Bytes that it takes on the disk."""
        return allocated(self.root)

    def read(self) -> Saved:
        """What is recorded of it.

        Raises:
            MachineError: there is none, or it cannot be read.
        """
        data = read_json(self.record)
        try:
            return Saved.from_dict(data)
        except _DAMAGED as error:
            raise MachineError(f"{self.record} does not describe a saved guest ({error})") from error

    @contextmanager
    def writing(self) -> Iterator[SavedGuest]:
        """A scratch guest that takes this one's place, durably, when the block succeeds; else nothing is left.

        Raises:
            StorageError: there is no room for it.
            ConflictError: there is one already.
        """
        sweep(self.root)
        with building(self.root) as scratch:
            guest = SavedGuest(scratch)
            yield guest
            with storage_errors("writing the guest"):
                for path in (*scratch.iterdir(), scratch):
                    sync_file(path)
        sync_file(self.root.parent)

    def seal(self, saved: Saved) -> None:
        """Write the record of a scratch guest whose files are complete."""
        memory = mark(self.memory) if self.memory.exists() else None
        devices = mark(self.devices)
        if devices is None:
            raise MachineError("the VMM wrote nothing")
        write_json(self.record, replace(saved, memory=memory, devices=devices).to_dict())

    def misfits(self, driver: Vmm, spec: MachineSpec, disk: Path) -> list[str]:
        """Why it cannot go on now, in words for people; nothing if it can.

        Args:
            driver: who would start it.
            spec: what the machine shall be.
            disk: its data disk.
        """
        try:
            saved = self.read()
            form = form_of(driver, saved.plan)
        except CoveError as error:
            return [error.message]
        found = Found(
            spec=spec,
            form=form,
            host=host_of(saved.plan),
            files={path: mark(Path(path)) for path in saved.files},
            disk=_disk_mark(disk),
            memory=mark(self.memory),
            devices=mark(self.devices),
        )
        return misfits(saved, found)

    def expect_disk(self, disk: Path) -> None:
        """Its disk is about to get another file, ``disk``, with the same contents; the former fits as well."""
        saved = self.read()
        write_json(self.record, replace(saved, disks=(*saved.disks[-1:], mark_disk(disk))).to_dict())

    def link_to(self, other: SavedGuest, disk: Path) -> None:
        """Give the same guest to another folder: its files get a second name, and are only ever read.

        Args:
            other: where; its folder is made.
            disk: the disk that the other guest goes on with, with the same contents as this one's.

        Raises:
            StorageError: the disk is full or not writable.
        """
        with storage_errors("sharing a saved guest"):
            other.root.mkdir(mode=0o700)
            for path in (self.memory, self.devices):
                if path.exists():
                    os.link(path, other.root / path.name)
        write_json(other.record, replace(self.read(), disks=(mark_disk(disk),)).to_dict())

    @property
    def used(self) -> Path:
        """What is left of it after the guest has gone on, to be removed."""
        return self.root.with_name(f".{self.root.name}.used")

    def consume(self) -> None:
        """Take its name away, durably: from here on the guest may run."""
        remove_tree(self.used)
        self.root.rename(self.used)
        sync_file(self.root.parent)

    def discard(self) -> None:
        """Give it up; absent is fine."""
        if self.root.exists():
            self.consume()
        sweep(self.root)


def describe_guest(driver: Vmm, plan: LaunchPlan, *, created: float) -> Saved:
    """The record of a paused guest, before its files are there.

    Args:
        driver: who runs it.
        plan: what it was started with.
        created: seconds since the epoch.

    Raises:
        MachineError: its disk is gone.
    """
    form = form_of(driver, plan)
    return Saved(
        plan=plan,
        form=form,
        created=created,
        host=host_of(plan),
        files=parts_of(plan, form),
        disks=(mark_disk(plan.boot.data),),
        memory=None,
        devices=(0, 0),
    )


def sweep(root: Path) -> None:
    """Remove what a killed process left beside the folder of a saved guest."""
    for stale in root.parent.glob(f".{root.name}.*"):
        remove_tree(stale)


def mark(path: Path) -> Mark | None:
    """What tells this version of a file from another, or None if it is gone."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns


def mark_disk(disk: Path) -> DiskMark:
    """What tells this version of a disk from another.

    Raises:
        MachineError: it is gone.
    """
    found = _disk_mark(disk)
    if found is None:
        raise MachineError(f"{disk} is gone")
    return found


def _disk_mark(disk: Path) -> DiskMark | None:
    found = mark(disk)
    if found is None:
        return None
    with disk.open("rb") as file:
        return (*found, hashlib.sha256(file.read(_HEAD)).hexdigest())


def host_of(plan: LaunchPlan) -> str:
    """What a guest's processor depends on beside the VMM; nothing where it is emulated."""
    if plan.spec.accel in ("tcg", "none"):
        return ""
    return f"{_processor()}, {platform.system()} {platform.release()}"


def parts_of(plan: LaunchPlan, form: Sequence[str]) -> Mapping[str, Mark]:
    """Every file that a guest is made of, beside its disk: kernel and root, and the programs of its command line."""
    words = (Path(word) for word in form if word.startswith("/"))
    paths = {plan.boot.kernel, plan.boot.initrd, plan.boot.root, *(path for path in words if path.is_file())}
    return {str(path): found for path in sorted(paths) if (found := mark(path)) is not None}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    # its name and what it can do
    return " ".join(
        sorted(
            {
                line.partition(":")[2].strip()
                for line in lines
                if line.startswith(("model name", "flags", "Features"))
            }
        )
    )
