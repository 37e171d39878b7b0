# SPDX-License-Identifier: Apache-2.0
"""Commands of a machine's life, as far as they need no guest."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from cove.machine.state import State
from cove.machine.store import StateRecord, Store, write_state
from cove.system.process import Identity
from tests.unit.cli.conftest import Cove
from tests.unit.machine.world import SPEC

linux_x86 = pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="the driver uml is for x86_64 Linux"
)


@linux_x86
def test_create(store: Store, cove: Cove) -> None:
    shown = cove("create", "--driver", "uml", "--memory", "1.5", "--disk", "20G", "dev")
    assert (shown.code, shown.out) == (0, "dev\n")
    assert shown.err.startswith("Created the machine dev: driver uml (")
    spec = store.load("dev").spec
    assert (spec.memory, spec.disk, spec.cpus) == (3 << 29, 20 << 30, 1)
    again = cove("create", "dev")
    assert (again.code, "there is a machine 'dev' already" in again.err) == (1, True)
    data = json.loads(cove("create", "--driver", "uml", "--json", "-q" if False else "other").out)
    assert (data["name"], data["status"]) == ("other", "created")


@linux_x86
def test_create_takes_the_name_from_the_global_option_too(store: Store, cove: Cove) -> None:
    assert cove("-q", "-m", "dev", "create", "--driver", "uml").err == ""
    assert cove("-q", "create", "--driver", "uml").out == "default\n"
    assert store.names() == ["default", "dev"]


@linux_x86
def test_wishes_that_do_not_fit_are_all_named(store: Store, cove: Cove) -> None:
    shown = cove("create", "--driver", "uml", "--cpus", "2", "--memory", "1M", "--disk", "1M", "dev")
    assert shown.code == 2
    assert [word in shown.err for word in ("--cpus 2", "--memory 1.0 MiB", "--disk 1.0 MiB")] == [True] * 3
    assert store.names() == []


def test_delete_asks_and_without_a_terminal_refuses(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    shown = cove("delete", "dev")
    assert (shown.code, shown.out) == (1, "")
    assert "dev was not deleted: there is no terminal to ask on" in shown.err
    assert store.exists("dev")
    shown = cove("delete", "--force", "dev")
    assert (shown.code, shown.out, shown.err) == (0, "", "dev is deleted\n")
    assert not store.exists("dev")
    assert cove("delete", "--force", "dev").code == 1


@pytest.mark.parametrize(
    ("typed", "code", "left"), [(b"y\n", 0, False), (b"n\n", 130, True), (b"\x04", 130, True)]
)
def test_delete_asks_on_a_terminal(store: Store, typed: bytes, code: int, left: bool) -> None:
    store.create(SPEC)
    master, slave = pty.openpty()
    source = str(Path(__file__).parents[3] / "src")
    done = subprocess.Popen(
        [sys.executable, "-m", "cove", "delete", "dev"], stdin=slave, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    os.write(master, typed)
    out, err = done.communicate(timeout=30)
    os.close(slave)
    os.close(master)
    assert (done.returncode, out) == (code, b"")
    assert b"Delete dev with all its containers, images and volumes?" in err
    assert store.exists("dev") is left


def test_delete_of_several_goes_one_by_one(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    shown = cove("delete", "--force", "dev", "absent")
    assert shown.code == 1
    assert store.names() == []


def test_stop_of_what_does_not_run(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    shown = cove("stop", "dev")
    assert (shown.code, shown.out, shown.err) == (0, "", "dev is not running\n")
    assert cove("stop", "--all").err == ""
    assert cove("stop", "absent").code == 1


def test_start_of_what_runs_says_so(store: Store, cove: Cove) -> None:
    paths = store.create(SPEC).paths
    me = Identity.of(os.getpid())
    assert me is not None
    write_state(paths, StateRecord(state=State.RUNNING, processes={"supervisor": me}))
    shown = cove("start", "dev")
    assert (shown.code, shown.out, shown.err) == (0, "", "dev is running already\n")
    assert json.loads(cove("start", "dev", "--json").out)["status"] == "running"


def test_only_the_default_machine_is_made_by_starting_it(cove: Cove) -> None:
    for line in ("start dev", "restart dev", "restart"):
        shown = cove(*line.split())
        assert (shown.code, "there is no machine" in shown.err) == (1, True)


def test_offline_says_what_is_missing(store: Store, cove: Cove) -> None:
    store.create(SPEC)
    shown = cove("--offline", "start", "dev")
    assert (shown.code, shown.out) == (1, "")
    assert "offline" in shown.err
