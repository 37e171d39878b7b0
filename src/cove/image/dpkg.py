# SPDX-License-Identifier: Apache-2.0
"""dpkg's database for packages that we unpacked: as if dpkg had done it and not yet configured them. Pure.

Forms: dpkg's own documentation (deb-conffiles(5), deb-triggers(5), doc/triggers.txt) and lib/dpkg/dump.c. One
thing differs from what ``dpkg --unpack`` leaves: configuration files stand at their places already, their
digests recorded, not beside them as ``.dpkg-new``. ``dpkg --configure`` takes that for a file that
was dealt with, and scripts of packages that are configured earlier find the files they expect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cove.image.entries import Entry, directory, file

DATABASE = "var/lib/dpkg"

_SCRIPTS = {"preinst", "postinst", "prerm", "postrm", "config"}
_EMPTY = ("available", "diversions", "statoverride")
_FOLDERS = ("alternatives", "info", "parts", "triggers", "updates")


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A package whose files were put into the tree.

    Args:
        control: its control paragraph.
        scripts: every file of control.tar by name, "control" among them.
        paths: what it holds, as the package names it, in its order.
    """

    control: Mapping[str, str]
    scripts: Mapping[str, bytes]
    paths: Sequence[str]

    @property
    def name(self) -> str:
        """The name of its files in the database: with the architecture if "Multi-Arch: same"."""
        package = self.control["Package"]
        same = self.control.get("Multi-Arch") == "same"
        return f"{package}:{self.control['Architecture']}" if same else package


def database(
    packages: Sequence[Unpacked], architecture: str, read: Callable[[str], bytes | None]
) -> list[Entry]:
    """The files of the database.

    Args:
        packages: in the order in which they are to be listed.
        architecture: the native one.
        read: the contents of a file in the tree by its path; None if it is not there.
    """
    found = [directory(DATABASE), *(directory(f"{DATABASE}/{name}") for name in _FOLDERS)]
    found += [file(f"{DATABASE}/{name}", "") for name in _EMPTY]
    found.append(file(f"{DATABASE}/arch-native", f"{architecture}\n"))
    found.append(file(f"{DATABASE}/info/format", "1\n"))
    found.append(file(f"{DATABASE}/status", "".join(f"{stanza(one, read)}\n" for one in packages)))
    for package in packages:
        found += _info(package)
    return found + _triggers(packages)


def stanza(package: Unpacked, read: Callable[[str], bytes | None]) -> str:
    """A package's paragraph in the status file: its control paragraph, state and configuration files."""
    lines = package.scripts["control"].decode("utf-8", errors="replace").strip("\n").split("\n")
    first = next(index for index, line in enumerate(lines) if line.lower().startswith("package:"))
    lines.insert(first + 1, "Status: install ok unpacked")
    conffiles = list(_conffiles(package, read))
    return "\n".join([*lines, *(["Conffiles:", *conffiles] if conffiles else [])]) + "\n"


def interests(package: Unpacked) -> list[tuple[str, str]]:
    """The triggers a package waits for: pairs of trigger and the entry that stands for the package."""
    found = []
    for line in package.scripts.get("triggers", b"").decode().splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] in ("interest", "interest-await", "interest-noawait"):
            found.append((words[1], package.name + ("/noawait" if words[0].endswith("noawait") else "")))
    return found


def _conffiles(package: Unpacked, read: Callable[[str], bytes | None]) -> list[str]:
    found = []
    for line in package.scripts.get("conffiles", b"").decode().splitlines():
        # a line may begin with a flag (remove-on-upgrade); such a file is not one of this version
        contents = read(line.strip().lstrip("/")) if line.startswith("/") else None
        if contents is not None:
            digest = hashlib.md5(contents, usedforsecurity=False).hexdigest()  # dpkg's own choice
            found.append(f" {line.strip()} {digest}")
    return found


def _info(package: Unpacked) -> list[Entry]:
    stem = f"{DATABASE}/info/{package.name}"
    listing = "/.\n" + "".join(f"/{path}\n" for path in package.paths)
    found = [file(f"{stem}.list", listing)]
    for name, contents in sorted(package.scripts.items()):
        if name != "control":
            found.append(file(f"{stem}.{name}", contents, 0o755 if name in _SCRIPTS else 0o644))
    return found


def _triggers(packages: Sequence[Unpacked]) -> list[Entry]:
    files = ""
    named: dict[str, str] = {}
    for package in packages:
        for trigger, waiting in interests(package):
            if trigger.startswith("/"):
                files += f"{trigger} {waiting}\n"
            else:
                named[trigger] = named.get(trigger, "") + f"{waiting}\n"
    found = [file(f"{DATABASE}/triggers/File", files), file(f"{DATABASE}/triggers/Unincorp", "")]
    return found + [file(f"{DATABASE}/triggers/{name}", text) for name, text in sorted(named.items())]
