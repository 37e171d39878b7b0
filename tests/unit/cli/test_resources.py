# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

from cove.machine.store import Store
from cove.units import GIB, MIB
from tests.unit.cli.conftest import Cove
from tests.unit.machine.world import SPEC


def test_set(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    assert cove("set", "dev", "--memory", "512M").code == 0
    data = json.loads(cove("set", "dev", "--disk", "2", "--json").out)
    assert (data["memory"], data["disk"]["size"], data["pending"]) == (512 * MIB, 2 * GIB, [])


def test_set_refuses(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    assert "nothing was given" in cove("set", "dev").err
    shown = cove("set", "dev", "--cpus", "2", "--memory", "1M")
    assert (shown.code, "one CPU" in shown.err, "at least" in shown.err) == (2, True, True)
    assert "is not a size" in cove("set", "dev", "--disk", "much").err
    assert store.load("dev").spec == SPEC


def test_trim_needs_a_running_machine(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    shown = cove("trim", "dev")
    assert (shown.code, "dev is created" in shown.err) == (1, True)
