# SPDX-License-Identifier: Apache-2.0
"""Commands that report, on recorded machines; what they print for programs is golden."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from cove.machine.course import Course
from cove.machine.state import State
from cove.machine.store import StateRecord, Store, write_state
from cove.spec.machine import MachineSpec
from cove.system.process import Identity
from tests.unit.cli.conftest import Cove
from tests.unit.machine.world import SPEC

Golden = Callable[[str, str], None]


def recorded(store: Store, record: StateRecord, spec: MachineSpec = SPEC) -> None:
    paths = store.create(spec).paths
    write_state(paths, record)


@pytest.fixture
def machines(store: Store) -> Store:
    """Three machines: one failed, one created, one that runs (under this process)."""
    failed = StateRecord(
        state=State.FAILED,
        reason="dev died: the kernel panicked",
        since=1.0,
        stages=(("link", 0.05), ("kernel", 1.0)),
    )
    recorded(store, failed)
    recorded(store, StateRecord(state=State.CREATED, since=2.0), replace(SPEC, name="a", disk=64 << 30))
    me = Identity.of(os.getpid())
    assert me is not None
    live = StateRecord(
        state=State.RUNNING, since=time.time() - 3, processes={"supervisor": me, "vmm": me}, host_cpu=0
    )
    recorded(store, live, replace(SPEC, name="box", driver="qemu", accel="tcg", cpus=2))
    return store


def stable(store: Store, text: str) -> str:
    """Text without what differs from run to run."""
    text = text.replace(str(store.home.root), "HOME")
    text = re.sub(r'("(?:supervisor|vmm)": |\bpid )\d+', r"\g<1>0", text)
    text = re.sub(r'("(?:created|since|uptime)": )\d{1,}\.\d+', r"\g<1>0.0", text)
    text = re.sub(r"\b(?:[3-9]\.\d\d|[1-5]\d\.\d) s", "3.00 s", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


@pytest.mark.parametrize(
    ("name", "line", "code"),
    [
        ("list.txt", "list", 0),
        ("list.json", "list --json", 0),
        ("list-quiet.txt", "list --quiet", 0),
        ("status-failed.txt", "status dev", 1),
        ("status-created.txt", "status a", 1),
        ("status-running.txt", "status box", 0),
        ("status-running.json", "status box --json", 0),
        ("inspect.json", "inspect dev a", 0),
        ("env-bash.txt", "env --shell bash box", 0),
        ("env-fish.txt", "env --shell fish box", 0),
        ("env-unset-bash.txt", "env --shell zsh --unset box", 0),
        ("env-unset-fish.txt", "env --shell fish --unset box", 0),
        ("env.json", "env dev --json", 0),
        ("not-found.json", "status absent --json", 1),
        ("cache-size.txt", "cache size", 0),
        ("cache-size.json", "cache size --json", 0),
        ("cache-prune.txt", "cache prune", 0),
        ("cache-prune.json", "cache prune --json", 0),
        ("cache-prune-all.txt", "cache prune --all", 1),
    ],
)
def test_what_is_printed(
    machines: Store, cove: Cove, golden: Golden, name: str, line: str, code: int
) -> None:
    shown = cove(*line.split())
    assert shown.code == code, shown
    golden(f"cli/{name}", stable(machines, shown.out + shown.err))
    if name.endswith(".json"):
        assert shown.err == ""
        data = json.loads(shown.out)
        assert shown.out == json.dumps(data, indent=2, sort_keys=True) + "\n"


def test_nothing_there(cove: Cove) -> None:
    assert cove("list").out == "NAME   STATUS   DRIVER   CPUS   MEMORY   DISK   DOCKER HOST\n"
    assert cove("list", "--json").out == "[]\n"
    assert cove("list", "-q").out == ""
    assert cove("stop", "--all").code == 0


def test_the_global_option_names_the_machine_too(machines: Store, cove: Cove) -> None:
    assert cove("-m", "dev", "status") == cove("status", "dev")
    assert cove("-m", "box", "status", "box").code == 0
    shown = cove("-m", "box", "status", "dev")
    assert (shown.code, "both box and dev were named" in shown.err) == (2, True)


def test_inspect_without_a_name_is_the_default_machine(cove: Cove) -> None:
    assert "there is no machine 'default'" in cove("inspect").err


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_shells_take_the_lines(machines: Store, cove: Cove, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    lines = cove("env", "--shell", shell, "box").out + "echo $DOCKER_HOST\n"
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    assert done.stdout == f"unix://{machines.home.machine('box').docker_socket}\n"


def test_the_shell_is_that_of_the_user(machines: Store, cove: Cove, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert cove("env", "box").out.startswith("set -gx DOCKER_HOST ")
    monkeypatch.delenv("SHELL")
    assert cove("env", "box").out.startswith("export DOCKER_HOST=")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cove: Cove, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # click asks bash for its version, which need not be installed
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", staticmethod(lambda: None))
    shown = cove("completion", shell)
    assert (shown.code, shown.err) == (0, "")
    assert f"_COVE_COMPLETE={shell}_complete" in shown.out
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=shown.out, text=True, check=True, capture_output=True)


def test_logs(machines: Store, cove: Cove) -> None:
    shown = cove("logs", "dev")
    assert (shown.code, "dev has no supervisor.log yet" in shown.err) == (1, True)
    paths = machines.home.machine("dev")
    paths.supervisor_log.write_text("one\ntwo\nthree\n")
    paths.console_log.parent.mkdir(exist_ok=True)
    paths.console_log.write_bytes(b"boot \xff\n")
    assert cove("logs", "dev").out == "one\ntwo\nthree\n"
    assert cove("logs", "dev", "-n", "2").out == "two\nthree\n"
    assert cove("logs", "dev", "-n", "0").out == ""
    shown = cove("logs", "dev", "--source", "dockerd")
    assert shown.code == 1
    assert "the log of dockerd lives in the guest's memory" in shown.err


def test_raw_bytes_of_a_log_pass(
    machines: Store, cove: Cove, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from cove.cli.app import run

    paths = machines.home.machine("dev")
    paths.console_log.write_bytes(b"boot \xff\n")
    for line in (["logs", "dev", "--boot"], ["logs", "dev", "-s", "console"]):
        capfdbinary.readouterr()
        assert run(line) == 0
        assert capfdbinary.readouterr().out == b"boot \xff\n"


def test_version_without_a_server(machines: Store, cove: Cove) -> None:
    shown = cove("version", "dev")
    assert shown.code == 0
    assert shown.out.startswith("Client:\n")
    assert shown.out.rstrip().endswith("Server: not running")
    data = json.loads(cove("version", "absent", "--json").out)
    assert sorted(data["client"]) == ["kernel", "os_arch", "python", "version"]
    assert data["server"] is None


def test_only_what_runs_can_be_explained(machines: Store, cove: Cove) -> None:
    shown = cove("explain", "dev")
    assert shown.code == 1
    assert "hint: cove start dev" in shown.err


def test_a_damaged_machine_is_named(machines: Store, cove: Cove) -> None:
    machines.home.machine("dev").spec.write_text("{")
    shown = cove("list")
    assert (shown.code, shown.out) == (1, "")
    assert "machine.json does not describe a machine" in shown.err
    assert cove("delete", "--force", "dev").code == 0
    assert cove("list", "-q").out == "a\nbox\n"


def test_the_stages_of_the_last_start_are_told(store: Store, cove: Cove) -> None:
    machine = store.create(SPEC)
    course = Course()
    course.reach("command")
    course.reach("ready")
    course.save(machine.paths.boot)
    machine.paths.console_log.write_text("the console\n")
    lines = cove("logs", "--boot", "dev").out.splitlines()
    assert lines[0].split() == ["STAGE", "AT", "TOOK"]
    assert [line.split()[0] for line in lines[1:3]] == ["command", "ready"]
    assert lines[3:] == ["", "the console"]
    (told,) = json.loads(cove("inspect", "dev").out)
    assert [one["name"] for one in told["timings"]["stages"]] == ["command", "ready"]
