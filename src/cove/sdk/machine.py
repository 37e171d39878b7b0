# SPDX-License-Identifier: Apache-2.0
"""A machine and what can be done with it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Unpack, cast

from cove.errors import ConflictError, CoveError
from cove.sdk.creation import Changes, Settings, create_machine
from cove.sdk.handle import Handle, Record
from cove.sdk.snapshots import SnapshotCollection
from cove.system.process import own_age

if TYPE_CHECKING:
    from cove.machine.autostart import Autostart
    from cove.machine.resources import Trimmed
    from cove.system.process import Command


class Machine(Handle):
    """One machine: start it, change it, use it, delete it."""

    def start(self, *, create: bool = False, cold: bool = False, since_exec: bool = False) -> None:
        """Start it and wait until its engine answers; a running one is left as it is, a suspended one goes on.

        Args:
            create: make the machine, with defaults, if it does not exist.
            cold: boot it also if it is suspended; what its guest had in memory is given up.
            since_exec: the table of its stages begins with this process, not with this call.

        Raises:
            NotFoundError: there is no such machine.
            MachineError: it did not start; nothing runs afterwards, its data is as it was.
        """
        begun = time.monotonic() - (own_age() if since_exec else 0.0)
        from cove.machine.lifecycle import start

        if create and not self.exists:
            with suppress(ConflictError):  # another process was quicker: it made the machine that we want
                create_machine(self.installation, self.name)
        here = self.installation
        start(here.store, self.name, here.workshop(), cold=cold, begun=begun, alone=here.alone)

    def ensure_running(self) -> Record:
        """Create and start it if need be; the quick way when it runs already."""
        store = self.installation.store
        if store.exists(self.name):
            machine = store.load(self.name)
            if machine.running:
                return machine
        self.start(create=True)
        return store.load(self.name)

    def suspend(self, *, asleep: bool = False) -> bool:
        """Write it to the disk as it is, running containers included, and end it. Says if it ran.

        The next :meth:`start` lets it go on where it was.

        Args:
            asleep: keep its docker socket and published ports open, and let whoever connects wake it.

        Raises:
            UnsupportedError: its driver cannot suspend.
            ConflictError: it does not run.
            CoveError: it could not be written, and goes on.
        """
        from cove.machine.suspended import suspend

        return suspend(self.installation.store, self.name, self.installation.report, asleep=asleep)

    def clone(self, name: str, *, count: int | None = None) -> list[Machine]:
        """Make copies of it: of a running or suspended one with all that it does, else of its disk.

        They are not started, and cost what they change. A running machine is suspended meanwhile.

        Args:
            name: of the clone; with ``count`` they are called ``name-1`` and so on.
            count: how many; None is one, called ``name``.

        Raises:
            ConflictError: a name is taken, or it is neither running, suspended nor stopped.
            UnsupportedError: it runs, and its driver cannot suspend.
        """
        from cove.machine.clones import clone, clone_names

        names = clone_names(name, count)
        made = clone(self.installation.store, self.name, names, self.installation.workshop())
        return [Machine(self.installation, one.name) for one in made]

    @property
    def snapshots(self) -> SnapshotCollection:
        """Its snapshots."""
        return SnapshotCollection(self.installation, self.name)

    def stop(self, *, deadline: float = 30.0) -> bool:
        """Stop containers, flush the disk, power off; after ``deadline`` seconds it is ended. Says if it ran."""
        from cove.machine.lifecycle import stop

        return stop(self.installation.store, self.name, deadline=deadline, report=self.installation.report)

    def delete(self, *, force: bool = False) -> None:
        """Delete it with its data disk; ``force`` ends a running one first.

        Raises:
            ConflictError: it runs, and ``force`` is not given.
        """
        from cove.machine.lifecycle import delete

        delete(self.installation.store, self.name, force=force, report=self.installation.report)
        with suppress(CoveError):  # without a home there are no units either
            self.disable_autostart()

    def set(self, **changes: Unpack[Changes]) -> list[str]:
        """Change what it has. A disk only grows, and at once where the driver can; folders and registries are added.

        Args:
            changes: see :class:`~cove.sdk.creation.Changes`.

        Returns:
            what a running machine gets at its next start: "cpus", "memory", "disk", "shares",
            "file_events", "binfmt".

        Raises:
            UsageError: the host or the driver cannot do it, or the disk would shrink; nothing is changed.
        """
        from cove.machine.resources import pending, set_resources
        from cove.machine.shares import add_shares
        from cove.spec.change import SpecChange
        from cove.spec.registries import NO_REGISTRIES, read_registries

        mounts, mount_none = changes.pop("mounts", ()), changes.pop("mount_none", False)
        shares = None
        if mounts or mount_none:
            present = self.record.spec.shares
            shares = add_shares(present, mounts, nothing=mount_none, home=self.installation.home)
        named = read_registries(changes.pop("insecure_registries", ()), changes.pop("registry_mirrors", ()))
        forget = changes.pop("registries_none", False)
        registries = None
        if named != NO_REGISTRIES or forget:
            registries = (NO_REGISTRIES if forget else self.record.spec.registries).plus(named)
        wanted = SpecChange(shares=shares, registries=registries, **cast(Settings, changes))
        return pending(set_resources(self.installation.store, self.name, wanted, self.installation.report))

    def upgrade(self) -> bool:
        """Build its guest of Debian's newest packages; a running machine is restarted if they are newer.

        Returns:
            whether they are. A machine that does not run has them from its next start on.

        Raises:
            CoveError: the packages cannot be had; nothing is changed.
        """
        from cove.machine.lifecycle import start, stop

        record = self.record
        workshop = self.installation.workshop()
        changed = workshop.guest(record.spec, refresh=True).id != record.image
        if changed and record.running:
            stop(self.installation.store, self.name, report=self.installation.report)
            start(self.installation.store, self.name, workshop)
        return changed

    def enable_autostart(self) -> Autostart:
        """Have it started whenever its user logs in.

        Raises:
            NotFoundError: there is no such machine.
            CoveError: systemd or launchd refused; nothing is left then.
        """
        from cove.machine.autostart import enable

        return enable(self.record, os.environ)

    def disable_autostart(self) -> bool:
        """Have it started at logins no more; says whether it was."""
        from cove.machine.autostart import disable

        return disable(self.name, os.environ)

    def autostart(self) -> Autostart:
        """Whether it starts at logins."""
        from cove.machine.autostart import status

        return status(self.name, os.environ)

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

        return write_context(self.record, context_store(self.installation.home)).name

    def use_context(self) -> str:
        """Make its docker context the current one of the user's docker clients; returns the context's name.

        Raises:
            ConflictError, StorageError: see :meth:`write_context`.
            UsageError: docker's config.json is damaged; it is not touched.
        """
        from cove.machine.contexts import context_store

        name = self.write_context()
        context_store(self.installation.home).use(name)
        return name

    def remove_context(self) -> bool:
        """Remove its docker context until the next start; says whether it was there.

        Raises:
            StorageError: docker's configuration cannot be written.
        """
        from cove.machine.contexts import context_store, remove_context

        return remove_context(self.record.paths, context_store(self.installation.home))

    def system_socket_line(self, *, force: bool = False) -> str | None:
        """The line for the shell that leads ``/var/run/docker.sock`` here; None if it does lead here already.

        Args:
            force: also take the place of another engine that listens.

        Raises:
            NotFoundError: there is no such machine.
            ConflictError: another engine listens there.
        """
        from cove.host.system_socket import SYSTEM_SOCKET, link_line, look

        return link_line(look(SYSTEM_SOCKET), self.record.paths.docker_socket, force=force)

    def docker(self, args: Sequence[str]) -> int:
        """Become docker's own CLI with ``args``, against this machine; starts it if an engine is needed.

        Does not return when the CLI was started; returns 0 when nothing was left to do.
        """
        from cove.system.process import replace

        command = self._docker_command(args)
        if command is not None:
            replace(command)
        return 0

    def docker_wait(self, args: Sequence[str]) -> int:
        """Run docker's own CLI with ``args`` in this terminal, against this machine, and wait for its end.

        Returns:
            its exit code; 128 + n after signal n.
        """
        from cove.system.process import foreground

        command = self._docker_command(args)
        return 0 if command is None else foreground(command)

    def _docker_command(self, args: Sequence[str]) -> Command | None:
        from cove.host.docker_args import needs_no_engine
        from cove.machine.docker import docker_cli, docker_command

        workshop = self.installation.workshop()
        command = (
            docker_cli(workshop.home.machine(self.name), args, workshop)
            if needs_no_engine(args)
            else docker_command(self.ensure_running(), args, workshop)
        )
        close = getattr(self.installation.report, "close", None)
        if close is not None:
            close()
        return command
