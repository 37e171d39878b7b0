# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest

from cove.events import Event, Note, StageBegun, StageEnded, Transfer, silent, stage


def test_a_stage_has_a_beginning_and_an_end_with_its_time() -> None:
    seen: list[Event] = []
    with stage(seen.append, "pull", "Pulling"):
        assert seen == [StageBegun("pull", "Pulling")]
    ended = seen[1]
    assert isinstance(ended, StageEnded)
    assert (ended.name, ended.ok) == ("pull", True)
    assert 0 <= ended.seconds < 5


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_stage_ends_too(failure: type[BaseException]) -> None:
    seen: list[Event] = []
    with pytest.raises(failure), stage(seen.append, "pull", "Pulling"):
        raise failure
    assert isinstance(seen[-1], StageEnded)
    assert not seen[-1].ok


def test_stages_lie_within_each_other() -> None:
    seen: list[Event] = []
    with stage(seen.append, "outer", "Outer"), stage(seen.append, "inner", "Inner"):
        pass
    assert [(type(event), getattr(event, "name", "")) for event in seen] == [
        (StageBegun, "outer"), (StageBegun, "inner"), (StageEnded, "inner"), (StageEnded, "outer"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event", [StageBegun("a", "A"), StageEnded("a", 1.0), Transfer("k", "K", 1, None), Note("n")]
)
def test_events_are_data_that_nobody_changes(event: Event) -> None:
    silent(event)
    name = dataclasses.fields(event)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, "other")
