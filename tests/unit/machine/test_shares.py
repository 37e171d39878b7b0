# SPDX-License-Identifier: Apache-2.0
"""What is shared by default and on request, what is refused, and what of Cove's own is kept from the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.machine.shares import add_shares, check_present, choose_shares, hidden_folders
from cove.spec.shares import Share
from cove.system.paths import Home


@pytest.fixture
def user(tmp_path: Path) -> Path:
    (tmp_path / "you").mkdir()
    return tmp_path / "you"


@pytest.fixture
def home(user: Path) -> Home:
    (user / ".cove/cache").mkdir(parents=True)
    return Home.from_environment({"HOME": str(user)})


def choose(home: Home, user: Path, *mounts: str, nothing: bool = False) -> tuple[Share, ...]:
    return choose_shares(mounts, nothing=nothing, home=home, env={"HOME": str(user)})


def test_the_home_is_shared_and_nothing_else(home: Home, user: Path) -> None:
    assert choose(home, user) == (Share(path=str(user)),)


def test_mounts_come_on_top_or_alone(home: Home, user: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    assert choose(home, user, f"{data}:ro") == (Share(path=str(data), writable=False), Share(path=str(user)))
    assert choose(home, user, str(data), nothing=True) == (Share(path=str(data)),)
    assert choose(home, user, nothing=True) == ()


def test_the_home_can_be_shared_read_only(home: Home, user: Path) -> None:
    assert choose(home, user, f"{user}:ro") == (Share(path=str(user), writable=False),)


def test_a_relative_path_starts_here(
    home: Home, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(user)
    assert choose(home, user, "../data:ro", nothing=True) == (
        Share(path=str(tmp_path / "data"), writable=False),
    )


@pytest.mark.parametrize("value", ["", "/", "/nonexistent", "relative", "/usr/lib/service"])
def test_a_home_that_cannot_be_shared_is_left_out(home: Home, value: str) -> None:
    assert choose_shares([], nothing=False, home=home, env={"HOME": value}) == ()


def test_what_is_asked_for_and_cannot_be_is_an_error(home: Home, user: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        ("gone", "does not exist"),
        ("file", "is no folder"),
        ("you/.cove/cache", "own files"),
    ):
        with pytest.raises(UsageError, match=said):
            choose(home, user, str(tmp_path / path))


def test_a_way_round_to_coves_own_files_is_refused(home: Home, user: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(user / ".cove")
    with pytest.raises(UsageError, match="own files"):
        choose(home, user, str(tmp_path / "link"))


def test_a_change_adds_or_replaces(home: Home, user: Path, tmp_path: Path) -> None:
    present = (Share(path=str(user)),)
    assert add_shares(present, [f"{user}:ro"], nothing=False, home=home) == (
        Share(path=str(user), writable=False),
    )
    assert add_shares(present, [], nothing=True, home=home) == ()
    assert add_shares(present, [str(tmp_path)], nothing=False, home=home) == (
        Share(path=str(tmp_path)),
        *present,
    )


def test_a_share_that_went_away_is_told(tmp_path: Path) -> None:
    check_present([Share(path=str(tmp_path))])
    with pytest.raises(UsageError, match="is no folder"):
        check_present([Share(path=str(tmp_path / "gone"))])


def test_coves_own_folders_are_hidden(home: Home, user: Path, tmp_path: Path) -> None:
    own = str(user / ".cove")
    assert hidden_folders([Share(path=str(user))], home) == {own: Path(own)}
    assert hidden_folders([Share(path=str(tmp_path / "data"))], home) == {}


def test_a_cache_elsewhere_is_hidden_too(user: Path, tmp_path: Path) -> None:
    home = Home(root=user / ".cove", cache=tmp_path / "cache")
    assert set(hidden_folders([Share(path=str(tmp_path))], home)) == {str(home.root), str(home.cache)}


def test_what_is_seen_through_a_link_is_hidden_there(home: Home, user: Path, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to(user)
    hidden = hidden_folders([Share(path=str(tmp_path / "home"))], home)
    assert hidden == {str(tmp_path / "home/.cove"): user / ".cove"}
