# SPDX-License-Identifier: Apache-2.0
"""The choice of a driver from a wish and a host's facts, by what was proven to work. Pure.

Linux: qemu/kvm, else uml, else qemu/tcg. macOS: vz, else qemu/hvf, else qemu/tcg.
"""

from __future__ import annotations

from dataclasses import dataclass

from cove.errors import ToolError, UnsupportedError, UsageError
from cove.spec import mac
from cove.spec.facts import HostFacts
from cove.spec.machine import ARCHITECTURES, Accel, Architecture, Driver, MachineRequest, architecture_named

_DRIVERS = ("auto", "vz", "uml", "qemu")
_PREDECESSORS = ("virtualbox", "hyperkit")
_ACCELS = ("auto", "hvf", "kvm", "tcg")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A driver, its accelerator, the architecture of the guest, and for people why these."""

    driver: Driver
    accel: Accel
    architecture: Architecture
    reason: str


def choose_driver(request: MachineRequest, facts: HostFacts) -> Choice:
    """Choose the driver.

    Args:
        request: what the user asked for; "auto" leaves the choice to us.
        facts: what was found on the host; KVM counts only with ``kvm_works``, unless the user insists on it.

    Raises:
        UsageError: there is no such driver or accelerator, or the two do not go together.
        UnsupportedError: this host cannot do it.
        ToolError: it could, but a program is missing, or is known not to work; the hint says how to mend that.
    """
    _check_names(request)
    guest = _guest_architecture(request, facts)
    if request.driver in ("uml", "vz") and request.accel != "auto":
        raise UsageError(
            f"the driver {request.driver} has no accelerator, so {request.accel} cannot be used with it",
            hint=f"Leave --accel out, or use --driver qemu --accel {request.accel}.",
        )
    if facts.system == "darwin":
        return _on_mac(request, facts, guest)
    if request.driver == "vz" or request.accel == "hvf":
        wish = request.driver if request.driver == "vz" else request.accel
        raise UnsupportedError(
            f"{wish} is a part of macOS, and this host runs Linux", hint="Use --driver auto."
        )
    if request.driver == "uml":
        return _uml(facts, guest)
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


def _check_names(request: MachineRequest) -> None:
    for kind, name, known in (
        ("driver", request.driver, _DRIVERS),
        ("accelerator", request.accel, _ACCELS),
    ):
        if name in _PREDECESSORS:
            raise UnsupportedError(
                f"{name} is no driver of Cove: what it replaces it by runs here",
                hint="Leave --driver out, or use one of vz, uml, qemu.",
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


def _on_mac(request: MachineRequest, facts: HostFacts, guest: Architecture) -> Choice:
    if request.driver == "uml" or request.accel == "kvm":
        wish = request.driver if request.driver == "uml" else request.accel
        raise UnsupportedError(
            f"{wish} is a part of Linux, and this host runs macOS", hint="Use --driver auto."
        )
    if request.driver == "vz":
        return _unless(mac.against_vz(facts, guest), "vz", "none", guest)
    if request.accel == "hvf":
        return _unless(mac.against_hvf(facts, guest), "qemu", "hvf", guest)
    if request.accel == "tcg":
        return _unless(mac.against_qemu(facts, guest), "qemu", "tcg", guest)
    return _automatic_on_mac(request, facts, guest)


def _automatic_on_mac(request: MachineRequest, facts: HostFacts, guest: Architecture) -> Choice:
    against_vz = mac.against_vz(facts, guest) if request.driver == "auto" else None
    if request.driver == "auto" and against_vz is None:
        return Choice(driver="vz", accel="none", architecture=guest, reason="Virtualization.framework works")
    against_hvf = mac.against_hvf(facts, guest)
    if against_hvf is None:
        why = f"no vz ({against_vz.message})" if against_vz else "Hypervisor.framework works"
        return Choice(driver="qemu", accel="hvf", architecture=guest, reason=why)
    ways = {"vz": against_vz, "qemu/hvf": against_hvf}
    mends = [one for one in ways.values() if one is not None and one.mendable]
    if not mends:
        # a Mac that can do nothing else, or a guest of another architecture. Where a program is all that is
        # missing, it is better installed than done without
        against_tcg = mac.against_qemu(facts, guest)
        if against_tcg is None:
            reason = f"{against_hvf.message}: emulated"
            return Choice(driver="qemu", accel="tcg", architecture=guest, reason=reason)
        ways["qemu/tcg"], mends = against_tcg, [against_tcg]
    told = [f"{name}: {one.message}" for name, one in ways.items() if one is not None]
    raise ToolError("this Mac cannot run a machine yet", details="\n".join(told), hint=mends[0].hint)


def _unless(against: mac.Against | None, driver: Driver, accel: Accel, guest: Architecture) -> Choice:
    if against is None:
        return Choice(driver=driver, accel=accel, architecture=guest, reason="asked for")
    name = driver if accel == "none" else f"{driver}/{accel}"
    message = f"{name} cannot be used: {against.message}"
    if against.mendable:
        raise ToolError(message, hint=against.hint)
    raise UnsupportedError(message, hint=against.hint)


def _uml(facts: HostFacts, guest: Architecture) -> Choice:
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
