# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from cove.errors import CoveError, EngineError
from cove.machine.share_holders import LostFiles, holders, lost_files
from cove.spec.shares import Share

SHARES = (Share(path="/home/you"), Share(path="/srv"))
SAID = """\
[2026-11-24T14:57:04Z WARN  virtiofsd::vhost_user] Front-end did not announce migration to begin
[2026-11-24T14:57:04Z ERROR virtiofsd::passthrough::device_state::preserialization::proc_paths] Inode 2: Failed to \
get path from /proc/self/fd: Inode deleted (/home/you/a (copy))
[2026-11-24T14:57:04Z ERROR virtiofsd::vhost_user] Migration failed: Failed to load state: Inode 2: Migration source \
has lost inode 2
"""
MOUNTS = {"web": ["/home/you/site"], "db": ["/var/lib/db"], "all": ["/home"], "other": ["/srv2"], "none": []}


def test_deleted_files_are_read_from_what_was_recorded_of_virtiofsd() -> None:
    assert lost_files(SAID + SAID) == ["/home/you/a (copy)"]
    assert lost_files("Inode deleted") == []


def test_holders_are_those_who_mounted_something_of_a_share() -> None:
    assert holders(MOUNTS, SHARES) == ["all", "web"]
    assert holders(MOUNTS, ()) == []


async def mounts() -> dict[str, list[str]]:
    return MOUNTS


async def silence() -> dict[str, list[str]]:
    raise EngineError("the engine does not answer")


async def test_files_and_containers_are_named(tmp_path: Path) -> None:
    log = tmp_path / "shares.log"
    log.write_text(SAID)
    failure = CoveError("QEMU could not load the guest")
    lost = LostFiles(log, SHARES, mounts)
    lost.begin()
    assert await lost.explain(failure) is failure  # what was said before is of another time
    with log.open("a") as file:
        file.write(SAID)
    error = await lost.explain(failure)
    assert "deleted on this host" in error.message
    assert error.details == "/home/you/a (copy)"
    assert "Containers with shared folders: all, web." in (error.hint or "")


async def test_engine_that_does_not_answer_is_no_second_failure(tmp_path: Path) -> None:
    log = tmp_path / "shares.log"
    lost = LostFiles(log, SHARES, silence)
    lost.begin()
    assert (await lost.explain(CoveError("no"))).message == "no"
    log.write_text(SAID)
    assert (await lost.explain(CoveError("no"))).details == "/home/you/a (copy)"
