# SPDX-License-Identifier: Apache-2.0
"""What a supervisor is to do, as plain data: made by whoever starts a machine, carried out by the supervisor.

So the supervisor needs neither archive nor toolbox, and what it was told can be read afterwards (launch.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cove.host.names.files import RESOLV_CONF
from cove.spec.machine import MachineSpec
from cove.system.process import Command, Identity
from cove.vmm.base import BootFiles


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """One start of one machine.

    Args:
        spec: the machine.
        boot: what it boots from.
        tools: the programs that the driver and the network need, by name.
        firmware: folders with QEMU's firmware.
        memory_dir: where the file lies that is the guest's memory.
        host_cpu: the host's processor to bind the VMM to, if the driver gains from it.
        hidden: folders in shares that the guest must not see: their path there, and the real one on the host.
        resolv_conf: the file that says where this host asks for names.
        resume: whether the machine's saved guest is to go on, instead of a new one being booted.
        private: whether that guest shares its memory with others: what it writes is its own.
        cloned: whether the guest began as another machine's, whose engine draws the same numbers as this one's.
        owner: the process with which it goes, if it is to be thrown away.
    """

    spec: MachineSpec
    boot: BootFiles
    tools: Mapping[str, Command]
    firmware: tuple[Path, ...]
    memory_dir: Path
    host_cpu: int | None
    hidden: Mapping[str, Path] = field(default_factory=dict)
    resolv_conf: Path = RESOLV_CONF
    resume: bool = False
    private: bool = False
    cloned: bool = False
    owner: Identity | None = None

    def to_dict(self) -> dict[str, object]:
        """The recorded form."""
        return {
            "version": 1,
            "spec": self.spec.to_dict(),
            "boot": {
                "kernel": str(self.boot.kernel),
                "initrd": str(self.boot.initrd),
                "root": str(self.boot.root),
                "data": str(self.boot.data),
                "settings": str(self.boot.settings),
                "cmdline": self.boot.cmdline,
                "layers": [str(path) for path in self.boot.layers],
            },
            "tools": {
                name: {"argv": list(tool.argv), "env": dict(tool.env)} for name, tool in self.tools.items()
            },
            "firmware": [str(path) for path in self.firmware],
            "memory_dir": str(self.memory_dir),
            "host_cpu": self.host_cpu,
            "hidden": {path: str(real) for path, real in self.hidden.items()},
            "resolv_conf": str(self.resolv_conf),
            "resume": self.resume,
            "private": self.private,
            "cloned": self.cloned,
            "owner": [self.owner.pid, self.owner.started] if self.owner else None,
        }

    @classmethod
    def from_dict(cls, data: Any) -> LaunchPlan:
        """Read the recorded form; only ever made by :meth:`to_dict` of the same version."""
        boot = data["boot"]
        return cls(
            spec=MachineSpec.from_dict(data["spec"]),
            boot=BootFiles(
                kernel=Path(boot["kernel"]),
                initrd=Path(boot["initrd"]),
                root=Path(boot["root"]),
                data=Path(boot["data"]),
                settings=Path(boot["settings"]),
                cmdline=boot["cmdline"],
                layers=tuple(Path(path) for path in boot.get("layers", ())),
            ),
            tools={name: Command(tuple(tool["argv"]), tool["env"]) for name, tool in data["tools"].items()},
            firmware=tuple(Path(path) for path in data["firmware"]),
            memory_dir=Path(data["memory_dir"]),
            host_cpu=data["host_cpu"],
            hidden={path: Path(real) for path, real in data.get("hidden", {}).items()},
            resolv_conf=Path(data.get("resolv_conf", RESOLV_CONF)),
            resume=bool(data.get("resume", False)),
            private=bool(data.get("private", False)),
            cloned=bool(data.get("cloned", False)),
            owner=Identity(*data["owner"]) if data.get("owner") else None,
        )
