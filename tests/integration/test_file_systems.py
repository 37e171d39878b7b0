# SPDX-License-Identifier: Apache-2.0
"""Roots of `cove build` as file systems: booted, and the guest of every machine among them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cove.sdk import Client
from cove.toolbox.toolbox import Toolbox
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


def test_the_guest_of_machines_is_what_the_builder_builds(
    uml: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ROOT / "src/cove/images"
    argv = [COVE, "build", "--no-sbom", "-f", "kernel+erofs", "--dir", tmp_path, "--name", "g"]
    subprocess.run(
        [*map(str, argv), str(images / "cove.yml"), str(images / "kernel-uml.yml")],
        env=uml.home.environment, cwd=ROOT / "src/cove_guest", check=True, timeout=280,
    )  # fmt: skip
    assert uml.home.cache is not None
    own = uml.home.cache / "images" / str(uml.inspect()["image"])
    assert (tmp_path / "g-stage.img").read_bytes() == (own / "initrd.img").read_bytes()
    for name, value in uml.home.environment.items():
        monkeypatch.setenv(name, value)
    toolbox = Client().workshop().toolbox("image")
    built = listing(toolbox, tmp_path / "g-erofs.img", tmp_path / "built")
    built.pop("boot")
    assert built == listing(toolbox, own / "root.erofs", tmp_path / "own")


def listing(toolbox: Toolbox, image: Path, into: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """What is in an erofs image: mode, owner and contents by path."""
    fsck = toolbox.command("fsck.erofs").with_args(f"--extract={into}", str(image))
    subprocess.run(fsck.argv, env={**os.environ, **fsck.env}, check=True, capture_output=True, timeout=120)
    found = {}
    for folder, names, files in os.walk(into):
        for name in (*names, *files):
            path = Path(folder, name)
            info = path.lstat()
            data = b""
            if path.is_symlink():
                data = str(path.readlink()).encode()
            elif path.is_file():
                data = path.read_bytes()
            found[str(path.relative_to(into))] = (info.st_mode, info.st_uid, info.st_gid, data)
    return found
