# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import random

import pytest

from cove.image.formats.gzips import BLOCK, GzipWriter


def packed(data: bytes, *, piece: int, threads: int) -> bytes:
    out = io.BytesIO()
    writer = GzipWriter(out, threads=threads)
    for at in range(0, len(data), piece):
        writer.write(data[at : at + piece])
    writer.finish()
    return out.getvalue()


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 17])
def test_what_is_packed_can_be_unpacked(size: int) -> None:
    data = random.Random(size).randbytes(size // 2) * 2
    assert gzip.decompress(packed(data, piece=70_000, threads=2)) == data


def test_the_bytes_depend_neither_on_threads_nor_on_pieces() -> None:
    data = random.Random(1).randbytes(1000) * 4000
    results = {packed(data, piece=piece, threads=threads) for piece in (999, 3 << 20) for threads in (1, 4)}
    assert len(results) == 1
    # a window reaches over blocks: what repeats is found again
    assert len(results.pop()) < len(data) // 30
