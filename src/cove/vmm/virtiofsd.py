# SPDX-License-Identifier: Apache-2.0
"""virtiofsd: serves one of the host's folders to a guest, as the user who started it. One process per share.

Both drivers use it. The VMM itself sees nothing of the folder: it and the daemon share the guest's memory, and the
daemon is confined to the folder.
"""

from __future__ import annotations

import os
import resource
import socket
from contextlib import suppress
from pathlib import Path

from cove.spec.machine import Driver
from cove.spec.shares import Share
from cove.system.children import Child, spawn
from cove.system.confine import Confinement
from cove.system.files import private_folder
from cove.system.process import Command, Identity
from cove.vmm.vhost import VhostBridge

PROGRAM = "virtiofsd"

_ALL_IDS = 0xFFFF_FFFF
_STOP_DEADLINE = 2.0
_MOST_FILES = 1_000_000


def virtiofsd_command(
    tool: Command,
    *,
    listener: int,
    share: Share,
    tag: str,
    uid: int,
    gid: int,
    files: int,
    strict: bool = False,
) -> Command:
    """The whole command line. Pure. Options are those of virtiofsd 1.13.

    Args:
        tool: the program.
        listener: descriptor of its listening socket.
        share: the folder.
        tag: its name for the guest.
        uid: who it runs as; 0 leaves owners as the guest wants them.
        gid: its group.
        files: descriptors it may have; it keeps one for every file that the guest knows.
        strict: a suspended guest is refused if one of its files is not there any more; otherwise it gets errors
            from that file alone.
    """
    # an ordinary user can give files to nobody: whoever makes or is given a file in the guest, it is the user's
    squash = [
        f"--translate-{kind}=squash-guest:0:{number}:{_ALL_IDS}"
        for kind, number in (("uid", uid), ("gid", gid))
        if uid != 0
    ]
    return tool.with_args(
        f"--fd={listener}",
        f"--shared-dir={share.path}",
        f"--tag={tag}",
        # its own sandboxes need root or a range of ids; ours is put around it before it starts
        "--sandbox=none",
        # what a file holds is asked for anew whenever it is opened, and after a second also while it is
        "--cache=auto",
        "--log-level=warn",
        f"--rlimit-nofile={files}",
        f"--migration-on-error={'abort' if strict else 'guest-error'}",
        *squash,
        *([] if share.writable else ["--readonly"]),
    )


class ShareDaemon:
    """The daemon of one share, and what stands between it and User-Mode Linux.

    Args:
        tool: virtiofsd.
        driver: who connects.
        share: the folder.
        tag: its name for the guest.
        socket_path: where the VMM is to connect; its folder is made, private.
        log: what the daemon prints.
        confinement: the files it may use.
        host_cpu: the one processor that it may use: the VMM's own, if that is bound to one. Each file operation is a
            hand-over between the two, which costs several times as much from one processor to another.
        strict: see :func:`virtiofsd_command`.
    """

    def __init__(
        self,
        tool: Command,
        *,
        driver: Driver,
        share: Share,
        tag: str,
        socket_path: Path,
        log: Path,
        confinement: Confinement | None,
        host_cpu: int | None = None,
        strict: bool = False,
    ) -> None:
        self._tool = tool
        self._share = share
        self.tag = tag
        self.socket_path = socket_path
        self._log = log
        self._confinement = confinement
        self._host_cpu = host_cpu
        self._strict = strict
        self._listens_at = socket_path if driver == "qemu" else socket_path.with_suffix(".back")
        self._bridge = VhostBridge(socket_path, self._listens_at) if driver == "uml" else None
        self._child: Child | None = None

    @property
    def identity(self) -> Identity | None:
        """Its process, once it was started."""
        return self._child.identity if self._child else None

    async def start(self) -> None:
        """Start it; the VMM can connect at once.

        Raises:
            ToolError: it cannot be started on this host.
        """
        private_folder(self.socket_path.parent)
        self._listens_at.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._listens_at))
            self._listens_at.chmod(0o600)
            listener.listen(1)
            command = virtiofsd_command(
                self._tool,
                listener=listener.fileno(),
                share=self._share,
                tag=self.tag,
                uid=os.geteuid(),
                gid=os.getegid(),
                files=most_files(),
                strict=self._strict,
            )
            self._child = await spawn(
                command,
                name=PROGRAM,
                log=self._log,
                pass_fds=[listener.fileno()],
                host_cpu=self._host_cpu,
                confinement=self._confinement,
            )
        if self._bridge is not None:
            self._bridge.start()

    def seal(self) -> None:
        """The VMM is connected: refuse it what its confinement names as sealed. Not started is fine."""
        if self._child is not None:
            self._child.seal()

    async def wait(self) -> str:
        """Wait for its end; returns what it said last. It ends by itself when the VMM does."""
        if self._child is None:
            return "it was not started"
        await self._child.wait()
        with suppress(OSError):
            said = self._log.read_text(errors="replace").strip().splitlines()
            return said[-1] if said else "it said nothing"
        return "it said nothing"

    async def stop(self) -> None:
        """End it and remove its sockets; not running is fine."""
        if self._bridge is not None:
            self._bridge.stop()
        if self._child is not None:
            await self._child.stop(_STOP_DEADLINE)
        self._listens_at.unlink(missing_ok=True)


def most_files() -> int:
    """How many descriptors a daemon may have on this host."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
