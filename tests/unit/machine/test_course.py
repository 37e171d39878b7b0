# SPDX-License-Identifier: Apache-2.0
"""When a start reached which stage."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cove.machine.course import STAGES, Course, timings
from cove.machine.stages import GUEST_STAGES
from cove.system.files import read_json


def test_stages_of_the_guest_are_known() -> None:
    assert {stage.name for stage in GUEST_STAGES} <= set(STAGES)


def test_a_course_goes_on_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "boot.json"
    course = Course(time.monotonic() - 5)
    course.reach("command")
    course.save(path)
    later = Course.from_dict(read_json(path))
    later.reach("kernel")
    later.reach("firmware", ago=1.0)
    later.reach("ready")
    later.reach("kernel")  # the first time counts
    later.reach("stopped")  # not a stage of a start
    later.save(path)
    told = timings(read_json(path))
    assert told is not None
    assert [one["name"] for one in told["stages"]] == ["firmware", "command", "kernel", "ready"]
    assert told["complete"]
    assert told["total"] == pytest.approx(5, abs=1)
    assert sum(one["seconds"] for one in told["stages"]) == pytest.approx(told["total"], abs=0.01)
    assert told["since"] == pytest.approx(time.time() - 5, abs=5)


def test_one_that_did_not_come_to_its_end_says_so() -> None:
    course = Course()
    course.reach("command")
    told = timings(course.to_dict())
    assert told is not None
    assert not told["complete"]


@pytest.mark.parametrize("data", [None, [], {}, {"begun": "x"}, {"begun": 1, "since": 2}])
def test_without_a_record_one_begins_anew(data: object) -> None:
    assert timings(data) is None
    assert timings(Course.from_dict(data).to_dict()) == {
        "since": pytest.approx(time.time(), abs=60),
        "total": 0.0,
        "complete": False,
        "stages": [],
    }
