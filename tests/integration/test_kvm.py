# SPDX-License-Identifier: Apache-2.0
"""``auto`` trusts KVM only after a kernel booted in it; elsewhere it is User-Mode Linux."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable

import pytest

from cove.system.probe import kvm_device
from tests.integration.world import BUSYBOX, Home, talk

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="User-Mode Linux is for x86_64")


def test_auto_is_right_about_this_host(make_home: Callable[..., Home], cache: object) -> None:
    home = make_home()
    done = home.cove("create", "--json", deadline=900)
    made = json.loads(done.stdout)
    assert home.cache is not None
    if kvm_device() == "openable":
        verdict = json.loads((home.cache / "probes.json").read_text())["kvm"]
        assert verdict["reason"] in talk(done)
        expected = ("qemu", "kvm") if verdict["works"] else ("uml", "none")
    else:
        expected = ("uml", "none")
    assert (made["driver"], made["accel"]) == expected
    home.cove("run", "--rm", BUSYBOX, "true")


@pytest.mark.skipif(kvm_device() != "openable", reason="/dev/kvm cannot be opened here")
def test_the_verdict_is_remembered(make_home: Callable[..., Home]) -> None:
    home = make_home()
    home.cove("create", "first", deadline=900)
    assert home.cache is not None
    probes = home.cache / "probes.json"
    before = probes.stat().st_mtime_ns
    assert json.loads(probes.read_text())["kvm"]["key"].split()[1] == os.uname().release
    home.cove("create", "second")
    assert probes.stat().st_mtime_ns == before
    drivers = {one["driver"] for one in home.json("list")}
    assert len(drivers) == 1


@pytest.mark.skipif(kvm_device() != "openable", reason="/dev/kvm cannot be opened here")
def test_kvm_that_was_asked_for_works_or_is_refused_with_the_reason(make_home: Callable[..., Home]) -> None:
    home = make_home()
    home.cove("create", "probe", deadline=900)
    assert home.cache is not None
    works = json.loads((home.cache / "probes.json").read_text())["kvm"]["works"]
    done = home.cove("create", "asked", "--driver", "qemu", "--accel", "kvm", code=None)
    if works:
        assert done.returncode == 0
        home.cove("start", "asked")
    elif done.returncode == 0:  # an order is an order, but it may not hang
        refused = home.cove("start", "asked", code=1)
        assert "Traceback" not in talk(refused)
