# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from cove.system.processor import host_machine


@pytest.mark.parametrize(
    ("said", "name"),
    [("x86_64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64"), ("AMD64", "x86_64")],
)
def test_processors_have_linuxs_names(monkeypatch: pytest.MonkeyPatch, said: str, name: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=said))
    assert host_machine() == name
