# SPDX-License-Identifier: Apache-2.0
"""Roots of `cove build` as file systems: booted, and the guest of every machine among them."""

from __future__ import annotations

import filecmp
import subprocess
from pathlib import Path

import pytest

from tests.integration.world import COVE, Home, Machine

ROOT = Path(__file__).parents[2]

YML = """
kernel:
  package: linux-image-cloud-amd64
  cmdline: "console=ttyS0 quiet panic=-1 no_timer_check"
  modules: [virtio_blk, virtio_pci, erofs, squashfs]
packages:
  include: [busybox-static]
  applets: true
  drop:
    - usr/share/**
    - "usr/lib/modules/*/kernel/[!fd]*/**"
    - "usr/lib/modules/*/kernel/drivers/[!bv]*/**"
files:
  - path: init
    mode: "0755"
    contents: |
      #!/bin/sh
      echo the init speaks
      mount -t proc p /proc
      echo o > /proc/sysrq-trigger
      sleep 60
"""


@pytest.mark.parametrize("kind", ["squashfs", "erofs-qemu"])
def test_a_root_on_a_disk_boots(shared: Home, tmp_path: Path, kind: str) -> None:
    kind = kind.partition("-")[0]
    (tmp_path / "x.yml").write_text(YML)
    shared.cove(
        "build", "-f", f"kernel+{kind}", "--dir", str(tmp_path), str(tmp_path / "x.yml"), deadline=280
    )
    done = shared.cove(
        "boot", str(tmp_path / "x"), "--driver", "qemu", "--accel", "tcg", "--memory", "512",
        "--networking", "none", deadline=280,
    )  # fmt: skip
    assert b"the init speaks" in done.stdout


def test_the_guest_of_machines_is_what_the_builder_builds(uml: Machine, tmp_path: Path) -> None:
    images = ROOT / "src/cove/images"
    argv = [COVE, "build", "--no-sbom", "-f", "kernel+erofs", "--dir", tmp_path, "--name", "g"]
    subprocess.run(
        [*map(str, argv), str(images / "cove.yml"), str(images / "kernel-uml.yml")],
        env=uml.home.environment, cwd=ROOT / "src/cove_guest", check=True, timeout=280,
    )  # fmt: skip
    assert uml.home.cache is not None
    own = uml.home.cache / "images" / str(uml.inspect()["image"])
    for built, kept in (("stage.img", "initrd.img"), ("erofs.img", "root.erofs"), ("cmdline", "cmdline")):
        assert filecmp.cmp(tmp_path / f"g-{built}", own / kept, shallow=False), kept
