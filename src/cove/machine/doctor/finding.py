# SPDX-License-Identifier: Apache-2.0
"""What the doctor finds, and the register of all that it looks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["problem", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        id: what it is, for programs; one of :data:`CHECKS`. Stable.
        severity: a problem keeps something from working; a warning makes it worse than it could be.
        subject: the machine, file, program or address that it is about; "" for the host as a whole.
        what: what is wrong, one sentence.
        why: what that does.
        fix: what mends it: a line for the shell wherever there is one.
    """

    id: str
    severity: Severity
    subject: str
    what: str
    why: str
    fix: str

    def to_dict(self) -> dict[str, str]:
        """As JSON data, for ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """All that came of one visit.

    Args:
        findings: problems first.
        skipped: what was not looked at, by id, and why not.
    """

    findings: tuple[Finding, ...]
    skipped: Mapping[str, str]

    @property
    def problems(self) -> int:
        """How many findings are problems."""
        return sum(finding.severity == "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, object]:
        """As JSON data, for ``--json``."""
        return {
            "version": 1,
            "problems": self.problems,
            "warnings": len(self.findings) - self.problems,
            "findings": [finding.to_dict() for finding in self.findings],
            "skipped": dict(self.skipped),
        }


def problem(id_: str, *, what: str, why: str, fix: str, subject: str = "") -> Finding:
    """Something that keeps Cove, or a machine, from working."""
    return Finding(id=id_, severity="problem", subject=subject, what=what, why=why, fix=fix)


def warning(id_: str, *, what: str, why: str, fix: str, subject: str = "") -> Finding:
    """Something that works, but worse than it could."""
    return Finding(id=id_, severity="warning", subject=subject, what=what, why=why, fix=fix)


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Problems first, each kind in the order in which it was found; what was found twice is told once."""
    unique = tuple(dict.fromkeys(findings))
    return tuple(sorted(unique, key=lambda finding: finding.severity != "problem"))


CHECKS: Mapping[str, str] = {
    # programs and processor
    "no-driver": "nothing can run a machine on this host",
    "tool-missing": "a program that machines need is not installed",
    "tool-too-old": "a program is older than what is known to work",
    "tool-broken": "a program does not run, or is a version that is known not to work",
    "tool-unsigned": "a program lacks the entitlement without which macOS keeps it from virtualizing",
    "macos-too-old": "this macOS cannot boot Linux in Virtualization.framework",
    "virtualization-unavailable": "macOS says that it has no hypervisor",
    "kvm-absent": "there is no /dev/kvm",
    "kvm-forbidden": "/dev/kvm may not be opened",
    "kvm-unusable": "/dev/kvm can be opened, but no kernel boots under it",
    "memory-place": "no folder in memory has room for a guest's memory",
    "host-clock": "this host's clock is wrong",
    # protection
    "landlock-missing": "child processes cannot be kept from your files",
    "landlock-old": "Landlock lacks what came later",
    "seccomp-missing": "system calls cannot be refused to child processes",
    "namespaces-missing": "Cove's own files in shared folders cannot be hidden from share daemons",
    # COVE_HOME and COVE_CACHE
    "config-damaged": "config.yml cannot be read",
    "home-foreign": "the folder belongs to somebody else",
    "home-unwritable": "nothing can be written to the folder",
    "home-noexec": "no program can be started from the folder",
    "home-no-sockets": "its file system has no unix sockets",
    "home-no-locks": "its file system has no locks",
    "home-no-links": "its file system has no symlinks",
    "home-no-modes": "its file system cannot keep files private",
    "home-no-sparse": "its file system has no sparse files",
    "home-case-insensitive": "its file system does not tell A from a",
    "home-remote": "it lies on another computer",
    "socket-path-long": "paths of sockets would be too long",
    "disk-full": "the disk is full, or nearly",
    "disk-low": "the disk has little room left",
    # names, proxies, docker's clients
    "host-file-missing": "/etc/resolv.conf or /etc/hosts is missing",
    "dns-none": "no name server is named",
    "dns-silent": "a name server does not answer",
    "archive-unreachable": "Debian's archive cannot be reached",
    "proxy-malformed": "a proxy variable is no URL",
    "proxy-unreachable": "nobody answers at a proxy",
    "docker-host-stale": "DOCKER_HOST leads to a machine that does not run",
    "context-stale": "a docker context leads to a machine that is gone",
    "context-missing": "docker's current context does not exist",
    "system-socket-stale": "/var/run/docker.sock leads to a machine that does not run",
    "docker-config-damaged": "docker's config.json cannot be read",
    "credential-helper-missing": "docker's config.json names a credential helper that is not there",
    # machines
    "machine-damaged": "machine.json does not describe a machine",
    "machine-remnant": "a folder is left of a machine",
    "machine-failed": "a machine did not start, or died",
    "machine-leftovers": "processes go on without their supervisor",
    "machine-driver": "a machine's driver does not work on this host (any more)",
    "data-disk-missing": "a machine that ran has lost its disk",
    "share-missing": "a shared folder is gone",
    "port-taken": "a published port could not be had",
    "port-low": "a published port is reserved for root",
    "supervisor-silent": "a running machine's supervisor does not answer",
    "agent-silent": "a running machine's agent does not answer",
    "engine-silent": "a running machine's engine does not answer",
    "guest-clock": "a guest's clock is not the host's",
    "guest-disk-full": "a guest's data disk is nearly full",
    "autostart-stale": "a machine that is gone starts at logins",
}
"""All findings there can be, and what each says. docs/doctor.md has the same table."""

NETWORK = ("dns-silent", "archive-unreachable")
"""What is only looked at when the network may be asked."""
