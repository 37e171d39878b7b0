# SPDX-License-Identifier: Apache-2.0
"""HyperKit's command line, for Intel Macs of before Virtualization.framework: plain data, not a driver.

HyperKit has had no release since 2021 and nothing here has met one. Source: hyperkit(1) and LinuxKit's use of it;
gvproxy takes its frames by ``-listen-vpnkit``.
"""

from __future__ import annotations

from pathlib import Path

from cove.errors import UsageError
from cove.spec.machine import MachineSpec
from cove.units import MIB
from cove.vmm.base import BootFiles, Runtime


def hyperkit_arguments(spec: MachineSpec, boot: BootFiles, runtime: Runtime) -> list[str]:
    """HyperKit's arguments, without the program. The console is its stdout.

    Raises:
        UsageError: it cannot have such a machine, or a path cannot be said.
    """
    if spec.architecture != "x86_64":
        raise UsageError(f"HyperKit runs on Intel Macs alone, and the guest is {spec.architecture}")
    if spec.shares:
        raise UsageError("HyperKit shares no folders", hint="Use --mount-none.")
    words = (
        boot.cmdline, "console=ttyS0", "panic=-1", "cove.root=/dev/vda", "cove.data=/dev/vdb",
        "cove.settings=/dev/vdc", "cove.net=eth0", *runtime.words,
    )  # fmt: skip
    cmdline = " ".join(word for word in words if word)
    return [
        "-A", "-u",
        "-c", str(spec.cpus),
        "-m", f"{spec.memory // MIB}M",
        "-s", "0:0,hostbridge",
        "-s", "31,lpc",
        "-s", f"1:0,virtio-vpnkit,path={_path(runtime.net_socket)},mac={runtime.mac}",
        "-s", f"2:0,virtio-blk,{_path(boot.root)},ro",
        "-s", f"3:0,virtio-blk,{_path(boot.data)}",
        "-s", f"4:0,virtio-blk,{_path(boot.settings)},ro",
        "-s", "5,virtio-rnd",
        "-l", "com1,stdio",
        "-f", f"kexec,{_path(boot.kernel)},{_path(boot.initrd)},earlyprintk=serial {cmdline}",
    ]  # fmt: skip


def _path(path: Path) -> str:
    if "," in str(path) or "\n" in str(path):
        raise UsageError(f"{str(path)!r} holds a character that HyperKit's command line cannot carry")
    return str(path)
