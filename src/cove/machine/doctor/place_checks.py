# SPDX-License-Identifier: Apache-2.0
"""What is wrong with COVE_HOME and COVE_CACHE: their file systems, their room, the length of their paths. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from cove.machine.doctor.facts import Examined, Place
from cove.machine.doctor.finding import Finding, problem, warning
from cove.spec.abilities import Abilities
from cove.system.paths import SOCKET_PATH_LIMIT
from cove.units import GIB, format_size

FULL = GIB
"""Bytes below which a first start, which makes programs and images, fails."""

LOW = 5 * GIB
"""Bytes below which a few images fill the disk."""

REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afpfs", "webdav", "9p", "ceph", "glusterfs", "lustre", "afs"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.rclone", "macfuse", "osxfuse", "vboxsf", "prl_fs", "virtiofs"}
)
"""File systems that another computer, or this one's host, really keeps."""

_LACKS = (
    (
        "sockets",
        "home-no-sockets",
        "unix sockets",
        "No machine can be reached: all it is asked comes by them.",
    ),
    ("locks", "home-no-locks", "locks", "Two processes could start one machine, and ruin its disk."),
    ("links", "home-no-links", "symlinks", "Programs and docker's configuration are made of them."),
    ("modes", "home-no-modes", "permissions", "Other users could read and change disks and sockets."),
)
_CACHE_NEEDS = ("locks", "links")


def check_places(facts: Examined) -> Iterator[Finding]:
    """All findings about the folders."""
    for place in facts.places:
        yield from _place(place, mac=facts.host.system == "darwin")
    if facts.socket_too_long:
        length = len(facts.socket_too_long.encode())
        yield problem(
            "socket-path-long",
            subject=facts.socket_too_long,
            what=f"the path of a socket would have {length} bytes, where {SOCKET_PATH_LIMIT} are possible",
            why="No machine, or none with so long a name, can be made or started there.",
            fix='sudo install -d -m 700 -o "$USER" /opt/cove && export COVE_HOME=/opt/cove',
        )
    if facts.config_trouble:
        yield problem(
            "config-damaged",
            what="config.yml cannot be read",
            why=facts.config_trouble,
            fix='"${EDITOR:-vi}" "${COVE_HOME:-$HOME/.cove}/config.yml"',
        )


def _place(place: Place, *, mac: bool) -> Iterator[Finding]:
    found = place.abilities
    if found.exists and not found.owned:
        yield problem(
            "home-foreign",
            subject=place.path,
            what=f"{place.role} belongs to another user",
            why="Who owns it can change the disks and programs in it, and you may not.",
            fix=f'sudo chown -R "$(id -u)" {shlex.quote(place.path)}',
        )
    elif not found.writable:
        yield problem(
            "home-unwritable",
            subject=place.path,
            what=f"nothing can be written to {found.path}",
            why=f"Everything that Cove makes lies in {place.role}.",
            fix=f"chmod u+rwx {shlex.quote(found.path)}, or {_elsewhere(place)}",
        )
    yield from _lacks(place)
    if not mac and found.case_sensitive is False:
        yield warning(
            "home-case-insensitive",
            subject=place.path,
            what="its file system does not tell A from a",
            why="Packages have files whose names differ in nothing else; of those one is lost.",
            fix=_elsewhere(place),
        )
    yield from _room(place.path, found)


def _lacks(place: Place) -> Iterator[Finding]:
    found = place.abilities
    if found.noexec:
        yield problem(
            "home-noexec",
            subject=place.path,
            what="its file system is mounted with noexec",
            why="The programs that run machines lie there, and cannot be started.",
            fix=f"sudo mount -o remount,exec \"$(df -P {shlex.quote(found.path)} | awk 'END {{print $6}}')\", "
            f"or {_elsewhere(place)}",
        )
    for ability, id_, name, why in _LACKS:
        wanted = place.role == "COVE_HOME" or ability in _CACHE_NEEDS
        if wanted and getattr(found, ability) is False:
            yield problem(
                id_,
                subject=place.path,
                what=f"its file system{f' ({found.kind})' if found.kind else ''} has no {name}",
                why=why,
                fix=_elsewhere(place),
            )
    if place.role == "COVE_HOME" and found.sparse is False:
        yield warning(
            "home-no-sparse",
            subject=place.path,
            what="its file system has no sparse files",
            why="A machine's disk takes all of its size at once: 64 GiB unless it was made smaller.",
            fix=f"cove create --disk 8G, or {_elsewhere(place)}",
        )
    if found.kind in REMOTE:
        yield warning(
            "home-remote",
            subject=place.path,
            what=f"it lies on a file system of another computer ({found.kind})",
            why="Disks are slow there, and lost locks or connections can ruin them.",
            fix=_elsewhere(place),
        )


def _room(path: str, found: Abilities) -> Iterator[Finding]:
    if found.free >= LOW:
        return
    make, id_ = (problem, "disk-full") if found.free < FULL else (warning, "disk-low")
    yield make(
        id_,
        subject=path,
        what=f"{format_size(found.free)} are free",
        why="Programs and images need 1 GiB, and machines' disks grow as they are used; "
        "a full disk stops what runs in them.",
        fix="cove cache prune; for each running machine: cove docker system prune && cove trim",
    )


def _elsewhere(place: Place) -> str:
    return f"export {place.role}=/a/folder/on/a/local/disk"
