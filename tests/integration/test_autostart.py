# SPDX-License-Identifier: Apache-2.0
"""``cove autostart`` with a real systemd of a user, started for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.world import Home, clean_environment, wait_until

SYSTEMD = Path("/lib/systemd/systemd")
# as a booted host would be to it: a control group of its own, and the mark of a system that runs systemd
AS_BOOTED = """
umount -l /sys/fs/cgroup/* 2> /dev/null; umount -l /sys/fs/cgroup 2> /dev/null
mount -t cgroup2 none /sys/fs/cgroup || exit 77
mkdir "/sys/fs/cgroup/$1" && echo $$ > "/sys/fs/cgroup/$1/cgroup.procs" || exit 77
mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/system || exit 77
exec /lib/systemd/systemd --user
"""

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None,
    reason="needs root and systemd, to run one",
)


@pytest.fixture
def user(make_home: Callable[..., Home]) -> Iterator[Home]:
    """A home whose user has a running systemd."""
    folder = Path(tempfile.mkdtemp(prefix="cove-sd-", dir="/tmp"))
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    settings = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(runtime)}
    home = make_home(**settings)
    env = clean_environment(**settings)
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", AS_BOOTED, "sh", folder.name],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as manager:  # fmt: skip
        try:
            ready = wait_until(
                lambda: manager.poll() is not None or (runtime / "systemd/private").is_socket(), "systemd"
            )
            if manager.poll() == 77 or not ready:
                pytest.skip("this host gives no control group")
            yield home
        finally:
            home.cove("stop", "--all", code=None)
            manager.terminate()
            manager.wait(60)
            shutil.rmtree(folder)


def systemctl(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", "--user", *words],
        env=home.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_systemd_starts_and_stops_a_machine(user: Home) -> None:
    user.cove("create", "--driver", "uml", "--mount-none")
    assert user.cove("autostart", "status", code=1).stdout == b"disabled\n"
    user.cove("autostart", "enable")
    assert user.json("autostart", "status")["loaded"] is True
    assert systemctl(user, "is-enabled", "cove-default.service").stdout == "enabled\n"
    # what a login does
    systemctl(user, "stop", "default.target")
    started = systemctl(user, "start", "default.target")
    assert started.returncode == 0, started.stderr
    wait_until(lambda: user.machine().inspect()["status"] == "running", "the machine", deadline=240)
    # what a logout does
    stopped = systemctl(user, "stop", "cove-default.service")
    assert stopped.returncode == 0, stopped.stderr
    assert user.machine().inspect()["status"] == "stopped"
    user.cove("delete", "-f", "default")
    assert systemctl(user, "is-enabled", "cove-default.service").returncode != 0
