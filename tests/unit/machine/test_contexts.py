# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import ConflictError, UsageError
from cove.events import Event, Note
from cove.host.context_store import ContextStore
from cove.host.contexts import Context
from cove.machine.contexts import context_of, context_store, publish, remove_context, withdraw, write_context
from cove.machine.store import Machine, Store
from cove.system.paths import Home
from tests.unit.machine.world import SPEC, short_home


@pytest.fixture
def contexts(home: Home, monkeypatch: pytest.MonkeyPatch) -> ContextStore:
    monkeypatch.setenv("DOCKER_CONFIG", str(home.root / "user"))
    return context_store(home)


@pytest.fixture
def machine(store: Store) -> Machine:
    return store.create(SPEC)


def test_it_comes_and_goes(machine: Machine, contexts: ContextStore, home: Home) -> None:
    notes: list[Event] = []
    publish(machine, home, notes.append)
    assert contexts.find("cove-dev") == context_of(machine.paths)
    contexts.use("cove-dev")
    withdraw(machine.paths, home, notes.append)
    assert contexts.ours() == []
    assert contexts.current() == "default"
    assert notes == []


def test_vanished_machines_lose_theirs(machine: Machine, contexts: ContextStore, home: Home) -> None:
    contexts.write(Context.of_machine("gone", Path("/nowhere/m/gone/docker.sock")))
    publish(machine, home, lambda _event: None)
    withdraw(home.machine("other"), home, lambda _event: None)
    assert [one.machine for one in contexts.ours()] == ["dev"]


def test_another_homes_machine_keeps_its_own(machine: Machine, contexts: ContextStore, home: Home) -> None:
    with short_home() as other_home:
        other = Store(other_home).create(SPEC)
        write_context(other, contexts)
        notes: list[Event] = []
        publish(machine, home, notes.append)
        assert [type(note) for note in notes] == [Note]
        with pytest.raises(ConflictError, match="another COVE_HOME"):
            write_context(machine, contexts)
        assert not remove_context(machine.paths, contexts)
        withdraw(machine.paths, home, notes.append)
        assert contexts.find("cove-dev") == context_of(other.paths)
    write_context(machine, contexts)  # that home is gone now
    assert contexts.find("cove-dev") == context_of(machine.paths)


def test_a_failure_is_only_a_note(machine: Machine, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("HOME")
    notes: list[Event] = []
    publish(machine, home, notes.append)
    withdraw(machine.paths, home, notes.append)
    assert len(notes) == 2
    with pytest.raises(UsageError):
        context_store(home)
