# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from contextlib import nullcontext
from typing import cast

import pytest

from cove.errors import MachineError
from cove.machine import frozen
from cove.machine.assets import Workshop
from cove.machine.frozen import resting
from cove.machine.state import State
from cove.machine.store import StateRecord, Store, write_state
from cove.system.process import Identity
from tests.unit.machine.test_clones import QEMU, Bench

ME = Identity.of(os.getpid())


@pytest.fixture
def workshop(store: Store) -> Workshop:
    return cast(Workshop, Bench(store.home))


@pytest.fixture
def done(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done with the machine, which seems to run."""
    assert ME is not None
    paths = store.create(QEMU).paths
    write_state(paths, StateRecord(state=State.RUNNING, processes={"supervisor": ME}))
    found: list[str] = []
    monkeypatch.setattr(frozen, "suspend", lambda *_: found.append("suspend"))
    monkeypatch.setattr(frozen, "start", lambda *_: found.append("start"))
    return found


@pytest.mark.parametrize("failure", [None, MachineError("x"), KeyboardInterrupt()])
def test_machine_goes_on_however_the_block_ends(
    store: Store, workshop: Workshop, done: list[str], failure: BaseException | None
) -> None:
    expected = pytest.raises(type(failure)) if failure is not None else nullcontext()
    with expected, resting(store, "src", workshop):
        done.append("block")
        if failure is not None:
            raise failure
    assert done == ["suspend", "block", "start"]


@pytest.mark.parametrize(("failure", "then"), [(MachineError, []), (KeyboardInterrupt, ["start"])])
def test_machine_goes_on_when_it_could_not_be_waited_for(
    store: Store, workshop: Workshop, done: list[str], monkeypatch: pytest.MonkeyPatch,
    failure: type[BaseException], then: list[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise failure("x")

    monkeypatch.setattr(frozen, "suspend", fail)
    with pytest.raises(failure), resting(store, "src", workshop):
        done.append("block")
    assert done == then


def test_machine_that_does_not_run_stays_as_it_is(store: Store, workshop: Workshop, done: list[str]) -> None:
    write_state(store.home.machine("src"), StateRecord(state=State.STOPPED))
    with resting(store, "src", workshop):
        done.append("block")
    assert done == ["block"]
