# SPDX-License-Identifier: Apache-2.0
"""Without a network: what the cache holds works, what it lacks is named."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, Home, Machine, talk


@pytest.fixture
def dead_mirror() -> Iterator[str]:
    """The URL of a mirror that refuses every connection: its port is bound, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/debian"


@pytest.mark.parametrize("options", [("--offline",), ()], ids=["offline", "dead mirror"])
def test_a_warm_cache_is_enough(
    uml: Machine, make_home: Callable[..., Home], dead_mirror: str, options: tuple[str, ...]
) -> None:
    """A second home needs nothing but what the first one fetched."""
    uml.docker("pull", BUSYBOX)
    second = make_home(COVE_DEBIAN_MIRROR=dead_mirror)
    second.cove(*options, "create", "--driver", "uml")
    second.cove(*options, "start")
    assert second.cove(*options, "run", "--rm", BUSYBOX, "echo", "alone").stdout == b"alone\n"


def test_an_empty_cache_is_not_enough(make_home: Callable[..., Home], tmp_path: Path) -> None:
    empty = make_home(tmp_path / "cache")
    empty.cove("--offline", "create", "--driver", "uml")
    refused = empty.cove("--offline", "start", code=1)
    assert "offline" in talk(refused)
    assert "Traceback" not in talk(refused)
    # 125, as docker says: the engine was never reached
    empty.cove("--offline", "run", BUSYBOX, code=125)
