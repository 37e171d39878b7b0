# SPDX-License-Identifier: Apache-2.0
"""What Python programs use, the command line among them.

    client = cove.Client()
    machine = client.machines.create("test", driver="uml")
    machine.start()
    print(machine.docker_host)

Nothing heavy is imported before it is needed: ``cove status`` answers in a fraction of a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cove.errors import ConflictError, MachineError
from cove.events import Report, silent
from cove.machine import store as stores
from cove.machine.store import Store
from cove.system.paths import Home

if TYPE_CHECKING:
    from cove.guest.client import GuestClient
    from cove.machine.assets import Workshop
    from cove.machine.resources import Trimmed

Record = stores.Machine
"""All that is recorded of a machine: its spec, its state, its processes."""

DEFAULT = "default"
"""The machine that is meant when none is named."""


class Client:
    """The machines, programs and images below one ``COVE_HOME``.

    Args:
        home: ``COVE_HOME``; by default what the environment says.
        report: told of progress.
        offline: whether fetching is forbidden.
    """

    def __init__(self, home: Path | None = None, *, report: Report = silent, offline: bool = False) -> None:
        env = dict(os.environ) if home is None else {**os.environ, "COVE_HOME": str(home)}
        self.home = Home.from_environment(env)
        self.report = report
        self.offline = offline

    @property
    def machines(self) -> MachineCollection:
        """All machines."""
        return MachineCollection(self)

    def machine(self, name: str = DEFAULT) -> Machine:
        """A handle on one machine, whether it exists or not.

        Raises:
            UsageError: the name cannot name a machine.
        """
        self.home.machine(name)
        return Machine(self, name)

    @property
    def store(self) -> Store:
        """The machines' folders."""
        return Store(self.home)

    def workshop(self) -> Workshop:
        """Where programs and images come from."""
        from cove.machine.assets import Workshop

        return Workshop(self.home, self.report, self.offline)

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


class MachineCollection:
    """All machines below one ``COVE_HOME``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> list[Machine]:
        """Every machine, by name."""
        return [Machine(self._client, name) for name in self._client.store.names()]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.list())

    def get(self, name: str) -> Machine:
        """The machine ``name``.

        Raises:
            NotFoundError: there is none.
        """
        self._client.store.find(name)
        return Machine(self._client, name)

    def create(
        self,
        name: str = DEFAULT,
        *,
        driver: str = "auto",
        accel: str = "auto",
        cpus: int | None = None,
        memory: int | None = None,
        disk: int | None = None,
        mounts: Sequence[str] = (),
        mount_none: bool = False,
        file_events: bool = True,
    ) -> Machine:
        """Create a machine. It is not started, and takes no disk space to speak of until then.

        Args:
            name: a lower-case letter, then letters, digits and dashes.
            driver: "auto", "uml" or "qemu".
            accel: "auto", "kvm" or "tcg".
            cpus: virtual CPUs.
            memory: bytes.
            disk: bytes of the sparse data disk.
            mounts: folders to share beside the user's home, each ``PATH``, ``PATH:ro`` or ``PATH:rw``.
            mount_none: share only ``mounts``, not the home.
            file_events: whether changes on the host wake what watches files in containers.

        Raises:
            ConflictError: there is a machine of this name.
            UsageError, UnsupportedError: it cannot be made like this on this host.
        """
        from cove.machine.creation import create
        from cove.machine.shares import choose_shares
        from cove.spec.machine import MachineRequest

        request = MachineRequest(
            name=name,
            driver=driver,
            accel=accel,
            cpus=cpus,
            memory=memory,
            disk=disk,
            shares=choose_shares(mounts, nothing=mount_none, home=self._client.home, env=os.environ),
            file_events=file_events,
        )
        create(self._client.store, request, self._client.workshop())
        return Machine(self._client, name)


class Machine:
    """A handle on one machine. Each property looks anew; nothing is remembered.

    Args:
        client: whose machine it is.
        name: its name.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name

    def __repr__(self) -> str:
        return f"<cove.Machine {self.name}>"

    @property
    def exists(self) -> bool:
        """Whether there is such a machine."""
        return self.client.store.exists(self.name)

    @property
    def record(self) -> Record:
        """All that is recorded of it, with the truth about its processes.

        Raises:
            NotFoundError: there is none.
        """
        return self.client.store.load(self.name)

    @property
    def status(self) -> str:
        """``created``, ``starting``, ``running``, ``stopping``, ``stopped`` or ``failed``."""
        return str(self.record.record.state)

    @property
    def docker_socket(self) -> Path:
        """The engine's socket on the host; nobody answers there unless the machine runs."""
        return self.client.home.machine(self.name).docker_socket

    @property
    def docker_host(self) -> str:
        """What to set ``DOCKER_HOST`` to."""
        return f"unix://{self.docker_socket}"

    def start(self, *, create: bool = False) -> None:
        """Start it and wait until its engine answers; a running one is left as it is.

        Args:
            create: make the machine, with defaults, if it does not exist.

        Raises:
            NotFoundError: there is no such machine.
            MachineError: it did not start; nothing runs afterwards, its data is as it was.
        """
        from cove.machine.lifecycle import start

        if create and not self.exists:
            with suppress(ConflictError):  # another process was quicker: it made the machine that we want
                self.client.machines.create(self.name)
        start(self.client.store, self.name, self.client.workshop())

    def ensure_running(self) -> Record:
        """Create and start it if need be; the quick way when it runs already."""
        store = self.client.store
        if store.exists(self.name):
            machine = store.load(self.name)
            if machine.running:
                return machine
        self.start(create=True)
        return store.load(self.name)

    def stop(self, *, deadline: float = 30.0) -> bool:
        """Stop containers, flush the disk, power off; after ``deadline`` seconds it is ended. Says if it ran."""
        from cove.machine.lifecycle import stop

        return stop(self.client.store, self.name, deadline=deadline, report=self.client.report)

    def delete(self, *, force: bool = False) -> None:
        """Delete it with its data disk; ``force`` ends a running one first.

        Raises:
            ConflictError: it runs, and ``force`` is not given.
        """
        from cove.machine.lifecycle import delete

        delete(self.client.store, self.name, force=force, report=self.client.report)

    def set(
        self,
        *,
        cpus: int | None = None,
        memory: int | None = None,
        disk: int | None = None,
        mounts: Sequence[str] = (),
        mount_none: bool = False,
        file_events: bool | None = None,
    ) -> list[str]:
        """Change what it has; what is left out stays. A disk only grows, and at once where the driver can.

        Args:
            cpus: virtual CPUs.
            memory: bytes.
            disk: bytes of the sparse data disk.
            mounts: folders to share besides, each ``PATH``, ``PATH:ro`` or ``PATH:rw``.
            mount_none: share only ``mounts``.
            file_events: whether changes on the host wake what watches files in containers.

        Returns:
            what a running machine gets at its next start: "cpus", "memory", "disk", "shares",
            "file_events".

        Raises:
            UsageError: the host or the driver cannot do it, or the disk would shrink; nothing is changed.
        """
        from cove.machine.resources import pending, set_resources
        from cove.machine.shares import add_shares
        from cove.spec.change import SpecChange

        shares = None
        if mounts or mount_none:
            present = self.record.spec.shares
            shares = add_shares(present, mounts, nothing=mount_none, home=self.client.home)
        wanted = SpecChange(cpus=cpus, memory=memory, disk=disk, shares=shares, file_events=file_events)
        return pending(set_resources(self.client.store, self.name, wanted, self.client.report))

    def trim(self) -> Trimmed:
        """Give disk space that the guest does not use back to the host.

        Raises:
            MachineError: it does not run.
        """
        from cove.machine.resources import trim

        return trim(self.record)

    def write_context(self) -> str:
        """Write its docker context again; returns the context's name.

        Raises:
            ConflictError: the name is taken by a context that is not this machine's.
            StorageError: docker's configuration cannot be written.
        """
        from cove.machine.contexts import context_store, write_context

        return write_context(self.record, context_store(self.client.home)).name

    def use_context(self) -> str:
        """Make its docker context the current one of the user's docker clients; returns the context's name.

        Raises:
            ConflictError, StorageError: see :meth:`write_context`.
            UsageError: docker's config.json is damaged; it is not touched.
        """
        from cove.machine.contexts import context_store

        name = self.write_context()
        context_store(self.client.home).use(name)
        return name

    def remove_context(self) -> bool:
        """Remove its docker context until the next start; says whether it was there.

        Raises:
            StorageError: docker's configuration cannot be written.
        """
        from cove.machine.contexts import context_store, remove_context

        return remove_context(self.record.paths, context_store(self.client.home))

    def guest(self) -> GuestClient:
        """The agent inside the guest.

        Raises:
            MachineError: the machine does not run.
        """
        from cove.guest.client import GuestClient

        machine = self.record
        if not machine.running:
            raise MachineError(f"{self.name} is {machine.record.state}", hint=f"cove start {self.name}")
        return GuestClient(machine.paths.agent_socket)

    def docker(self, args: Sequence[str]) -> int:
        """Become docker's own CLI with ``args``, against this machine; starts it if need be.

        Does not return when the CLI was started; returns 0 when nothing was left to do.
        """
        from cove.machine.docker import docker_command
        from cove.system.process import replace

        command = docker_command(self.ensure_running(), args, self.client.workshop())
        close = getattr(self.client.report, "close", None)
        if close is not None:
            close()
        if command is not None:
            replace(command)
        return 0

    def inspect(self) -> dict[str, Any]:
        """Everything there is to know about it, as JSON data."""
        from cove.machine.describe import describe

        return describe(self.record)

    def versions(self) -> dict[str, Any]:
        """Client and server side by side, as JSON data; the server is None when the machine does not run."""
        from cove.machine.versions import versions

        return versions(self.record if self.exists else None, self.client.home)

    def explain(self) -> list[dict[str, Any]]:
        """Where the kernel comes from: each layer from the host's kernel to a container, read from what runs.

        Raises:
            MachineError: the machine does not run.
        """
        from cove.machine.explain import explain

        return explain(self.record, self.client.workshop())

    def logs(self, source: str, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """A log, piece by piece.

        Args:
            source: one of :data:`cove.machine.logs.SOURCES`.
            tail: only that many last lines.
            follow: go on with what comes.
        """
        from cove.machine.logs import read_log

        return read_log(self.record, source, tail=tail, follow=follow)

    def environment(self) -> Mapping[str, str]:
        """What a Docker client needs in its environment to use this machine."""
        from cove.host.shell_env import client_environment

        return client_environment(self.docker_socket)

    def shell_lines(self, *, shell: str | None, unset: bool, command: str) -> str:
        """Lines for a shell that set :meth:`environment`, for ``eval``."""
        from cove.host.shell_env import render, shell_of

        return render(self.environment(), shell=shell_of(shell), command=command, unset=unset)


LOG_SOURCES = ("supervisor", "console", "network", "dockerd", "containerd", "agent")
"""Whose logs there are: three on the host, three in the guest."""


def split_machine(args: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Take ``--machine NAME`` or ``-m NAME`` off the front of docker's arguments.

    Raises:
        UsageError: no name follows, or it cannot name a machine.
    """
    from cove.host.docker_args import split_machine as split

    return split(args)
