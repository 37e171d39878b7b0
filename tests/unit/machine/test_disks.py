# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from cove.errors import MachineError, StorageError
from cove.machine import disks
from cove.machine.disks import (
    base_of,
    clear_half_frozen,
    data_disk,
    derive,
    disk_in,
    ensure_disk,
    freeze,
    layers_of,
    size_of,
    sweep_layers,
)
from cove.system.paths import Home, MachinePaths
from cove.vmm.qcow2 import EMPTY_SIZE

MIB = 1 << 20


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    made = home.machine("dev")
    made.root.mkdir(parents=True)
    return made


def write(disk: Path) -> None:
    """As a guest does: the file grows."""
    with disk.open("ab") as file:
        file.write(b"guest")


def freeze_other(home: Home) -> Path:
    """The layer of another machine."""
    paths = home.machine("other")
    paths.root.mkdir(parents=True)
    ensure_disk(paths, MIB)
    return freeze(paths, "qemu", home)


def test_disk_is_made_and_grows(paths: MachinePaths) -> None:
    disk = ensure_disk(paths, MIB)
    assert (disk, size_of(disk), layers_of(disk)) == (paths.data_disk, MIB, [])
    assert size_of(ensure_disk(paths, 2 * MIB)) == 2 * MIB


def test_frozen_disk_is_a_layer_that_nobody_changes(home: Home, paths: MachinePaths) -> None:
    ensure_disk(paths, MIB).write_bytes(b"contents" * 1000)
    told: list[bytes] = []
    layer = freeze(paths, "qemu", home, lambda scratch: told.append(scratch.read_bytes()))
    assert layer.parent == home.layers
    assert home.layers.stat().st_mode & 0o77 == 0
    assert not paths.data_disk.exists()
    disk = data_disk(paths)
    assert (disk.name, size_of(disk), layers_of(disk)) == ("data.qcow2", 8000, [layer])
    assert told == [disk.read_bytes()]
    ensure_disk(paths, 2 * MIB)
    assert (size_of(disk), layer.stat().st_size) == (2 * MIB, 8000)


def test_disk_that_was_not_written_since_is_not_frozen_again(home: Home, paths: MachinePaths) -> None:
    ensure_disk(paths, MIB)
    first = freeze(paths, "qemu", home)
    assert freeze(paths, "qemu", home) == first
    write(data_disk(paths))
    second = freeze(paths, "qemu", home)
    assert second != first
    assert layers_of(data_disk(paths)) == [second, first]
    assert base_of(data_disk(paths)) == second


def test_what_fails_leaves_the_disk_as_it_was(
    home: Home, paths: MachinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_disk(paths, MIB).write_bytes(b"contents")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disks, "write_atomic", full)
    with pytest.raises(StorageError):
        freeze(paths, "qemu", home)
    assert data_disk(paths).read_bytes() == b"contents"
    assert list(home.layers.iterdir()) == []
    assert [path.name for path in paths.root.iterdir()] == ["data.img"]


@pytest.mark.parametrize("step", ["write_atomic", "expect", "unlink"])
def test_what_is_killed_while_it_freezes_is_brought_to_an_end(
    home: Home, paths: MachinePaths, step: str
) -> None:
    """By whoever takes the machine up: undone, or finished once the overlay counts."""
    ensure_disk(paths, MIB).write_bytes(b"contents")
    other = freeze_other(home)
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            stop = partial(os._exit, 0)
            if step == "write_atomic":
                patch.setattr(disks, "write_atomic", lambda *_: stop())
            if step == "unlink":
                patch.setattr(
                    Path,
                    "unlink",
                    lambda *_, **__: stop() if disk_in(paths.root).suffix == ".qcow2" else None,
                )
            freeze(paths, "qemu", home, lambda _: stop() if step == "expect" else None)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    clear_half_frozen(paths, home)
    disk = data_disk(paths)
    left = {path.name for path in paths.root.iterdir()}
    layers = set(home.layers.iterdir()) - {other}
    if step == "unlink":
        assert left == {"data.qcow2"}
        assert layers == set(layers_of(disk))
        assert base_of(disk).read_bytes() == b"contents"
    else:
        assert (left, layers) == ({"data.img"}, set())
        assert disk.read_bytes() == b"contents"


def test_other_drivers_copy(home: Home, paths: MachinePaths, tmp_path: Path) -> None:
    assert not derive(freeze(paths, "uml", home), tmp_path, "uml").exists()  # never started
    ensure_disk(paths, MIB).write_bytes(b"contents")
    base = freeze(paths, "uml", home)
    assert base == base_of(base) == paths.data_disk
    assert derive(base, tmp_path, "uml").read_bytes() == b"contents"
    assert disk_in(tmp_path) == tmp_path / "data.img"


def test_layers_go_with_the_last_disk_that_leads_to_them(home: Home, paths: MachinePaths) -> None:
    ensure_disk(paths, MIB)
    base = freeze(paths, "qemu", home)
    other = home.machine("other")
    snapshot = other.root / "snapshots/one"
    snapshot.mkdir(parents=True)
    derive(base, snapshot, "qemu")
    write(data_disk(paths))
    above = freeze(paths, "qemu", home)
    sweep_layers(home)
    assert set(home.layers.iterdir()) == {base, above}
    data_disk(paths).unlink()
    sweep_layers(home)
    assert set(home.layers.iterdir()) == {base}
    (snapshot / "data.qcow2").unlink()
    sweep_layers(home)
    assert not list(home.layers.iterdir())


def test_damaged_chain_is_named_and_costs_no_layer(home: Home, paths: MachinePaths) -> None:
    ensure_disk(paths, MIB)
    layer = freeze(paths, "qemu", home)
    stray = home.layers / "stray.img"
    stray.touch()
    disk = data_disk(paths)
    whole = disk.read_bytes()
    disk.write_bytes(b"x" * EMPTY_SIZE)
    with pytest.raises(MachineError, match="no disk that Cove made"):
        layers_of(disk)
    sweep_layers(home)
    assert stray.exists()
    disk.write_bytes(whole)
    layer.unlink()
    with pytest.raises(MachineError, match=f"the layer {layer} of the disk {disk} is gone"):
        layers_of(disk)
