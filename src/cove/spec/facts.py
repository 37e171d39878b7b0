# SPDX-License-Identifier: Apache-2.0
"""What a host can do, recorded as data.

Facts are gathered by ``cove.system.probe``. As they can be written to JSON, a choice made on any host can be
repeated in a test.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cove.spec.reading import Fields

FACTS_VERSION = 1
"""Version of the recorded form of :class:`HostFacts`."""

KvmDevice = Literal["absent", "forbidden", "openable"]
System = Literal["linux", "darwin"]


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
class HostTool:
    """A program that a Mac has, from Homebrew or elsewhere.

    Args:
        name: the program.
        path: its file.
        says: what it printed when it was asked for its version; "" if nothing, or if it does not run.
        signed: whether its signature is whole.
        entitlements: what the signature allows it.
    """

    name: str
    path: str
    says: str = ""
    signed: bool = False
    entitlements: tuple[str, ...] = ()


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
        cpu: the processor's name, for people.
        os_version: of macOS ("14.5"); "" on Linux.
        hv_support: whether macOS says that its processor has a hypervisor (sysctl kern.hv_support).
        tools: the programs of a Mac that machines need.
        cpu_flags: of those that say what the processor can virtualize: vmx, svm, and hypervisor for a host that is
            a virtual machine itself (Linux).
        kvm_group: the group that may open /dev/kvm; "" if there is none.
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
    cpu: str = ""
    os_version: str = ""
    hv_support: bool = False
    tools: tuple[HostTool, ...] = ()
    cpu_flags: tuple[str, ...] = ()
    kvm_group: str = ""

    def tool(self, name: str) -> HostTool | None:
        """A program of this Mac, or None if it has none of this name."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        places = [asdict(place) for place in self.memory_places]
        tools = [{**asdict(tool), "entitlements": list(tool.entitlements)} for tool in self.tools]
        return {
            "version": FACTS_VERSION,
            **asdict(self),
            "memory_places": places,
            "tools": tools,
            "cpu_flags": list(self.cpu_flags),
        }

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
            cpu=fields.take("cpu", str, default=""),
            os_version=fields.take("os_version", str, default=""),
            hv_support=fields.take("hv_support", bool, default=False),
            tools=tuple(map(_read_tool, fields.take("tools", list, default=[]))),
            cpu_flags=tuple(str(one) for one in fields.take("cpu_flags", list, default=[])),
            kvm_group=fields.take("kvm_group", str, default=""),
        )
        fields.done()
        return facts


def choose_memory_place(facts: HostFacts, memory: int, fallback: Path) -> Path:
    """The folder for the guest's memory: the first in memory with room for all of it, else ``fallback``.

    A tmpfs that is too small (64 MiB in many containers) would end the guest with SIGBUS in the middle of its
    work; a folder on a disk is only slower.
    """
    for place in facts.memory_places:
        if place.free >= memory:
            return Path(place.path)
    return fallback


def _read_place(data: object) -> MemoryPlace:
    versioned = {"version": FACTS_VERSION, **data} if isinstance(data, dict) else data
    fields = Fields(versioned, what="a place for memory", version=FACTS_VERSION)
    place = MemoryPlace(path=fields.take("path", str), free=fields.number("free", least=0))
    fields.done()
    return place


def _read_tool(data: object) -> HostTool:
    versioned = {"version": FACTS_VERSION, **data} if isinstance(data, dict) else data
    fields = Fields(versioned, what="a program of a host", version=FACTS_VERSION)
    tool = HostTool(
        name=fields.take("name", str),
        path=fields.take("path", str),
        says=fields.take("says", str, default=""),
        signed=fields.take("signed", bool, default=False),
        entitlements=tuple(str(one) for one in fields.take("entitlements", list, default=[])),
    )
    fields.done()
    return tool
