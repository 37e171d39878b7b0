# SPDX-License-Identifier: Apache-2.0
"""An engine of one's own for a while: a running copy of a template, which is removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cove.errors import ConflictError, NotFoundError
from cove.sdk.creation import create_machine
from cove.sdk.installation import Installation
from cove.sdk.machine import Machine


@contextmanager
def fresh_machine(installation: Installation, template: str | None) -> Iterator[Machine]:
    """See :meth:`cove.sdk.client.Client.fresh`."""
    from cove.machine.throwaway import TEMPLATE, bring_to_rest, make_throwaway, remove_throwaway

    store, workshop = installation.store, installation.workshop()
    name = template or TEMPLATE
    if name == TEMPLATE:
        if not store.exists(name):
            with suppress(ConflictError):  # another process was quicker
                create_machine(installation, name)
        bring_to_rest(store, name, workshop)
    made = make_throwaway(store, name, workshop)
    try:
        yield Machine(installation, made.name)
    finally:
        with suppress(NotFoundError):  # the block has deleted it
            remove_throwaway(store, made.name)
