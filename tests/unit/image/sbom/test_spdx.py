# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from typing import Any

from cove.debian.lock import LockedPackage
from cove.image.sbom.component import Component, in_database, of_package
from cove.image.sbom.licence import Licence
from cove.image.sbom.spdx import spdx_document

PACKAGE = LockedPackage(
    name="libc6", version="2.41-12+deb13u1", architecture="amd64", sha256="ab" * 32, size=1, filename="f",
    suite="trixie", source="glibc 2.41-12",
)  # fmt: skip
DEB = of_package(PACKAGE, Licence(("GPL-2.0-only", "LicenseRef-odd")))
IMAGE = Component(kind="oci", name="docker.io/fake/x", version="1", sha256="cd" * 32)


def made(*components: Component) -> Any:
    return json.loads(spdx_document("image", components))


def test_a_package_is_told_with_version_hash_licence_and_url() -> None:
    document = made(DEB)
    [package] = [one for one in document["packages"] if one["name"] == "libc6"]
    assert package["versionInfo"] == "2.41-12+deb13u1"
    assert package["checksums"] == [{"algorithm": "SHA256", "checksumValue": "ab" * 32}]
    assert package["licenseDeclared"] == "GPL-2.0-only AND LicenseRef-odd"
    assert package["externalRefs"][0]["referenceLocator"] == "pkg:deb/debian/libc6@2.41-12+deb13u1?arch=amd64"
    assert [one["licenseId"] for one in document["hasExtractedLicensingInfos"]] == ["LicenseRef-odd"]


def test_every_element_is_related_and_ids_are_valid() -> None:
    inside = Component(kind="deb", name="tool_x", version="1", within="docker.io/fake/x")
    document = made(inside, DEB, IMAGE, DEB)
    ids = [one["SPDXID"] for one in document["packages"]]
    assert len(set(ids)) == len(ids) == 4
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", one) for one in ids)
    related = {one["relatedSpdxElement"]: one["spdxElementId"] for one in document["relationships"]}
    assert set(related) == set(ids)
    [tool] = [one["SPDXID"] for one in document["packages"] if one["name"] == "tool_x"]
    [image] = [one["SPDXID"] for one in document["packages"] if one["name"] == "docker.io/fake/x"]
    assert related[tool] == image


def test_the_same_image_has_the_same_document_and_another_has_another() -> None:
    assert spdx_document("image", [DEB, IMAGE]) == spdx_document("image", [IMAGE, DEB])
    assert made(DEB)["documentNamespace"] != made(IMAGE)["documentNamespace"]


def test_databases_of_images_are_read() -> None:
    status = (
        b"Package: a\nStatus: install ok installed\nVersion: 1:2\nArchitecture: all\nDescription: x\n y\n\n"
    )
    status += b"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
    [deb] = in_database("var/lib/dpkg/status", status, "x")
    assert (deb.name, deb.version, deb.within) == ("a", "1:2", "x")
    [apk] = in_database("lib/apk/db/installed", b"C:Q1=\nP:musl\nV:1.2\nA:x86_64\nL:MIT\n\n", "x")
    assert (apk.purl, apk.licence.expression) == ("pkg:apk/alpine/musl@1.2?arch=x86_64", "MIT")
    assert list(in_database("lib/apk/db/installed", b"\xff\x00nonsense", "x")) == []
