# SPDX-License-Identifier: Apache-2.0
"""Operations on mounts, files and the data disk; see :mod:`cove_guest.ops`."""

from __future__ import annotations

import os
import time

from cove_guest.procfs import read
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cove_guest.requests import Answer, Context, Request

_LONGEST_FREEZE = 60.0


def mounts(_context: Context, _request: Request) -> Answer:
    """All that is mounted."""
    return {"mounts": parse_mounts(read("/proc/self/mounts"))}


def parse_mounts(text: str) -> list[Answer]:
    """The lines of /proc/self/mounts (fstab(5)) as objects."""
    entries: list[Answer] = []
    for line in text.splitlines():
        source, target, fstype, options = (_unescape(word) for word in line.split(" ")[:4])
        entries.append({"source": source, "target": target, "fstype": fstype, "options": options.split(",")})
    return entries


def _unescape(word: str) -> str:
    """Undo getmntent(3)'s octal escapes for space, tab, newline and backslash."""
    first, *rest = word.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def mount(_context: Context, request: Request) -> Answer:
    """Mount something; the target is made if it is not there."""
    from cove_guest import kernel

    target = request.text("target")
    os.makedirs(target, exist_ok=True)
    kernel.mount(request.text("source", "none"), target, request.text("fstype", ""), request.options())
    return {}


def umount(_context: Context, request: Request) -> Answer:
    """Unmount something, also while it is in use if it may be lazy."""
    from cove_guest import kernel

    kernel.umount(request.text("target"), lazy="lazy" in request.options())
    return {}


def trim(context: Context, _request: Request) -> Answer:
    """Tell the data disk which blocks are unused; says how many bytes those are."""
    from cove_guest import kernel

    return {"bytes": kernel.trim(context.data)}


def freeze(context: Context, request: Request) -> Answer:
    """Flush the data disk and let nobody write to it until ``thaw`` or ``wake``, or until ``seconds`` have passed.

    A guest's time stands still while it is suspended, so the seconds are those in which it runs.
    """
    import _thread

    from cove_guest import kernel

    seconds = min(request.number("seconds", 10), _LONGEST_FREEZE)

    def end() -> None:
        time.sleep(seconds)
        kernel.thaw(context.data)

    kernel.freeze(context.data)
    # what writes the data disk waits now, ourselves included: nothing may be imported from here on
    _thread.start_new_thread(end, ())
    return {}


def thaw(context: Context, _request: Request) -> Answer:
    """Let the data disk be written again; says whether it was frozen."""
    from cove_guest import kernel

    return {"frozen": kernel.thaw(context.data)}


def forget(_context: Context, _request: Request) -> Answer:
    """Forget names and files that nobody uses now, so that share daemons can let go of them too."""
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2\n")
    return {}


def touch(_context: Context, request: Request) -> Answer:
    """Wake whoever watches these files or folders; what is not there is left out."""
    from cove_guest import kernel

    paths = request.arguments.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) and "\0" not in path for path in paths):
        raise RefusedError("bad-argument", "paths must be a list of strings")
    return {"touched": sum(kernel.touch(path) for path in paths)}
