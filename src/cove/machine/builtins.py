# SPDX-License-Identifier: Apache-2.0
"""Built-in container images: made on first use, kept as archives in the cache, loaded into each engine."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cove.errors import EngineError, UsageError
from cove.events import Report, stage
from cove.host.engine import Engine
from cove.machine.assets import Workshop
from cove.machine.builtin_archives import builtin_named, finished_archive
from cove.machine.store import Machine
from cove.spec.machine import DEBIAN_NAMES, Architecture, architecture_named
from cove.system.files import storage_errors

if TYPE_CHECKING:
    from cove.image.containers import Builtin, SecondStage


def ensure_builtins(
    machine: Machine, references: Sequence[str], workshop: Workshop, platform: str | None = None
) -> None:
    """Have the images that ``references`` name in the machine's engine.

    Args:
        machine: it runs.
        references: ``cove.internal/NAME[:latest]``; an image that the user tagged so counts as there.
        workshop: where images come from.
        platform: what docker is told to use ("linux/arm64"): an image for another one is replaced, as a pull
            would do; None takes what is there, or the machine's own.

    Raises:
        UsageError: there is no built-in image of that name, or none for that platform.
        CoveError: it could not be made or loaded; the engine has nothing of it then.
    """
    engine = Engine(machine.paths.docker_socket)
    architecture = machine.spec.architecture if platform is None else architecture_of(platform)
    wanted = None if platform is None else DEBIAN_NAMES[architecture]
    missing = [reference for reference in references if not engine.has_image(reference, wanted)]
    for reference in missing:
        builtin = builtin_named(reference)
        archive = _archive_of(builtin, machine, workshop, architecture)
        with stage(workshop.report, f"load-{builtin.name}", f"Loading {builtin.reference}"):
            _load(machine, archive)


def architecture_of(platform: str) -> Architecture:
    """The architecture of ``linux/arm64/v8`` or ``arm64``, as docker's ``--platform`` has it."""
    words = platform.split("/")
    try:
        return architecture_named(words[1] if words[0] == "linux" and len(words) > 1 else platform)
    except UsageError as error:
        known = ", ".join(f"linux/{name}" for name in DEBIAN_NAMES.values())
        raise UsageError(
            f"there are no built-in images for the platform {platform}", hint=f"There are some for {known}."
        ) from error


def _archive_of(builtin: Builtin, machine: Machine, workshop: Workshop, architecture: Architecture) -> Path:
    """The archive of the finished image; made by and in this machine if there is none yet."""

    def make(into: Path) -> Path:
        archive = builtin.build(workshop.archive(architecture), into, workshop.report)
        if builtin.second_stage is not None:
            archive = _finish(builtin, builtin.second_stage, archive, machine, workshop.report)
        return archive

    return finished_archive(builtin, workshop.home, architecture, make)


def _finish(builtin: Builtin, second: SecondStage, first: Path, machine: Machine, report: Report) -> Path:
    """Run the second stage in a container, and save what comes of it as an archive of its own."""
    finished = first.with_name(f"{first.stem}-done.tar")
    engine = Engine(machine.paths.docker_socket, deadline=second.deadline)
    with stage(report, f"finish-{builtin.name}", f"Configuring {builtin.reference}"):
        _load(machine, first)
        try:
            _run_and_commit(engine, builtin, second)
        finally:
            engine.delete(f"/images/{builtin.loads}", force="true")
        with storage_errors("saving an image"), tempfile.TemporaryDirectory(dir=first.parent) as scratch:
            made = Path(scratch) / "image.tar"
            with made.open("wb") as stream:
                engine.save(builtin.reference, stream)
            made.replace(finished)
    first.unlink(missing_ok=True)
    return finished


def _run_and_commit(engine: Engine, builtin: Builtin, second: SecondStage) -> None:
    body = {
        "Image": builtin.loads,
        "Cmd": list(second.command),
        "Env": [f"{name}={value}" for name, value in second.env.items()],
        "NetworkDisabled": True,
    }
    container = engine.post("/containers/create", body)["Id"]
    try:
        engine.post(f"/containers/{container}/start")
        code = engine.post(f"/containers/{container}/wait")["StatusCode"]
        if code != 0:
            raise EngineError(
                f"{builtin.reference} could not be configured: exit code {code}",
                details=engine.logs(container, tail=20),
            )
        repository, _, tag = builtin.reference.rpartition(":")
        query = {"container": container, "repo": repository, "tag": tag}
        engine.post("/commit", None, changes="\n".join(second.changes), **query)
    finally:
        engine.delete(f"/containers/{container}", force="true", v="true")


def _load(machine: Machine, archive: Path) -> None:
    with archive.open("rb") as stream:
        Engine(machine.paths.docker_socket, deadline=300).load(stream)
