# SPDX-License-Identifier: Apache-2.0
"""What a host can do, recorded as data, and the choice of a driver from it.

Facts are gathered by ``cove.system.probe``. As they can be written to JSON, a choice made on any host can be
repeated in a test.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cove.errors import UnsupportedError, UsageError
from cove.spec.machine import ARCHITECTURES, Accel, Architecture, Driver, MachineRequest, architecture_named
from cove.spec.reading import Fields

FACTS_VERSION = 1
"""Version of the recorded form of :class:`HostFacts`."""

KvmDevice = Literal["absent", "forbidden", "openable"]
System = Literal["linux", "darwin"]

_PLANNED_DRIVERS = {"vz": "Apple's Virtualization.framework"}
_PLANNED_ACCELS = {"hvf": "Apple's Hypervisor.framework"}


@dataclass(frozen=True, kw_only=True)
class MemoryPlace:
    """A folder in memory (tmpfs) that may hold a guest's memory.

    Args:
        path: the folder.
        free: bytes that were free in it.
    """

    path: str
    free: int


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What was found on a host.

    Args:
        system: the operating system.
        machine: the processor, as ``uname -m`` names it ("x86_64", "aarch64").
        release: the release of the host's kernel.
        cpus: processors that this process may use.
        memory: bytes of memory that this process may use at most, cgroup limits included.
        page_size: bytes of a page.
        kvm: whether /dev/kvm exists and may be opened. Both say little: see ``kvm_works``.
        kvm_works: whether a kernel really booted under KVM; None when it was not tried.
        kvm_reason: why, for people.
        memory_places: folders in memory where files may be executed, best first.
    """

    system: System
    machine: str
    release: str
    cpus: int
    memory: int
    page_size: int
    kvm: KvmDevice
    kvm_works: bool | None = None
    kvm_reason: str = ""
    memory_places: tuple[MemoryPlace, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        places = [asdict(place) for place in self.memory_places]
        return {"version": FACTS_VERSION, **asdict(self), "memory_places": places}

    @classmethod
    def from_dict(cls, data: object) -> HostFacts:
        """Read the recorded form.

        Raises:
            UsageError: another version, or some keys are unknown, missing or wrong: all are named.
        """
        fields = Fields(data, what="a record of a host's facts", version=FACTS_VERSION)
        systems: tuple[System, ...] = ("linux", "darwin")
        devices: tuple[KvmDevice, ...] = ("absent", "forbidden", "openable")
        verdicts: tuple[bool | None, ...] = (None, True, False)
        facts = cls(
            system=fields.choice("system", systems),
            machine=fields.take("machine", str),
            release=fields.take("release", str),
            cpus=fields.number("cpus", least=1),
            memory=fields.number("memory", least=1),
            page_size=fields.number("page_size", least=1),
            kvm=fields.choice("kvm", devices),
            kvm_works=fields.choice("kvm_works", verdicts),
            kvm_reason=fields.take("kvm_reason", str, default=""),
            memory_places=tuple(map(_read_place, fields.take("memory_places", list, default=[]))),
        )
        fields.done()
        return facts


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A driver, its accelerator, the architecture of the guest, and for people why these."""

    driver: Driver
    accel: Accel
    architecture: Architecture
    reason: str


def choose_driver(request: MachineRequest, facts: HostFacts) -> Choice:
    """Choose the driver, by what was proven to work: qemu/kvm, else uml, else qemu/tcg.

    Args:
        request: what the user asked for; "auto" leaves the choice to us.
        facts: what was found on the host; KVM counts only with ``kvm_works``, unless the user insists on it.

    Raises:
        UsageError: there is no such driver or accelerator, or the two do not go together.
        UnsupportedError: this host, or this version of Cove, cannot do it.
    """
    _check_names(request)
    guest = _guest_architecture(request, facts)
    if facts.system != "linux":
        raise UnsupportedError(
            f"Cove does not run on {facts.system} yet", hint="The drivers of this version need Linux."
        )
    if request.driver == "uml":
        return _uml(request, facts, guest)
    if request.accel == "kvm":
        return _forced_kvm(facts, guest)
    if request.accel == "tcg":
        return Choice(driver="qemu", accel="tcg", architecture=guest, reason="asked for")
    return _automatic(request, facts, guest)


def kvm_is_worth_trying(request: MachineRequest, facts: HostFacts) -> bool:
    """Whether the choice hangs on the verdict of a kernel that boots under KVM.

    Raises:
        UsageError: there is no such architecture.
    """
    open_choice = request.accel == "auto" and request.driver in ("auto", "qemu")
    return open_choice and facts.kvm == "openable" and _guest_architecture(request, facts) == facts.machine


def choose_memory_place(facts: HostFacts, memory: int, fallback: Path) -> Path:
    """The folder for the guest's memory: the first in memory with room for all of it, else ``fallback``.

    A tmpfs that is too small (64 MiB in many containers) would end the guest with SIGBUS in the middle of its
    work; a folder on a disk is only slower.
    """
    for place in facts.memory_places:
        if place.free >= memory:
            return Path(place.path)
    return fallback


def _check_names(request: MachineRequest) -> None:
    for kind, name, planned, known in (
        ("driver", request.driver, _PLANNED_DRIVERS, ("auto", "uml", "qemu")),
        ("accelerator", request.accel, _PLANNED_ACCELS, ("auto", "kvm", "tcg")),
    ):
        if name in planned:
            raise UnsupportedError(
                f"the {kind} {name} ({planned[name]}) is not made yet", hint=f"Use one of {', '.join(known)}."
            )
        if name not in known:
            raise UsageError(f"there is no {kind} {name!r}", hint=f"Use one of {', '.join(known)}.")


def _guest_architecture(request: MachineRequest, facts: HostFacts) -> Architecture:
    if request.arch != "auto":
        return architecture_named(request.arch)
    for architecture in ARCHITECTURES:
        if architecture == facts.machine:
            return architecture
    raise UnsupportedError(
        f"there is no guest for the architecture {facts.machine}",
        hint=f"Any host can emulate one: --arch {ARCHITECTURES[0]}.",
    )


def _uml(request: MachineRequest, facts: HostFacts, guest: Architecture) -> Choice:
    if request.accel != "auto":
        raise UsageError(
            f"the driver uml has no accelerator, so {request.accel} cannot be used with it",
            hint=f"Leave --accel out, or use --driver qemu --accel {request.accel}.",
        )
    if facts.machine != "x86_64":
        raise UnsupportedError(
            f"the driver uml runs on x86_64 hosts, and this one is {facts.machine}", hint="Use --driver qemu."
        )
    if guest != "x86_64":
        raise UnsupportedError(
            f"the driver uml has guests of x86_64, and {guest} was asked for", hint="Use --driver qemu."
        )
    return Choice(driver="uml", accel="none", architecture=guest, reason="asked for")


def _forced_kvm(facts: HostFacts, guest: Architecture) -> Choice:
    problem, hint = _kvm_problem(facts, guest)
    # asked for by name and never tried: the start's own deadlines will tell
    untried = facts.machine == guest and facts.kvm == "openable" and facts.kvm_works is None
    if problem and not untried:
        raise UnsupportedError(f"KVM cannot be used: {problem}", hint=hint)
    return Choice(driver="qemu", accel="kvm", architecture=guest, reason="asked for")


def _automatic(request: MachineRequest, facts: HostFacts, guest: Architecture) -> Choice:
    problem, _ = _kvm_problem(facts, guest)
    if not problem:
        reason = f"KVM works: {facts.kvm_reason}"
        return Choice(driver="qemu", accel="kvm", architecture=guest, reason=reason)
    against = _against_uml(request, facts, guest, problem)
    if against is None:
        return Choice(driver="uml", accel="none", architecture=guest, reason=f"no KVM ({problem})")
    return Choice(driver="qemu", accel="tcg", architecture=guest, reason=f"{against}: emulated")


def _against_uml(
    request: MachineRequest, facts: HostFacts, guest: Architecture, kvm_problem: str
) -> str | None:
    """Why ``auto`` takes emulation, where uml would be the quicker one."""
    if guest != facts.machine:
        return kvm_problem
    if request.driver == "qemu":
        return f"no KVM ({kvm_problem})"
    if guest != "x86_64":
        return f"no KVM ({kvm_problem}), and uml needs x86_64"
    if request.cpus is not None and request.cpus > 1:
        return f"no KVM ({kvm_problem}), and uml has one CPU where {request.cpus} were asked for"
    return None


def _kvm_problem(facts: HostFacts, guest: Architecture) -> tuple[str, str]:
    """What stands against KVM, and what to do about it; empty when it was proven to work."""
    if facts.machine != guest:
        return f"the guest is {guest} and the host {facts.machine}", "Use --accel tcg."
    if facts.kvm == "absent":
        return "there is no /dev/kvm", "Enable virtualization in the firmware, or leave --accel out."
    if facts.kvm == "forbidden":
        return "/dev/kvm may not be opened", "Have yourself added to the group kvm, or leave --accel out."
    if facts.kvm_works is None:
        return "it was not tried", "Leave --accel out."
    if not facts.kvm_works:
        return facts.kvm_reason or "no kernel boots in it", "Leave --accel out."
    return "", ""


def _read_place(data: object) -> MemoryPlace:
    versioned = {"version": FACTS_VERSION, **data} if isinstance(data, dict) else data
    fields = Fields(versioned, what="a place for memory", version=FACTS_VERSION)
    place = MemoryPlace(path=fields.take("path", str), free=fields.number("free", least=0))
    fields.done()
    return place
