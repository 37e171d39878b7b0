# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cove.machine.saved.record import Found, Saved, form_of, misfits
from cove.spec.shares import Share
from cove.system.paths import MachinePaths
from cove.system.process import Command
from cove.vmm.qemu import Qemu
from tests.unit.machine.world import SPEC, make_plan

QEMU_SPEC = replace(SPEC, driver="qemu", accel="tcg")
PLAN = replace(
    make_plan(MachinePaths(Path("/h/m/dev")), QEMU_SPEC),
    tools={"qemu-system-x86_64": Command(("/t/qemu",), {})},
    firmware=(Path("/firmware"),),
)
SAVED = Saved(
    plan=PLAN,
    form=("/t/qemu", "-x"),
    created=12.5,
    host="",
    files={"/t/qemu": (1, 2), "/k": (3, 4)},
    disks=((5, 6, "ab"), (6, 7, "cd")),
    memory=(7, 8),
    devices=(9, 10),
)
FOUND = Found(
    spec=QEMU_SPEC, form=SAVED.form, host="", files=SAVED.files, disk=(5, 6, "ab"), memory=(7, 8),
    devices=(9, 10),
)  # fmt: skip


def test_recorded_form_survives_json() -> None:
    assert Saved.from_dict(json.loads(json.dumps(SAVED.to_dict()))) == SAVED
    without = replace(SAVED, memory=None)
    assert Saved.from_dict(json.loads(json.dumps(without.to_dict()))) == without


@pytest.mark.parametrize("damage", [None, [], {}, {"version": 1}, {**SAVED.to_dict(), "disks": [1]}])
def test_other_forms_are_refused(damage: object) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        Saved.from_dict(damage)


def test_what_is_the_same_fits() -> None:
    assert misfits(SAVED, FOUND) == []
    # its disk was given another file
    assert misfits(SAVED, replace(FOUND, disk=(6, 7, "cd"))) == []
    # the host's business, and not the guest's
    assert (
        misfits(SAVED, replace(FOUND, spec=replace(QEMU_SPEC, file_events=False, disk=2 * SPEC.disk))) == []
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spec": replace(QEMU_SPEC, cpus=2, memory=2 * SPEC.memory)}, "changed meanwhile: cpus, memory"),
        (
            {"spec": replace(QEMU_SPEC, shares=(Share(path="/home", writable=True),))},
            "changed meanwhile: shares",
        ),
        ({"files": {**SAVED.files, "/t/qemu": (1, 3)}}, "/t/qemu was replaced"),
        ({"files": {**SAVED.files, "/k": None}}, "/k is gone"),
        ({"form": ("/t/qemu", "-y")}, "with other devices"),
        ({"host": "another"}, "another processor"),
        ({"disk": (5, 7, "ab")}, "data disk was changed"),
        ({"disk": None}, "data disk was changed"),
        ({"disk": (5, 6, "cd")}, "data disk was changed"),
        ({"memory": (7, 9)}, "what was saved is damaged"),
        ({"devices": None}, "what was saved is damaged"),
    ],
)
def test_each_misfit_is_named(change: dict[str, Any], reason: str) -> None:
    (found,) = misfits(SAVED, replace(FOUND, **change))
    assert reason in found


def test_form_is_the_same_for_every_run_and_not_for_other_devices() -> None:
    elsewhere = replace(
        PLAN, boot=replace(PLAN.boot, data=Path("/h/m/other/data.img")), memory_dir=Path("/x")
    )
    renamed = replace(elsewhere, spec=replace(QEMU_SPEC, name="other"))
    form = form_of(Qemu(), PLAN)
    assert form_of(Qemu(), renamed) == form
    assert form_of(Qemu(), replace(PLAN, spec=replace(QEMU_SPEC, cpus=3))) != form
    other_kernel = replace(PLAN, boot=replace(PLAN.boot, kernel=Path("/k2")))
    assert form_of(Qemu(), other_kernel) != form
    overlay = replace(PLAN.boot, data=Path("/h/m/dev/data.qcow2"), layers=(Path("/h/layers/1.img"),))
    assert form_of(Qemu(), replace(PLAN, boot=overlay)) == form
