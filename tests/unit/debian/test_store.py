# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from pathlib import Path

from cove.debian.store import Store, file_sha256

from .test_lock import ONE


def test_names_carry_the_digest() -> None:
    store = Store(Path("/c"))
    assert store.deb(ONE) == Path(f"/c/debs/a.{'0' * 64}.deb")
    assert store.table("d") == Path("/c/lists/d.table")


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"contents")
    assert file_sha256(tmp_path / "x") == hashlib.sha256(b"contents").hexdigest()
