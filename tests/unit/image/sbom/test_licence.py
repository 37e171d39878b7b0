# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.image.sbom.licence import identifier, read_copyright

DEP5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("GPL-2", "GPL-2.0-only"), ("GPL-2+", "GPL-2.0-or-later"), ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("AGPL-3", "AGPL-3.0-only"), ("Expat", "MIT"), ("BSD-3-clause", "BSD-3-Clause"), ("ISC", "ISC"),
        ("Apache-2.0", "Apache-2.0"), ("public-domain", "LicenseRef-public-domain"), ("my own!", "LicenseRef-my-own"),
    ],
)  # fmt: skip
def test_debians_names_become_spdxs(name: str, spdx: str) -> None:
    assert identifier(name) == spdx


def test_all_licences_of_a_copyright_file() -> None:
    text = DEP5 + (
        "\nFiles: *\nLicense: GPL-2+ and (MIT or Apache-2.0)\n text\n\nFiles: x\n"
        "License: GPL-2 with Linux-syscall-note exception\n\nLicense: GPL-2+\n The text.\n"
    )
    found = read_copyright(text)
    assert found.names == ("Apache-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "MIT")
    assert found.expression == "Apache-2.0 AND GPL-2.0-only AND GPL-2.0-or-later AND MIT"


def test_free_text_is_searched_for_common_licences() -> None:
    text = "You may use it under version 2, or (at your option) any\nlater version: /usr/share/common-licenses/GPL-2."
    assert read_copyright(text).names == ("GPL-2.0-or-later",)
    assert read_copyright("see /usr/share/common-licenses/Apache-2.0").names == ("Apache-2.0",)
    assert read_copyright("do what you like").expression == "NOASSERTION"
