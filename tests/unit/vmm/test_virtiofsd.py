# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from cove.spec.shares import Share
from cove.system.process import Command
from cove.vmm.virtiofsd import virtiofsd_command

TOOL = Command(("/t/virtiofsd",), {"A": "b"})


def words(share: Share, uid: int) -> list[str]:
    command = virtiofsd_command(TOOL, listener=7, share=share, tag="cove0", uid=uid, gid=uid, files=20000)
    assert command.env == TOOL.env
    return list(command.argv)


def test_what_a_user_shares_is_served_as_the_user() -> None:
    assert words(Share(path="/home/you, me"), 1000) == [
        "/t/virtiofsd", "--fd=7", "--shared-dir=/home/you, me", "--tag=cove0", "--sandbox=none", "--cache=auto",
        "--log-level=warn", "--rlimit-nofile=20000", "--migration-on-error=guest-error",
        "--translate-uid=squash-guest:0:1000:4294967295", "--translate-gid=squash-guest:0:1000:4294967295",
    ]  # fmt: skip


def test_a_trial_refuses_what_a_guest_that_goes_on_would_get_errors_from() -> None:
    share = Share(path="/srv")
    command = virtiofsd_command(TOOL, listener=7, share=share, tag="c", uid=0, gid=0, files=9, strict=True)
    assert "--migration-on-error=abort" in command.argv


def test_root_keeps_the_owners_that_the_guest_wants() -> None:
    assert not [word for word in words(Share(path="/srv"), 0) if "translate" in word]


def test_a_read_only_share_cannot_be_written_by_the_daemon_either() -> None:
    assert words(Share(path="/srv", writable=False), 0)[-1] == "--readonly"
    assert "--readonly" not in words(Share(path="/srv"), 0)
