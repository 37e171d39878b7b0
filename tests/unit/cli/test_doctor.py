# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cove.cli.app import doctor_may_know
from cove.cli.doctor import report
from cove.errors import CoveError, MachineError, NotFoundError, UsageError
from cove.machine.doctor.finding import Examination, Finding
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


def test_in_a_terminal_lines_are_broken_between_words_and_fixes_never() -> None:
    long = Finding(
        id="disk-full", severity="problem", subject="/a/" + "b" * 60, what="there is no room left at all here, " * 3,
        why="One reason.\nAnother reason that is longer than a line can be, " * 2, fix="sudo " + "do something, " * 20,
    )  # fmt: skip
    found = Examination(findings=(long,), skipped={})
    whole, narrow = report(found), report(found, width=50)
    assert narrow.split() == whole.split()
    for line in narrow.splitlines():
        assert len(line) <= 50 or line.startswith("  fix: ") or len(line.split()) == 1
    assert "\n       Another reason" in narrow
    assert narrow.splitlines()[-3] == whole.splitlines()[-3]


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
