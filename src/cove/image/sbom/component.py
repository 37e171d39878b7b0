# SPDX-License-Identifier: Apache-2.0
"""Components of an image, and what databases of package managers say of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from cove.debian.deb822 import parse_paragraphs
from cove.debian.lock import LockedPackage
from cove.image.oci.model import Image, Root
from cove.image.sbom.licence import UNKNOWN, Licence

DPKG = "var/lib/dpkg/status"
DPKG_FOLDER = "var/lib/dpkg/status.d/"
APK = "lib/apk/db/installed"


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that an image is made of.

    Args:
        kind: "deb", "apk" or "oci", as in package URLs.
        name: of the package or image.
        version: of it.
        architecture: as its kind names it; "" if it is not known.
        sha256: digest (hex) of the package's file, of the image's manifest; "" if it is not known.
        source: what it was built from, "glibc 2.41-12"; "" if it is not known.
        licence: what its copyright file says.
        within: the image that it came in; "" for what the configuration names itself.
        url: its package URL, where somebody else knows it.
    """

    kind: str
    name: str
    version: str
    architecture: str = ""
    sha256: str = ""
    source: str = ""
    licence: Licence = UNKNOWN
    within: str = ""
    url: str = ""

    @property
    def purl(self) -> str:
        """Its package URL (github.com/package-url/purl-spec)."""
        if self.url or self.kind == "generic":
            return self.url
        name = quote(self.name, safe="+")
        if self.kind == "oci":
            place = quote(self.name, safe="")
            return (
                f"pkg:oci/{quote(self.name.rpartition('/')[2])}@sha256%3A{self.sha256}?repository_url={place}"
            )
        place = {"deb": "debian", "apk": "alpine"}[self.kind]
        arch = f"?arch={quote(self.architecture)}" if self.architecture else ""
        return f"pkg:{self.kind}/{place}/{name}@{quote(self.version, safe='+~')}{arch}"

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others, and puts it into order."""
        return (self.kind, self.name, self.version, self.architecture, self.within)


def of_package(package: LockedPackage, licence: Licence) -> Component:
    """A Debian package that the configuration asked for."""
    return Component(
        kind="deb",
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        sha256=package.sha256,
        source=package.source,
        licence=licence,
    )


def of_image(image: Image | Root) -> Component:
    """An OCI image."""
    descriptor = image.manifest if isinstance(image, Image) else image.descriptor
    return Component(
        kind="oci",
        name=image.reference.repository,
        version=image.reference.tag or image.reference.digest,
        sha256=descriptor.digest.removeprefix("sha256:"),
    )


def in_database(path: str, data: bytes, within: str) -> Iterator[Component]:
    """The packages that a database in an image names.

    Args:
        path: of the database, relative.
        data: its contents.
        within: the image's name.
    """
    text = data.decode("utf-8", "replace")
    if path == APK:
        yield from _in_apk(text, within)
        return
    for fields in parse_paragraphs(text.splitlines()):
        status = fields.get("Status", "install ok installed")
        if "Package" in fields and "Version" in fields and status.endswith(" installed"):
            yield Component(
                kind="deb",
                name=fields["Package"],
                version=fields["Version"],
                architecture=fields.get("Architecture", ""),
                source=fields.get("Source", ""),
                within=within,
            )


def _in_apk(text: str, within: str) -> Iterator[Component]:
    """Alpine's format: one letter, a colon and a value a line; a blank line between packages."""
    for block in text.split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.splitlines() if line[1:2] == ":")
        if "P" in fields and "V" in fields:
            yield Component(
                kind="apk",
                name=fields["P"],
                version=fields["V"],
                architecture=fields.get("A", ""),
                licence=Licence((fields["L"],)) if fields.get("L") else UNKNOWN,
                source=fields.get("o", ""),
                within=within,
            )


def is_database(path: str) -> bool:
    """Whether a path in an image is a database that :func:`in_database` reads."""
    return path in (DPKG, APK) or (path.startswith(DPKG_FOLDER) and not path.endswith(".md5sums"))
