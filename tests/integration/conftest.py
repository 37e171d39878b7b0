# SPDX-License-Identifier: Apache-2.0
"""Real machines for the tests of this folder. Everything is driven through the installed ``cove``.

One cache serves the whole session (``COVE_TEST_CACHE`` keeps it for the next one), and most tests share one
running machine per driver; tests that break things have a home of their own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import Home, Machine

HERE = Path(__file__).parent
TIMEOUT = 300
"""Seconds for one test with its fixtures: the first one fetches and builds everything."""

CACHE = "COVE_TEST_CACHE"
"""Names a cache that is kept for the next session."""

_OWN_CACHE = pytest.StashKey[str]()
_HOMES: list[Home] = []


CLIENTS_SOCKETS = "ignore:.*<socket.socket:pytest.PytestUnraisableExceptionWarning"
"""docker-py leaves sockets to the garbage collector, which finds them in whatever test comes later."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is an integration test, and has more time."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(TIMEOUT))
            item.add_marker(pytest.mark.filterwarnings(CLIENTS_SOCKETS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the ends of all logs to a failed test's report."""
    report: Any = yield
    if report.failed and HERE in item.path.parents:
        report.sections += [(f"logs below {home.root}", home.tails()) for home in _HOMES]
    return report


def _opened(home: Home) -> Iterator[Home]:
    _HOMES.append(home)
    try:
        yield home
    finally:
        home.close()
        _HOMES.remove(home)


def pytest_configure(config: pytest.Config) -> None:
    """One cache for all workers of a run: made by whoever deals out the tests, and removed by it."""
    if "workerinput" not in dir(config) and not os.environ.get(CACHE):
        os.environ[CACHE] = config.stash[_OWN_CACHE] = tempfile.mkdtemp(prefix="cove-it-cache-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache, unless it was given."""
    made = config.stash.get(_OWN_CACHE, None)
    if made is not None:
        del os.environ[CACHE]
        shutil.rmtree(made)


@pytest.fixture(scope="session")
def cache() -> Path:
    """Packages, programs and images for all homes of the session."""
    return Path(os.environ[CACHE]).absolute()


@pytest.fixture(scope="session")
def shared(cache: Path) -> Iterator[Home]:
    """The home of the session's machines."""
    yield from _opened(Home.make(cache))


@pytest.fixture(scope="session")
def uml(shared: Home) -> Machine:
    """A running User-Mode Linux."""
    shared.cove("create", "uml", "--driver", "uml", "--start", deadline=TIMEOUT)
    return shared.machine("uml")


@pytest.fixture(scope="session")
def qemu(shared: Home) -> Machine:
    """A running QEMU that emulates its processor."""
    shared.cove("create", "qemu", "--driver", "qemu", "--accel", "tcg", "--start", deadline=TIMEOUT)
    return shared.machine("qemu")


@pytest.fixture(scope="session", params=["uml", "qemu"])
def machine(request: pytest.FixtureRequest) -> Machine:
    """Each driver's running machine in turn."""
    found: Machine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def home(cache: Path) -> Iterator[Home]:
    """An empty home of one's own, with the session's cache."""
    yield from _opened(Home.make(cache))


@pytest.fixture(scope="module")
def module_home(cache: Path) -> Iterator[Home]:
    """A home that the tests of one module share, with the session's cache."""
    yield from _opened(Home.make(cache))


@pytest.fixture
def make_home(cache: Path) -> Iterator[Callable[..., Home]]:
    """Makes empty homes with settings or a cache of their own."""
    made: list[Iterator[Home]] = []

    def make(own_cache: Path | None = cache, **env: str) -> Home:
        made.append(_opened(Home.make(own_cache, **env)))
        return next(made[-1])

    yield make
    for opened in made:
        next(opened, None)


@pytest.fixture(scope="session")
def toolbox(uml: Machine, shared: Home) -> Any:
    """The programs of the group "net", as :mod:`cove.net` is given them."""
    from cove.sdk import Client

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVE_CACHE", str(shared.cache))
        return Client(shared.root).workshop().toolbox("net")
