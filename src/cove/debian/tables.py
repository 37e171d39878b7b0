# SPDX-License-Identifier: Apache-2.0
"""The package indexes of verified releases, from the cache or downloaded and turned into their quick form."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cove.debian.downloads import Download
from cove.debian.index import Index, build_table
from cove.debian.lists import Context
from cove.debian.release import FileEntry, Release
from cove.errors import ArchiveError, NotFoundError
from cove.system.files import write_atomic

_CHUNK = 4 * 1024 * 1024


def load_indexes(
    context: Context, releases: Mapping[str, Release], download: Callable[[list[Download]], None]
) -> list[Index]:
    """The index of each suite.

    Args:
        context: the cache and what belongs to it.
        releases: suite -> its verified release.
        download: fetches what is not in the cache, or raises.

    Raises:
        NotFoundError: a suite has no packages for this architecture.
        ArchiveError: an index is malformed.
        whatever ``download`` raises.
    """
    entries = {suite: _entry(context, suite, release) for suite, release in releases.items()}
    found = {suite: _read(context, suite, entry) for suite, (_, entry) in entries.items()}
    wanted = {
        entry.sha256: _download(context, suite, path, entry, by_hash=releases[suite].by_hash)
        for suite, (path, entry) in entries.items()
        if found[suite] is None
    }  # by digest, as empty suites have the same index
    if wanted:
        download(list(wanted.values()))
    return [
        index if index is not None else _absorb(context, suite, entries[suite][1])
        for suite, index in found.items()
    ]


def _entry(context: Context, suite: str, release: Release) -> tuple[str, FileEntry]:
    """The path of a suite's Packages.xz below the suite's folder, and what was signed for it."""
    path = f"main/binary-{context.architecture}/Packages.xz"
    if path not in release.files:
        raise NotFoundError(f"{suite} has no packages for the architecture {context.architecture}")
    return path, release.files[path]


def _read(context: Context, suite: str, entry: FileEntry) -> Index | None:
    """The index with that digest from the cache, or None."""
    try:
        return Index(suite, context.store.table(entry.sha256).read_text())
    except (FileNotFoundError, ValueError):
        return None


def _download(context: Context, suite: str, path: str, entry: FileEntry, *, by_hash: bool) -> Download:
    """How to get a Packages.xz: if possible by its digest, which no update replaces under us."""
    plain = f"dists/{suite}/{path}"
    named = f"{plain.rpartition('/')[0]}/by-hash/SHA256/{entry.sha256}"
    return Download(
        name=f"{suite}/{path}", suite=suite, paths=(named, plain) if by_hash else (plain,),
        sha256=entry.sha256, size=entry.size, target=context.store.packed_index(entry.sha256),
    )  # fmt: skip


def _absorb(context: Context, suite: str, entry: FileEntry) -> Index:
    """The table, made from the downloaded, verified Packages.xz; or by someone else meanwhile."""
    index = _read(context, suite, entry)
    if index is not None:
        return index
    packed = context.store.packed_index(entry.sha256)
    try:
        table = "\n".join(build_table(_unpacked(packed)))
    except (lzma.LZMAError, EOFError) as error:
        raise ArchiveError(f"the package index of {suite} is damaged", details=str(error)) from error
    write_atomic(context.store.table(entry.sha256), table)
    packed.unlink(missing_ok=True)
    return Index(suite, table)


def _unpacked(path: Path) -> Iterator[bytes]:
    with lzma.open(path) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
