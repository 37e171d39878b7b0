# SPDX-License-Identifier: Apache-2.0
"""Defaults and checks across values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.spec.facts import HostFacts
from cove.spec.fill import DEFAULT_DISK, fill
from cove.spec.machine import MachineRequest, MachineSpec
from cove.spec.shares import Share
from cove.units import GIB, MIB

HOST = HostFacts(
    system="linux", machine="x86_64", release="6.1", cpus=2, memory=16 * GIB, page_size=4096, kvm="absent"
)


def test_defaults_of_uml() -> None:
    spec, reason = fill(MachineRequest(name="m"), HOST)
    assert spec == MachineSpec(
        name="m", driver="uml", accel="none", cpus=1, memory=2 * GIB, disk=DEFAULT_DISK
    )
    assert "no /dev/kvm" in reason


@pytest.mark.parametrize(("host", "guest"), [(2, 2), (64, 4)])
def test_qemu_takes_up_to_four_cpus(host: int, guest: int) -> None:
    spec, _ = fill(MachineRequest(name="m", driver="qemu"), dataclasses.replace(HOST, cpus=host))
    assert spec.cpus == guest


@pytest.mark.parametrize(
    ("host", "guest"), [(16 * GIB, 2 * GIB), (3 * GIB, 1536 * MIB), (600 * MIB, 512 * MIB)]
)
def test_memory_is_at_most_half(host: int, guest: int) -> None:
    spec, _ = fill(MachineRequest(name="m"), dataclasses.replace(HOST, memory=host))
    assert spec.memory == guest


def test_uml_refuses_a_second_cpu_and_names_qemu() -> None:
    with pytest.raises(UsageError) as caught:
        fill(MachineRequest(name="m", driver="uml", cpus=2), HOST)
    assert "uml has one CPU" in str(caught.value.details)
    assert "--driver qemu --cpus 2" in str(caught.value.hint)


def test_all_problems_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        fill(MachineRequest(name="m", driver="uml", cpus=2, memory=17 * GIB, disk=512 * MIB), HOST)
    assert str(caught.value.details).splitlines() == [
        "--cpus 2: the driver uml has one CPU",
        "--memory 17 GiB: the host has 16 GiB",
        "--disk 512 MiB: the data disk has at least 1.0 GiB",
    ]


@given(
    st.builds(
        MachineRequest,
        name=st.just("m"),
        driver=st.sampled_from(["auto", "uml", "qemu"]),
        cpus=st.none() | st.integers(-1, 8),
        memory=st.none() | st.integers(0, 32 * GIB),
        disk=st.none() | st.integers(0, 128 * GIB),
    )
)
def test_what_is_filled_can_be_recorded(request: MachineRequest) -> None:
    try:
        spec, _ = fill(request, HOST)
    except UsageError:
        return
    assert MachineSpec.from_dict(spec.to_dict()) == spec


def test_an_old_macos_is_not_taken_down_by_a_large_guest() -> None:
    path = Path(__file__).parents[2] / "hosts/macbook-m1-macos12.3.json"
    mac = HostFacts.from_dict(json.loads(path.read_text()))
    spec, _ = fill(MachineRequest(name="m", memory=3 * GIB), mac)
    assert (spec.driver, spec.accel, spec.architecture) == ("qemu", "hvf", "aarch64")
    with pytest.raises(UsageError) as caught:
        fill(MachineRequest(name="m", memory=4 * GIB), mac)
    assert "more than 3.0 GiB" in str(caught.value.details)
    fill(MachineRequest(name="m", memory=4 * GIB), dataclasses.replace(mac, os_version="12.4"))


MAC = HostFacts.from_dict(
    json.loads((Path(__file__).parents[2] / "hosts/macbook-m1-macos14.json").read_text())
)


@pytest.mark.parametrize(
    ("facts", "request_", "mount_type", "daemons"),
    [
        (HOST, MachineRequest(name="m", shares=(Share(path="/a"),)), "virtiofs", True),
        (HOST, MachineRequest(name="m"), "virtiofs", False),
        (
            HOST,
            MachineRequest(name="m", driver="qemu", mount_type="9p", shares=(Share(path="/a"),)),
            "9p",
            False,
        ),
        (MAC, MachineRequest(name="m", shares=(Share(path="/a"),)), "virtiofs", False),
        (MAC, MachineRequest(name="m", driver="qemu", shares=(Share(path="/a"),)), "9p", False),
    ],
)
def test_how_folders_get_into_the_guest(
    facts: HostFacts, request_: MachineRequest, mount_type: str, daemons: bool
) -> None:
    spec, _ = fill(request_, facts)
    assert (spec.mount_type, spec.share_daemons) == (mount_type, daemons)


@pytest.mark.parametrize(
    ("facts", "request_", "message"),
    [
        (HOST, MachineRequest(name="m", mount_type="9p"), "the driver uml cannot mount folders by 9p"),
        (MAC, MachineRequest(name="m", mount_type="9p"), "the driver vz cannot mount folders by 9p"),
        (
            MAC,
            MachineRequest(name="m", driver="qemu", mount_type="virtiofs"),
            "the driver qemu on macOS cannot mount folders by virtiofs",
        ),
        (HOST, MachineRequest(name="m", mount_type="nfs"), "there is no mount type 'nfs'"),
    ],
)
def test_ways_that_do_not_exist_are_refused(facts: HostFacts, request_: MachineRequest, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        fill(request_, facts)
    assert caught.value.message == message
