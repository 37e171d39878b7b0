# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from cove.machine.store import Store
from cove.system.paths import Home
from tests.small_disk import SmallDisk, small_disk
from tests.unit.machine.world import short_home


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as made:
        yield made


@pytest.fixture
def small() -> Iterator[SmallDisk]:
    """A disk of 4 MiB that can be filled."""
    with small_disk(4 << 20) as made:
        yield made


@pytest.fixture
def small_store(small: SmallDisk) -> Store:
    """Machines on that disk."""
    return Store(Home.from_environment({"COVE_HOME": str(small.seen)}))


@pytest.fixture
def store(home: Home) -> Store:
    return Store(home)
