# SPDX-License-Identifier: Apache-2.0
"""What a machine needs before it can start: programs, kernel and guest image, made once and kept in the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cove.events import Report
from cove.spec.machine import DEBIAN_NAMES, Architecture, Driver, MachineSpec, architecture_named
from cove.system.files import write_atomic
from cove.system.paths import Home
from cove.system.processor import host_machine

if TYPE_CHECKING:
    from cove.debian.archive import Archive
    from cove.image.build import GuestFiles
    from cove.image.guest_image import GuestImage
    from cove.machine.config import Config
    from cove.toolbox.toolbox import Toolbox

PACKAGE = Path(__file__).parent.parent
RECIPES = PACKAGE / "images"
"""The recipes that ship with the package."""

SOURCES = PACKAGE.parent / "cove_guest"
"""The files that recipes name as ``source``."""

PROBE_PACKAGES: Mapping[Architecture, str] = {
    "x86_64": "linux-image-cloud-amd64",
    "aarch64": "linux-image-cloud-arm64",
}
"""The kernels that KVM is tried with."""

KERNELS: Mapping[tuple[Driver, Architecture], tuple[str, ...]] = {
    ("uml", "x86_64"): ("kernel-uml.yml",),
    ("qemu", "x86_64"): ("kernel-qemu.yml",),
    ("qemu", "aarch64"): ("kernel-qemu.yml", "kernel-qemu-arm64.yml"),
    # the same images as QEMU's, which are booted by the tests
    ("vz", "x86_64"): ("kernel-qemu.yml",),
    ("vz", "aarch64"): ("kernel-qemu.yml", "kernel-qemu-arm64.yml"),
}
"""The kernel recipes of each driver and architecture; a later one's words go before an earlier one's."""


def recipe_names(spec: MachineSpec) -> tuple[str, ...]:
    """The recipes in :data:`RECIPES` of a machine's guest, in the order in which they are merged."""
    return (
        "cove.yml",
        *KERNELS[spec.driver, spec.architecture],
        *([f"kernel-9p-{DEBIAN_NAMES[spec.architecture]}.yml"] if spec.mount_type == "9p" else []),
        *(["binfmt.yml"] if spec.binfmt else []),
    )


@dataclass
class Workshop:
    """Where programs and images come from: the cache if they are there, else Debian's archive.

    Args:
        home: where the cache lies.
        report: told of stages and downloads.
        offline: whether fetching is forbidden.
    """

    home: Home
    report: Report
    offline: bool = False

    @cached_property
    def config(self) -> Config:
        """The user's settings.

        Raises:
            UsageError: something in the file is wrong.
        """
        from cove.machine.config import load_config

        return load_config(self.home.config)

    def __post_init__(self) -> None:
        self._archives: dict[Architecture, Archive] = {}

    def archive(self, architecture: Architecture) -> Archive:
        """Debian's archive; made only when something is not in the cache (its libraries are slow to load)."""
        if architecture not in self._archives:
            self._archives[architecture] = self._open(architecture)
        return self._archives[architecture]

    def _open(self, architecture: Architecture) -> Archive:
        from cove.debian.archive import Archive
        from cove.debian.mirrors import default_mirrors

        mirrors = default_mirrors(os.environ, self.config.values)
        return Archive(
            cache=self.home.archive,
            mirrors=mirrors,
            architecture=DEBIAN_NAMES[architecture],
            offline=self.offline,
            report=self.report,
            env=os.environ,
        )

    def toolbox(self, group: str) -> Toolbox:
        """The programs of one group for this host, fetched and unpacked if need be."""
        from cove.toolbox.toolbox import ensure

        host = architecture_named(host_machine())
        return ensure(
            group,
            archive=lambda: self.archive(host),
            tools=self.home.tools,
            report=self.report,
            architecture=DEBIAN_NAMES[host],
        )

    def probe_kernel(self, architecture: Architecture) -> Path:
        """A kernel to try KVM with: the guest's own, but without building a whole guest for it."""
        path = self.home.probe_kernel
        if not path.is_file():
            from cove.image.kernel import extract_kernel

            package = PROBE_PACKAGES[architecture]
            write_atomic(path, extract_kernel(self.archive(architecture), package))
        return path

    def guest(self, spec: MachineSpec, *, refresh: bool = False) -> GuestImage:
        """The guest image for a machine, built if need be; ``refresh`` looks for newer packages first.

        Raises:
            UsageError, NotFoundError: the machine's own YAML is wrong or gone, or makes no guest of a machine.
            CoveError: packages or images cannot be had.
        """
        from cove.image.guest_image import find_guest, request_key

        architecture = DEBIAN_NAMES[spec.architecture]
        if spec.image:
            from cove.image.build import request_of

            request = request_of(guest_files(spec), architecture)
        else:
            request = request_key([RECIPES / name for name in recipe_names(spec)], SOURCES, architecture)
        found = None if refresh else find_guest(self.home.images, request)
        return found or self._build(spec, request)

    def _build(self, spec: MachineSpec, request: str) -> GuestImage:
        from cove.image.build import build_guest
        from cove.machine.boot_tools import BootTools
        from cove.machine.building import image_sources

        return build_guest(
            guest=guest_files(spec),
            request=request,
            sources=image_sources(self.home, self.report, (), self.archive, offline=self.offline),
            archive=self.archive(spec.architecture),
            tools=BootTools(self.toolbox),
            images=self.home.images,
            report=self.report,
        )


def guest_files(spec: MachineSpec) -> GuestFiles:
    """The YAML of a machine's guest: the user's own, or Cove's."""
    from cove.image.build import GuestFiles

    names = recipe_names(spec)
    if not spec.image:
        return GuestFiles(files=tuple(RECIPES / name for name in names), base=SOURCES, own=SOURCES)
    files = tuple(map(Path, spec.image))
    kernel = tuple(RECIPES / name for name in names[1:])
    return GuestFiles(files=files, base=files[0].parent, kernel=kernel, own=SOURCES, custom=True)
