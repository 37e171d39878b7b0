# SPDX-License-Identifier: Apache-2.0
"""What this host can do, found by looking and, for KVM, by trying.

A ``/dev/kvm`` that opens and creates a VM may still hang for ever with any ordinary kernel. So KVM counts
only when a real kernel booted under it within a few seconds; the verdict is remembered.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cove.errors import CommandError, DeadlineError, UnsupportedError
from cove.spec.facts import HostFacts, KvmDevice, MemoryPlace, System
from cove.spec.machine import Architecture
from cove.system.files import read_json, write_json
from cove.system.mounts import mount_of, read_mounts
from cove.system.process import Command, run
from cove.system.processor import host_machine
from cove.system.tiny_guest import MARKER, tiny_initramfs

if TYPE_CHECKING:
    from cove.system.mac_host import MacFacts

KVM_DEVICE = Path("/dev/kvm")

KVM_DEADLINE = 5.0
"""Seconds for the kernel to boot under KVM; it takes less than one where KVM works."""

REFUSAL_LIFETIME = 24 * 3600
"""Seconds that "does not work" is believed: a host that was only busy gets another try."""

_PROBE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether something works, and for people why."""

    works: bool
    reason: str


def host_facts(env: Mapping[str, str], verdict: Verdict | None = None) -> HostFacts:
    """What can be seen of this host without starting anything.

    Args:
        env: the environment, for XDG_RUNTIME_DIR.
        verdict: of the KVM probe, if it was made.

    Raises:
        UnsupportedError: neither Linux nor macOS.
    """
    system: System
    mac: MacFacts | None = None
    match sys.platform:
        case "linux":
            system = "linux"
        case "darwin":
            from cove.system.mac_host import mac_facts

            system, mac = "darwin", mac_facts(env)
        case other:
            raise UnsupportedError(f"Cove does not run on {other}", hint="It needs Linux or macOS.")
    return HostFacts(
        system=system,
        machine=host_machine(),
        release=platform.release(),
        cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory=_memory(),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        kvm=kvm_device(),
        kvm_works=verdict.works if verdict else None,
        kvm_reason=verdict.reason if verdict else "",
        memory_places=memory_places(_read("/proc/self/mounts"), _candidates(env)),
        cpu=mac.cpu if mac else _cpu_name(_read("/proc/cpuinfo")),
        os_version=mac.os_version if mac else "",
        hv_support=mac.hv_support if mac else False,
        tools=mac.tools if mac else (),
        cpu_flags=_cpu_flags(_read("/proc/cpuinfo")),
        kvm_group=_group_of(KVM_DEVICE),
    )


def kvm_device(path: Path = KVM_DEVICE) -> KvmDevice:
    """Whether KVM's device exists and may be opened, which does not yet mean that it works."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError:
        return "forbidden"
    except OSError:  # absent, or the module behind it is
        return "absent"
    return "openable"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The machine in which a kernel is to boot.

    Args:
        qemu: QEMU's program.
        kernel: the kernel, as QEMU loads it.
        architecture: of the kernel.
        machine: the value of ``-machine``.
        console: the kernel's name of its first serial port.
        restart: the kernel's word for the restart that needs least of the machine.
        accel: the words that choose accelerator and processor.
        firmware: folders with QEMU's firmware.
    """

    qemu: Command
    kernel: Path
    architecture: Architecture
    machine: str
    console: str
    restart: str
    accel: tuple[str, ...]
    firmware: tuple[Path, ...] = ()


def boots(bed: Trial, *, deadline: float = KVM_DEADLINE) -> Verdict:
    """Boot the kernel until its first program runs. QEMU has ended when this returns.

    Args:
        bed: where and with what accelerator.
        deadline: seconds that it may take.

    Raises:
        ToolError: QEMU cannot be started at all, which says nothing about the accelerator.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cove-probe-") as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(tiny_initramfs(bed.architecture))
        command = bed.qemu.with_args(*_probe_args(bed, initrd))
        try:
            output = run(command, doing="trying KVM", deadline=deadline).stdout
        except DeadlineError:
            return Verdict(works=False, reason=f"a kernel did not boot in it within {deadline:g} s")
        except CommandError as error:
            last = (error.output.strip().splitlines() or ["no message"])[-1]
            return Verdict(works=False, reason=f"QEMU failed: {last}")
    if MARKER.encode() not in output:
        return Verdict(works=False, reason="QEMU ended before the kernel had booted")
    return Verdict(works=True, reason=f"a kernel booted in {time.monotonic() - begun:.1f} s")


def kvm_verdict(bed: Trial, cache: Path) -> Verdict:
    """:func:`boots` under KVM, remembered in ``cache`` (JSON) for this host's kernel, KVM device, QEMU and kernel.

    Only a device that can be opened is tried. "It does not work" is believed for a day, "it works" until
    something changes.
    """
    match kvm_device():
        case "absent":
            return Verdict(works=False, reason="there is no /dev/kvm")
        case "forbidden":
            return Verdict(works=False, reason="/dev/kvm may not be opened")
        case "openable":
            pass
    key = probe_key(bed.qemu, bed.kernel)
    if known := recall(cache, key, time.time()):
        return known
    verdict = boots(bed)
    remember(cache, key, verdict, time.time())
    return verdict


def probe_key(qemu: Command, kernel: Path, device: Path = KVM_DEVICE) -> str:
    """What a verdict depends on: the host's kernel, the device, QEMU's files and the kernel (size, time)."""
    files = [*(Path(word) for word in qemu.argv if word.startswith("/")), kernel]
    stamps = [f"{path}:{info.st_size}:{info.st_mtime_ns}" for path in files if (info := _stat(path))]
    info = _stat(device)
    return " ".join([str(_PROBE_VERSION), platform.release(), str(info.st_rdev if info else 0), *stamps])


def recall(cache: Path, key: str, now: float) -> Verdict | None:
    """The verdict in ``cache`` if it is about ``key`` and still believed; damaged files count as none."""
    data = read_json(cache)
    found = data.get("kvm") if isinstance(data, dict) else None
    match found:
        case {"key": str(other), "works": bool(works), "reason": str(reason), "when": float(when)} if (
            other == key
        ):
            # a clock that was set back makes the verdict look younger than now: that is no reason to keep it
            if works or 0 <= now - when < REFUSAL_LIFETIME:
                return Verdict(works=works, reason=reason)
    return None


def last_verdict(cache: Path) -> Verdict | None:
    """What came of the last try on this host's kernel, whatever QEMU was used; None if none is remembered."""
    data = read_json(cache)
    found = data.get("kvm") if isinstance(data, dict) else None
    match found:
        case {"key": str(key), "works": bool(works), "reason": str(reason)} if key.split(" ")[:2] == [
            str(_PROBE_VERSION),
            platform.release(),
        ]:
            return Verdict(works=works, reason=reason)
    return None


def remember(cache: Path, key: str, verdict: Verdict, now: float) -> None:
    """Record the verdict about ``key``, in place of the one before."""
    data = read_json(cache)
    entry = {"key": key, "works": verdict.works, "reason": verdict.reason, "when": float(now)}
    write_json(cache, {**(data if isinstance(data, dict) else {}), "kvm": entry})


def memory_places(mounts: str, candidates: Iterable[Path]) -> tuple[MemoryPlace, ...]:
    """Those of the folders that are in memory, writable for us, and where files may be executed.

    Args:
        mounts: the text of /proc/self/mounts (see proc(5)).
        candidates: folders, best first.
    """
    return tuple(
        MemoryPlace(path=str(path), free=space.f_bavail * space.f_frsize)
        for path in candidates
        if path.is_dir() and os.access(path, os.W_OK | os.X_OK) and _executable_tmpfs(mounts, path)
        for space in [os.statvfs(path)]
    )


def _probe_args(bed: Trial, initrd: Path) -> list[str]:
    folders = [word for folder in bed.firmware for word in ("-L", str(folder))]
    return [
        *folders,
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", bed.machine, *bed.accel, "-m", "128"),
        *("-kernel", str(bed.kernel), "-initrd", str(initrd)),
        # -no-reboot makes the restart the end
        *("-append", f"console={bed.console} quiet panic=-1 {bed.restart}".rstrip()),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
    ]


def _cpu_name(cpuinfo: str) -> str:
    """The processor's name in the text of /proc/cpuinfo; arm64 has only numbers there."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return ""


def _cpu_flags(cpuinfo: str) -> tuple[str, ...]:
    """Those of :attr:`cove.spec.facts.HostFacts.cpu_flags` in the text of /proc/cpuinfo (x86)."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return tuple(sorted({"vmx", "svm", "hypervisor"} & set(value.split())))
    return ()


def _group_of(device: Path) -> str:
    """The group that may read and write a device."""
    info = _stat(device)
    if info is None or info.st_mode & 0o060 != 0o060:
        return ""
    import grp

    try:
        return grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        return str(info.st_gid)


def _memory() -> int:
    """Bytes of memory this process may use: the host's, or less where a cgroup says so."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [
        int(text)
        for path in _limit_files(_read("/proc/self/cgroup"))
        if (text := _read(path).strip()).isdigit()
    ]
    return min([total, *limits])


def _limit_files(cgroups: str) -> list[str]:
    """The files that may hold a memory limit, from /proc/self/cgroup (cgroups(7)): ours and all above."""
    files: list[str] = []
    for line in cgroups.splitlines():
        _, controllers, own = line.split(":", 2)
        if controllers == "":
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = Path(own.lstrip("/"))
        files += [f"{root}/{folder}/{name}" for folder in (inner, *inner.parents)]
    return files


def _candidates(env: Mapping[str, str]) -> list[Path]:
    runtime = env.get("XDG_RUNTIME_DIR")
    return [Path("/dev/shm"), *([Path(runtime)] if runtime else []), Path("/tmp")]  # noqa: S108


def _executable_tmpfs(mounts: str, path: Path) -> bool:
    mount = mount_of(read_mounts(mounts), path)
    return mount is not None and mount.kind == "tmpfs" and not {"noexec", "ro"} & mount.options


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
