# SPDX-License-Identifier: Apache-2.0
"""Which of the host's folders are watched for containers: those that they have, the guest sees, and are not Cove's."""

from __future__ import annotations

from typing import Any

import pytest

from cove.machine.file_events import bound_folders
from cove.spec.shares import Share

SHARES = (Share(path="/home/you"), Share(path="/data", writable=False))


def container(*sources: str, kind: str = "bind") -> dict[str, Any]:
    return {"Id": "1", "Mounts": [{"Type": kind, "Source": source} for source in sources]}


def test_what_containers_have_of_the_shares() -> None:
    found = [container("/home/you/app", "/data"), container("/home/you/app/x"), {"Id": "2"}, {"Mounts": None}]
    assert bound_folders(found, SHARES, []) == {"/home/you/app", "/data", "/home/you/app/x"}


@pytest.mark.parametrize("source", ["/run/docker.sock", "/home/you/.cove/m", "/proc"])
def test_what_is_not_watched(source: str) -> None:
    assert bound_folders([container(source)], SHARES, ["/home/you/.cove"]) == set()


def test_volumes_are_the_guests_own() -> None:
    assert bound_folders([container("/data/x", kind="volume")], SHARES, []) == set()
