# SPDX-License-Identifier: Apache-2.0
"""A built guest image on the disk, and finding it again. On the path of every start: no heavy imports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cove.errors import NotFoundError
from cove.system.files import read_json

BUILDER_VERSION = "2"
"""Changes whenever the same input would make another image."""

KERNEL = "kernel"
INITRD = "initrd.img"
ROOT = "root.erofs"
CMDLINE = "cmdline"
LOCK = "lock.json"
ABOUT = "image.json"


@dataclass(frozen=True, kw_only=True)
class KernelPackage:
    """Where the kernel comes from.

    Args:
        name: the Debian package.
        version: its version.
        sha256: digest of the .deb.
    """

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class GuestImage:
    """A guest image; every file of it is there and is never changed.

    Args:
        id: hash of all that it is made of.
        folder: where its files lie.
        kernel: the kernel, None when it comes from elsewhere (User-Mode Linux: from the toolbox).
        initrd: the initramfs.
        root: the root file system.
        cmdline: the YAML's part of the kernel's command line.
        kernel_release: what ``uname -r`` will say.
        kernel_path: the kernel's path in its package.
        kernel_sha256: digest of the kernel itself.
        kernel_package: the package it comes from.
        lock: which packages the image is made of (JSON).
    """

    id: str
    folder: Path
    kernel: Path | None
    initrd: Path
    root: Path
    cmdline: str
    kernel_release: str
    kernel_path: str
    kernel_sha256: str
    kernel_package: KernelPackage
    lock: Path

    @classmethod
    def load(cls, folder: Path) -> GuestImage:
        """Read an image's folder.

        Raises:
            NotFoundError: there is none, or files are missing or have another size than when made.
        """
        about: Any = read_json(folder / ABOUT)
        if about is None or not _whole(folder, about["files"]):
            raise NotFoundError(
                f"{folder} holds no whole guest image", hint="It is made anew at the next start."
            )
        kernel = about["kernel"]
        return cls(
            id=about["id"],
            folder=folder,
            kernel=None if kernel["external"] else folder / KERNEL,
            initrd=folder / INITRD,
            root=folder / ROOT,
            cmdline=about["cmdline"],
            kernel_release=kernel["release"],
            kernel_path=kernel["path"],
            kernel_sha256=kernel["sha256"],
            kernel_package=KernelPackage(**kernel["package"]),
            lock=folder / LOCK,
        )


def request_key(recipes: Sequence[Path], sources: Path, architecture: str = "amd64") -> str:
    """What a build is asked for, as one hash: recipes, sources, architecture and builder; not the packages.

    Args:
        recipes: the files, in the order in which they are merged.
        sources: the folder of the recipes' sources.
        architecture: Debian's name of it.
    """
    digest = hashlib.sha256(f"{BUILDER_VERSION} {architecture}\n".encode())
    for recipe in recipes:
        hash_file(digest, "recipe", recipe)
    for path in _files(sources):
        hash_file(digest, path.relative_to(sources).as_posix(), path)
    return digest.hexdigest()[:32]


def hash_file(digest: Any, name: str, path: Path) -> None:
    """Feed a file's name, kind, execute bit and contents to ``digest``; a folder has only a name."""
    if path.is_symlink():
        kind, data = "l", str(path.readlink()).encode()
    elif path.is_dir():
        kind, data = "d", b""
    else:
        kind, data = ("x" if path.stat().st_mode & 0o100 else "f"), path.read_bytes()
    digest.update(f"{kind} {len(data)} {name}\n".encode() + data)


def find_guest(images: Path, request: str) -> GuestImage | None:
    """The image that a former build made for the same request, if it is still whole; needs no network."""
    pointer = read_json(images / f"{request}.json")
    try:
        return GuestImage.load(images / str(pointer["id"])) if isinstance(pointer, dict) else None
    except (NotFoundError, KeyError):
        return None


def _whole(folder: Path, files: dict[str, dict[str, Any]]) -> bool:
    try:
        return all((folder / name).stat().st_size == about["size"] for name, about in files.items())
    except OSError:
        return False


def _files(sources: Path) -> Iterable[Path]:
    for path in sorted(sources.rglob("*")):
        if "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path
