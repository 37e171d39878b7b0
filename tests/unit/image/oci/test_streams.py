# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import hashlib
import io
import random
from typing import BinaryIO

import pytest
import zstandard

from cove.errors import ArchiveError, IntegrityError
from cove.image.oci.model import Descriptor
from cove.image.oci.streams import BUFFER, layer_stream, read_blob

BIG = random.Random(1).randbytes(BUFFER + 12_345) + bytes(5 * BUFFER)


class One:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return io.BytesIO(self.data)


def descriptor(data: bytes, **more: object) -> Descriptor:
    fields = {"media_type": "x", "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
    return Descriptor(**{**fields, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "stored",
    [
        BIG,
        gzip.compress(BIG),
        gzip.compress(BIG[:77]) + gzip.compress(BIG[77:]) + bytes(512),
        zstandard.compress(BIG),
        zstandard.compress(BIG[:77]) + zstandard.compress(BIG[77:]),
    ],
    ids=["plain", "gzip", "gzip-members", "zstd", "zstd-frames"],
)
def test_a_layer_is_decompressed_whatever_it_is(stored: bytes) -> None:
    with layer_stream(One(stored), descriptor(stored)) as stream:
        assert stream.read() == BIG


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f"])
def test_tiny_layers_are_taken_as_they_are(data: bytes) -> None:
    with layer_stream(One(data), descriptor(data)) as stream:
        assert stream.read() == data


def test_what_was_not_read_is_still_checked() -> None:
    stored = gzip.compress(BIG)
    wrong = stored[:-1] + bytes([stored[-1] ^ 1])
    with (
        pytest.raises(IntegrityError, match="is damaged"),
        layer_stream(One(wrong), descriptor(stored)) as stream,
    ):
        assert stream.read(3) == BIG[:3]


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_cut_blob_is_told_from_a_bad_layer(cut: int) -> None:
    stored = gzip.compress(BIG)
    with (
        pytest.raises(IntegrityError),
        layer_stream(One(stored[:-cut]), descriptor(stored)) as stream,
    ):
        stream.read()
    short = stored[:-cut]
    with (
        pytest.raises(ArchiveError, match="cannot be decompressed"),
        layer_stream(One(short), descriptor(short)) as s,
    ):
        s.read()


def test_more_bytes_than_told_are_refused() -> None:
    stored = gzip.compress(b"x")
    with pytest.raises(IntegrityError):
        read_blob(One(stored + b"y"), descriptor(stored))


def test_a_manifest_of_gigabytes_is_not_read() -> None:
    with pytest.raises(ArchiveError, match="at most"):
        read_blob(One(b"x"), descriptor(b"x", size=1 << 40))


def test_unknown_digests_are_refused() -> None:
    with pytest.raises(ArchiveError, match="not known"):
        read_blob(One(b"x"), descriptor(b"x", digest="md5:0"))
