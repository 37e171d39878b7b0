# SPDX-License-Identifier: Apache-2.0
"""The door to everything below one ``COVE_HOME``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cove.sdk.boot import BootWishes, boot_image
from cove.sdk.collection import MachineCollection
from cove.sdk.creation import DEFAULT
from cove.sdk.images import ImageCollection
from cove.sdk.installation import Installation
from cove.sdk.machine import Machine

if TYPE_CHECKING:
    from cove.machine.doctor.finding import Examination
    from cove.sdk.building import BuildOptions


class Client(Installation):
    """The machines, programs and images below one ``COVE_HOME``.

    Args:
        home: ``COVE_HOME``; by default what the environment says.
        report: told of progress.
        offline: whether fetching is forbidden.
        alone: this process is a command and does nothing else: what outlives it may be forked from it.
    """

    @property
    def machines(self) -> MachineCollection:
        """All machines."""
        return MachineCollection(self)

    @property
    def images(self) -> ImageCollection:
        """The images of the content store."""
        return ImageCollection(self)

    def machine(self, name: str = DEFAULT) -> Machine:
        """A handle on one machine, whether it exists or not.

        Raises:
            UsageError: the name cannot name a machine.
        """
        self.home.machine(name)
        return Machine(self, name)

    def fresh(self, template: str | None = None) -> AbstractContextManager[Machine]:
        """A throw-away engine, running, for a ``with`` block; removed afterwards, and if this process is killed.

            with cove.Client().fresh() as machine:
                docker.DockerClient(base_url=machine.docker_host).containers.run(...)

        It is a copy of a machine. A suspended one is copied with all that it has in memory, and the copy answers at
        once; of a stopped one the copy boots; a running one is suspended for a moment.

        Args:
            template: the machine to copy; by default one called "fresh", which is made when it is missing and has an
                engine with nothing in it, but for images that were pulled to it.

        Raises:
            NotFoundError: there is no such machine.
            CoveError: it cannot be copied, or the copy did not start; nothing is left of it.
        """
        from cove.sdk.fresh import fresh_machine

        return fresh_machine(self, template)

    def boot(self, image: Path | str, **wishes: Unpack[BootWishes]) -> int:
        """Boot an image with its console in this process's terminal; see :class:`BootWishes`.

        Args:
            image: a kernel, a disk, an ISO, the beginning of the names of several files (``NAME-kernel``...), or YAML
                that is built first: a file, an address with http or https, "-" for stdin.

        Returns:
            0 when the guest shut down or was ended with Ctrl-A x, 128 + n after a signal.

        Raises:
            NotFoundError: there is no such image.
            UsageError, UnsupportedError: it cannot be booted like this, or not here.
            MachineError: it failed.
        """
        return boot_image(self, str(image), wishes)

    def contexts(self) -> list[dict[str, Any]]:
        """The docker contexts that Cove made, as JSON data, those of other ``COVE_HOME`` among them.

        Raises:
            UsageError: nothing says where docker's configuration lies, or it is damaged.
        """
        from cove.machine.contexts import context_store

        contexts = context_store(self.home)
        current = contexts.current()
        return [
            {
                "name": one.name,
                "machine": one.machine,
                "docker_host": one.host,
                "current": one.name == current,
            }
            for one in contexts.ours()
        ]

    def system_socket(self) -> dict[str, Any]:
        """What ``/var/run/docker.sock`` is, as JSON data."""
        from dataclasses import asdict

        from cove.host.system_socket import SYSTEM_SOCKET, look

        return asdict(look(SYSTEM_SOCKET))

    def system_socket_removal(self) -> str:
        """The line for the shell that removes ``/var/run/docker.sock`` if it leads to a machine.

        Raises:
            NotFoundError: it does not.
        """
        from cove.host.system_socket import SYSTEM_SOCKET, look, unlink_line

        return unlink_line(look(SYSTEM_SOCKET))

    def examine(self, *, network: bool = False) -> Examination:
        """What is wrong with this host and its machines. Changes nothing; takes a second or two.

        Args:
            network: also ask name servers, proxies of other hosts and Debian's archive.

        Raises:
            UnsupportedError: this host is neither Linux nor a Mac.
        """
        from cove.sdk.health import examine

        return examine(self, network=network)

    def build(self, files: Sequence[str], options: BuildOptions) -> list[Path]:
        """Build an image from LinuxKit YAML; see :func:`cove.sdk.building.build_image`."""
        from cove.sdk.building import build_image

        return build_image(self, files, options)

    def cache_sizes(self) -> dict[str, int]:
        """Bytes on the disk of each part of the cache."""
        from cove.machine.cache import sizes

        return sizes(self.home)

    def prune_cache(self, *, everything: bool = False) -> int:
        """Remove from the cache what no machine needs; returns the bytes freed.

        Args:
            everything: also what the next start would have to fetch or build again.

        Raises:
            ConflictError: ``everything``, while a machine runs from it.
        """
        from cove.machine.cache import prune

        return prune(self.store, everything=everything)
