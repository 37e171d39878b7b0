# SPDX-License-Identifier: Apache-2.0
"""Plans for VirtualBox and HyperKit: golden files, wrong input included."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.spec.machine import MachineSpec
from cove.spec.shares import Share
from cove.units import GIB
from cove.vmm.hyperkit_argv import hyperkit_arguments
from cove.vmm.virtualbox_argv import VirtualBoxPlan, control, create
from tests.unit.vmm.test_argv import BOOT, RUNTIME

SPEC = MachineSpec(name="default", driver="qemu", accel="none", cpus=2, memory=2 * GIB, disk=64 * GIB)
PLAN = VirtualBoxPlan(
    folder=Path("/m/vbox"), iso=Path("/i/cove.iso"), disk=Path("/m/data disk.vmdk"), console_log=Path("/m/console.log"),
    ports=((50001, 60997), (50002, 60998)),
)  # fmt: skip
SHARED = dataclasses.replace(
    SPEC, shares=(Share(path="/Users/you"), Share(path="/Volumes/x", writable=False))
)


def test_virtualbox(golden: Callable[[str, str], None]) -> None:
    golden("virtualbox_argv/create.args", "".join(f"{shlex.join(words)}\n" for words in create(SHARED, PLAN)))
    verbs = ("start", "button", "save", "resume", "pause", "kill", "delete")
    lines = "".join(f"{verb}: {shlex.join(control('default', verb))}\n" for verb in verbs)
    golden("virtualbox_argv/control.args", lines)


def test_hyperkit(golden: Callable[[str, str], None]) -> None:
    golden("hyperkit_argv/plain.args", "\n".join(hyperkit_arguments(SPEC, BOOT, RUNTIME)) + "\n")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create(dataclasses.replace(SPEC, architecture="aarch64"), PLAN), "x86_64 here"),
        (lambda: control("default", "teleport"), "no 'teleport'"),
        (
            lambda: hyperkit_arguments(dataclasses.replace(SPEC, architecture="aarch64"), BOOT, RUNTIME),
            "Intel",
        ),
        (lambda: hyperkit_arguments(SHARED, BOOT, RUNTIME), "shares no folders"),
        (
            lambda: hyperkit_arguments(SPEC, dataclasses.replace(BOOT, data=Path("/a,b")), RUNTIME),
            "cannot carry",
        ),
    ],
)
def test_what_they_cannot_have_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
