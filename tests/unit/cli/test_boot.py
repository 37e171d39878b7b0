# SPDX-License-Identifier: Apache-2.0
"""What `cove boot` says to what cannot be booted; what can is in tests/integration/test_boot.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cove
from tests.unit.machine.boot.test_look import BZIMAGE


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Missing argument"),
        (["/nowhere/x"], 1, "there is no image"),
        (["KERNEL", "--disk", "x,y"], 2, "is no disk"),
        (["KERNEL", "--publish", "80"], 2, "publishes nothing"),
        (["KERNEL", "--memory", "1"], 2, "cannot be booted like this"),
        (["KERNEL", "--cpus", "0"], 2, "at least one CPU"),
        (["KERNEL", "--uefi"], 2, "booted without a firmware"),
        (["KERNEL", "--format", "zip"], 2, "no disk format"),
        (["KERNEL", "--networking", "bridge"], 2, "is not one of"),
        (["KERNEL", "--driver", "xen"], 2, "no driver"),
        (["KERNEL", "-p", "1:1", "--networking", "none"], 2, "no network"),
    ],
)
def test_refused(cove: Cove, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "vmlinuz").write_bytes(BZIMAGE)
    done = cove("boot", *[str(tmp_path / "vmlinuz") if one == "KERNEL" else one for one in arguments])
    assert (done.code, said in done.err) == (code, True), done.err
    assert "Package" not in done.err, "something was fetched for what is refused"
