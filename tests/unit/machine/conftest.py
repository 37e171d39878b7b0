# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from cove.machine.store import Store
from cove.system.paths import Home
from tests.unit.machine.world import short_home


@pytest.fixture
def home() -> Iterator[Home]:
    with short_home() as made:
        yield made


@pytest.fixture
def store(home: Home) -> Store:
    return Store(home)
