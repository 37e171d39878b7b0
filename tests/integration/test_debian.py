# SPDX-License-Identifier: Apache-2.0
"""``cove.internal/debian``: a whole Debian with a working apt, made without a registry."""

from __future__ import annotations

from tests.integration.world import Machine

DEBIAN = "cove.internal/debian"


def test_it_is_trixie(machine: Machine) -> None:
    assert machine.run("--rm", DEBIAN, "cat", "/etc/debian_version", deadline=600).stdout.startswith(b"13")


def test_all_packages_are_configured(uml: Machine) -> None:
    script = (
        "dpkg --audit; dpkg -l | grep -v ^ii | tail -n +6; dpkg --verify --verify-format rpm | grep -v ' c '"
    )
    done = uml.run("--rm", DEBIAN, "sh", "-c", script + "; true", deadline=600)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_apt_installs_what_runs(uml: Machine) -> None:
    script = "apt-get update -q && apt-get install -y -q --no-install-recommends hello && echo && hello"
    done = uml.run("--rm", DEBIAN, "sh", "-ec", script, deadline=600)
    assert done.stdout.splitlines()[-1] == b"Hello, world!"
    assert b"W:" not in done.stdout + done.stderr
    assert b"E:" not in done.stdout + done.stderr


def test_bash_in_a_terminal_is_usable(uml: Machine) -> None:
    with uml.home.terminal("-m", uml.name, "run", "--rm", "-it", DEBIAN, "bash") as terminal:
        terminal.expect(r"root@[0-9a-f]{12}:/#", deadline=600)
        terminal.type("apt-get update && echo al''l well\n")
        terminal.expect("all well\r\n", deadline=300)
        terminal.type("tput cols; ls --color=auto -d /et\t\n")
        terminal.expect("80\r\n")
        terminal.expect("/etc")
        terminal.type("exit 6\n")
        assert terminal.wait() == 6
