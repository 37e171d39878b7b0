# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the host: programs, virtualization, protection, clock. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime

from cove.errors import CoveError
from cove.machine.doctor.facts import Examined, ToolTrouble
from cove.machine.doctor.finding import Finding, problem, warning
from cove.spec import mac
from cove.spec.abilities import Guards
from cove.spec.choice import choose_driver
from cove.spec.facts import HostFacts
from cove.spec.fill import DEFAULT_MEMORY, DEFAULT_MEMORY_FLOOR
from cove.spec.machine import MachineRequest, architecture_named
from cove.units import format_size

NOTHING_OLDER = datetime(2025, 8, 9, tzinfo=UTC).timestamp()
"""The day of Debian 13: no file of its archive is older, so no right clock is behind it."""

_EMULATED = "Machines run as User-Mode Linux or are emulated, which is several times slower."
_KINDS = {
    "hypervisor": "virtualization-unavailable",
    "macos": "macos-too-old",
    "missing": "tool-missing",
    "old": "tool-too-old",
    "broken": "tool-broken",
    "unsigned": "tool-unsigned",
}


def check_host(facts: Examined) -> Iterator[Finding]:
    """All findings about the host itself."""
    if facts.host.system == "darwin":
        yield from _mac(facts.host)
    else:
        yield from _no_driver(facts.host)
        yield from _kvm(facts.host)
        yield from _memory_place(facts.host)
        yield from _protection(facts.guards, facts.host)
    yield from map(_tools, facts.tools)
    if facts.now < NOTHING_OLDER:
        yield problem(
            "host-clock",
            what=f"this host's clock says {datetime.fromtimestamp(facts.now, UTC):%Y-%m-%d}",
            why="Signatures and certificates made after that day are refused, and guests get the wrong time.",
            fix="sudo timedatectl set-ntp true"
            if facts.host.system == "linux"
            else "sudo sntp -sS time.apple.com",
        )


def _why_no_driver(host: HostFacts) -> CoveError | None:
    try:
        choose_driver(MachineRequest(name="any"), host)
    except CoveError as error:
        return error
    return None


def _no_driver(host: HostFacts) -> Iterator[Finding]:
    if error := _why_no_driver(host):
        yield problem(
            "no-driver",
            what=error.message,
            why=error.details or "No machine can be made here.",
            fix=error.hint or "Use another host.",
        )


def _mac(host: HostFacts) -> Iterator[Finding]:
    """What keeps a Mac from virtualizing. A program that nobody needs may be missing; a bad one is told."""
    guest = architecture_named(host.machine)
    works = _why_no_driver(host) is None
    ways: dict[mac.Against, list[str]] = {}
    for way, against in (("vz", mac.against_vz(host, guest)), ("qemu/hvf", mac.against_hvf(host, guest))):
        if against is not None and not (works and against.kind == "missing"):
            ways.setdefault(against, []).append(way)
    for against, lost in ways.items():
        names = " and ".join(lost)
        make = warning if works else problem
        yield make(
            _KINDS[against.kind],
            what=against.message,
            why=f"{names} cannot be used; machines run in another way."
            if works
            else f"{names} cannot be used, and no machine can run: one of the ways has to be mended.",
            fix=against.hint,
        )


def _kvm(host: HostFacts) -> Iterator[Finding]:
    match host.kvm, host.kvm_works:
        case "absent", _:
            yield warning("kvm-absent", what="there is no /dev/kvm", why=_EMULATED, fix=_kvm_fix(host))
        case "forbidden", _:
            fix = (
                f'sudo usermod -aG {shlex.quote(host.kvm_group)} "$USER", and log in again'
                if host.kvm_group and host.kvm_group != "root"
                else 'sudo setfacl -m "u:$USER:rw" /dev/kvm'
            )
            yield warning("kvm-forbidden", what="/dev/kvm may not be opened by you", why=_EMULATED, fix=fix)
        case "openable", False:
            yield warning(
                "kvm-unusable",
                what=f"KVM does not work here: {host.kvm_reason}",
                why=_EMULATED,
                fix="have nested virtualization switched on for this host, or its kernel updated; then try again: "
                'rm "${COVE_CACHE:-${COVE_HOME:-$HOME/.cove}/cache}/probes.json" && cove create other',
            )
        case _:
            pass


def _kvm_fix(host: HostFacts) -> str:
    modules = {"vmx": "kvm_intel", "svm": "kvm_amd"}
    for flag, module in modules.items():
        if flag in host.cpu_flags:
            return f"sudo modprobe {module}"
    if "hypervisor" in host.cpu_flags:
        return "This host is a virtual machine: have nested virtualization switched on for it."
    if host.machine == "x86_64":
        return "Switch virtualization (VT-x, AMD-V, SVM) on in the firmware's settings."
    return "sudo modprobe kvm; where that fails, the firmware or the cloud keeps virtualization to itself."


def _memory_place(host: HostFacts) -> Iterator[Finding]:
    wanted = min(DEFAULT_MEMORY, max(DEFAULT_MEMORY_FLOOR, host.memory // 2))
    if any(place.free >= wanted for place in host.memory_places):
        return
    best = max((place.free for place in host.memory_places), default=0)
    yield warning(
        "memory-place",
        what=f"no folder in memory has room for a guest: {format_size(best)} of {format_size(wanted)}",
        why="A guest's memory then lies in a file on the disk, which the host keeps writing back.",
        fix="sudo mount -o remount,exec,size=50% /dev/shm (in a container: docker run --shm-size 4g)",
    )


def _protection(guards: Guards, host: HostFacts) -> Iterator[Finding]:
    if guards.landlock == 0:
        listed = f" (it started with: {', '.join(guards.lsm)})" if guards.lsm else ""
        yield warning(
            "landlock-missing",
            what=f"this kernel offers no Landlock{listed}",
            why="A guest that breaks out of its VMM, and with uml its root, can read and write what you can.",
            fix="Linux 5.13 or newer with landlock in its lsm= parameter: cat /sys/kernel/security/lsm",
        )
    elif guards.landlock < 6:
        lost = "signals and abstract sockets" if guards.landlock >= 4 else "TCP, signals and abstract sockets"
        yield warning(
            "landlock-old",
            what=f"this kernel's Landlock is version {guards.landlock}, which does not hold {lost}",
            why=f"A VMM that was broken out of is kept from your files, but not from {lost}.",
            fix=f"Linux 6.{7 if guards.landlock < 4 else 12} or newer",
        )
    if not guards.seccomp:
        yield warning(
            "seccomp-missing",
            what="system calls cannot be refused to child processes here",
            why="gvproxy could be told by a guest's root to listen on this host; a VMM keeps its sockets.",
            fix="Linux 5.5 or newer on x86-64"
            if host.machine == "x86_64"
            else "None yet: Cove's filter is for x86-64. "
            "Keep --privileged and --network host from containers that you do not trust.",
        )
    if not guards.namespaces:
        yield warning(
            "namespaces-missing",
            what="you may not have a mount namespace of your own",
            why="Share daemons see Cove's own files where a shared folder contains them; guests do not, and "
            "without a name server in /etc/resolv.conf no machine starts.",
            fix=f"sudo sysctl {guards.barrier}"
            if guards.barrier
            else "In a container, its seccomp profile has to allow unshare and mount.",
        )


def _tools(trouble: ToolTrouble) -> Finding:
    return problem(
        "tool-missing",
        subject=trouble.group,
        what=f"programs of the group {trouble.group} are missing or too old",
        why=trouble.problems,
        fix=trouble.fix,
    )
