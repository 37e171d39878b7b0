# SPDX-License-Identifier: Apache-2.0
"""A machine's data disk: one raw file, or what differs from layers that machines and snapshots share.

A disk is *frozen* when something else is to be based on it: its file becomes a layer, which nobody writes again, and
the machine goes on with an empty overlay. Layers lie in ``COVE_HOME/layers`` until no disk leads to them any more.
Only QEMU reads overlays; for other drivers a frozen disk is a copy, which shares blocks where the file system can.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cove.errors import MachineError
from cove.spec.machine import Driver
from cove.system.files import grow_sparse, make_sparse, private_folder, storage_errors, write_atomic
from cove.system.paths import Home, MachinePaths
from cove.system.sparse import copy_sparse, sync_file
from cove.vmm.disk_room import forget_room
from cove.vmm.qcow2 import EMPTY_SIZE, HEAD, SIZE_AT, Format, Header, empty_overlay, read_header, size_field

OVERLAY = ".qcow2"


def disk_in(folder: Path) -> Path:
    """The disk in the folder of a machine or a snapshot, there or not. An overlay replaces the raw file at once."""
    overlay = folder / f"data{OVERLAY}"
    return overlay if overlay.exists() else folder / "data.img"


def data_disk(paths: MachinePaths) -> Path:
    """The machine's disk, there or not."""
    return disk_in(paths.root)


def format_of(disk: Path) -> Format:
    """By its name, which we gave it; never by its contents, which a guest of a raw disk can choose."""
    return "qcow2" if disk.suffix == OVERLAY else "raw"


def size_of(disk: Path) -> int:
    """Bytes that the guest sees.

    Raises:
        MachineError: an overlay has no header that we can read.
        FileNotFoundError: there is no such disk.
    """
    return disk.stat().st_size if format_of(disk) == "raw" else _header(disk).size


def layers_of(disk: Path) -> list[Path]:
    """The layers that an overlay leads to, the nearest first; none for a raw file.

    Raises:
        MachineError: one of them is gone or cannot be read.
    """
    found: list[Path] = []
    while format_of(disk) == "qcow2":
        backing = _header(disk).backing
        if backing is None or backing in found:
            raise MachineError(f"the disk {disk} leads nowhere")
        if not backing.exists():
            raise MachineError(f"the layer {backing} of the disk {disk} is gone")
        found.append(backing)
        disk = backing
    return found


def ensure_disk(paths: MachinePaths, size: int) -> Path:
    """Make the machine's disk if there is none, and grow it to ``size`` bytes if it is smaller. It must not run."""
    disk = data_disk(paths)
    if not disk.exists():
        make_sparse(disk, size)
    elif format_of(disk) == "raw":
        forget_room(disk, size)
        grow_sparse(disk, size)  # the guest fits its file system to it
    elif size_of(disk) < size:
        with storage_errors("growing the disk"), disk.open("r+b") as file:
            file.seek(SIZE_AT)
            file.write(size_field(size))
    return disk


def freeze(
    paths: MachinePaths, driver: Driver, home: Home, expect: Callable[[Path], None] = lambda _: None
) -> Path:
    """Have something to base other disks on: what the machine's disk holds now. The machine must not run.

    Args:
        paths: the machine's files.
        driver: who runs it.
        home: where layers lie.
        expect: told of the file that is about to become the machine's disk, with the same contents.

    Returns:
        a layer for qemu, whose machine has an overlay over it from now on; else the disk itself, to be copied.

    Raises:
        StorageError: it cannot be written; the disk is as it was.
    """
    disk = data_disk(paths)
    if driver != "qemu" or not disk.exists():
        return disk
    if format_of(disk) == "qcow2" and _is_empty(disk):
        return layers_of(disk)[0]  # nobody has written since it was frozen
    private_folder(home.layers)
    layer = home.layers / f"{secrets.token_hex(8)}{disk.suffix}"
    scratch = _scratch(paths)
    try:
        with storage_errors("freezing the disk", layer):
            os.link(disk, layer)
            sync_file(home.layers)
            write_atomic(scratch, _overlay(layer))
            expect(scratch)
            # one step: the overlay counts from the moment that it is there
            scratch.replace(paths.root / f"data{OVERLAY}")
            paths.data_disk.unlink(missing_ok=True)
            sync_file(paths.root)
    except BaseException:
        clear_half_frozen(paths, home)
        raise
    return layer


def clear_half_frozen(paths: MachinePaths, home: Home) -> None:
    """Undo what an interrupted :func:`freeze` did, or bring it to its end if its overlay counts already.

    Args:
        paths: a machine that does not run; the caller holds its lock.
        home: where layers lie.
    """
    _scratch(paths).unlink(missing_ok=True)
    disk = data_disk(paths)
    if format_of(disk) == "qcow2":
        paths.data_disk.unlink(missing_ok=True)  # its contents are the layer's
    # a disk that can be written is nobody's layer, so its second name is left over
    if home.layers.is_dir() and disk.exists() and disk.stat().st_nlink > 1:
        for layer in home.layers.iterdir():
            if layer.samefile(disk):
                layer.unlink()


def _scratch(paths: MachinePaths) -> Path:
    return paths.root / f".data{OVERLAY}"


def derive(base: Path, folder: Path, driver: Driver) -> Path:
    """Give a folder a disk with the contents of ``base``, from :func:`freeze`; returns the disk, if there is a base.

    Raises:
        StorageError: there is no room for it.
    """
    if driver == "qemu" and base.exists():
        overlay = folder / f"data{OVERLAY}"
        write_atomic(overlay, _overlay(base))
        return overlay
    target = folder / "data.img"
    if base.exists():
        copy_sparse(base, target, sync=True)
    return target


def base_of(disk: Path) -> Path:
    """What other disks can be based on of a disk that nobody writes, as in a snapshot: its layer, or itself."""
    return layers_of(disk)[0] if format_of(disk) == "qcow2" else disk


def _disk_folders(home: Home) -> list[Path]:
    """The folders that hold disks: those of machines, and of their snapshots."""
    places = ("*/", "*/snapshots/*/", "*/.restoring/", "*/restored/")
    return [folder for place in places for folder in home.machines.glob(place)]


def sweep_layers(home: Home) -> None:
    """Remove the layers that no disk of a machine or a snapshot leads to."""
    if not home.layers.is_dir():
        return
    used: set[Path] = set()
    for folder in _disk_folders(home):
        try:
            used.update(layers_of(disk_in(folder)))
        except (MachineError, OSError):
            return  # what a damaged disk leads to cannot be told: rather keep all
    for layer in home.layers.iterdir():
        if layer not in used:
            layer.unlink(missing_ok=True)


def _header(disk: Path) -> Header:
    with disk.open("rb") as file:
        header = read_header(file.read(HEAD))
    if header is None:
        raise MachineError(f"{disk} is no disk that Cove made")
    return header


def _overlay(layer: Path) -> bytes:
    return empty_overlay(size_of(layer), layer, format_of(layer))


def _is_empty(overlay: Path) -> bool:
    """Whether nothing was ever written to an overlay."""
    header = _header(overlay)
    if header.backing is None or overlay.stat().st_size > EMPTY_SIZE:
        return False
    return overlay.read_bytes() == empty_overlay(header.size, header.backing, format_of(header.backing))
