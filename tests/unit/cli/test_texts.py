# SPDX-License-Identifier: Apache-2.0
"""How reports read for people."""

from __future__ import annotations

from collections.abc import Callable

from cove.cli import texts

Golden = Callable[[str, str], None]

CLIENT = {"version": "1.0", "python": "3.11.7", "os_arch": "linux/amd64", "kernel": "6.1.0"}
SERVER = {
    "machine": "default", "driver": "uml", "accel": "none", "engine": "26.1.5+dfsg1",
    "api_version": "1.45 (minimum 1.24)", "os_arch": "linux/amd64", "containerd": "1.7.24", "runtime": "crun 1.21",
    "kernel": "6.12.38", "kernel_package": "user-mode-linux 6.12",
}  # fmt: skip


def test_versions_side_by_side(golden: Golden) -> None:
    golden("cli/versions.txt", texts.versions({"client": CLIENT, "server": SERVER}) + "\n")


def test_versions_without_a_server(golden: Golden) -> None:
    golden("cli/versions-client.txt", texts.versions({"client": CLIENT, "server": None}) + "\n")


def test_explanation(golden: Golden) -> None:
    layers = [
        {"layer": "Host kernel", "what": "This computer's own system.", "version": "Linux 6.1 x86_64"},
        {
            "layer": "Network",
            "what": "A process.",
            "pid": 12,
            "package sha256": "ab" * 32,
            "note": "",
            "lock": None,
        },
        {"layer": "Containers", "what": "None runs now."},
    ]
    golden("cli/explanation.txt", texts.explanation(layers) + "\n")


def test_explanation_of_nothing() -> None:
    assert texts.explanation([]) == ""


def test_ports_of_a_running_machine() -> None:
    web = {"container": "web", "protocol": "tcp", "container_port": 80, "error": None}
    ports = [
        {**web, "address": "0.0.0.0", "port": 8080},
        {**web, "address": "::", "port": 8080},
        {**web, "address": "127.0.0.1", "port": 80, "error": "Permission denied"},
        {**web, "address": "0.0.0.0", "port": 53, "protocol": "udp", "container": "dns"},
    ]
    assert texts._ports(ports) == [
        ("ports", "8080/tcp (web), 53/udp (dns)"),
        ("no port", "127.0.0.1 80/tcp (web): Permission denied"),
    ]
    assert texts._ports([]) == []
