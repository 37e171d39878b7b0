# SPDX-License-Identifier: Apache-2.0
"""Reading a .deb: an ar archive with control.tar.* and data.tar.*, as deb(5) describes it.

A .deb is checked by digest before it comes here, so what follows is the second wall: whatever the archive
contains, its members stay inside their tree, are plain (files, folders, links) and cannot fill memory or
disk.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, Self

import zstandard

from cove.debian.deb822 import parse_paragraphs
from cove.errors import ArchiveError
from cove.units import GIB, MIB

MAX_UNPACKED = 4 * GIB
"""Bytes that one tar inside a .deb may unpack to."""

MAX_RATIO = 400
"""Times its packed size that a tar may unpack to, once it is larger than ``RATIO_FREE``."""

RATIO_FREE = 64 * MIB

MAX_MEMBERS = 300_000
"""Members that one tar may have; the largest package of trixie has about a tenth of it."""

MAX_CONTROL_FILE = 16 * MIB
"""Bytes of one file in control.tar."""

_DECODER_MEMORY = 256 * MIB
_MAX_EXTENSION = MIB
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)
_MAGIC = b"!<arch>\n"
_HEADER = 60


class Deb:
    """A .deb file. Nothing is read before it is asked for.

    Every access raises :class:`ArchiveError` when the file is malformed or tries to escape its tree.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def control(self) -> Mapping[str, str]:
        """The control paragraph: Package, Version, Depends and so on."""
        text = self.scripts.get("control", b"").decode("utf-8", errors="replace")
        paragraph = next(parse_paragraphs(text.splitlines()), None)
        if paragraph is None or "Package" not in paragraph:
            raise ArchiveError(f"{self.path.name} has no control paragraph")
        return paragraph

    @cached_property
    def scripts(self) -> Mapping[str, bytes]:
        """Every file of control.tar by its name: control, preinst, postinst, conffiles, md5sums, ..."""
        found: dict[str, bytes] = {}
        for member, stream in self._tar("control.tar"):
            if stream is None:
                continue
            if member.size > MAX_CONTROL_FILE:
                raise ArchiveError(f"{self.path.name}: {member.name} has {member.size} bytes")
            found[member.name] = stream.read()
        return found

    def members(self) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        """Every member of data.tar, in order, streaming.

        Names, and the targets of hard links, are cleaned to the relative form "usr/bin/x"; the root itself is
        left out. A symlink's target is as packed: relative ones stay inside the tree, absolute ones mean the
        root of the installed system and are for the reader never to follow on the host.

        Yields:
            the member, and for a regular file a stream of its contents, valid until the next member.
        """
        return self._tar("data.tar")

    def _tar(self, stem: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
        try:
            with self.path.open("rb") as file:
                name, size = _find(file, stem, self.path.name)
                stream = _Limited(_decompress(name, _Slice(file, size)), size, f"{self.path.name}: {name}")
                with tarfile.open(fileobj=stream, mode="r|", bufsize=MIB, tarinfo=_Header) as tar:
                    yield from _checked(tar, self.path.name)
        except (tarfile.TarError, lzma.LZMAError, zstandard.ZstdError, EOFError, gzip.BadGzipFile) as error:
            raise ArchiveError(f"{self.path.name} is damaged", details=f"{stem}: {error}") from error


class _Header(tarfile.TarInfo):
    """A header that may not make tarfile read a huge long name or pax header into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS and header.size > _MAX_EXTENSION:
            raise ArchiveError("a tar inside a .deb has an oversized header", details=f"{header.size} bytes")
        return header


def clean_name(name: str, deb: str) -> str:
    """A member's name as a relative path without "." parts; "" is the root itself.

    Args:
        name: as packed, "./usr/bin/x".
        deb: the package, for the error.

    Raises:
        ArchiveError: it is absolute, has ".." or a NUL.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ArchiveError(f"{deb} tries to write outside its folder", details=f"member {name!r}")
    return "/".join(parts)


def _checked(tar: tarfile.TarFile, deb: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    for count, member in enumerate(tar):
        if count >= MAX_MEMBERS:
            raise ArchiveError(f"{deb} has more than {MAX_MEMBERS} members")
        _check(member, deb)
        tar.members = []  # type: ignore[attr-defined]  # a streamed tarfile keeps every header it saw
        if member.name:
            yield member, tar.extractfile(member) if member.isreg() else None


def _check(member: tarfile.TarInfo, deb: str) -> None:
    packed = member.name
    member.name = clean_name(packed, deb)
    if member.islnk():
        member.linkname = clean_name(member.linkname, deb)
    elif member.issym():
        _check_symlink(member, deb)
    elif not (member.isreg() or member.isdir()) or member.issparse():
        raise ArchiveError(
            f"{deb} holds a device, sparse or other special file", details=f"member {packed!r}"
        )
    if not member.name and not member.isdir():
        raise ArchiveError(f"{deb} replaces its root folder", details=f"member {packed!r}")


def _check_symlink(member: tarfile.TarInfo, deb: str) -> None:
    target = member.linkname
    depth = 0 if target.startswith("/") else member.name.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            raise ArchiveError(
                f"{deb} holds a symlink that leaves its folder", details=f"{member.name} -> {target}"
            )
    if not target or "\0" in target:
        raise ArchiveError(f"{deb} holds a symlink to nowhere", details=member.name)


def _find(file: BinaryIO, stem: str, deb: str) -> tuple[str, int]:
    """Go to the ar member that begins with ``stem``; returns its name and size (ar(5), common variant)."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ArchiveError(f"{deb} is not a Debian package", details="it does not begin with !<arch>")
    end = file.seek(0, io.SEEK_END)
    place = len(_MAGIC)
    while place + _HEADER <= end:
        file.seek(place)
        header = file.read(_HEADER)
        name, digits = header[:16].decode("latin-1").rstrip().rstrip("/"), header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit() or place + _HEADER + int(digits) > end:
            raise ArchiveError(f"{deb} is damaged", details=f"ar header at byte {place}")
        size = int(digits)
        if name == stem or name.startswith(stem + "."):
            return name, size
        place += _HEADER + size + size % 2
    raise ArchiveError(f"{deb} has no {stem}")


def _decompress(name: str, packed: io.RawIOBase) -> IO[bytes]:
    buffered = io.BufferedReader(packed, 256 * 1024)
    kind = name.rpartition(".tar")[2]
    if kind == "":
        return buffered
    if kind == ".gz":
        return gzip.GzipFile(fileobj=buffered)  # type: ignore[return-value]
    if kind == ".xz":
        return io.BufferedReader(XzReader(buffered), MIB)
    if kind == ".zst":
        decoder = zstandard.ZstdDecompressor(max_window_size=_DECODER_MEMORY)
        return decoder.stream_reader(buffered, read_across_frames=True)
    raise ArchiveError(f"{name} is packed in an unknown way", hint="Known are gz, xz and zst.")


class XzReader(io.RawIOBase):
    """Unpack xz with a bound on the decoder's memory, which :class:`lzma.LZMAFile` has no way to set."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODER_MEMORY)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer``; 0 at the end."""
        while True:
            fresh = b""
            if self._decoder.eof:  # xz files may be several streams, one after the other
                fresh = self._decoder.unused_data.lstrip(b"\0") or self._packed.read(65536)
                if not fresh:
                    return 0
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_DECODER_MEMORY)
            elif self._decoder.needs_input:
                fresh = self._packed.read(65536)
                if not fresh:
                    raise EOFError("the compressed data ends too early")
            data = self._decoder.decompress(fresh, max_length=len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)


class _Slice(io.RawIOBase):
    """The next ``size`` bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _Limited(io.RawIOBase):
    """A stream that refuses to unpack without end."""

    def __init__(self, stream: IO[bytes], packed: int, name: str) -> None:
        self._stream = stream
        self._limit = min(MAX_UNPACKED, max(RATIO_FREE, packed * MAX_RATIO))
        self._seen = 0
        self._name = name

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._seen += len(data)
        if self._seen > self._limit:
            raise ArchiveError(
                f"{self._name} unpacks to more than {self._limit} bytes", details="This looks like a bomb."
            )
        return data
