# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cove.errors import CoveError, UnsupportedError, UsageError
from cove.events import Event, Note
from cove.machine.boot.prepare import BootPlan, prepare
from cove.spec.boot import BootRequest, DiskWish, Publish
from cove.system.process import Command
from cove.toolbox.groups import group_of
from cove.units import GIB, MIB

from .test_contents import at, elf
from .test_look import BIOS_DISK, BZIMAGE


@dataclass
class Box:
    """A group of the toolbox that holds nothing."""

    name: str
    firmware: tuple[Path, ...] = ()
    root: Path = Path("/tools")

    @property
    def group(self) -> Any:
        return group_of(self.name)

    def command(self, name: str) -> Command:
        return Command((f"/tools/{name}",), {})

    def path(self, below: str) -> Path:
        return Path("/tools") / below


@dataclass
class Shop:
    """A workshop that only notes what is asked of it."""

    asked: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def toolbox(self, group: str) -> Any:
        self.asked.append(group)
        return Box(group)

    def report(self, event: Event) -> None:
        self.events.append(event)


def plan(shop: Shop, image: Path, **more: Any) -> BootPlan:
    request = BootRequest(image=image, **{"accel": "auto", "memory": 128 * MIB, **more})
    return prepare(request, shop, Path("/scratch"))  # type: ignore[arg-type]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def pc(tmp_path: Path) -> Path:
    (tmp_path / "pc").write_bytes(BZIMAGE)
    return tmp_path / "pc"


@pytest.fixture
def um(tmp_path: Path) -> Path:
    (tmp_path / "um").write_bytes(elf(3))
    return tmp_path / "um"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").write_bytes(BIOS_DISK)
    return tmp_path / "disk.img"


def test_a_pcs_kernel(shop: Shop, pc: Path) -> None:
    made = plan(shop, pc, accel="tcg", cpus=2)
    assert (made.driver, made.guest.accel, made.guest.cpus, made.guest.uefi) == ("qemu", "tcg", 2, None)
    assert set(made.tools) == {"qemu-system-x86_64", "gvproxy"}


def test_a_user_mode_linux(shop: Shop, um: Path) -> None:
    made = plan(shop, um, network=False)
    assert (made.driver, made.guest.accel) == ("uml", "none")
    assert made.guest.kernel is not None
    assert made.guest.kernel.image == um
    assert set(made.tools) == {"linux.uml"}
    with pytest.raises(UsageError, match="User-Mode Linux as its kernel"):
        plan(shop, um, driver="qemu")


def test_uml_boots_its_own_kernel_for_a_pcs(shop: Shop, pc: Path) -> None:
    made = plan(shop, pc, driver="uml")
    assert made.guest.kernel is not None
    assert made.guest.kernel.image is None
    assert any("boots its own instead" in event.text for event in shop.events if isinstance(event, Note))


def test_a_bios_or_uefi(shop: Shop, disk: Path, tmp_path: Path) -> None:
    assert plan(shop, disk, accel="tcg").guest.uefi is None
    uefi = plan(shop, disk, accel="tcg", firmware="uefi").guest.uefi
    assert uefi is not None
    assert [path.name for path in uefi] == ["OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"]
    (tmp_path / "efi.img").write_bytes(at((0x1BE + 4, b"\xef"), (510, b"\x55\xaa")))
    assert plan(shop, tmp_path / "efi.img", accel="tcg").guest.uefi is not None
    (tmp_path / "empty.img").write_bytes(at((510, b"\x55\xaa")))
    with pytest.raises(UsageError, match="nothing that a BIOS or UEFI would boot"):
        plan(shop, tmp_path / "empty.img", accel="tcg")
    assert plan(shop, tmp_path / "empty.img", accel="tcg", firmware="bios").guest.uefi is None


def test_paths_are_the_callers(shop: Shop, pc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "i").write_bytes(b"070701")
    monkeypatch.chdir(tmp_path)
    wishes = (DiskWish(path=Path("d.img"), size=MIB), DiskWish(size=MIB))
    guest = plan(shop, Path("pc"), accel="tcg", initrd=Path("i"), disks=wishes, state=Path("s")).guest
    assert guest.kernel is not None
    assert (guest.kernel.image, guest.kernel.initrd) == (pc, tmp_path / "i")
    assert [disk.path for disk in guest.disks] == [tmp_path / "d.img", tmp_path / "s/disk1.img"]


def test_uml_boots_no_disks(shop: Shop, disk: Path) -> None:
    with pytest.raises(UnsupportedError, match="boot from a disk by itself"):
        plan(shop, disk, driver="uml")


@pytest.mark.parametrize(
    "more",
    [
        {"cpus": 0},
        {"memory": MIB},
        {"memory": 1 << 60},
        {"firmware": "coreboot"},
        {"firmware": "uefi"},
        {"driver": "xen"},
        {"driver": "vz"},
        {"accel": "warp"},
        {"arch": "aarch64"},
        {"publish": (Publish(host=1, guest=1),), "network": False},
        {"disks": (DiskWish(path=Path("/nowhere/d")),)},
    ],
)
def test_refused(shop: Shop, pc: Path, more: dict[str, Any]) -> None:
    with pytest.raises(CoveError):
        plan(shop, pc, **{"accel": "tcg", **more})


def test_disks_are_made_once(shop: Shop, pc: Path, tmp_path: Path) -> None:
    wishes = (DiskWish(size=GIB), DiskWish(path=tmp_path / "own.img", size=64 * MIB))
    made = plan(shop, pc, accel="tcg", disks=wishes).guest.disks
    assert [disk.path for disk in made] == [tmp_path / "pc-state/disk0.img", tmp_path / "own.img"]
    assert made[0].path.stat().st_size == GIB
    made[0].path.write_bytes(b"data")
    assert plan(shop, pc, accel="tcg", disks=wishes).guest.disks == made
    assert made[0].path.read_bytes() == b"data"
    elsewhere = plan(shop, pc, accel="tcg", disks=wishes[:1], state=tmp_path / "s").guest.disks
    assert elsewhere[0].path == tmp_path / "s/disk0.img"


def test_uml_takes_raw_disks_alone(shop: Shop, um: Path, tmp_path: Path) -> None:
    (tmp_path / "d.qcow2").write_bytes(b"QFI\xfb".ljust(200, b"\0"))
    with pytest.raises(UsageError, match="raw disks alone"):
        plan(shop, um, disks=(DiskWish(path=tmp_path / "d.qcow2"),))
