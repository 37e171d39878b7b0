# SPDX-License-Identifier: Apache-2.0
"""What a Mac says about itself: sw_vers(1), sysctl(8), codesign(1), and the programs of Homebrew's prefixes.

This is the thin layer that only a Mac can prove; its tests give it programs of the same names that print what
Apple's documentation and issue threads show.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cove.errors import CommandError, DeadlineError, ToolError
from cove.spec.facts import HostTool
from cove.system.process import run

PREFIXES = ("/opt/homebrew", "/usr/local")
"""Where Homebrew lies on Apple silicon and on Intel; HOMEBREW_PREFIX names another place."""

_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "vfkit": ("--version",),
    "qemu-system-aarch64": ("--version",),
    "qemu-system-x86_64": ("--version",),
    "gvproxy": ("-version",),
    "mkfs.erofs": ("--version",),
}
_SIGNED = ("vfkit", "qemu-system-aarch64", "qemu-system-x86_64")
_SYSTEM = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
_DEADLINE = 20.0


@dataclass(frozen=True, kw_only=True)
class MacFacts:
    """What makes a Mac's facts more than any Unix host's; see :class:`cove.spec.facts.HostFacts`."""

    os_version: str
    hv_support: bool
    cpu: str
    tools: tuple[HostTool, ...]


def mac_facts(env: Mapping[str, str]) -> MacFacts:
    """Ask the system and look for programs; takes some tenths of a second, since each program is started.

    Args:
        env: the environment, for PATH and HOMEBREW_PREFIX.
    """
    # every start passes this module, and only Macs this function
    from concurrent.futures import ThreadPoolExecutor

    path = ":".join([env.get("PATH", ""), *_SYSTEM])
    with ThreadPoolExecutor() as pool:
        tools = pool.map(lambda name: _tool(name, path, search_path(env)), _PROGRAMS)
        return MacFacts(
            os_version=_say(["sw_vers", "-productVersion"], path),
            hv_support=_say(["sysctl", "-n", "kern.hv_support"], path) == "1",
            cpu=_say(["sysctl", "-n", "machdep.cpu.brand_string"], path),
            tools=tuple(tool for tool in tools if tool is not None),
        )


def search_path(env: Mapping[str, str]) -> str:
    """Where a Mac's programs are looked for, as a PATH: the user's own, then Homebrew's folders.

    A program that was started by launchd, or by an application, has a PATH without Homebrew's.
    """
    prefixes = [prefix for prefix in (env.get("HOMEBREW_PREFIX"), *PREFIXES) if prefix]
    inner = ("bin", "sbin", "opt/podman/libexec/podman", "opt/e2fsprogs/sbin", "opt/erofs-utils/bin")
    homebrew = [os.path.join(prefix, below) for prefix in prefixes for below in inner]  # noqa: PTH118
    # podman's own installer, which is not Homebrew's
    return ":".join([env.get("PATH", ""), *homebrew, "/opt/podman/bin", *_SYSTEM])


def read_entitlements(xml: bytes) -> tuple[str, ...]:
    """The entitlements granted in a property list, as ``codesign --display --entitlements - --xml`` prints it."""
    import plistlib
    from xml.parsers.expat import ExpatError

    try:
        found = plistlib.loads(xml)
    except (plistlib.InvalidFileException, ExpatError, ValueError):
        return ()
    return (
        tuple(sorted(key for key, value in found.items() if value is True)) if isinstance(found, dict) else ()
    )


def _tool(name: str, system: str, path: str) -> HostTool | None:
    place = shutil.which(name, path=path)
    if place is None:
        return None
    # signatures belong to the file that Homebrew's link leads to
    real = str(Path(place).resolve())
    says = _say([place, *_PROGRAMS[name]], path)
    if name not in _SIGNED:
        return HostTool(name=name, path=real, says=says)
    return HostTool(
        name=name,
        path=real,
        says=says,
        signed=_output(["codesign", "--verify", real], system) is not None,
        entitlements=read_entitlements(
            _output(["codesign", "--display", "--entitlements", "-", "--xml", real], system) or b""
        ),
    )


def _say(argv: list[str], path: str) -> str:
    """The first line that a program prints; "" if it fails."""
    output = _output(argv, path)
    lines = (output or b"").decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else ""


def _output(argv: list[str], path: str) -> bytes | None:
    program = shutil.which(argv[0], path=path)
    if program is None:
        return None
    try:
        return run([program, *argv[1:]], doing=f"asking {argv[0]}", deadline=_DEADLINE).stdout
    except (CommandError, DeadlineError, ToolError):
        return None
