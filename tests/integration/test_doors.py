# SPDX-License-Identifier: Apache-2.0
"""What holds even against the root of a guest, and against other users of the host (SECURITY.md).

A privileged container is root in the guest. It may speak to gvproxy's control API, and ask User-Mode Linux for the
host's files. What it gets is what the bounds of those processes leave (``src/cove/machine/bounds.py``).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cove.system import seccomp
from cove.system.confine import landlock_abi
from tests.integration.world import BUSYBOX, Home, Machine

WIRE = ("nsenter", "--net=/run/cove/wire")
ASK = r"""
body=$(cat)
printf 'POST /services/forwarder/%s HTTP/1.0\r\nHost: gvproxy\r\nContent-Length: %s\r\n\r\n%s' "$0" "${#body}" "$body" |
    nc -w 10 192.168.127.1 80
"""

sealing = pytest.mark.skipif(not seccomp.available(), reason="this host's kernel cannot")
landlocked = pytest.mark.skipif(landlock_abi() == 0, reason="this host's kernel has no Landlock")


def ask_gvproxy(machine: Machine, what: str, **request: str) -> str:
    """The answer of gvproxy's control API to the guest's root."""
    body = json.dumps(request).encode()
    return machine.shell(*WIRE, "sh", "-c", ASK, what, stdin=body).stdout.decode()


@pytest.fixture
def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def secret(cache: Path) -> Iterator[Path]:
    """A file that every user of the host may read, outside of all shares."""
    folder = Path("/tmp/cove-it-secret")
    folder.mkdir(exist_ok=True)
    found = folder / "secret"
    found.write_text("a secret of the host\n")
    folder.chmod(0o777)
    yield found
    assert [path.name for path in folder.iterdir()] == ["secret"]
    assert found.read_text() == "a secret of the host\n"
    found.unlink()
    folder.rmdir()


@sealing
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_guests_root_cannot_make_gvproxy_listen(machine: Machine, protocol: str, free_port: int) -> None:
    forwards = ask_gvproxy(
        machine, "all"
    )  # it answers, and refuses a POST with what it takes for an unknown path
    assert forwards.startswith("HTTP/1.0 ")
    for address in ("127.0.0.1", "0.0.0.0"):
        said = ask_gvproxy(
            machine, "expose", local=f"{address}:{free_port}", remote="192.168.127.2:80", protocol=protocol
        )
        assert "500 Internal Server Error" in said
        assert "function not implemented" in said
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(type=kind) as ours:
        ours.bind(("0.0.0.0", free_port))  # it is free still


@sealing
def test_the_guests_root_cannot_make_or_remove_files_through_gvproxy(machine: Machine, secret: Path) -> None:
    net = Path(machine.inspect()["folder"]) / "net"
    before = sorted(path.name for path in net.iterdir())
    for target in (
        net / "new.sock",
        net / "relay.sock",
        net / "api.sock",
        secret,
        secret.parent / "new.sock",
    ):
        said = ask_gvproxy(
            machine, "expose", local=str(target), remote="tcp://192.168.127.2:80", protocol="unix"
        )
        assert " 500 " in said, said
    assert sorted(path.name for path in net.iterdir()) == before
    assert machine.docker("version").returncode == 0


def test_gvproxy_reads_no_file_for_the_guests_root(machine: Machine, secret: Path) -> None:
    """It can be told to take a key for ssh from a file; what came of it would be in its answer or log."""
    local = Path(machine.inspect()["folder"]) / "net" / "new.sock"
    remote = f"ssh-tunnel://x@192.168.127.2:22/run/x.sock?key={secret}"
    said = ask_gvproxy(machine, "expose", local=str(local), remote=remote, protocol="unix")
    assert " 500 " in said
    log = (Path(machine.inspect()["folder"]) / "gvproxy.log").read_text()
    assert "a secret" not in said + log


@landlocked
@pytest.mark.parametrize(
    "folder", ["/", "/etc", "/root", "/home", "/tmp", "/tmp/cove-it-secret", "COVE_HOME", "MACHINE"]
)
def test_a_privileged_container_cannot_mount_the_hosts_files(uml: Machine, secret: Path, folder: str) -> None:
    """User-Mode Linux has a file system for that."""
    places = {"COVE_HOME": str(uml.home.root), "MACHINE": uml.inspect()["folder"]}
    host = places.get(folder, folder)
    script = f"""
        mkdir /h && mount -t hostfs none /h -o {host} 2>/dev/null
        ls -A /h 2>/dev/null | head
        cat /h/secret /h/{secret} /h/cove-it-secret/secret /h/passwd /h/machine.json 2>/dev/null
        echo x 2>/dev/null > /h/new
        mkdir /h/new-folder 2>/dev/null
        echo tried
    """
    assert uml.sh(script, "--privileged").split() == ["tried"]


@landlocked
def test_what_a_privileged_container_can_have_is_the_vmms_own_folder(uml: Machine) -> None:
    """The other side of the test before: with it hostfs works, so that one is not blind."""
    vm = Path(uml.inspect()["folder"]) / "vm"
    script = f"mkdir /h && mount -t hostfs none /h -o {vm} && ls /h"
    assert uml.sh(script, "--privileged").split() == ["u"]


def test_a_privileged_container_reaches_no_monitor(machine: Machine) -> None:
    """QMP, mconsole, share daemons and gvproxy's own sockets are unix sockets of the host; the guest has none of it."""
    names = "qmp|mconsole|frames|api.sock|cove.sock|fs/"
    script = f"cat /proc/net/unix /proc/1/net/unix | awk '{{print $8}}' | grep -E '{names}' || true"
    options = ("--privileged", "--network", "host", "--pid", "host")
    assert machine.sh(script, *options) == ""


def test_the_children_have_given_up_privileges(machine: Machine) -> None:
    processes = machine.processes()
    checked = {name for name in processes if name != "supervisor"}
    assert {"gvproxy", "vmm"} <= checked
    for name in checked:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{processes[name]}/status").read_text().splitlines()
        )
        assert status["NoNewPrivs"].strip() == "1", name
        if seccomp.available():
            assert status["Seccomp"].strip() == "2", name
    log = (Path(machine.inspect()["folder"]) / "supervisor.log").read_text()
    assert "cannot be sealed" not in log


KINDS = {
    "bridge": (),
    "host": ("--network", "host"),
    "privileged": ("--privileged",),
    "everything": ("--privileged", "--network", "host", "--pid", "host", "--ipc", "host", "-v", "/dev:/dev"),
}
"""Containers by what they are given; the last one is as much as the guest's root."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_door_of_the_host_can_be_seen_from_a_container(machine: Machine, kind: str) -> None:
    """Of engine API, agent, supervisor, gvproxy, monitor, console and share daemons nothing is there that could be
    opened: no socket in a file system, no serial port, no device that leads to the host but those of the guest."""
    found = machine.sh(
        """find / -xdev -type s 2>/dev/null
        ls -d /dev/hvc* /dev/vport* /dev/virtio-ports /dev/vhost* /dev/vsock /dev/kvm /dev/fuse /dev/mem /dev/port \\
            /run/docker.sock /var/run/docker.sock /run/cove /run/containerd 2>/dev/null; true""",
        *KINDS[kind],
    ).split()
    allowed = (
        {"/dev/fuse", "/dev/mem", "/dev/port", "/dev/vsock"}
        if KINDS[kind][:1] == ("--privileged",)
        else set()
    )
    assert set(found) <= allowed
    if "--privileged" not in KINDS[kind]:
        devices = machine.sh("find /dev -type c -o -type b", *KINDS[kind]).split()
        # docker's own; a serial port or disk would be another
        own = {"console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"}
        assert {name for name in devices if not name.startswith("/dev/pts/")} <= {
            f"/dev/{name}" for name in own
        }


def test_what_root_of_the_guest_says_on_the_console_ends_nothing(uml: Machine) -> None:
    """It can write there what the guest's own start would, its failure included; the machine runs on."""
    before = uml.inspect()
    script = "for w in 'cove-failed x' 'cove-stage engine 1' 'cove-stage nonsense' 'cove-failed'; do echo $w; done > /c"
    uml.sh(script, "--privileged", "-v", "/dev/console:/c")
    uml.docker("version")
    after = uml.inspect()
    assert (after["status"], after["processes"]) == ("running", before["processes"])


OTHER = """
import os, socket, sys
from pathlib import Path
os.setgroups([]); os.setgid(65534); os.setuid(65534)
opened = []
for name in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as client:
            try:
                client.connect(name)
                opened.append(name)
            except OSError:
                pass
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
        try:
            os.close(os.open(name, flags))
            opened.append(name)
        except OSError:
            pass
print(sorted(set(opened)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_host_reaches_nothing(machine: Machine, secret: Path) -> None:
    """Not one socket or file: engine, agent, supervisor, gvproxy, monitor, console, shares, disk, memory."""
    folder = Path(machine.inspect()["folder"])
    files = sorted(str(path) for path in folder.rglob("*"))
    names = {Path(name).name for name in files}
    expected = {"docker.sock", "cove.sock", "agent.sock", "relay.sock", "api.sock", "frames.sock", "0.sock"}
    expected |= {"console.log", "data.img", "mconsole" if machine.name == "uml" else "qmp.sock"}
    assert expected <= names
    done = subprocess.run(
        [sys.executable, "-c", OTHER, str(secret), *files],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"[{str(secret)!r}]\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_host_sees_no_memory(machine: Machine, secret: Path) -> None:
    """What the VMM has open for writing, the guest's memory above all: no way leads to it, not over /proc either."""
    vmm = Path(f"/proc/{machine.processes()['vmm']}")
    written = []
    for handle in (vmm / "fd").iterdir():
        target = handle.readlink()
        flags = int((vmm / "fdinfo" / handle.name).read_text().split("flags:")[1].split()[0], 8)
        if flags & os.O_RDWR and not str(target).startswith(("/dev/null", "socket:", "pipe:", "anon_inode:")):
            written += [str(handle), str(target).removesuffix(" (deleted)")]
    assert any("data.img" in name for name in written)
    done = subprocess.run(
        [sys.executable, "-c", OTHER, str(secret), *written],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"[{str(secret)!r}]\n"


def test_a_container_with_a_shared_home_finds_no_socket_of_coves(home: Home) -> None:
    """The home may be shared, and Cove's own folder lie in it: it is empty for the guest."""
    shared = home.root / "shared"
    shared.mkdir()
    own = Home(shared / "cove", home.cache)
    own.root.mkdir(mode=0o700)
    try:
        own.cove("create", "uml", "--driver", "uml", "--mount", str(shared), "--start")
        machine = own.machine("uml")
        (shared / "file").write_text("shared")
        found = machine.sh("find /s | sort; cat /s/file", "-v", f"{shared}:/s").split()
        assert found == ["/s", "/s/cove", "/s/file", "shared"]
        refused = machine.run("--rm", "-v", f"{own.root}:/c", BUSYBOX, "ls", code=None)
        assert refused.returncode != 0
    finally:
        own.close()
