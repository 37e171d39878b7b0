# SPDX-License-Identifier: Apache-2.0
"""Make an erofs image of a tar: read-only, and the same bytes for the same tar."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from cove.image.entries import MTIME
from cove.system.process import Command, run

DEADLINE = 300.0
"""Seconds that mkfs.erofs may take; a root of 300 MB takes about two."""


def erofs_command(mkfs: Command, *, tar: Path, into: Path, uuid: UUID, compression: str = "") -> Command:
    """The command that makes the image. Pure.

    Args:
        mkfs: mkfs.erofs, 1.8 or newer.
        tar: the contents.
        into: the image.
        uuid: of the file system.
        compression: "lz4", "zstd", ...; "" for none.
    """
    packing = (f"-z{compression}",) if compression else ()
    # one time for all files lets every inode have the compact form; tar mtimes carry no meaning for the guest
    return mkfs.with_args(
        "--quiet", "-x-1", f"-T{MTIME}", "--all-time", f"-U{uuid}", *packing, "--tar=f", str(into), str(tar)
    )


def make_erofs(mkfs: Command, *, tar: Path, into: Path, uuid: UUID, compression: str = "") -> None:
    """Make the image ``into``; arguments as in :func:`erofs_command`.

    Raises:
        CommandError: mkfs.erofs failed; ``into`` may be half made.
        ToolError: it cannot be started.
        DeadlineError: it did not end.
    """
    command = erofs_command(mkfs, tar=tar, into=into, uuid=uuid, compression=compression)
    run(command, doing="making the root file system", deadline=DEADLINE)
