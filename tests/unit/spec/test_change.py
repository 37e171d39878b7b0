# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.spec.change import SpecChange, change
from cove.spec.machine import LEAST_DISK, LEAST_MEMORY, MachineSpec
from cove.units import GIB
from tests.unit.spec.test_fill import HOST

SPEC = MachineSpec(name="m", driver="qemu", accel="tcg", cpus=2, memory=2 * GIB, disk=8 * GIB)


def test_what_is_left_out_stays() -> None:
    assert change(SPEC, SpecChange(), HOST) == SPEC
    assert change(SPEC, SpecChange(cpus=4), HOST) == dataclasses.replace(SPEC, cpus=4)
    assert change(SPEC, SpecChange(memory=GIB), HOST) == dataclasses.replace(SPEC, memory=GIB)


@given(st.integers(0, 32 * GIB))
def test_a_disk_only_grows(disk: int) -> None:
    pages = disk // 4096 * 4096
    if pages < SPEC.disk:
        with pytest.raises(UsageError, match="cannot shrink"):
            change(SPEC, SpecChange(disk=disk), HOST)
    else:
        assert change(SPEC, SpecChange(disk=disk), HOST).disk == pages


@given(st.integers(-1, 4), st.integers(0, 2 * HOST.memory))
def test_as_for_a_new_machine(cpus: int, memory: int) -> None:
    pages = memory // 4096 * 4096
    allowed = cpus >= 1 and LEAST_MEMORY <= pages <= HOST.memory
    if allowed:
        changed = change(SPEC, SpecChange(cpus=cpus, memory=memory), HOST)
        assert (changed.cpus, changed.memory, changed.disk) == (cpus, pages, SPEC.disk)
        assert MachineSpec.from_dict(changed.to_dict()) == changed
    else:
        with pytest.raises(UsageError):
            change(SPEC, SpecChange(cpus=cpus, memory=memory), HOST)


def test_uml_has_one_cpu() -> None:
    uml = dataclasses.replace(SPEC, driver="uml", accel="none", cpus=1, disk=LEAST_DISK)
    with pytest.raises(UsageError) as caught:
        change(uml, SpecChange(cpus=2), HOST)
    assert "uml has one CPU" in (caught.value.details or "")
