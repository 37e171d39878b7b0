# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full: a small tmpfs in a mount namespace, whose root an ordinary user may be as well."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class SmallDisk:
    """A disk of ``size`` bytes that only processes see that are started by :attr:`enter`.

    Args:
        place: where it is mounted, an empty folder.
        keeper: the process in whose namespace it is.
    """

    def __init__(self, place: Path, keeper: int) -> None:
        self.place = place
        self.enter = ("nsenter", "--preserve-credentials", "-U", "-m", "-t", str(keeper), "--")
        """What to put before a command."""
        self.seen = Path(f"/proc/{keeper}/root{place}")
        """The disk as we see it."""

    @property
    def left(self) -> int:
        """Bytes."""
        space = os.statvfs(self.seen)
        return space.f_bavail * space.f_frsize

    def fill(self, left: int = 0) -> None:
        """Fill it but for ``left`` bytes."""
        self.free()
        with (self.seen / "filling").open("wb") as file:
            while (size := self.left - left) > 0:
                with suppress(OSError):  # others may take room meanwhile
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                    file.seek(0, os.SEEK_END)

    def free(self) -> None:
        """Give back what :meth:`fill` took."""
        (self.seen / "filling").unlink(missing_ok=True)


@contextmanager
def small_disk(size: int) -> Iterator[SmallDisk]:
    """A disk of ``size`` bytes, for the block; skips the test where namespaces are forbidden."""
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("no unshare or nsenter here")
    script = f'mount -t tmpfs -o size={size},mode=700 none "$0" && echo ready && exec cat'
    with (
        tempfile.TemporaryDirectory(prefix="cove-", dir="/tmp") as place,  # short: sockets lie there
        subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", script, place],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as keeper,
    ):  # fmt: skip
        assert keeper.stdin is not None and keeper.stdout is not None and keeper.stderr is not None  # noqa: PT018
        try:
            if keeper.stdout.readline() != b"ready\n":
                pytest.skip(f"no file system can be mounted: {keeper.stderr.read()!r}")
            yield SmallDisk(Path(place), keeper.pid)
        finally:
            keeper.stdin.close()  # its end
