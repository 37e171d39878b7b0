# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.machine.stages import GUEST_STAGES, GaveUp, Reached, parse_console


@given(st.sampled_from(GUEST_STAGES), st.floats(0, 1e6))
def test_what_the_guest_prints_is_read(stage: object, uptime: float) -> None:
    name = getattr(stage, "name", "")
    assert parse_console(f"cove-stage {name} {uptime:.2f}") == Reached(name, float(f"{uptime:.2f}"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[    1.2] cove-stage root 1.20\r", Reached("root", 1.2)),
        ("cove-failed no data disk \r", GaveUp("no data disk")),
        ("[ 2.0] cove-failed x", GaveUp("x")),
        ("", None),
        ("cove-stage root", None),
        ("cove-stage root 1", None),
        ("cove-stage ROOT 1.0", None),
        ("cove-failed ", None),
        ("systemd[1]: reached", None),
    ],
)
def test_console_lines(line: str, said: object) -> None:
    assert parse_console(line) == said


@given(st.text())
def test_any_line_is_read(line: str) -> None:
    parse_console(line)


def test_every_stage_has_its_own_name_a_label_and_a_deadline() -> None:
    assert len({stage.name for stage in GUEST_STAGES}) == len({stage.label for stage in GUEST_STAGES})
    assert all(stage.deadline > 0 for stage in GUEST_STAGES)
