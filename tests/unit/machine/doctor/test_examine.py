# SPDX-License-Identifier: Apache-2.0
"""Every finding there is, each provoked by facts; and what the doctor says of each recorded host."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cove.cli.doctor import report
from cove.machine.doctor.examine import examine
from cove.machine.doctor.facts import Clients, Examined, Names, Proxy, ToolTrouble
from cove.machine.doctor.finding import CHECKS, NETWORK, Finding
from cove.machine.doctor.host_checks import NOTHING_OLDER
from cove.spec.facts import HostFacts, HostTool
from tests.unit.machine.doctor.facts import GUARDS, WELL, held, home, host, machine, running
from tests.unit.machine.world import SPEC

ROOT = Path(__file__).parents[4]
RECORDED = sorted((ROOT / "tests/hosts").glob("*.json"))

VFKIT = HostTool(
    name="vfkit", path="/b/vfkit", says="vfkit version: 0.6.4", signed=True,
    entitlements=("com.apple.security.virtualization",),
)  # fmt: skip


def mac(**changes: object) -> Examined:
    facts = host(system="darwin", machine="aarch64", kvm="absent", os_version="15.5", hv_support=True)
    return replace(facts, host=replace(facts.host, **{"tools": (VFKIT,), **changes}))


def clients(**changes: object) -> Examined:
    return replace(WELL, clients=Clients(**{"config": "/home/ann/.docker/config.json", **changes}))  # type: ignore[arg-type]


def names(**changes: object) -> Examined:
    return replace(WELL, names=replace(WELL.names, **changes))  # type: ignore[arg-type]


def proxy(**changes: object) -> Examined:
    settings = {"variable": "HTTPS_PROXY", "url": "http://p:3128", "address": "p:3128", "loopback": False}
    return replace(WELL, proxies=(Proxy(**{**settings, "trouble": "", **changes}),))  # type: ignore[arg-type]


def port(number: int, error: str | None, protocol: str = "tcp", address: str = "0.0.0.0") -> Examined:
    described = {
        "container": "web", "protocol": protocol, "address": address, "port": number,
        "container_port": 80, "error": error,
    }  # fmt: skip
    return running_with(ports=(described,))


def on_a_mac(facts: Examined) -> Examined:
    (state,) = facts.machines
    return replace(mac(), machines=(replace(state, spec=replace(SPEC, driver="vz", architecture="aarch64")),))


def running_with(**changes: object) -> Examined:
    facts = running()
    return replace(facts, machines=(replace(facts.machines[0], **changes),))  # type: ignore[arg-type]


PROVOKED: dict[str, tuple[str, str, Examined]] = {
    "riscv": ("no-driver", "problem", host(machine="riscv64")),
    "mac without programs": ("tool-missing", "problem", mac(tools=())),
    "group of programs": (
        "tool-missing",
        "problem",
        replace(WELL, tools=(ToolTrouble(group="docker", problems="docker was not found", fix="apt"),)),
    ),
    "old vfkit": ("tool-too-old", "problem", mac(tools=(replace(VFKIT, says="vfkit version: 0.5.1"),))),
    "vfkit that says nothing": ("tool-broken", "problem", mac(tools=(replace(VFKIT, says=""),))),
    "unsigned vfkit": ("tool-unsigned", "problem", mac(tools=(replace(VFKIT, signed=False),))),
    "unsigned qemu beside a good vfkit": (
        "tool-unsigned",
        "warning",
        mac(
            tools=(
                VFKIT,
                HostTool(name="qemu-system-aarch64", path="/b/q", says="QEMU emulator version 10.2.2"),
            )
        ),
    ),
    "old macOS": ("macos-too-old", "problem", mac(os_version="12.6")),
    "mac in a virtual machine": ("virtualization-unavailable", "problem", mac(hv_support=False)),
    "no kvm": ("kvm-absent", "warning", host(kvm="absent", kvm_works=None)),
    "kvm forbidden": ("kvm-forbidden", "warning", host(kvm="forbidden", kvm_works=None, kvm_group="kvm")),
    "kvm hangs": ("kvm-unusable", "warning", host(kvm_works=False, kvm_reason="nothing came within 5 s")),
    "small shm": ("memory-place", "warning", host(memory_places=())),
    "clock": ("host-clock", "problem", replace(WELL, now=NOTHING_OLDER - 1)),
    "clock of a mac": ("host-clock", "problem", replace(mac(), now=0.0)),
    "no landlock": ("landlock-missing", "warning", held(landlock=0, lsm=("capability", "yama"))),
    "landlock without tcp": ("landlock-old", "warning", held(landlock=3)),
    "landlock without signals": ("landlock-old", "warning", held(landlock=5)),
    "no seccomp": ("seccomp-missing", "warning", held(seccomp=False)),
    "no seccomp on arm64": (
        "seccomp-missing",
        "warning",
        replace(host(machine="aarch64"), guards=replace(GUARDS, seccomp=False)),
    ),
    "no namespaces": (
        "namespaces-missing",
        "warning",
        held(namespaces=False, barrier="user.max_user_namespaces=15000"),
    ),
    "no namespaces in a container": ("namespaces-missing", "warning", held(namespaces=False)),
    "config": ("config-damaged", "problem", replace(WELL, config_trouble="unknown setting 'dokcer'")),
    "foreign": ("home-foreign", "problem", home(owned=False)),
    "unwritable": ("home-unwritable", "problem", home(writable=False, path="/home", exists=False)),
    "noexec": ("home-noexec", "problem", home(noexec=True)),
    "no sockets": ("home-no-sockets", "problem", home(sockets=False)),
    "no locks": ("home-no-locks", "problem", home(locks=False)),
    "no locks in the cache": ("home-no-locks", "problem", home("COVE_CACHE", locks=False)),
    "no links": ("home-no-links", "problem", home(links=False)),
    "no modes": ("home-no-modes", "problem", home(modes=False, kind="vfat")),
    "not sparse": ("home-no-sparse", "warning", home(sparse=False)),
    "case": ("home-case-insensitive", "warning", home(case_sensitive=False)),
    "nfs": ("home-remote", "warning", home(kind="nfs4")),
    "long": ("socket-path-long", "problem", replace(WELL, socket_too_long="/x" * 60)),
    "full": ("disk-full", "problem", home(free=2**28)),
    "nearly full": ("disk-low", "warning", home(free=2**31)),
    "no hosts file": ("host-file-missing", "problem", names(missing=("/etc/hosts",))),
    "no server": ("dns-none", "warning", names(servers=())),
    "no server answers": ("dns-silent", "problem", names(servers=("192.0.2.53",), silent=("192.0.2.53",))),
    "one of two answers": ("dns-silent", "warning", names(silent=("192.0.2.54",))),
    "archive": ("archive-unreachable", "problem", replace(WELL, archive_trouble="no route to host")),
    "no url": ("proxy-malformed", "problem", proxy(url="p p", address="")),
    "no url in config.yml": (
        "proxy-malformed",
        "problem",
        proxy(variable="proxies: https-proxy", url="p p", address=""),
    ),
    "dead proxy": ("proxy-unreachable", "problem", proxy(trouble="Connection refused")),
    "dead proxy in config.yml": (
        "proxy-unreachable",
        "problem",
        proxy(variable="proxies: https-proxy", trouble="Connection refused"),
    ),
    "dead proxy here": (
        "proxy-unreachable",
        "problem",
        proxy(address="127.0.0.1:1", loopback=True, trouble="Connection refused"),
    ),
    "docker host": ("docker-host-stale", "problem", clients(docker_host="/m/dev/docker.sock")),
    "context": ("context-stale", "warning", clients(stale_contexts={"cove-old": False})),
    "context in use": ("context-stale", "problem", clients(stale_contexts={"cove-old": True})),
    "context that is not there": (
        "context-missing",
        "problem",
        clients(context_missing="colima"),
    ),
    "DOCKER_CONTEXT that is not there": (
        "context-missing",
        "problem",
        clients(context_missing="colima", context_variable=True),
    ),
    "system socket": ("system-socket-stale", "warning", clients(system_socket="/h/m/dev/docker.sock")),
    "helper on a mac": (
        "credential-helper-missing",
        "problem",
        replace(mac(), clients=clients(helpers_missing=("docker-credential-osxkeychain",)).clients),
    ),
    "port of a mac": (
        "port-taken",
        "problem",
        on_a_mac(port(5000, "Address already in use")),
    ),
    "low port of a mac": (
        "port-low",
        "problem",
        on_a_mac(port(80, "Permission denied", address="127.0.0.1")),
    ),
    "docker's configuration": ("docker-config-damaged", "problem", clients(config_trouble="not JSON")),
    "helper": (
        "credential-helper-missing",
        "problem",
        clients(helpers_missing=("docker-credential-desktop",)),
    ),
    "damaged": ("machine-damaged", "problem", machine(spec=None, damage="driver is missing")),
    "remnant": ("machine-remnant", "warning", machine(spec=None, remnant=("data.img", "lock"))),
    "failed": ("machine-failed", "warning", machine(state="failed", reason="no kernel")),
    "leftovers": ("machine-leftovers", "problem", machine(state="failed", leftovers=("gvproxy 4711",))),
    "driver": (
        "machine-driver",
        "problem",
        machine(spec=replace(SPEC, driver="vz"), state="stopped", started=True),
    ),
    "lost disk": ("data-disk-missing", "problem", machine(started=True, has_disk=False)),
    "share": ("share-missing", "problem", machine(shares_missing=("/home/ann/old work",))),
    "port": ("port-taken", "problem", port(8080, "Address already in use")),
    "udp port": ("port-taken", "problem", port(53, "Address already in use", "udp")),
    "low port": ("port-low", "problem", port(80, "Permission denied")),
    "supervisor": ("supervisor-silent", "problem", running(supervisor="timed out")),
    "agent": ("agent-silent", "problem", running(agent="timed out", clock=None, disk_used=None)),
    "engine": ("engine-silent", "problem", running(engine="timed out")),
    "clock behind": ("guest-clock", "warning", running(clock=-3600.0)),
    "clock ahead": ("guest-clock", "warning", running(clock=2.5)),
    "full disk": ("guest-disk-full", "warning", running(disk_used=0.99)),
    "autostart": (
        "autostart-stale",
        "warning",
        replace(WELL, autostart_stale={"old": "/u/cove-old.service"}),
    ),
}


def only(facts: Examined) -> Finding:
    (finding,) = set(examine(facts).findings)
    return finding


@pytest.mark.parametrize("facts", [WELL, machine(), running(), proxy(), mac()], ids=str)
def test_nothing_is_found_where_nothing_is_wrong(facts: Examined) -> None:
    found = examine(facts)
    assert found.findings == ()
    assert found.problems == 0
    assert report(found) == "Nothing is wrong here."


@pytest.mark.parametrize(("id_", "severity", "facts"), PROVOKED.values(), ids=PROVOKED)
def test_each_trouble_is_found(id_: str, severity: str, facts: Examined) -> None:
    findings = examine(facts).findings
    assert {(finding.id, finding.severity) for finding in findings} >= {(id_, severity)}
    assert all(finding.what and finding.why and finding.fix for finding in findings)


def test_every_finding_there_is_can_be_provoked() -> None:
    assert {id_ for id_, _, _ in PROVOKED.values()} == set(CHECKS)
    assert set(NETWORK) < set(CHECKS)


def test_all_words(golden: Callable[[str, str], None]) -> None:
    texts = [f"# {name}\n{report(examine(facts))}\n" for name, (_, _, facts) in PROVOKED.items()]
    golden("doctor/findings.txt", "\n".join(texts))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_recorded_host(path: Path, golden: Callable[[str, str], None]) -> None:
    facts = replace(WELL, host=HostFacts.from_dict(json.loads(path.read_text())))
    golden(f"hosts/{path.stem}.doctor", report(examine(facts)) + "\n")


def test_the_page_names_every_finding() -> None:
    page = (ROOT / "docs/doctor.md").read_text()
    table = "".join(f"| `{id_}` | {about} |\n" for id_, about in CHECKS.items())
    assert page.endswith(f"| id | what it says |\n|---|---|\n{table}")


def test_what_was_not_looked_at_is_said() -> None:
    unasked = replace(WELL, names=replace(WELL.names, silent=None), archive_trouble=None)
    assert set(examine(unasked).skipped) == set(NETWORK)
    remote = replace(unasked, proxies=proxy(trouble=None).proxies)
    assert set(examine(remote).skipped) == {*NETWORK, "proxy-unreachable"}
    assert set(examine(host(kvm_works=None)).skipped) == {"kvm-unusable"}
    assert "Not looked at: dns-silent (it asks the network: --network)" in report(examine(unasked))


def test_problems_come_first_and_nothing_twice() -> None:
    facts = replace(
        home(case_sensitive=False, locks=False), names=Names(servers=(), missing=("/etc/hosts",), silent=())
    )
    found = examine(replace(facts, proxies=(*proxy(trouble="no").proxies, *proxy(trouble="no").proxies)))
    assert [finding.severity for finding in found.findings] == ["problem"] * 3 + ["warning"] * 2
    assert found.to_dict()["problems"] == found.problems == 3
    assert found.to_dict()["warnings"] == 2


@pytest.mark.parametrize(
    ("flags", "fix"),
    [
        (("vmx",), "sudo modprobe kvm_intel"),
        (("hypervisor", "svm"), "sudo modprobe kvm_amd"),
        (("hypervisor",), "nested virtualization"),
        ((), "firmware"),
    ],
)
def test_the_way_to_kvm_depends_on_the_processor(flags: tuple[str, ...], fix: str) -> None:
    assert fix in only(host(kvm="absent", kvm_works=None, cpu_flags=flags)).fix


def test_who_may_open_kvm() -> None:
    assert "usermod -aG kvm" in only(host(kvm="forbidden", kvm_works=None, kvm_group="kvm")).fix
    assert "setfacl" in only(host(kvm="forbidden", kvm_works=None, kvm_group="root")).fix


def test_a_cache_need_not_be_able_to_do_what_only_machines_need() -> None:
    assert examine(home("COVE_CACHE", sockets=False, modes=False, sparse=False)).findings == ()


def test_a_mac_may_have_a_file_system_that_does_not_tell_case() -> None:
    assert examine(replace(mac(), places=home(case_sensitive=False).places)).findings == ()
