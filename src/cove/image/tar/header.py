# SPDX-License-Identifier: Apache-2.0
"""One entry of a tar archive, and paths as Go cleans them. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FILE = "0"
LINK = "1"
SYMLINK = "2"
CHARACTER = "3"
BLOCK = "4"
DIRECTORY = "5"
FIFO = "6"

WITHOUT_DATA = (LINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO)
"""Types that have no contents, whatever size their header tells."""

NANO = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a tar says of an entry (pax(1), archive/tar of Go).

    Args:
        name: its path; text that is not UTF-8 has surrogate escapes.
        kind: type flag.
        mode: permission bits, and whatever else stood there.
        uid: owner.
        gid: group.
        size: bytes of contents.
        mtime: nanoseconds since 1970.
        link: target of a symlink or hard link.
        uname: owner's name.
        gname: group's name.
        major: of a device.
        minor: of a device.
        atime: nanoseconds since 1970, if it was told.
        ctime: nanoseconds since 1970, if it was told.
        records: PAX records by key, as they were read or are to be written.
    """

    name: str
    kind: str = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    uname: str = ""
    gname: str = ""
    major: int = 0
    minor: int = 0
    atime: int | None = None
    ctime: int | None = None
    records: Mapping[str, str] = field(default_factory=dict)

    @property
    def contents(self) -> int:
        """Bytes of contents that really follow."""
        return 0 if self.kind in WITHOUT_DATA else self.size


def clean(path: str) -> str:
    """``path.Clean`` of Go: no empty and "." parts, no ".." that can be resolved, no slash at the end."""
    if not path:
        return "."
    out: list[str] = []
    rooted = path.startswith("/")
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            out.append(part)
        elif out and out[-1] != "..":
            out.pop()
        elif not rooted:
            out.append(part)
    text = "/".join(out)
    return f"/{text}" if rooted else text or "."


def folder_of(path: str) -> str:
    """``path.Dir`` of Go: the cleaned folder, "." for none."""
    head, slash, _ = path.rpartition("/")
    return clean(head + slash)


def relative(folder: str, target: str) -> str:
    """``filepath.Rel`` of Go: how to reach ``target`` from ``folder``, both relative or both absolute."""
    base = [part for part in clean(folder).split("/") if part not in ("", ".")]
    goal = [part for part in clean(target).split("/") if part not in ("", ".")]
    if folder.startswith("/") != target.startswith("/") or ".." in base:
        return f"/{target}"
    same = 0
    while same < min(len(base), len(goal)) and base[same] == goal[same]:
        same += 1
    return "/".join([".."] * (len(base) - same) + goal[same:]) or "."
