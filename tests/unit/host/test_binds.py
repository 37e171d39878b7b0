# SPDX-License-Identifier: Apache-2.0
"""Containers that want folders which the guest does not have are refused, with what to do about it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.host.binds import refusal, sources
from cove.spec.shares import Share

SHARES = (Share(path="/home/you"), Share(path="/data", writable=False))


def told(*binds: str, mounts: object = None) -> str | None:
    body = json.dumps({"Image": "x", "HostConfig": {"Binds": list(binds), "Mounts": mounts}}).encode()
    return refusal(body, machine="dev", shares=SHARES, hidden=["/home/you/.cove"])


@pytest.mark.parametrize(
    "bind",
    [
        "/home/you:/x", "/home/you/a/b:/x:ro", "/data/../home/you/x:/x", "//data:/x", "volume:/x", "/x",
        "/var/run/docker.sock:/var/run/docker.sock", "/run/docker.sock:/s", "/proc:/host/proc:ro", "/sys:/sys",
        "/dev/null:/x", "/var/lib/docker/volumes:/v", "/lib/modules:/lib/modules:ro", "/var/run:/var/run",
        "/home/you/.covert:/x",
    ],
)  # fmt: skip
def test_what_the_guest_has(bind: str) -> None:
    if (
        bind == "/x"
    ):  # a volume without a name is not among the binds of any client, and refused for its source
        assert told(bind)
        return
    assert told(bind) is None


def test_an_unshared_folder_is_named_with_what_to_do() -> None:
    assert told("/home/you/a:/a", "/srv/my files:/x") == (
        "the host's /srv/my files is not shared with the machine dev. "
        "Share its folder: cove set dev --mount '/srv/my files', then cove restart dev"
    )


@pytest.mark.parametrize("source", ["/etc/x", "/etc/localtime", "/", "/usr/share/zoneinfo", "/run/user/1000"])
def test_what_cannot_be_shared_is_told_so(source: str) -> None:
    assert "cannot be" in (told(f"{source}:/x") or "")


@pytest.mark.parametrize("source", ["/home/you/.cove", "/home/you/x/../.cove/m/dev/docker.sock"])
def test_coves_own_files_are_refused(source: str) -> None:
    assert "Cove itself" in (told(mounts=[{"Type": "bind", "Source": source, "Target": "/x"}]) or "")


def test_mounts_of_other_kinds_are_no_paths() -> None:
    assert told(mounts=[{"Type": "volume", "Source": "/srv"}, {"Type": "tmpfs", "Target": "/x"}]) is None
    assert told(mounts=[{"Type": "bind", "Source": "/srv", "Target": "/x"}]) is not None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["HostConfig", "Binds", "Mounts", "Type", "Source"]), inner)
        ),
    )
)
def test_nonsense_is_left_to_the_engine(value: object) -> None:
    assert all(path.startswith("/") for path in sources(json.dumps(value).encode()))


@given(st.binary())
def test_noise_is_left_to_the_engine(body: bytes) -> None:
    assert not list(sources(body))
