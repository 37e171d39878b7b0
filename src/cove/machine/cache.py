# SPDX-License-Identifier: Apache-2.0
"""The cache: what is in it, and what of it nobody needs."""

from __future__ import annotations

from pathlib import Path

from cove.errors import ConflictError
from cove.machine.contents import content_store
from cove.machine.snapshots import Snapshot, snapshots
from cove.machine.state import ALIVE, State
from cove.machine.store import Store
from cove.system.files import allocated, read_json, remove_tree
from cove.system.paths import Home
from cove.toolbox.toolbox import unused


def sizes(home: Home) -> dict[str, int]:
    """Bytes on the disk of each part."""
    parts = {
        "packages": home.archive,
        "tools": home.tools,
        "images": home.images,
        "containers": home.containers,
        "content": home.content,
    }
    return {name: allocated(path) for name, path in parts.items()}


def prune(store: Store, *, everything: bool) -> int:
    """Remove what no machine needs; returns the bytes freed.

    Downloaded packages go, since what was made of them is there; so do programs and images that a newer build
    replaced, and contents of images that no name leads to. With ``everything`` the rest goes too, but for named
    images, which may not be had again: the next start needs the network again.

    Raises:
        ConflictError: ``everything``, while a machine runs from it.
    """
    home = store.home
    # a suspended machine goes on with the very programs and image that it ran with
    using = ALIVE | {State.SUSPENDED}
    running = [machine.name for machine in store.all() if machine.record.state in using]
    if everything and running:
        raise ConflictError(
            f"{', '.join(running)} needs the cache", hint="cove stop --all, then prune again."
        )
    if everything:
        doomed = [home.archive, home.tools, home.images, home.containers, home.probes, home.probe_kernel]
    else:
        saved = [each for each in _snapshots(store) if each.memory]
        doomed = [home.archive, *([] if running or saved else unused(home.tools)), *_unused_images(store)]
    freed = sum(allocated(path) for path in doomed)
    for path in doomed:
        remove_tree(path)
    return freed + content_store(home).sweep()


def _unused_images(store: Store) -> list[Path]:
    """Images that neither a machine started from last nor a pointer names; of users' own only the former counts."""
    images = store.home.images
    if not images.is_dir():
        return []
    machines = {machine.image for machine in store.all()} | {each.image for each in _snapshots(store)}
    used, stale = set(machines), []
    for pointer in images.glob("*.json"):
        data = read_json(pointer)
        if not isinstance(data, dict):
            continue
        image = str(data.get("id"))
        if data.get("custom") and image not in machines:
            stale.append(pointer)  # its YAML is other by now, or nobody's
        else:
            used.add(image)
    return [*stale, *(path for path in images.iterdir() if path.is_dir() and path.name not in used)]


def _snapshots(store: Store) -> list[Snapshot]:
    """Those of all machines: one with memory goes on with the very programs and image that it was saved with."""
    return [each for name in store.names() for each in snapshots(store.home.machine(name))]
