# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import ConflictError
from cove.machine.state import ALIVE, FOLLOWERS, State, check_transition


@pytest.mark.parametrize("current", State)
@pytest.mark.parametrize("wanted", State)
def test_only_what_the_table_allows(current: State, wanted: State) -> None:
    if wanted in FOLLOWERS[current]:
        assert check_transition("dev", current, wanted) is wanted
    else:
        with pytest.raises(ConflictError, match=f"dev is {current}, from where it cannot become {wanted}"):
            check_transition("dev", current, wanted)


def test_every_life_can_go_on_and_come_to_an_end() -> None:
    assert set(FOLLOWERS) == set(State)
    for state in State:
        reachable, pending = set(), [state]
        while pending:
            one = pending.pop()
            if one not in reachable:
                reachable.add(one)
                pending += FOLLOWERS[one]
        assert State.RUNNING in reachable
        assert State.STOPPED in reachable
    assert State.CREATED not in set().union(*FOLLOWERS.values())


def test_a_supervisor_is_there_in_between_only() -> None:
    assert set(State) - {State.CREATED, State.SUSPENDED, State.STOPPED, State.FAILED} == ALIVE
    assert all(State.FAILED in FOLLOWERS[state] for state in ALIVE)
