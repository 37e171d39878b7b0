# SPDX-License-Identifier: Apache-2.0
"""Whom a program runs as."""

from __future__ import annotations

import grp
import os
import pwd

from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Ids = tuple[int, int, list[int]]


def resolve(user: str) -> tuple[Ids | None, dict[str, str]]:
    """Who ``USER[:GROUP]`` is, by name or number.

    Returns:
        the user, group and further groups to take on (None for an empty ``user``: stay who we are), and the
        variables that login(1) would set.

    Raises:
        RefusedError: ``no-user``: the guest has no such name. Unknown numbers are fine, as in docker.
    """
    name, _, group = user.partition(":")
    entry = _entry(name)
    known = {"HOME": "/"}
    if entry is not None:
        known = {
            "HOME": entry.pw_dir,
            "USER": entry.pw_name,
            "LOGNAME": entry.pw_name,
            "SHELL": entry.pw_shell,
        }
    if not user:
        return None, known
    uid = entry.pw_uid if entry is not None else int(name)
    gid = _group(group) if group else (entry.pw_gid if entry is not None else 0)
    groups = os.getgrouplist(entry.pw_name, gid) if entry is not None else [gid]
    return (uid, gid, groups), known


def _entry(name: str) -> pwd.struct_passwd | None:
    number = int(name) if name.isdecimal() else None if name else os.geteuid()
    try:
        return pwd.getpwnam(name) if number is None else pwd.getpwuid(number)
    except (KeyError, OverflowError):
        if number is None:
            raise RefusedError("no-user", f"the guest has no user {name}") from None
        return None


def _group(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise RefusedError("no-user", f"the guest has no group {group}") from None
