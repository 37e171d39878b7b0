# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, with a home of its own and nothing of the user's environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from cove.cli.app import run
from cove.machine.store import Store
from cove.system.paths import Home
from tests.unit.machine.world import short_home


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    with short_home() as made:
        for name in ("COVE_CACHE", "NO_COLOR", "DOCKER_HOST", "DOCKER_CONFIG"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "COVE_HOME": str(made.root), "HOME": str(made.root / "user"), "SHELL": "/bin/bash", "TERM": "dumb",
            "COLUMNS": "100",
            "COVE_DEBIAN_MIRROR": "http://127.0.0.1:1/",  # a unit test that fetches would start a machine next
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def store(home: Home) -> Store:
    return Store(home)


@dataclass(frozen=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str


Cove = Callable[..., Result]


@pytest.fixture
def cove(home: Home, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cove:
    """Runs one command line."""

    def never(*_arguments: object) -> None:
        raise AssertionError("a unit test would have become another program")

    monkeypatch.setattr("cove.system.process.replace", never)

    def call(*arguments: str) -> Result:
        capfdbinary.readouterr()
        code = run(arguments)
        out, err = capfdbinary.readouterr()
        return Result(code, out.decode(), err.decode())

    return call
