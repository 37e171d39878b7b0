# SPDX-License-Identifier: Apache-2.0
"""Systems in LinuxKit's layout out of Cove's own images: the examples, and what runtime.json can say."""

from __future__ import annotations

import re
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_boot import free_port
from tests.integration.world import BUSYBOX, Home, Machine, Terminal, wait_until
from tests.unit.image.oci.layouts import LayoutMaker, layer_tar, member

EXAMPLES = Path(__file__).parents[2] / "examples/linuxkit"
SLOW = 250.0
"""Seconds until a system is up that is emulated on a busy host; the first one makes the images."""

PROMPT = r"\(ns: getty\) linuxkit-[0-9a-f]{12}:~# "


@pytest.fixture(params=["uml", "qemu"])
def driver(request: pytest.FixtureRequest) -> list[str]:
    return ["--driver", "uml"] if request.param == "uml" else ["--driver", "qemu", "--accel", "tcg"]


@contextmanager
def booted(home: Home, yml: Path, *more: str) -> Iterator[Terminal]:
    with home.terminal("boot", str(yml), *more) as terminal:
        yield terminal


def ask(terminal: Terminal, command: str, answer: str, *, deadline: float = 120.0) -> None:
    """Type a command; ``answer`` has to come before the next prompt, and is not what is echoed."""
    terminal.type(f"{command}; echo so-$((40+2))\r")
    found = terminal.expect(r"so-42", deadline=deadline)
    said = found.string[: found.start()]
    assert re.search(answer, said), said


def end(terminal: Terminal) -> None:
    terminal.type("poweroff\r")
    assert terminal.wait(SLOW) == 0


def test_minimal(home: Home, driver: list[str]) -> None:
    with booted(home, EXAMPLES / "minimal.yml", *driver) as terminal:
        terminal.expect(PROMPT, deadline=SLOW)
        ask(terminal, "cat /etc/resolv.conf", "nameserver 192.168.127.1")
        ask(terminal, "ctr -n services.linuxkit tasks ls", r"getty +\d+ +RUNNING")
        ask(terminal, "grep ' / ' /proc/1/mounts | tail -n 1", r"\bro\b")
        ask(terminal, "cat /proc/1/root/sys/fs/cgroup/cgroup.subtree_control", "memory")
        end(terminal)


def test_a_web_server_on_a_published_port(home: Home, driver: list[str]) -> None:
    port = free_port()
    with booted(home, EXAMPLES / "web.yml", *driver, "--publish", f"{port}:80") as terminal:
        terminal.expect("A web server in a system of its own", deadline=SLOW)
        assert b"Welcome to nginx" in page(port)


def page(port: int) -> bytes:
    """What a web server says, once it is up."""
    got: list[bytes] = []

    def ask_it() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                got.append(answer.read())
        except OSError:
            return False
        return True

    wait_until(ask_it, "the web server", deadline=SLOW)
    return got[-1]


def test_a_static_site_out_of_an_image(home: Home, driver: list[str], tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "layout")
    layout.image("docker.io/example/site:1", layer_tar(member("index.html", b"a site of its own\n")))
    port = free_port()
    more = ["--publish", f"{port}:80", "--images", str(tmp_path / "layout")]
    with booted(home, EXAMPLES / "site.yml", *driver, *more):
        assert page(port) == b"a site of its own\n"


def test_docker_runs_containers(home: Home, driver: list[str], tmp_path: Path) -> None:
    more = ["--memory", "1536", "--disk", f"{tmp_path / 'd.img'},size=2G,format=raw"]
    with booted(home, EXAMPLES / "docker.yml", *driver, *more) as terminal:
        terminal.expect("has the file system ext4", deadline=SLOW)
        terminal.expect(PROMPT, deadline=SLOW)
        inside = "ctr -n services.linuxkit tasks exec --exec-id $(cat /proc/sys/kernel/random/uuid) docker"
        ask(
            terminal,
            f"until {inside} docker info; do sleep 1; done",
            "Storage Driver: overlay2",
            deadline=SLOW,
        )
        ask(
            terminal,
            f"{inside} sh -c 'tar c -C /usr/bin busybox | docker import - bb; "
            "docker run --rm bb /busybox echo in a container of its own | tr a-z A-Z'",
            "IN A CONTAINER OF ITS OWN",
            deadline=SLOW,
        )
        ask(terminal, "grep ' /var/lib/docker ' /proc/1/mounts", "ext4")
        end(terminal)


def test_parameters_disk_and_swap(home: Home, driver: list[str], tmp_path: Path) -> None:
    disk = ["--disk", f"{tmp_path / 'd.img'},size=256M,format=raw"]
    with booted(home, EXAMPLES / "disk.yml", *driver, *disk) as terminal:
        terminal.expect("has the file system ext4", deadline=SLOW)
        terminal.expect(PROMPT, deadline=SLOW)
        ask(terminal, "cat /proc/sys/vm/swappiness /proc/sys/net/ipv4/ip_forward", r"10\s+1\s")
        ask(terminal, "cat /proc/swaps", r"/swap +file\s+655\d\d")
        ask(terminal, "echo kept > /proc/1/root/var/external/kept", "")
        end(terminal)
    with booted(home, EXAMPLES / "disk.yml", *driver, *disk) as terminal:
        terminal.expect("no disk is empty", deadline=SLOW)
        terminal.expect(PROMPT, deadline=SLOW)
        ask(terminal, "cat /proc/1/root/var/external/kept", "kept")
        ask(terminal, "cat /proc/swaps", r"/swap +file")
        end(terminal)


SYSTEM = """
kernel: {image: cove.internal/kernel, cmdline: quiet}
init: [cove.internal/init, cove.internal/runc, cove.internal/containerd]
files: [{path: etc/hostname, contents: linuxkit-0123456789ab, mode: "0644"}]
volumes:
  - {name: rw, image: tests/box:1}
  - {name: ro, image: tests/box:1, readonly: true}
  - {name: blank}
onboot:
  - &box
    name: first
    image: cove.internal/busybox
    capabilities: [all]
    binds: ["/run:/run", "/dev:/dev"]
    command: [sh, -c, "echo 1 >> /run/order; echo out; echo err >&2"]
  - {<<: *box, name: fails, command: [sh, -c, "echo 2 >> /run/order; exit 3"]}
  - {<<: *box, name: third, command: [sh, -c, "echo 3 >> /run/order"]}
  - <<: *box
    name: runtime
    cgroupsPath: group/member
    binds: ["/run:/run", "/var/scratch:/scratch", "/sys/fs/cgroup:/cgroup"]
    command: [sh, -c, "df -k /scratch; ls -d /inside; cat /proc/self/cgroup; ls -d /cgroup/group /cgroup/other"]
    runtime:
      mkdir: [/var/made, inside]
      cgroups: [group, other]
      mounts:
        - {type: tmpfs, source: tmpfs, destination: /var/scratch, options: [size=1m, nosuid]}
        - {type: bind, source: /etc, destination: /var/etc, options: [bind, ro]}
  - <<: *box
    name: spaces
    net: new
    command: [ip, link]
    runtime:
      bindNS: {net: /run/netns/box, uts: /run/utsns/box}
      interfaces:
        - {name: left, add: veth, peer: right}
        - {name: outer, add: dummy, createInRoot: true}
        - {name: inner, add: dummy}
  - {<<: *box, name: joins, net: /run/netns/box, command: [ip, link]}
  - name: volumes
    image: cove.internal/busybox
    binds: ["rw:/rw", "ro:/ro:ro", "blank:/blank"]
    command: [sh, -c, "cat /rw/file /ro/file; echo new > /rw/file; echo new > /blank/file; echo new > /ro/file"]
  - {name: reads, image: cove.internal/busybox, binds: ["rw:/rw", "blank:/blank"],
     command: [cat, /rw/file, /blank/file]}
  - {name: limits, image: cove.internal/busybox, resources: {pids: {limit: 7}, memory: {limit: 33554432}},
     binds: ["/sys/fs/cgroup:/home:ro"], cgroupsPath: limits, rlimits: ["nofile,100,200"], hostname: named,
     readonly: true, noNewPrivileges: true, sysctl: {net.ipv4.ip_forward: "1"}, net: new, tmpfs: ["/tmp:size=64k"],
     command: [sh, -c, "cat /home/limits/pids.max /home/limits/memory.max; ulimit -n; hostname; touch /x;
       cat /proc/sys/net/ipv4/ip_forward; df -k /tmp | tail -n 1; grep NoNewPrivs /proc/self/status"], uts: new}
onshutdown:
  - {name: bye, image: cove.internal/busybox, command: [echo, bye from onshutdown]}
services:
  - {name: getty, image: cove.internal/getty, env: [INSECURE=true]}
  - {name: always, image: cove.internal/busybox, binds: ["/run:/run"],
     command: [sh, -c, "echo again >> /run/always; echo out; echo err >&2; exit 4"]}
  - {name: once, image: cove.internal/busybox, binds: ["/run:/run"], annotations: {cove.internal/restart: "no"},
     command: [sh, -c, "echo once >> /run/once"]}
  - {name: fails, image: cove.internal/busybox, binds: ["/run:/run"], annotations: {cove.internal/restart: on-failure},
     command: [sh, -c, "echo try >> /run/fails; [ $(grep -c try /run/fails) -ge 3 ]"]}
  - {name: spaced, image: cove.internal/busybox, command: [sleep, "100000"], runtime: {namespace: mine}}
"""


def test_everything_that_runtime_json_can_say(home: Home, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "layout")
    layout.image("docker.io/tests/box:1", layer_tar(member("file", b"of the volume\n")))
    (tmp_path / "system.yml").write_text(SYSTEM)
    more = ["--driver", "uml", "--networking", "none", "--images", str(tmp_path / "layout")]
    with booted(home, tmp_path / "system.yml", *more) as terminal:
        terminal.expect("onboot: 001-fails failed with 3", deadline=SLOW)
        terminal.expect("can't create /ro/file: Read-only file system")
        terminal.expect(PROMPT, deadline=SLOW)
        logs = "cat /run/log/onboot/onboot."
        ask(terminal, "cat /run/order", r"1\s+2\s+3\s")
        ask(terminal, f"{logs}000-first.out.log", r"out\s")
        ask(terminal, f"{logs}000-first.log /var/log/onboot/onboot.000-first.log", r"err\s+err\s")
        ask(
            terminal,
            f"{logs}003-runtime.out.log",
            r"1024 .*/scratch\s+/inside\s+0::/group/member\s+/cgroup/group\s+/cgroup/other",
        )
        ask(
            terminal,
            "ls -d /proc/1/root/var/made; grep /var/etc /proc/1/mounts",
            r"/var/made\s+\S+ /var/etc \S+ ro\b",
        )
        ask(terminal, f"{logs}004-spaces.out.log", r"(?s)inner.*left.*outer")
        ask(terminal, f"{logs}005-joins.out.log", r"(?s)inner.*left.*outer")
        ask(terminal, "ls -d /sys/class/net/*", r"(?s)(?!.*left).*net/right\s")
        ask(terminal, f"{logs}006-volumes.out.log", r"of the volume\s+of the volume\s")
        ask(terminal, f"{logs}007-reads.out.log", r"new\s+new\s")
        ask(
            terminal,
            f"{logs}008-limits.out.log",
            r"7\s+33554432\s+100\s+named\s+1\s+tmpfs +64 .*\s+NoNewPrivs:\s+1",
        )
        ask(terminal, f"{logs}008-limits.log", "touch: /x: Read-only file system")
        ask(
            terminal,
            "until [ $(grep -c again /run/always) -ge 3 ]; do usleep 200000; done; cat /var/log/always.out.log",
            r"out\s+out\s",
        )
        ask(terminal, "cat /var/log/always.log", r"err\s+err\s")
        ask(
            terminal,
            "until [ $(grep -c try /run/fails) -ge 3 ]; do usleep 200000; done; cat /run/fails /run/once",
            r"(try\s+){3}once\s+$",
        )
        ask(terminal, "ctr -n mine tasks ls", r"spaced +\d+ +RUNNING")
        service = "nsenter -t 1 -m -u -i -n -p /usr/bin/service"
        ask(
            terminal,
            f"{service} status spaced; {service} stop spaced; {service} status spaced",
            r"(?s)RUNNING.*STOPPED",
        )
        ask(
            terminal,
            f"{service} start spaced; until {service} status spaced | grep RUN; do usleep 200000; done",
            "RUNNING",
        )
        terminal.type("poweroff\r")
        terminal.expect("bye from onshutdown")
        assert terminal.wait(SLOW) == 0


def test_images_of_an_engine_can_be_built_of(uml: Machine, tmp_path: Path) -> None:
    uml.docker("pull", BUSYBOX)
    uml.docker("tag", BUSYBOX, "me/tool:1")
    (tmp_path / "x.yml").write_text("init: [me/tool:1]\n")
    uml.home.env["DOCKER_HOST"] = uml.socket
    try:
        uml.home.cove("build", "--docker", "-f", "tar", "x.yml", cwd=tmp_path)
    finally:
        del uml.home.env["DOCKER_HOST"]
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getmember("usr/bin/busybox").pax_headers["LINUXKIT.source"] == "docker.io/me/tool:1"


METADATA = """
kernel: {image: cove.internal/kernel, cmdline: quiet}
init: [cove.internal/init, cove.internal/runc]
onboot:
  - {name: metadata, image: cove.internal/metadata, command: [/usr/bin/metadata, cdrom]}
  - name: tells
    image: cove.internal/busybox
    binds: ["/run:/run", "/dev:/dev"]
    command: [sh, -c, "cd /run/config; cat provider; find . -type f | sort; cat foo/bar/baz; stat -c %a ssh/key foo"]
  - {name: file, image: cove.internal/metadata, command: [/usr/bin/metadata, gcp, "file=/run/config/foo/bar/baz"]}
  - {name: plain, image: cove.internal/busybox, binds: ["/run:/run"], command: [cat, /run/config/userdata]}
  - {name: off, image: cove.internal/busybox, pid: host, command: [poweroff, -f], capabilities: [all]}
"""
DATA = """{"ssh": {"entries": {"key": {"perm": "0600", "content": "secret"}}},
"foo": {"perm": "0711", "entries": {"bar": {"entries": {"baz": {"content": "it's $(deep)\\n"}}}}}}"""


def test_metadata_and_user_data(home: Home, driver: list[str], tmp_path: Path) -> None:
    (tmp_path / "m.yml").write_text(METADATA)
    (tmp_path / "data").write_text(DATA)
    more = ["--networking", "none", "--data-file", str(tmp_path / "data")]
    said = (
        home.cove("boot", "m.yml", *driver, *more, cwd=tmp_path, deadline=SLOW)
        .stdout.decode()
        .replace("\r", "")
    )
    assert "cdrom\n./foo/bar/baz\n./provider\n./ssh/key\n./userdata\nit's $(deep)\n600\n711\n" in said
    assert "found by file=/run/config/foo/bar/baz" in said
    assert said.count("it's $(deep)") == 2
