# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.machine.plan import LaunchPlan
from cove.system.paths import MachinePaths
from tests.unit.machine.world import make_plan

PATHS = MachinePaths(Path("/h/m/dev"))


@pytest.mark.parametrize("cpu", [None, 0, 3])
def test_written_and_read_it_is_the_same(cpu: int | None) -> None:
    plan = make_plan(PATHS, host_cpu=cpu)
    assert LaunchPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_the_recorded_form(golden: Callable[[str, str], None]) -> None:
    golden("machine/launch.json", json.dumps(make_plan(PATHS).to_dict(), indent=2, sort_keys=True) + "\n")
