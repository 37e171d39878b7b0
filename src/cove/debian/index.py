# SPDX-License-Identifier: Apache-2.0
"""Package indexes: from ``Packages`` to a quick table of the few fields that are needed. Pure.

The table is text: a first line that names the format, then one package a line, fields separated by tabs.
Reading trixie's 68 000 packages back takes a tenth of a second, as a line is taken apart only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from cove.debian.lock import LockedPackage
from cove.debian.relation import parse_relations
from cove.errors import ArchiveError

HEADER = "cove package table 1"

_FIELDS = (
    b"Package", b"Version", b"Architecture", b"Essential", b"Priority", b"Depends", b"Pre-Depends",
    b"Provides", b"Source", b"Filename", b"Size", b"SHA256",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_FIELDS)}


class Record(NamedTuple):
    """One package of an index; the fields are those of deb-control(5), absent ones are empty."""

    name: str
    version: str
    architecture: str
    essential: str
    priority: str
    depends: str
    pre_depends: str
    provides: str
    source: str
    filename: str
    size: str
    sha256: str


def build_table(chunks: Iterable[bytes]) -> Iterator[str]:
    """Turn a ``Packages`` file, given in pieces of any size, into the lines of the table.

    Raises:
        ArchiveError: a package lacks its name, version, file name, size or digest.
    """
    yield HEADER
    rest = b""
    for chunk in chunks:
        paragraphs = (rest + chunk).split(b"\n\n")
        rest = paragraphs.pop()
        for paragraph in paragraphs:
            if paragraph.strip():
                yield _line(paragraph)
    if rest.strip():
        yield _line(rest)


def _line(paragraph: bytes) -> str:
    values = [b""] * len(_FIELDS)
    place = None
    for line in paragraph.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if place is not None:
                values[place] += b" " + line.strip()
            continue
        field, _, value = line.partition(b":")
        place = _PLACES.get(field)
        if place is not None:
            values[place] = value.strip()
    text = b"\t".join(values).decode("utf-8", errors="replace")
    if not (values[0] and values[1] and values[9] and values[10].isdigit() and len(values[11]) == 64):
        raise ArchiveError(
            "a package index has an incomplete entry", details=paragraph[:300].decode(errors="replace")
        )
    if text.count("\t") != len(_FIELDS) - 1:
        raise ArchiveError("a package index has a tab inside a field", details=text[:300])
    return text


class Index:
    """The packages of one suite.

    Args:
        suite: its name, for locks and messages.
        table: what :func:`build_table` made, joined by newlines.

    Raises:
        ValueError: the table has another format.
    """

    def __init__(self, suite: str, table: str) -> None:
        header, _, body = table.partition("\n")
        if header != HEADER:
            raise ValueError("not a package table of this format")
        self.suite = suite
        self._lines = body.split("\n") if body else []
        if self._lines and not self._lines[-1]:
            self._lines.pop()

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self._lines:
            found.setdefault(line[: line.index("\t")], []).append(line)
        return found

    @cached_property
    def _providers(self) -> Mapping[str, list[tuple[Record, str]]]:
        found: dict[str, list[tuple[Record, str]]] = {}
        for line in self._lines:
            record = Record._make(line.split("\t"))
            if record.provides:
                for group in parse_relations(record.provides):
                    found.setdefault(group[0].name, []).append((record, group[0].version))
        return found

    def get(self, name: str) -> list[Record]:
        """Every version of that package here."""
        return [Record._make(line.split("\t")) for line in self._by_name.get(name, ())]

    def providers(self, name: str) -> list[tuple[Record, str]]:
        """Packages whose Provides has that name, with the version it gives ("" for none)."""
        return self._providers.get(name, [])

    def records(self) -> Iterator[Record]:
        """All packages."""
        return (Record._make(line.split("\t")) for line in self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def lock_package(record: Record, suite: str) -> LockedPackage:
    """The lock's entry for a package of an index."""
    name, _, version = record.source.partition(" ")
    source = f"{name or record.name} {version.strip('() ') or record.version}"
    return LockedPackage(
        name=record.name, version=record.version, architecture=record.architecture, sha256=record.sha256,
        size=int(record.size), filename=record.filename, suite=suite, source=source,
    )  # fmt: skip
