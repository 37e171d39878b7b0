# SPDX-License-Identifier: Apache-2.0
"""What a host can do, as recorded data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.spec.facts import HostFacts, HostTool, MemoryPlace, choose_memory_place

PLAIN = HostFacts(
    system="linux", machine="x86_64", release="6.1.0", cpus=8, memory=2**34, page_size=4096, kvm="absent"
)


def test_facts_round_trip() -> None:
    facts = dataclasses.replace(
        PLAIN,
        kvm="openable",
        kvm_works=False,
        memory_places=(MemoryPlace(path="/dev/shm", free=1),),
        tools=(HostTool(name="vfkit", path="/v", says="0.6.1", signed=True, entitlements=("a", "b")),),
    )
    assert HostFacts.from_dict(facts.to_dict()) == facts


def test_wrong_facts_are_refused() -> None:
    with pytest.raises(UsageError, match="facts"):
        HostFacts.from_dict(PLAIN.to_dict() | {"kvm": "maybe", "kvm_works": 1, "extra": 0})
    with pytest.raises(UsageError, match="a program of a host"):
        HostFacts.from_dict(PLAIN.to_dict() | {"tools": [{"name": "vfkit"}]})


def test_memory_lies_where_all_of_it_fits() -> None:
    places = (MemoryPlace(path="/dev/shm", free=64 << 20), MemoryPlace(path="/run/user/1", free=1 << 30))
    facts = dataclasses.replace(PLAIN, memory_places=places)
    assert choose_memory_place(facts, 1 << 20, Path("/m")) == Path("/dev/shm")
    assert choose_memory_place(facts, 1 << 30, Path("/m")) == Path("/run/user/1")
    assert choose_memory_place(facts, 2 << 30, Path("/m")) == Path("/m")
