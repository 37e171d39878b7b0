# SPDX-License-Identifier: Apache-2.0
"""The first stage of a Debian root, as debootstrap makes it, but as an ordinary user and with nothing run.

All packages of a minimal trixie are unpacked and recorded as unpacked; ``dpkg --configure -a``, run inside,
does the rest. What maintainer scripts would have done before that point (preinst) is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cove.debian.archive import Archive
from cove.debian.deb import Deb
from cove.debian.lock import Lock
from cove.debian.mirrors import Mirror
from cove.image.dpkg import Unpacked, database
from cove.image.entries import Entry, EntryKind, directory, file
from cove.image.spool import unpack_all
from cove.image.tree import Tree

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

SECOND_STAGE = """\
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8
dpkg --force-unsafe-io --configure -a
left=$(dpkg --audit)
if [ -n "$left" ]; then echo "$left" >&2; exit 1; fi
rm -rf /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/alternatives.log \
    /var/log/apt/* /var/log/dpkg.log
"""
"""A script that configures the packages, checks that all are, and removes what only this run left."""

_APT_CONF = {
    # what is downloaded or can be made again would only fill layers
    "docker-clean": (
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb '
        '/var/cache/apt/*.bin || true"; };\n'
        'APT::Update::Post-Invoke { "rm -f /var/cache/apt/*.bin || true"; };\n'
        'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n'
    ),
    "docker-no-languages": 'Acquire::Languages "none";\n',
}
_POLICY = "#!/bin/sh\n# nothing starts services in a container that is being built\nexit 101\n"
_FOLDERS = ("dev", "proc", "run", "sys")


def packages_for(archive: Archive, mirror: Mirror) -> Lock:
    """The packages of debootstrap's minbase variant; with CA certificates where the mirror needs them.

    Args:
        archive: resolves them.
        mirror: what the image's own apt will use.
    """
    wanted = ["apt", "base-files", "debian-archive-keyring"]
    if any(url.startswith("https:") for url in (mirror.main, mirror.security)):
        wanted.append("ca-certificates")
    return archive.resolve(wanted, essential=True, priorities={"required"})


def debian_tree(debs: Mapping[str, Path], scratch: Path, *, mirror: Mirror, architecture: str) -> Tree:
    """Unpack packages and compose the first stage's root.

    Args:
        debs: package name -> .deb.
        scratch: a folder for unpacked contents, to be kept until the tree is written.
        mirror: goes into apt's sources.
        architecture: the native one.
    """
    entries = unpack_all(debs, scratch)
    tree = Tree()
    for name in sorted(entries):
        for entry in entries[name]:
            tree.add(entry)
    for name in _FOLDERS:
        if name not in tree:
            tree.add(directory(name))
    packages = [_unpacked(Deb(debs[name]), entries[name]) for name in sorted(entries)]
    for entry in (*database(packages, architecture, lambda path: _read(tree, path)), *prepared(tree, mirror)):
        tree.add(entry)
    return tree


def prepared(tree: Tree, mirror: Mirror) -> list[Entry]:
    """What must be there before the first script runs, and what makes it a good container image.

    Args:
        tree: the unpacked packages.
        mirror: goes into apt's sources.
    """
    found = [
        file("etc/apt/sources.list.d/debian.sources", apt_sources(mirror)),
        file("usr/sbin/policy-rc.d", _POLICY, 0o755),
        *(file(f"etc/apt/apt.conf.d/{name}", text) for name, text in _APT_CONF.items()),
    ]
    # base-passwd's preinst: dpkg and every later script look users up here
    for name in ("passwd", "group"):
        master = _read(tree, f"usr/share/base-passwd/{name}.master")
        if master is not None and f"etc/{name}" not in tree:
            found.append(file(f"etc/{name}", master))
    return found


def apt_sources(mirror: Mirror) -> str:
    """Sources for apt in deb822 form (sources.list(5)). Pure."""
    suites = ((mirror.main, "trixie trixie-updates"), (mirror.security, "trixie-security"))
    return "\n".join(
        f"Types: deb\nURIs: {url}\nSuites: {names}\nComponents: main\nSigned-By: {KEYRING}\n"
        for url, names in suites
    )


def _read(tree: Tree, path: str) -> bytes | None:
    entry = tree.get(tree.real(path))
    return entry.read() if entry is not None and entry.kind is EntryKind.FILE else None


def _unpacked(deb: Deb, entries: list[Entry]) -> Unpacked:
    return Unpacked(control=deb.control, scripts=deb.scripts, paths=[entry.path for entry in entries])
