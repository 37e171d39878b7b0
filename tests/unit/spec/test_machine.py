# SPDX-License-Identifier: Apache-2.0
"""The recorded form of a machine: it round-trips, and whatever is wrong with it is told at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.spec.machine import (
    ACCELS,
    ARCHITECTURES,
    DRIVERS,
    LEAST_DISK,
    LEAST_MEMORY,
    MOUNT_TYPES,
    MachineSpec,
    architecture_named,
)
from cove.spec.shares import Share

SPEC = MachineSpec(name="default", driver="uml", accel="none", cpus=1, memory=2**31, disk=2**36)


@given(
    st.builds(
        MachineSpec,
        name=st.text(),
        driver=st.sampled_from(DRIVERS),
        accel=st.sampled_from(ACCELS),
        cpus=st.integers(min_value=1),
        memory=st.integers(min_value=LEAST_MEMORY),
        disk=st.integers(min_value=LEAST_DISK),
        architecture=st.sampled_from(ARCHITECTURES),
        binfmt=st.booleans(),
        mount_type=st.sampled_from(MOUNT_TYPES),
        image=st.sampled_from([(), ("/a/x.yml", "/a/y.yml")]),
        shares=st.sampled_from([(), (Share(path="/a", writable=False), Share(path="/a/b"))]),
    )
)
def test_round_trip(spec: MachineSpec) -> None:
    assert MachineSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("name", ["aarch64", "arm64"])
def test_architectures_have_the_kernels_name_and_debians(name: str) -> None:
    assert architecture_named(name) == "aarch64"
    with pytest.raises(UsageError, match="no architecture 'arm'"):
        architecture_named("arm")


def test_every_problem_is_named_at_once() -> None:
    data = SPEC.to_dict() | {"driver": "xen", "cpus": 0, "memory": True, "disk": "64G", "colour": "red"}
    del data["name"]
    with pytest.raises(UsageError) as caught:
        MachineSpec.from_dict(data)
    assert caught.value.details == (
        "name: it is missing, not a text\n"
        "driver: it is 'xen', not one of uml, qemu, vz\n"
        "cpus: it is 0, and must be at least 1\n"
        "memory: it is True, not a whole number\n"
        "disk: it is '64G', not a whole number\n"
        "colour: unknown key"
    )


def test_a_machine_from_before_there_were_shares_and_own_guests_has_none() -> None:
    data = SPEC.to_dict()
    del data["shares"], data["image"]
    assert MachineSpec.from_dict(data) == SPEC


@pytest.mark.parametrize(
    "value", [1, [1], [{"path": "/a"}], [{"path": 1, "writable": True}], [{"path": "/etc", "writable": True}]]
)
def test_wrong_shares_are_refused(value: object) -> None:
    with pytest.raises(UsageError) as caught:
        MachineSpec.from_dict(SPEC.to_dict() | {"shares": value})
    assert "shar" in (caught.value.details or "")


@pytest.mark.parametrize("version", [2, "1", None])
def test_another_version_is_the_only_complaint(version: object) -> None:
    with pytest.raises(UsageError) as caught:
        MachineSpec.from_dict({"version": version, "whatever": 1})
    assert caught.value.details == f"version: it is {version!r}, and this Cove reads version 1"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_nonsense_is_refused(data: object) -> None:
    with pytest.raises(UsageError):
        MachineSpec.from_dict(data)


@pytest.mark.parametrize("image", ["/a", ["a.yml"], [1], None])
def test_an_own_guest_is_recorded_by_absolute_paths(image: object) -> None:
    with pytest.raises(UsageError) as caught:
        MachineSpec.from_dict(SPEC.to_dict() | {"image": image})
    assert (caught.value.details or "").endswith("not a list of absolute paths")
