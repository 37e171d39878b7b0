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
from cove.image.guest_image import GuestImage, find_guest, request_key
from cove.spec.machine import Driver
from cove.system.files import write_atomic
from cove.system.paths import Home
from cove.toolbox.toolbox import Toolbox, ensure

if TYPE_CHECKING:
    from cove.debian.archive import Archive

PACKAGE = Path(__file__).parent.parent
RECIPES = PACKAGE / "images"
"""The recipes that ship with the package."""

SOURCES = PACKAGE.parent / "cove_guest"
"""The files that recipes name as ``source``."""

PROBE_PACKAGE = "linux-image-cloud-amd64"
"""The kernel that KVM is tried with."""

KERNELS: Mapping[Driver, str] = {"uml": "kernel-uml.yml", "qemu": "kernel-qemu.yml"}
"""Each driver's kernel recipe."""


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
    def archive(self) -> Archive:
        """Debian's archive; made only when something is not in the cache (its libraries are slow to load)."""
        from cove.debian.archive import Archive
        from cove.debian.mirrors import default_mirrors
        from cove.machine.config import load_config

        mirrors = default_mirrors(os.environ, load_config(self.home.config))
        return Archive(
            cache=self.home.archive, mirrors=mirrors, offline=self.offline, report=self.report, env=os.environ
        )

    def toolbox(self, group: str) -> Toolbox:
        """The programs of one group, fetched and unpacked if need be."""
        return ensure(group, archive=lambda: self.archive, tools=self.home.tools, report=self.report)

    def probe_kernel(self) -> Path:
        """A kernel to try KVM with: the guest's own, but without building a whole guest for it."""
        path = self.home.probe_kernel
        if not path.is_file():
            from cove.image.kernel import extract_kernel

            write_atomic(path, extract_kernel(self.archive, PROBE_PACKAGE))
        return path

    def guest(self, driver: Driver) -> GuestImage:
        """The guest image for a driver, built if need be."""
        recipes = [RECIPES / "cove.yml", RECIPES / KERNELS[driver]]
        found = find_guest(self.home.images, request_key(recipes, SOURCES))
        if found is not None:
            return found
        from cove.image.build import build_guest

        mkfs = self.toolbox("image").command("mkfs.erofs")
        return build_guest(
            recipes=recipes,
            sources=SOURCES,
            archive=self.archive,
            mkfs_erofs=mkfs,
            images=self.home.images,
            report=self.report,
        )
