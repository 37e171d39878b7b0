# SPDX-License-Identifier: Apache-2.0
"""Licences as Debian's copyright files name them, in the words of SPDX. Pure.

Formats: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/ ; annex D of SPDX 2.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DEP5 = re.compile(
    r"^Format(?:-Specification)?:.*(?:copyright-format|dep5|DEP5)", re.MULTILINE | re.IGNORECASE
)
_NAME = re.compile(r"^License:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z][A-Za-z0-9.-]*[A-Za-z0-9])")
_LATER = re.compile(r"any\s+later\s+version", re.IGNORECASE)
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-?v?(\d+(?:\.\d+)*)(\+?)")
_GNU_VERSIONS = {"1": "1.0", "2": "2.0", "3": "3.0"}
_KNOWN = {
    name.lower(): name
    for name in [
        "Apache-2.0",
        "Artistic-1.0",
        "Artistic-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD-4-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "curl",
        "EPL-1.0",
        "EPL-2.0",
        "FTL",
        "ICU",
        "ISC",
        "MIT",
        "MPL-1.1",
        "MPL-2.0",
        "NCSA",
        "OFL-1.1",
        "OLDAP-2.8",
        "OpenSSL",
        "PostgreSQL",
        "PSF-2.0",
        "Python-2.0",
        "Unicode-3.0",
        "Unlicense",
        "Vim",
        "W3C",
        "X11",
        "Zlib",
        "0BSD",
        "blessing",
        "bzip2-1.0.6",
        "libtiff",
        "MIT-0",
        "RSA-MD",
        "TCL",
        "Beerware",
    ]
}
_ALIASES = {
    "expat": "MIT", "apache-2": "Apache-2.0", "apache2": "Apache-2.0", "asl-2.0": "Apache-2.0",
    "bsd-2-clauses": "BSD-2-Clause", "bsd-3-clauses": "BSD-3-Clause", "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause", "bsd-4-clauses": "BSD-4-Clause", "mpl-2": "MPL-2.0", "cc0": "CC0-1.0",
    "artistic": "Artistic-1.0-Perl", "boost-1.0": "BSL-1.0", "psf-2": "PSF-2.0",
}  # fmt: skip


@dataclass(frozen=True)
class Licence:
    """The licences of a component.

    Args:
        names: SPDX identifiers and ``LicenseRef-...``, sorted; none when nobody said.
    """

    names: tuple[str, ...] = ()

    @property
    def expression(self) -> str:
        """As an SPDX licence expression."""
        return " AND ".join(self.names) or "NOASSERTION"


UNKNOWN = Licence()
"""Nobody said."""


def read_copyright(text: str) -> Licence:
    """The licences that a Debian copyright file names.

    One in free text is searched for the common licences that it refers to; it may name none.
    """
    if not _DEP5.search(text):
        return Licence(tuple(sorted({_referred(name, text) for name in _COMMON.findall(text)})))
    return Licence(tuple(sorted({one for name in _NAME.findall(text) for one in _identifiers(name)})))


def _referred(name: str, text: str) -> str:
    later = "+" if _GNU.fullmatch(name) and _LATER.search(text) else ""
    return identifier(name + later)


def _identifiers(text: str) -> Iterator[str]:
    for name in re.split(r"\s*(?:,\s*|\b)(?:and/or|and|or)\b\s*|[,|]\s*|/(?=[A-Z])", text):
        stripped = re.sub(r"\s+with\s.*$", "", name.strip(" ()"), flags=re.IGNORECASE)
        if stripped:
            yield identifier(stripped)


def identifier(name: str) -> str:
    """Debian's short name of a licence as an SPDX identifier; a ``LicenseRef-`` where SPDX has none."""
    lower = name.lower()
    if lower in _KNOWN:
        return _KNOWN[lower]
    if lower in _ALIASES:
        return _ALIASES[lower]
    if found := _GNU.fullmatch(name):
        family, version, later = found.groups()
        number = _GNU_VERSIONS.get(version, version)
        return f"{family}-{number}-{'or-later' if later else 'only'}"
    return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-") or "unknown")
