# SPDX-License-Identifier: Apache-2.0
"""The file register: where every file that Cove owns lies. Pure: nothing is created or read here.

Everything lies below ``COVE_HOME`` (default ``~/.cove``); deleting that folder is a full uninstall. Paths are
short because a unix socket's path ends at 104 bytes on macOS and 108 on Linux.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cove.errors import UsageError

SOCKET_PATH_LIMIT = 103
"""Bytes a unix socket's path may have: ``sun_path`` is 104 on macOS, 108 on Linux, with the final NUL."""

VFKIT_SOCKET = "vfkit-ffffffff-ffff.sock"
"""The longest name that vfkit gives its own end, beside the socket that it is led to (pkg/vf/virtionet.go)."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_SEPARATORS = re.compile(r"[:;\n]")
"""The dynamic loader takes its library path, as shells take PATH, as a list that these separate."""


def check_machine_name(name: str) -> str:
    """Return ``name`` if it can name a machine.

    Raises:
        UsageError: it is not a lower-case letter followed by up to 29 letters, digits or dashes.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a machine",
            hint="A name begins with a lower-case letter; up to 29 letters, digits and dashes follow.",
        )
    return name


@dataclass(frozen=True)
class MachinePaths:
    """Every file of one machine."""

    root: Path

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """What the user asked for, and the image it was made with (JSON)."""
        return self.root / "machine.json"

    @property
    def state(self) -> Path:
        """What the supervisor last said: state, reason, pids with their start times (JSON)."""
        return self.root / "state.json"

    @property
    def launch(self) -> Path:
        """What the supervisor of the last start was told to do (JSON)."""
        return self.root / "launch.json"

    @property
    def start_lock(self) -> Path:
        """Held by the one process that starts the machine, until it runs or failed."""
        return self.root / "start.lock"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives, and by whoever creates or deletes."""
        return self.root / "lock"

    @property
    def data_disk(self) -> Path:
        """The sparse ext4 disk; the one file here that cannot be made again."""
        return self.root / "data.img"

    @property
    def image_link(self) -> Path:
        """Leads to the folder of the guest's image, for drivers that cannot name every path."""
        return self.root / "image"

    @property
    def settings(self) -> Path:
        """The engine's settings that come from the host, as the guest reads them at its start; holds secrets."""
        return self.root / "settings.img"

    @property
    def saved(self) -> Path:
        """Folder of the suspended guest: memory, devices, and what they fit to; absent unless it is whole."""
        return self.root / "saved"

    @property
    def snapshots(self) -> Path:
        """One folder per snapshot, each with the names of a machine's own files."""
        return self.root / "snapshots"

    @property
    def restoring(self) -> Path:
        """What a snapshot that is being restored is made ready in."""
        return self.root / ".restoring"

    @property
    def restored(self) -> Path:
        """What the machine is to be from now on; absent but for the moment in which it is moved to its places."""
        return self.root / "restored"

    @property
    def saved_record(self) -> Path:
        """What is recorded of the suspended guest (JSON); whether it is there says whether there is one."""
        return self.saved / "saved.json"

    @property
    def docker_socket(self) -> Path:
        """The engine's API, for the user's own clients."""
        return self.root / "docker.sock"

    @property
    def net_dir(self) -> Path:
        """Folder of gvproxy; it may write nowhere else, so nothing of worth may lie here."""
        return self.root / "net"

    @property
    def vm_dir(self) -> Path:
        """The VMM's folder; beside the data disk and the guest's memory it may write nowhere else."""
        return self.root / "vm"

    @property
    def share_dir(self) -> Path:
        """Sockets between the VMM and the share daemons."""
        return self.root / "fs"

    @property
    def share_log(self) -> Path:
        """What the share daemons printed, of the last start."""
        return self.root / "shares.log"

    @property
    def relay_socket(self) -> Path:
        """What the supervisor relays the engine's API through; the guest agent is behind it."""
        return self.net_dir / "relay.sock"

    @property
    def agent_socket(self) -> Path:
        """The guest agent's control connection."""
        return self.net_dir / "agent.sock"

    @property
    def supervisor_socket(self) -> Path:
        """The supervisor's HTTP API."""
        return self.root / "cove.sock"

    @property
    def network_socket(self) -> Path:
        """Gvproxy's ethernet frames, towards the VMM."""
        return self.net_dir / "frames.sock"

    @property
    def gvproxy_socket(self) -> Path:
        """Gvproxy's own HTTP API."""
        return self.net_dir / "api.sock"

    @property
    def qmp_socket(self) -> Path:
        """QEMU's monitor."""
        return self.vm_dir / "qmp.sock"

    @property
    def events_socket(self) -> Path:
        """QEMU's second monitor, which tells of what happens."""
        return self.vm_dir / "ev.sock"

    @property
    def uml_dir(self) -> Path:
        """User-Mode Linux's folder: its pid and its management console."""
        return self.vm_dir / "u"

    @property
    def autostart_log(self) -> Path:
        """What a start at login said (macOS; systemd has its journal)."""
        return self.root / "autostart.log"

    @property
    def console_log(self) -> Path:
        """The guest's console, whole, of the last start."""
        return self.root / "console.log"

    @property
    def boot(self) -> Path:
        """When the last start reached which stage (JSON)."""
        return self.root / "boot.json"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor did, of the last start."""
        return self.root / "supervisor.log"

    @property
    def gvproxy_log(self) -> Path:
        """What gvproxy printed, of the last start."""
        return self.root / "gvproxy.log"

    @property
    def sockets(self) -> tuple[Path, ...]:
        """Every socket; those left by a dead run are removed before the next start."""
        return (
            self.docker_socket,
            self.relay_socket,
            self.agent_socket,
            self.supervisor_socket,
            self.network_socket,
            self.gvproxy_socket,
            self.qmp_socket,
            self.events_socket,
        )

    def longest_socket(self, *, mac: bool = False) -> Path:
        """The deepest of all sockets: uml's console on Linux, on a Mac what vfkit makes for itself."""
        own = self.net_dir / VFKIT_SOCKET if mac else self.uml_dir / "vm" / "mconsole"
        return max((*self.sockets, own), key=lambda path: len(bytes(path)))


@dataclass(frozen=True)
class Home:
    """``COVE_HOME`` and what is below it.

    Args:
        root: ``COVE_HOME``.
        cache: what can be made or fetched again; ``COVE_CACHE``, by default below ``root``.
    """

    root: Path
    cache: Path

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Home:
        """The home that ``COVE_HOME``, ``COVE_CACHE`` and ``HOME`` name.

        Raises:
            UsageError: none of them says where, or programs could not be started from there.
        """
        if env.get("COVE_HOME"):
            root = Path(env["COVE_HOME"]).absolute()
        elif env.get("HOME"):
            root = Path(env["HOME"]).absolute() / ".cove"
        else:
            raise UsageError("neither COVE_HOME nor HOME is set", hint="export COVE_HOME=/some/short/folder")
        cache = Path(env["COVE_CACHE"]).absolute() if env.get("COVE_CACHE") else root / "cache"
        for name, path in (("COVE_HOME", root), ("COVE_CACHE", cache)):
            if found := _SEPARATORS.search(str(path)):
                raise UsageError(
                    f"{name} cannot lie in {path}: {found[0]!r} separates folders in lists of them",
                    hint=f"Set {name} to another folder.",
                )
        return cls(root, cache)

    @classmethod
    def of(cls, paths: MachinePaths) -> Home:
        """The home that a machine lies in, for its settings: where the cache is, a machine does not know."""
        root = paths.root.parents[1]
        return cls(root, root / "cache")

    def machine(self, name: str) -> MachinePaths:
        """The files of the machine ``name``, which need not exist.

        Raises:
            UsageError: the name cannot name a machine, or its sockets' paths would be too long.
        """
        paths = MachinePaths(self.machines / check_machine_name(name))
        longest = paths.longest_socket()
        if len(bytes(longest)) > SOCKET_PATH_LIMIT:
            raise UsageError(
                f"the path of a socket would be too long: {longest}",
                details=f"{len(bytes(longest))} bytes, where a unix socket may have {SOCKET_PATH_LIMIT}",
                hint="Set COVE_HOME to a shorter folder.",
            )
        return paths

    @property
    def machines(self) -> Path:
        """One folder per machine."""
        return self.root / "m"

    @property
    def boots(self) -> Path:
        """One folder per guest of ``cove boot`` that runs; the name is short because sockets lie in it."""
        return self.root / "b"

    @property
    def layers(self) -> Path:
        """Disks that others are based on; nobody writes to them."""
        return self.root / "layers"

    @property
    def config(self) -> Path:
        """The user's settings (YAML), optional."""
        return self.root / "config.yml"

    @property
    def docker_config(self) -> Path:
        """``DOCKER_CONFIG`` of the docker CLI that Cove runs: the user's own, plus our plugins."""
        return self.root / "docker"

    @property
    def docker_build_config(self) -> Path:
        """The same with a config.json of ours, for builds behind a proxy of this host."""
        return self.root / "docker-build"

    @property
    def archive(self) -> Path:
        """Verified files of Debian's archive, by digest."""
        return self.cache / "archive"

    @property
    def tools(self) -> Path:
        """The toolbox: a private prefix per group of programs."""
        return self.cache / "tools"

    @property
    def images(self) -> Path:
        """Guest images: kernel, initramfs, root, lock."""
        return self.cache / "images"

    @property
    def containers(self) -> Path:
        """Built-in container images (``cove.internal/...``) as docker archives."""
        return self.cache / "containers"

    @property
    def content(self) -> Path:
        """The content store: images that were pulled or imported, as one OCI layout."""
        return self.cache / "content"

    @property
    def probe_kernel(self) -> Path:
        """The kernel that was used to try KVM."""
        return self.cache / "probe-vmlinuz"

    @property
    def probes(self) -> Path:
        """What was found out about this host by trying (JSON)."""
        return self.cache / "probes.json"
