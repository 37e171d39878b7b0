# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cove.system import confine, seccomp
from cove.system.guards import barrier, guards, namespaces_allowed

NO_NAMESPACES = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""


def test_what_this_host_has() -> None:
    found = guards()
    assert found.landlock == confine.landlock_abi()
    assert found.seccomp == seccomp.available()
    assert found.namespaces == (sys.platform == "linux" and namespaces_allowed())


def test_which_setting_keeps_users_from_namespaces(tmp_path: Path) -> None:
    assert barrier(tmp_path) == ""
    (tmp_path / "kernel").mkdir()
    (tmp_path / "user").mkdir()
    (tmp_path / "kernel/apparmor_restrict_unprivileged_userns").write_text("1\n")
    assert barrier(tmp_path) == "kernel.apparmor_restrict_unprivileged_userns=0"
    (tmp_path / "kernel/apparmor_restrict_unprivileged_userns").write_text("0\n")
    (tmp_path / "user/max_user_namespaces").write_text("0\n")
    assert barrier(tmp_path) == "user.max_user_namespaces=15000"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can forbid namespaces")
def test_namespaces_that_are_forbidden() -> None:
    """In a user namespace that may have no others, as user.max_user_namespaces=0 says it."""
    settings = "/proc/sys/user"
    script = f"echo 0 > {settings}/max_user_namespaces && echo 0 > {settings}/max_mnt_namespaces || exit 77"
    ask = "from cove.system.guards import guards; found = guards(); print(found.namespaces, found.barrier)"
    argv = ["unshare", "-U", "-r", "sh", "-c", f"""{script}; exec "$@" """, "sh", sys.executable, "-c", ask]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no user namespace to try it in: {done.stderr}")
    assert done.stdout == "False user.max_user_namespaces=15000\n", done.stderr
