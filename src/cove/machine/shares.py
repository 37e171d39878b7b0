# SPDX-License-Identifier: Apache-2.0
"""Which folders of the host a machine's guest sees, checked against the host; and what in them it must not see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cove.errors import UsageError
from cove.spec.shares import Share, is_below, merge, parse_share
from cove.system.paths import Home


def choose_shares(
    mounts: Sequence[str], *, nothing: bool, home: Home, env: Mapping[str, str]
) -> tuple[Share, ...]:
    """The shares that a user asked for: the home folder and ``mounts``.

    Args:
        mounts: each ``PATH``, ``PATH:ro`` or ``PATH:rw``; relative ones start at the current folder. The home
            folder may be among them, to share it read-only.
        nothing: leave out what nobody named, which is the home folder.
        home: where Cove's own files lie; they are never shared.
        env: names the user's home folder.

    Raises:
        UsageError: a folder does not exist, or cannot be shared.
    """
    asked = [parse_share(_absolute(text)) for text in mounts]
    for share in asked:
        _check(share, home)
    return merge([*([] if nothing else _default(home, env)), *asked])


def add_shares(
    present: Sequence[Share], mounts: Sequence[str], *, nothing: bool, home: Home
) -> tuple[Share, ...]:
    """The shares of a machine after a change.

    Args:
        present: what it shares.
        mounts: what it shall share besides, as in :func:`choose_shares`; a folder that it shares gets a new mode.
        nothing: it shall share ``mounts`` only.
        home: where Cove's own files lie.

    Raises:
        UsageError: a folder does not exist, or cannot be shared.
    """
    asked = choose_shares(mounts, nothing=True, home=home, env={})
    return merge([*([] if nothing else present), *asked])


def check_present(shares: Iterable[Share]) -> None:
    """Check before a start that every share is still there.

    Raises:
        UsageError: one is not.
    """
    for share in shares:
        if not Path(share.path).is_dir():
            raise UsageError(
                f"the shared folder {share.path} is no folder (any more)",
                hint="Make it again, or choose other shares: cove set --help.",
            )


def hidden_folders(shares: Iterable[Share], home: Home) -> dict[str, Path]:
    """Cove's own folders that lie in shares: where the guest would see them, and where they are on the host.

    Neither other machines' disks, nor the engine's socket, nor the programs that the host runs may be seen.
    """
    own = [Path(os.path.realpath(folder)) for folder in (home.root, home.cache)]
    found: dict[str, Path] = {}
    for share in shares:
        top = Path(os.path.realpath(share.path))
        for folder in own:
            if folder.is_relative_to(top):
                found[str(Path(share.path) / folder.relative_to(top))] = folder
    # what lies in another hidden folder is hidden with it
    return {path: real for path, real in found.items() if not _within(path, found)}


def _within(path: str, others: Iterable[str]) -> bool:
    return any(other != path and is_below(path, other) for other in others)


def _absolute(text: str) -> str:
    return text if text.startswith("/") else os.path.join(os.getcwd(), text)  # noqa: PTH109, PTH118  (text keeps ":ro")


def _default(home: Home, env: Mapping[str, str]) -> list[Share]:
    """The user's home, unless it cannot be shared: accounts of services have homes like / or /nonexistent."""
    try:
        share = parse_share(env.get("HOME", ""))
        _check(share, home)
    except UsageError:
        return []
    return [share]


def _check(share: Share, home: Home) -> None:
    if not Path(share.path).is_dir():
        problem = "is no folder" if Path(share.path).exists() else "does not exist"
        raise UsageError(
            f"{share.path} cannot be shared: it {problem}",
            hint="Folders are shared as a whole; a file is seen through the folder it lies in.",
        )
    for own in (home.root, home.cache):
        if is_below(os.path.realpath(share.path), os.path.realpath(own)):
            raise UsageError(f"{share.path} cannot be shared: Cove's own files lie in {own}")
