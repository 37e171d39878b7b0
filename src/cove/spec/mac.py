# SPDX-License-Identifier: Apache-2.0
"""What stands against each way to run a machine on a Mac, and what mends it. Pure.

The rules are those that colima, lima, podman and vfkit learned, from their sources and issue threads; the list of
QEMU's versions is from QEMU's, Homebrew's and nixpkgs' trackers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cove.spec.facts import HostFacts, HostTool
from cove.spec.machine import Architecture
from cove.spec.versions import Version, dotted, parse_version

OLDEST_VFKIT: Version = (0, 6, 4)
"""The vfkit whose command line was read; it has read-only disks and a balloon."""

OLDEST_QEMU: Version = (8, 2, 1)
"""The oldest QEMU that runs on every Apple processor (lima's limit on macOS)."""

BROKEN_QEMU: Mapping[Version, str] = {
    (11, 0, 0): "an idle guest keeps two of the Mac's processors busy",
    (11, 0, 1): "it crashes when a running guest is set back",
    (11, 1, 0): "Linux guests stop at their start, when they leave the firmware",
}
"""Versions of QEMU that do not work under hvf on Apple silicon, and what they do."""

HYPERVISOR = "com.apple.security.hypervisor"
"""The entitlement without which macOS lets no program use Hypervisor.framework."""

VIRTUALIZATION = "com.apple.security.virtualization"
"""The entitlement without which macOS lets no program use Virtualization.framework."""

_QEMU: Mapping[Architecture, str] = {"x86_64": "qemu-system-x86_64", "aarch64": "qemu-system-aarch64"}
_PLIST = (
    '<?xml version="1.0"?><plist version="1.0"><dict><key>{0}</key><true/></dict></plist>'  # see codesign(1)
)


Kind = Literal["hypervisor", "architecture", "macos", "missing", "old", "broken", "unsigned"]
"""What is in the way, in one word."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """Why something cannot be used.

    Args:
        kind: what is in the way.
        message: what is wrong.
        hint: what to do, as far as possible a line for the shell.
        mendable: whether following the hint is all that is needed; no Mac gets a new processor that way.
    """

    kind: Kind
    message: str
    hint: str
    mendable: bool


def against_vz(facts: HostFacts, guest: Architecture) -> Against | None:
    """What stands against Virtualization.framework through vfkit."""
    return (
        _against_hypervisor(facts, guest)
        or _against_system(facts, "Virtualization.framework", (13, 5) if facts.machine == "x86_64" else (13,))
        or _against_tool(facts.tool("vfkit"), "vfkit", OLDEST_VFKIT, brew="vfkit")
        or _against_signature(facts.tool("vfkit"), VIRTUALIZATION)
    )


def against_hvf(facts: HostFacts, guest: Architecture) -> Against | None:
    """What stands against QEMU under Hypervisor.framework."""
    return (
        _against_hypervisor(facts, guest)
        or against_qemu(facts, guest)
        or _against_broken(facts, guest)
        or _against_signature(facts.tool(_QEMU[guest]), HYPERVISOR)
    )


def against_qemu(facts: HostFacts, guest: Architecture) -> Against | None:
    """What stands against QEMU with its own emulation."""
    return _against_tool(facts.tool(_QEMU[guest]), _QEMU[guest], OLDEST_QEMU, brew="qemu")


def most_memory(facts: HostFacts) -> int | None:
    """Bytes of memory that a guest under hvf may have; None where the host's memory is the only limit.

    Before macOS 12.4 a larger guest on Apple silicon could take the whole Mac down (lima#795, QEMU's issue 903).
    """
    old = facts.machine == "aarch64" and (parse_version(facts.os_version) or (99,)) < (12, 4)
    return 3 << 30 if facts.system == "darwin" and old else None


def _against_hypervisor(facts: HostFacts, guest: Architecture) -> Against | None:
    if guest != facts.machine:
        return Against(
            kind="architecture",
            message=f"the guest is {guest} and the Mac {facts.machine}",
            hint="It can be emulated: --driver qemu --accel tcg. "
            "For single containers of another architecture: --binfmt.",
            mendable=False,
        )
    if not facts.hv_support:
        return Against(
            kind="hypervisor",
            message="this Mac offers no hypervisor (sysctl kern.hv_support is not 1)",
            hint="It may be a virtual machine itself. QEMU can emulate: --driver qemu --accel tcg.",
            mendable=False,
        )
    return None


def _against_system(facts: HostFacts, what: str, oldest: Version) -> Against | None:
    found = parse_version(facts.os_version)
    if found is not None and found >= oldest:
        return None
    return Against(
        kind="macos",
        message=f"{what} boots Linux since macOS {dotted(oldest)}, and this is {facts.os_version or 'unknown'}",
        hint="Update macOS, or use --driver qemu.",
        mendable=False,
    )


def _against_tool(tool: HostTool | None, name: str, oldest: Version, *, brew: str) -> Against | None:
    if tool is None:
        return Against(
            kind="missing", message=f"{name} is not installed", hint=f"brew install {brew}", mendable=True
        )
    found = parse_version(tool.says)
    if found is None:
        return Against(
            kind="broken",
            message=f"{tool.path} does not say its version",
            hint=f"brew reinstall {brew}",
            mendable=True,
        )
    if found < oldest:
        return Against(
            kind="old",
            message=f"{tool.path} is version {dotted(found)}; {dotted(oldest)} or newer is needed",
            hint=f"brew upgrade {brew}",
            mendable=True,
        )
    return None


def _against_broken(facts: HostFacts, guest: Architecture) -> Against | None:
    tool = facts.tool(_QEMU[guest])
    found = parse_version(tool.says) if tool else None
    if facts.machine != "aarch64" or found is None or found not in BROKEN_QEMU:
        return None
    return Against(
        kind="broken",
        message=f"QEMU {dotted(found)} is known not to work on Apple silicon: {BROKEN_QEMU[found]}",
        hint="brew upgrade qemu, or use vz instead: brew install vfkit",
        mendable=True,
    )


def _against_signature(tool: HostTool | None, entitlement: str) -> Against | None:
    if tool is None or (tool.signed and entitlement in tool.entitlements):
        return None
    problem = f"has not the entitlement {entitlement}" if tool.signed else "has no valid signature"
    return Against(
        kind="unsigned",
        message=f"{tool.path} {problem}",
        hint=sign_line(tool.path, entitlement),
        mendable=True,
    )


def sign_line(path: str, entitlement: str) -> str:
    """The line for a shell that signs a program ad hoc. ``--force``: macOS kills a program that is half-signed."""
    plist = f"/tmp/cove-{entitlement.rpartition('.')[2]}.plist"  # noqa: S108  (of the user's own making, for one line)
    return (
        f"printf '%s' '{_PLIST.format(entitlement)}' > {plist} && "
        f"codesign --sign - --force --entitlements {plist} {path}"
    )
