# SPDX-License-Identifier: Apache-2.0
"""A Mac's own words, read by the real code; the programs that say them are stand-ins of the same names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cove.spec.facts import HostTool
from cove.system.mac_host import mac_facts, read_entitlements, search_path

PLIST = """\
<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" \
"https://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist version="1.0"><dict>\
<key>com.apple.security.hypervisor</key><true/><key>com.apple.security.get-task-allow</key><false/></dict></plist>"""

Script = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Script:
    def make(path: str, script: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    return make


@pytest.fixture
def mac(tmp_path: Path, program: Script) -> dict[str, str]:
    """A Mac with QEMU by Homebrew, whose folders are not on the PATH."""
    program("bin/sw_vers", '[ "$*" = -productVersion ] && echo 14.5')
    program("bin/sysctl", 'case "$2" in kern.hv_support) echo 1 ;; *) echo "Apple M1" ;; esac')
    program("bin/codesign", f"case $* in --verify*) exit 0 ;; *) echo '{PLIST}' ;; esac")
    qemu = program("brew/Cellar/qemu/10.2.2/bin/qemu", "echo QEMU emulator version 10.2.2; echo Copyright")
    link = tmp_path / "brew/bin/qemu-system-aarch64"
    link.parent.mkdir()
    link.symlink_to(qemu)
    return {"PATH": str(tmp_path / "bin"), "HOMEBREW_PREFIX": str(tmp_path / "brew")}


def test_the_system_the_processor_and_programs_with_what_they_may_do(
    mac: dict[str, str], tmp_path: Path
) -> None:
    facts = mac_facts(mac)
    assert (facts.os_version, facts.hv_support, facts.cpu) == ("14.5", True, "Apple M1")
    assert facts.tools[0] == HostTool(
        name="qemu-system-aarch64",
        path=str(tmp_path / "brew/Cellar/qemu/10.2.2/bin/qemu"),
        says="QEMU emulator version 10.2.2",
        signed=True,
        entitlements=("com.apple.security.hypervisor",),
    )
    assert all(tool.name != "vfkit" for tool in facts.tools)


def test_a_broken_signature_and_a_program_that_does_not_run(mac: dict[str, str], program: Script) -> None:
    program("bin/codesign", "echo code object is not signed at all >&2; exit 1")
    program("brew/bin/vfkit", "kill -9 $$")
    tools = {tool.name: tool for tool in mac_facts(mac).tools}
    assert not tools["qemu-system-aarch64"].signed
    assert tools["qemu-system-aarch64"].entitlements == ()
    assert tools["vfkit"].says == ""


def test_a_mac_that_says_nothing(tmp_path: Path) -> None:
    facts = mac_facts({"PATH": str(tmp_path)})
    assert not facts.hv_support
    assert facts.os_version == ""


@pytest.mark.parametrize("text", [b"", b"not a plist", b"<plist><array/></plist>", b"bplist00"])
def test_what_is_no_list_of_entitlements_grants_nothing(text: bytes) -> None:
    assert read_entitlements(text) == ()


def test_homebrews_folders_come_after_the_users_own() -> None:
    folders = search_path({"PATH": "/mine", "HOMEBREW_PREFIX": "/elsewhere"}).split(":")
    assert folders[:2] == ["/mine", "/elsewhere/bin"]
    assert folders.index("/opt/homebrew/bin") < folders.index("/usr/local/bin")
    assert "/usr/local/opt/podman/libexec/podman" in folders
