# SPDX-License-Identifier: Apache-2.0
"""A small guest that is nobody's: Debian's kernel and an initramfs of busybox that speaks on its console."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cove.debian.archive import Archive
from cove.image import busybox
from cove.image.initrd import Node, cpio, guest_nodes
from cove.image.kernel import needed_modules, read_modules, take_kernel
from cove.image.spool import unpack_all
from tests.integration.world import Home

HELLO = "hello from the guest"

# says what it found, gets an address, serves a page, then does what its console or its command line says
INIT = b"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "$module" 2>/dev/null; done < /modules.list
read -r words < /proc/cmdline
echo "cmdline: $words"
echo "cpus: $(grep -c ^processor /proc/cpuinfo) memory: $(awk '/MemTotal/ {print $2}' /proc/meminfo)"
[ -d /sys/firmware/efi ] && echo "booted by UEFI"
tries=0
until ls /sys/class/net/ | grep -qE '^(eth|vec)' || [ $tries -ge 40 ]; do usleep 50000; tries=$((tries + 1)); done
device=$(ls /sys/class/net | grep -E '^(eth|vec)' | head -n1)
for disk in /sys/block/vd* /sys/block/ubd* /sys/block/sr*; do
    [ -e "$disk" ] && echo "disk: ${disk##*/} $(cat $disk/size)"
done
if [ -n "$device" ]; then
    ip link set lo up; ip link set "$device" up
    printf '#!/bin/sh\\n[ "$1" = bound ] && ip addr add $ip/$mask dev $interface && echo "address: $ip"\\n' > /lease
    chmod +x /lease
    udhcpc -i "$device" -n -q -s /lease 2>&1 | grep address
    mkdir -p /www; echo "a page of the guest" > /www/index.html
    httpd -p 80 -h /www
fi
echo "hello from the guest"
case $words in
    *then=poweroff*) poweroff -f ;;
    *then=panic*) exit 1 ;;
esac
while read -r line; do
    case $line in
        poweroff) poweroff -f ;;
        reboot) reboot -f ;;
        panic) exit 1 ;;
        do*) eval "${line#do }"; echo "done: $?" ;;
        *) echo "you said: $line" ;;
    esac
done
sleep 1000000
"""

MODULES = ("virtio_net", "virtio_blk", "virtio_rng", "sr_mod", "ahci", "isofs", "squashfs", "erofs", "loop")


@dataclass(frozen=True)
class GuestFiles:
    """The files of the guest.

    Args:
        kernel: Debian's kernel.
        initrd: its initramfs.
        nodes: what is in that.
    """

    kernel: Path
    initrd: Path
    nodes: tuple[Node, ...]


class GuestMaker:
    """Makes the guest once, from the archive that ``home`` uses."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @cached_property
    def folder(self) -> Path:
        """Where the files lie."""
        return Path(tempfile.mkdtemp(prefix="cove-guest-"))

    @cached_property
    def pc(self) -> GuestFiles:
        """For QEMU."""
        return self.make("linux-image-cloud-amd64", "pc", MODULES)

    @cached_property
    def uml(self) -> GuestFiles:
        """For User-Mode Linux."""
        return self.make("user-mode-linux", "uml", ("squashfs", "erofs"))

    def make(self, package: str, name: str, modules: tuple[str, ...], init: bytes = INIT) -> GuestFiles:
        """Make kernel and initramfs of a kernel package."""
        archive = self.archive()
        lock = archive.resolve((package, busybox.PACKAGE))
        debs = archive.fetch(lock)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            unpacked = unpack_all({one.name: debs[one.name] for one in lock.packages}, Path(scratch))
            parts = take_kernel(package, [(one, unpacked[one.name]) for one in lock.packages])
            known = read_modules(parts.release, parts.modules)
            program = next(one for one in unpacked[busybox.PACKAGE] if one.path == busybox.PATH)
            nodes = list(
                guest_nodes(
                    init=init,
                    busybox=program.read(),
                    modules=needed_modules(parts.release, known, parts.modules, modules),
                )
            )
            made = GuestFiles(
                self.folder / f"{name}-kernel", self.folder / f"{name}-initrd.img", tuple(nodes)
            )
            with made.initrd.open("wb") as out:
                out.writelines(cpio(nodes))
            made.kernel.write_bytes(parts.binary.read())
        (self.folder / f"{name}-cmdline").write_text("quiet")
        return made

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder)

    def archive(self) -> Archive:
        """The archive that the home uses."""
        from cove.events import silent
        from cove.sdk import Client

        workshop = Client(self._home.root, report=silent).workshop()
        workshop.home = type(workshop.home)(self._home.root, self._home.cache or self._home.root / "cache")
        return workshop.archive("x86_64")
