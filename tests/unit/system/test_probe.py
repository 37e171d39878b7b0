# SPDX-License-Identifier: Apache-2.0
"""What is found about a host, with programs that stand in for QEMU; the real one is tried by the integration tests."""

from __future__ import annotations

import grp
import os
import sys
from pathlib import Path

import pytest

from cove.errors import ToolError
from cove.spec.facts import HostFacts
from cove.system import probe
from cove.system.probe import (
    REFUSAL_LIFETIME,
    Trial,
    Verdict,
    boots,
    kvm_device,
    memory_places,
    recall,
    remember,
)
from cove.system.process import Command
from cove.system.tiny_guest import MARKER

MOUNTS = """\
/dev/root / ext4 rw,relatime 0 0
tmpfs {0}/shm tmpfs rw,nosuid,nodev 0 0
tmpfs {0}/noexec tmpfs rw,nosuid,noexec 0 0
tmpfs {0}/with\\040space tmpfs rw 0 0
/dev/sdb {0}/shm/disk ext4 rw 0 0
"""


def shell(script: str) -> Command:
    return Command(("/bin/sh", "-c", script), {})


def trial(qemu: Command) -> Trial:
    return Trial(
        qemu=qemu, kernel=Path("/kernel"), architecture="x86_64", machine="q35", console="ttyS0",
        restart="reboot=triple", accel=("-accel", "kvm"),
    )  # fmt: skip


def test_facts_of_this_host_can_be_recorded() -> None:
    facts = probe.host_facts(dict(os.environ), Verdict(works=False, reason="it hangs"))
    assert facts.system == sys.platform
    assert facts.cpus >= 1
    assert HostFacts.from_dict(facts.to_dict()) == facts


def test_kvm_device(tmp_path: Path) -> None:
    assert kvm_device(tmp_path / "kvm") == "absent"
    (tmp_path / "kvm").touch()
    assert kvm_device(tmp_path / "kvm") == "openable"


@pytest.mark.skipif(os.getuid() == 0, reason="root may open everything")
def test_kvm_device_of_others(tmp_path: Path) -> None:
    (tmp_path / "kvm").touch(mode=0o000)
    assert kvm_device(tmp_path / "kvm") == "forbidden"


def test_a_kernel_that_boots() -> None:
    verdict = boots(trial(shell(f"echo SeaBIOS; echo {MARKER}")))
    assert verdict.works
    assert "booted" in verdict.reason


def test_one_that_hangs_is_ended_at_the_deadline() -> None:
    verdict = boots(trial(shell("exec sleep 100")), deadline=0.2)
    assert verdict == Verdict(works=False, reason="a kernel did not boot in it within 0.2 s")


def test_one_that_fails_says_why() -> None:
    verdict = boots(trial(shell("echo failed to set MSR 0x10a >&2; exit 1")))
    assert verdict == Verdict(works=False, reason="QEMU failed: failed to set MSR 0x10a")


def test_an_end_without_the_marker_is_no_proof() -> None:
    assert not boots(trial(shell("exit 0"))).works


def test_a_missing_qemu_says_nothing_about_kvm() -> None:
    with pytest.raises(ToolError):
        boots(trial(Command(("/nonexistent",), {})))


def test_verdicts_are_remembered(tmp_path: Path) -> None:
    cache = tmp_path / "probes.json"
    good, bad = Verdict(works=True, reason="yes"), Verdict(works=False, reason="no")
    assert recall(cache, "key", 0.0) is None
    remember(cache, "key", bad, 1000.0)
    assert recall(cache, "key", 1001.0) == bad
    assert recall(cache, "other", 1001.0) is None
    assert recall(cache, "key", 1000.0 + REFUSAL_LIFETIME) is None
    assert recall(cache, "key", 999.0) is None
    remember(cache, "key", good, 1000.0)
    assert recall(cache, "key", 1e12) == good


@pytest.mark.parametrize("damage", ["", "[]", '{"kvm": 1}', '{"kvm": {"key": "key", "works": 1}}'])
def test_a_damaged_cache_counts_as_none(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "probes.json"
    cache.write_text(damage)
    assert recall(cache, "key", 0.0) is None
    remember(cache, "key", Verdict(works=True, reason="yes"), 0.0)
    assert recall(cache, "key", 0.0) is not None


def test_another_qemu_is_another_key(tmp_path: Path) -> None:
    qemu, kernel = tmp_path / "qemu", tmp_path / "kernel"
    qemu.write_text("1")
    kernel.write_text("1")
    command = Command(("/lib/ld.so", "--argv0", "qemu", str(qemu)), {})
    before = probe.probe_key(command, kernel)
    assert probe.probe_key(command, kernel) == before
    qemu.write_text("22")
    assert probe.probe_key(command, kernel) != before


def test_the_verdict_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(probe, "kvm_device", lambda: "openable")
    count = tmp_path / "count"
    qemu = shell(f"echo x >> {count}; echo {MARKER}")
    first = probe.kvm_verdict(trial(qemu), tmp_path / "probes.json")
    assert probe.kvm_verdict(trial(qemu), tmp_path / "probes.json") == first
    assert count.read_text() == "x\n"


def test_the_last_verdict_is_about_this_kernel(tmp_path: Path) -> None:
    cache = tmp_path / "probes.json"
    assert probe.last_verdict(cache) is None
    remember(
        cache, probe.probe_key(Command(("/some/qemu",), {}), tmp_path), Verdict(works=False, reason="no"), 1.0
    )
    assert probe.last_verdict(cache) == Verdict(works=False, reason="no")
    remember(cache, "1 5.0.0-other 232", Verdict(works=True, reason="yes"), 1.0)
    assert probe.last_verdict(cache) is None


def test_what_a_processor_can_virtualize() -> None:
    assert probe._cpu_flags("processor: 0\nflags\t\t: fpu vmx hypervisor sse\n") == ("hypervisor", "vmx")
    assert probe._cpu_flags("Features: fp asimd\n") == ()


def test_who_may_open_a_device(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    assert probe._group_of(device) == ""
    device.touch()
    device.chmod(0o600)
    assert probe._group_of(device) == ""
    device.chmod(0o660)
    assert probe._group_of(device) == grp.getgrgid(os.getgid()).gr_name


@pytest.mark.parametrize("state", ["absent", "forbidden"])
def test_what_cannot_be_opened_is_not_tried(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "kvm_device", lambda: state)
    assert not probe.kvm_verdict(trial(Command(("/nonexistent",), {})), tmp_path / "probes.json").works
    assert not (tmp_path / "probes.json").exists()


def test_memory_places_are_in_memory_and_executable(tmp_path: Path) -> None:
    names = ("shm", "noexec", "with space", "shm/disk", "absent")
    for name in names[:-1]:
        (tmp_path / name).mkdir()
    found = memory_places(MOUNTS.format(tmp_path), [tmp_path / name for name in names])
    assert [Path(place.path).name for place in found] == ["shm", "with space"]
    assert all(place.free > 0 for place in found)


def test_memory_limits_of_cgroups() -> None:
    assert probe._limit_files("0::/user.slice/mine\n") == [
        "/sys/fs/cgroup/user.slice/mine/memory.max",
        "/sys/fs/cgroup/user.slice/memory.max",
        "/sys/fs/cgroup/./memory.max",
    ]
    assert probe._limit_files("9:cpu,memory:/\n1:name=systemd:/\n") == [
        "/sys/fs/cgroup/memory/./memory.limit_in_bytes"
    ]
