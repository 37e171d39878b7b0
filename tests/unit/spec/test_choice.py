# SPDX-License-Identifier: Apache-2.0
"""The choice of a driver: one table over kinds of hosts and wishes, and one file for each recorded host."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cove.errors import CoveError
from cove.spec.choice import choose_driver, kvm_is_worth_trying
from cove.spec.facts import HostFacts
from cove.spec.machine import MachineRequest

PLAIN = HostFacts(
    system="linux", machine="x86_64", release="6.1.0", cpus=8, memory=2**34, page_size=4096, kvm="absent"
)
HOSTS = {
    "no kvm": PLAIN,
    "kvm forbidden": dataclasses.replace(PLAIN, kvm="forbidden"),
    "kvm not tried": dataclasses.replace(PLAIN, kvm="openable"),
    "kvm hangs": dataclasses.replace(
        PLAIN, kvm="openable", kvm_works=False, kvm_reason="no kernel booted within 5 s"
    ),
    "kvm works": dataclasses.replace(
        PLAIN, kvm="openable", kvm_works=True, kvm_reason="a kernel booted in 0.8 s"
    ),
    "linux aarch64": dataclasses.replace(PLAIN, machine="aarch64", kvm="openable"),
    "linux aarch64, kvm works": dataclasses.replace(
        PLAIN, machine="aarch64", kvm="openable", kvm_works=True, kvm_reason="a kernel booted in 0.4 s"
    ),
    "linux riscv64": dataclasses.replace(PLAIN, machine="riscv64"),
    "mac": dataclasses.replace(PLAIN, system="darwin", machine="aarch64"),
}
WISHES = {
    "auto": MachineRequest(name="m"),
    "auto, 2 cpus": MachineRequest(name="m", cpus=2),
    "uml": MachineRequest(name="m", driver="uml"),
    "uml/kvm": MachineRequest(name="m", driver="uml", accel="kvm"),
    "qemu": MachineRequest(name="m", driver="qemu"),
    "auto/kvm": MachineRequest(name="m", accel="kvm"),
    "qemu/hvf": MachineRequest(name="m", driver="qemu", accel="hvf"),
    "vz/hvf": MachineRequest(name="m", driver="vz", accel="hvf"),
    "qemu/tcg": MachineRequest(name="m", driver="qemu", accel="tcg"),
    "vz": MachineRequest(name="m", driver="vz"),
    "auto/hvf": MachineRequest(name="m", accel="hvf"),
    "aarch64": MachineRequest(name="m", arch="aarch64"),
    "amd64": MachineRequest(name="m", arch="amd64"),
    "uml, aarch64": MachineRequest(name="m", driver="uml", arch="arm64"),
    "kvm, aarch64": MachineRequest(name="m", accel="kvm", arch="aarch64"),
    "no such architecture": MachineRequest(name="m", arch="s390x"),
    "nonsense": MachineRequest(name="m", driver="xen"),
}


RECORDED = sorted((Path(__file__).parents[2] / "hosts").glob("*.json"))


def outcome(request: MachineRequest, facts: HostFacts) -> str:
    try:
        choice = choose_driver(request, facts)
    except CoveError as error:
        details = f" ({error.details.replace(chr(10), '; ')})" if error.details else ""
        return f"{type(error).__name__}: {error.message}{details} [{error.hint}]"
    return f"{choice.driver}/{choice.accel}: {choice.reason}"


def test_every_host_and_wish(golden: Callable[[str, str], None]) -> None:
    lines = [
        f"{host} | {wish} -> {outcome(request, facts)}\n"
        for host, facts in HOSTS.items()
        for wish, request in WISHES.items()
    ]
    golden("spec/choose_driver.txt", "".join(lines))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_recorded_host(path: Path, golden: Callable[[str, str], None]) -> None:
    facts = HostFacts.from_dict(json.loads(path.read_text()))
    lines = [f"{wish} -> {outcome(request, facts)}\n" for wish, request in WISHES.items()]
    golden(f"hosts/{path.stem}.choice", "".join(lines))


@pytest.mark.parametrize("facts", HOSTS.values(), ids=HOSTS)
def test_auto_never_picks_kvm_unproven(facts: HostFacts) -> None:
    try:
        choice = choose_driver(MachineRequest(name="m"), facts)
    except CoveError:
        return
    assert (choice.accel == "kvm") == (facts.kvm_works is True)


def test_kvm_is_tried_for_guests_of_the_hosts_own_architecture() -> None:
    facts = HOSTS["linux aarch64"]
    assert kvm_is_worth_trying(MachineRequest(name="m"), facts)
    assert kvm_is_worth_trying(MachineRequest(name="m", driver="qemu", arch="arm64"), facts)
    assert not kvm_is_worth_trying(MachineRequest(name="m", arch="x86_64"), facts)
    assert not kvm_is_worth_trying(MachineRequest(name="m", accel="tcg"), facts)
    assert not kvm_is_worth_trying(MachineRequest(name="m"), HOSTS["no kvm"])
