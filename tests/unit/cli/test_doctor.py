# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cove.cli.app import doctor_may_know
from cove.errors import CoveError, MachineError, NotFoundError, UsageError
from cove.machine.store import Store
from cove.system.paths import Home
from tests.unit.cli.conftest import Cove
from tests.unit.machine.world import SPEC


def test_findings_and_the_exit_code(cove: Cove, store: Store, home: Home) -> None:
    (home.root / "user").mkdir()
    healthy = cove("doctor")
    assert (healthy.code, healthy.err) == (0, "")  # whatever this host lacks is a warning
    assert "Not looked at: dns-silent" in healthy.out
    store.create(replace(SPEC, driver="vz"))
    ill = cove("doctor")
    assert ill.code == 1
    assert (
        "problem: dev: vz is a part of macOS, and this host runs Linux [machine-driver]\n  why: " in ill.out
    )
    as_json = cove("doctor", "--json")
    assert as_json.code == 1
    told = json.loads(as_json.out)
    assert told["problems"] == 1
    assert told["findings"][0]["id"] == "machine-driver"
    assert set(told["findings"][0]) == {"id", "severity", "subject", "what", "why", "fix"}
    assert "dns-silent" in told["skipped"]


@pytest.mark.parametrize(
    ("problem", "arguments", "known"),
    [
        (MachineError("x"), ("start",), True),
        (MachineError("x"), ("-m", "dev", "run", "busybox"), True),
        (MachineError("x"), ("machine", "create"), True),
        (MachineError("x"), ("stop",), False),
        (UsageError("x"), ("start",), False),
        (NotFoundError("x"), ("start",), False),
    ],
)
def test_which_failures_name_the_doctor(
    problem: CoveError, arguments: tuple[str, ...], *, known: bool
) -> None:
    assert doctor_may_know(problem, arguments) == known


def test_a_failed_start_names_the_doctor(cove: Cove, store: Store, tmp_path: Path) -> None:
    store.create(replace(SPEC, driver="vz"))
    failed = cove("start", "dev")
    assert failed.code == 1
    assert failed.err.endswith("cove doctor looks for what else may be wrong here.\n")
    assert "doctor" not in cove("start", "dev", "--json").out
