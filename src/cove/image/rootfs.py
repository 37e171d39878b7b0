# SPDX-License-Identifier: Apache-2.0
"""Compose a root: packages, what their scripts would have made, and which files a ``source`` names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cove.errors import UsageError
from cove.image.busybox import PATH as BUSYBOX
from cove.image.busybox import applets
from cove.image.entries import Entry, directory, file, symlink
from cove.image.tree import Tree

LOCK_IN_IMAGE = "usr/share/cove/lock.json"
"""Where an image says which packages it is made of."""

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
"""The file that update-ca-certificates(8) would make."""

_AUTHORITIES = "usr/share/ca-certificates/mozilla/"
_SKELETON = ("dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var")
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"  # noqa: S105
_GROUP = "root:x:0:\nnogroup:x:65534:\n"
_MASTERS = "usr/share/base-passwd/"
_GLOB = set("*?[")


def add_packages(tree: Tree, packages: Iterable[list[Entry]], *, drop: Callable[[str], bool]) -> None:
    """Put packages into ``tree``, and what their scripts would have made: CA certificates, passwd, group.

    Args:
        tree: is changed.
        packages: entries of each package; where two have the same path the later one's stays.
        drop: says which paths to leave out.
    """
    authorities: dict[str, Entry] = {}
    masters: dict[str, Entry] = {}
    for entries in packages:
        for entry in entries:
            if entry.path.startswith(_AUTHORITIES) and entry.path.endswith(".crt"):
                authorities[entry.path] = entry
            elif entry.path.startswith(_MASTERS):
                masters[entry.path] = entry
            if not drop(entry.path) and not drop(tree.real(entry.path)):
                tree.add(entry)
    if authorities:
        tree.add(
            file(CERTIFICATES, join_certificates(authorities[path].read() for path in sorted(authorities)))
        )
    _add_users(tree, masters)


def join_certificates(certificates: Iterable[bytes]) -> bytes:
    """One bundle of PEM certificates, each ending in a newline."""
    return b"".join(text.rstrip(b"\n") + b"\n" for text in certificates)


def _add_users(tree: Tree, masters: Mapping[str, Entry]) -> None:
    for name, otherwise in (("passwd", _PASSWD), ("group", _GROUP)):
        master = masters.get(f"{_MASTERS}{name}.master")
        if f"etc/{name}" not in tree:
            tree.add(file(f"etc/{name}", master.read() if master else otherwise))


def add_skeleton(tree: Tree) -> None:
    """The folders that every root has, where no package brought them."""
    for name in _SKELETON:
        if name not in tree:
            tree.add(directory(name, {"root": 0o700, "tmp": 0o1777}.get(name, 0o755)))


def add_applets(tree: Tree) -> None:
    """Link every applet of busybox that nothing in ``tree`` provides.

    Raises:
        UsageError: ``tree`` has no busybox.
    """
    binary = tree.get(BUSYBOX)
    if binary is None:
        raise UsageError(
            "packages.applets needs busybox in the image", hint="Add busybox-static to packages.include."
        )
    for name in applets(binary.read()):
        if f"usr/bin/{name}" not in tree and f"usr/sbin/{name}" not in tree:
            tree.add(symlink(f"usr/bin/{name}", "busybox"))


def source_files(value: str, sources: Path) -> list[tuple[str, Path]]:
    """The files that a ``source`` names.

    Args:
        value: a file, a folder that is taken with all below it, or a glob of files (``*.py``).
        sources: the folder it is relative to.

    Returns:
        pairs of path below the entry's and path on the disk, sorted; "" for the entry itself. Without what
        Python leaves behind. Empty when there is nothing.
    """
    top = sources / value
    if _GLOB & set(value) and not top.exists():
        start, pattern = (Path(top.anchor), value.lstrip("/")) if value.startswith("/") else (sources, value)
        found = sorted(path for path in start.glob(pattern) if path.is_file())
        return [("", found[0].parent), *((path.name, path) for path in found)] if found else []
    if not top.is_dir():
        return [("", top)] if top.is_file() else []
    below = [top]
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if name != "__pycache__"]
        below.extend(Path(folder, name) for name in (*names, *files) if not name.endswith(".pyc"))
    return [("" if path == top else path.relative_to(top).as_posix(), path) for path in sorted(below)]
