# SPDX-License-Identifier: Apache-2.0
"""The docker context of each machine, in the user's own docker configuration.

A context is a convenience: that it cannot be written (a read-only home, a name that someone else uses) never
keeps a machine from anything. One belongs to the machine whose socket it leads to, so that two ``COVE_HOME``
of one user do not take each other's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cove.errors import ConflictError, CoveError, UsageError
from cove.events import Note, Report
from cove.host.context_store import ContextStore
from cove.host.contexts import Context
from cove.host.docker_config import user_folder
from cove.machine.store import Machine
from cove.system.paths import Home, MachinePaths


def context_store(home: Home, env: Mapping[str, str] = os.environ) -> ContextStore:
    """The user's contexts.

    Raises:
        UsageError: nothing says where the user's docker configuration lies.
    """
    folder = user_folder(env, home.docker_config)
    if folder is None:
        raise UsageError(
            "neither DOCKER_CONFIG nor HOME is set", hint="They say where docker's contexts are kept."
        )
    return ContextStore(folder)


def context_of(paths: MachinePaths) -> Context:
    """What the machine's context must be."""
    return Context.of_machine(paths.name, paths.docker_socket)


def write_context(machine: Machine, contexts: ContextStore) -> Context:
    """Write the machine's context, if it is not there already.

    Raises:
        ConflictError: the name is taken, by a context of the user's or by another home's machine.
        StorageError: it cannot be written.
    """
    wanted = context_of(machine.paths)
    found = contexts.find(wanted.name)
    if found and found.ours and found.host != wanted.host and not is_stale(found):
        raise ConflictError(
            f"the docker context {wanted.name} belongs to the machine {found.machine} of another COVE_HOME",
            details=found.host,
        )
    contexts.write(wanted)
    return wanted


def remove_context(paths: MachinePaths, contexts: ContextStore) -> bool:
    """Remove the machine's context; says whether it was there. Another home's is left alone.

    Raises:
        StorageError: it cannot be removed.
    """
    wanted = context_of(paths)
    return contexts.find(wanted.name) == wanted and contexts.remove(wanted.name)


def publish(machine: Machine, home: Home, report: Report) -> None:
    """Write the machine's context; what keeps us from it is only a note."""
    try:
        write_context(machine, context_store(home))
    except CoveError as error:
        report(Note(f"No docker context was written: {error.message}"))


def withdraw(paths: MachinePaths, home: Home, report: Report) -> None:
    """Remove the context of a machine that is no more, and those of machines that vanished without us."""
    try:
        contexts = context_store(home)
        remove_context(paths, contexts)
        for context in contexts.ours():
            if is_stale(context):
                contexts.remove(context.name)
    except CoveError as error:
        report(Note(f"A docker context may be left over: {error.message}"))


def is_stale(context: Context) -> bool:
    """Whether the machine that the context leads to is gone."""
    return context.socket is None or not MachinePaths(context.socket.parent).spec.exists()
