# SPDX-License-Identifier: Apache-2.0
"""Cove's ways into a guest beside the one of Lima, Colima and podman machine: OpenSSH's -L into the very same guest.

sshd runs in the guest's own network, in a container; ssh reaches it through the same gvproxy, handed over as a
connected descriptor, so that nothing but ssh stands between. Both are Debian's, with their default ciphers.
"""

from __future__ import annotations

import http.client
import io
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cove.debian.unpack import extract
from cove.sdk import Machine
from cove.spec.machine import architecture_named
from cove.system.probe import host_machine

if TYPE_CHECKING:
    from bench import Bench

PYTHON_IMAGE = "cove-bench-python"
SSH_IMAGE = "cove-bench-sshd"
MEGABYTES = 200
CONNECTIONS = 200
CALLS = 200
SSH_PORT = 2022
GUEST = "192.168.127.2"

SERVER = """
import socket, sys, threading
def serve(port, handle):
    listener = socket.create_server(("", port), backlog=256)
    while True:
        client, _ = listener.accept()
        if port == 9003:
            handle(client)
        else:
            threading.Thread(target=handle, args=(client,), daemon=True).start()
def source(client):
    block = bytes(1 << 20)
    with client:
        for _ in range(int(sys.argv[1])):
            client.sendall(block)
def sink(client):
    with client:
        while client.recv(1 << 20):
            pass
        client.sendall(b"k")
def greet(client):
    with client:
        client.sendall(b"x")
for port, handle in ((9001, source), (9002, sink)):
    threading.Thread(target=serve, args=(port, handle), daemon=True).start()
serve(9003, greet)
"""

# ssh takes a connected socket from its proxy command, which then ends
PROXY = """
import array, socket, sys
tunnel = socket.socket(socket.AF_UNIX)
tunnel.connect(sys.argv[1])
tunnel.sendall(f"POST /tunnel?ip={sys.argv[2]}&port={sys.argv[3]} HTTP/1.1\\r\\nHost: gvproxy\\r\\n\\r\\n".encode())
said = b""
while len(said) < 2:
    said += tunnel.recv(2 - len(said))
assert said == b"OK", said
out = socket.socket(fileno=1)
out.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [tunnel.fileno()]))])
"""


@dataclass(frozen=True)
class Way:
    """One way to the servers of a container and to the engine.

    Args:
        name: for the table.
        ports: what leads to the source, the sink and the one that greets.
        engine: docker's socket.
    """

    name: str
    ports: tuple[int, int, int]
    engine: Path

    def download(self) -> float:
        """Megabytes a second out of a container."""
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.ports[0])) as client:
            count = 0
            while data := client.recv(1 << 20):
                count += len(data)
        expect(count, MEGABYTES << 20)
        return count / 1e6 / (time.perf_counter() - begun)

    def upload(self) -> float:
        """Megabytes a second into a container."""
        block = bytes(1 << 20)
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.ports[1])) as client:
            for _ in range(MEGABYTES):
                client.sendall(block)
            client.shutdown(socket.SHUT_WR)
            expect(client.recv(1), b"k")
        return MEGABYTES * 1.048576 / (time.perf_counter() - begun)

    def connections(self) -> float:
        """Connections a second, one after the other, each with an answer."""
        begun = time.perf_counter()
        for _ in range(CONNECTIONS):
            with socket.create_connection(("127.0.0.1", self.ports[2])) as client:
                expect(client.recv(1), b"x")
        return CONNECTIONS / (time.perf_counter() - begun)

    def call(self) -> float:
        """Milliseconds of one API call, each over a connection of its own; the median."""
        return self._calls(fresh=True)

    def call_kept(self) -> float:
        """Milliseconds of one API call over a connection that stays; the median."""
        return self._calls(fresh=False)

    def _calls(self, *, fresh: bool) -> float:
        found = []
        engine = _Engine(self.engine)
        for _ in range(CALLS):
            begun = time.perf_counter()
            if fresh:
                engine.close()
            engine.request("GET", "/_ping")
            expect(engine.getresponse().read(), b"OK")
            found.append(1000 * (time.perf_counter() - begun))
        engine.close()
        return statistics.median(found)


class _Engine(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def expect(found: object, wanted: object) -> None:
    """End the benchmark when something else came than should."""
    if found != wanted:
        raise SystemExit(f"{found!r} where {wanted!r} was to come")


@contextmanager
def python_image(bench: Bench) -> Iterator[str]:
    """An image with the guest's own Python."""
    names = ("libc.so.6", "libm.so.6", "libz.so.1", "libexpat.so.1")
    libraries = " ".join(f"usr/lib/x86_64-linux-gnu/{name}" for name in names)
    pack = f"cd / && tar -hc lib64/ld-linux-x86-64.so.2 usr/bin/python3.13 usr/lib/python3.13 {libraries}"
    with tempfile.TemporaryFile() as packed:
        bench.cove("shell", "sh", "-c", pack, stdout=packed.fileno())
        packed.seek(0)
        bench.docker("import", "-", PYTHON_IMAGE, stdin=packed.fileno())
    try:
        yield PYTHON_IMAGE
    finally:
        bench.docker("rmi", "-f", PYTHON_IMAGE)


@contextmanager
def ways(bench: Bench) -> Iterator[tuple[Way, Way]]:
    """Cove's own way and ssh's, to the same container."""
    with ExitStack() as stack:
        image = stack.enter_context(python_image(bench))
        ours = (free_port(), free_port(), free_port())
        published = [
            f"-p=127.0.0.1:{port}:{inner}" for port, inner in zip(ours, (9001, 9002, 9003), strict=True)
        ]
        server = stack.enter_context(
            container(
                bench,
                "cove-bench-server",
                *published,
                image,
                "/usr/bin/python3.13",
                "-c",
                SERVER,
                str(MEGABYTES),
            )
        )
        wait_for(lambda: Way("", ours, Path()).connections() > 0, "the servers in the container")
        theirs = (free_port(), free_port(), free_port())
        engine = stack.enter_context(forwarded(bench, server, theirs))
        yield Way("cove", ours, bench.machine.docker_socket), Way("ssh -L", theirs, engine)


@contextmanager
def container(bench: Bench, name: str, *args: str) -> Iterator[str]:
    """A running container; gives its address on docker's bridge, if it is there."""
    bench.docker("run", "-d", "--name", name, *args)
    try:
        form = "{{.NetworkSettings.IPAddress}}"
        with tempfile.TemporaryFile() as said:
            bench.docker("inspect", "--format", form, name, stdout=said.fileno())
            said.seek(0)
            yield said.read().decode().strip()
    finally:
        bench.docker("rm", "-f", name)


@contextmanager
def forwarded(bench: Bench, server: str, ports: tuple[int, int, int]) -> Iterator[Path]:
    """Ssh's forwards: three ports and docker's socket, whose path is given."""
    folder = Path(tempfile.mkdtemp(prefix="cove-ssh-", dir="/tmp"))
    try:
        with ExitStack() as stack:
            root = unpack(bench.machine, folder / "client", "openssh-client")
            key = folder / "key"
            run(root, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
            stack.enter_context(sshd_image(bench, folder, key.with_suffix(".pub").read_text()))
            # the engine's own socket, in the guest
            mount = ("-v", "/var/run/docker.sock:/var/run/docker.sock")
            stack.enter_context(
                container(
                    bench,
                    "cove-bench-sshd",
                    "--network",
                    "host",
                    *mount,
                    SSH_IMAGE,
                    "/usr/sbin/sshd",
                    "-D",
                    "-e",
                )
            )
            # what answers the gateway is dropped on the wire otherwise
            rule = ("PREROUTING", "-i", "guest", "-p", "tcp", "--sport", str(SSH_PORT), "-j", "ACCEPT")
            wire = ("shell", "nsenter", "--net=/run/cove/wire", "iptables", "-t", "raw")
            bench.cove(*wire, "-I", *rule)
            stack.callback(bench.cove, *wire, "-D", *rule)
            engine = folder / "docker.sock"
            gvproxy = bench.machine.record.paths.gvproxy_socket
            proxy = folder / "proxy"
            proxy.write_text(PROXY)
            forwards = [
                f"-L127.0.0.1:{port}:{server}:{inner}"
                for port, inner in zip(ports, (9001, 9002, 9003), strict=True)
            ]
            options = {
                "ProxyCommand": f"{sys.executable} {proxy} {gvproxy} {GUEST} {SSH_PORT}",
                "ProxyUseFdpass": "yes",
                "StrictHostKeyChecking": "no",
                "UserKnownHostsFile": "/dev/null",
                "ExitOnForwardFailure": "yes",
                "LogLevel": "ERROR",
                "BatchMode": "yes",
            }
            words = [f"-o{name}={value}" for name, value in options.items()]
            control = ("-S", str(folder / "control"))
            wait_for(
                lambda: run(root, "ssh", "-F", "none", "-i", str(key), *words, *control, "-M", "-f", "-N",
                            f"-L{engine}:/var/run/docker.sock", *forwards, "root@guest", check=False),
                "ssh",
            )  # fmt: skip
            stack.callback(run, root, "ssh", "-F", "none", *control, "-O", "exit", "guest", check=False)
            yield engine
    finally:
        shutil.rmtree(folder)


@contextmanager
def sshd_image(bench: Bench, folder: Path, public_key: str) -> Iterator[None]:
    """An image with sshd that lets this key in."""
    # root has to have a shell, though nothing is ever run in it
    root = unpack(bench.machine, folder / "server", "openssh-server", "busybox-static")
    (root / "usr/bin/sh").symlink_to("busybox")
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/ssh/sshd_config": f"Port {SSH_PORT}\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n",
        "root/.ssh/authorized_keys": public_key,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run/sshd").mkdir(parents=True, exist_ok=True, mode=0o755)
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    run(folder / "client", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key))
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(root, ".", filter=_as_root)
        packed.seek(0)
        bench.docker("import", "-", SSH_IMAGE, stdin=packed.fileno())
    try:
        yield
    finally:
        bench.docker("rmi", "-f", SSH_IMAGE)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    return member


def unpack(machine: Machine, into: Path, *names: str) -> Path:
    """Debian packages with all that they depend on, unpacked."""
    workshop = machine.installation.workshop()
    archive = workshop.archive(architecture_named(host_machine()))
    into.mkdir()
    for deb in archive.fetch(archive.resolve(list(names))).values():
        extract(deb, into)
    return into


def run(root: Path, program: str, *args: str, check: bool = True) -> bool:
    """Run a program of an unpacked tree, with the libraries that lie beside it; says whether it succeeded."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    argv = [
        libraries / "ld-linux-x86-64.so.2",
        "--inhibit-cache",
        "--library-path",
        libraries,
        root / "usr/bin" / program,
    ]
    done = subprocess.run([*argv, *args], check=check, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode == 0


def wait_for(look: Callable[[], bool], what: str, deadline: float = 60.0) -> None:
    """Try until it works."""
    end = time.monotonic() + deadline
    while True:
        try:
            if look():
                return
        except (OSError, SystemExit):
            pass
        if time.monotonic() > end:
            raise SystemExit(f"not within {deadline:.0f} s: {what}")
        time.sleep(0.2)


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def large_image(bench: Bench) -> Iterator[Path]:
    """An archive of an image with 200 MB that nothing can compress."""
    name = "cove-bench-large"
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                member = tarfile.TarInfo("data")
                member.size = MEGABYTES * 1_000_000
                tar.addfile(member, io.BytesIO(os.urandom(member.size)))
            packed.seek(0)
            bench.docker("import", "-", name, stdin=packed.fileno())
        bench.docker("save", "-o", archive.name, name)
        bench.docker("rmi", name)
        yield Path(archive.name)


def load(bench: Bench, way: Way, archive: Path) -> float:
    """Megabytes a second of docker load."""
    tool = bench.machine.installation.workshop().toolbox("docker").command("docker")
    env = {**os.environ, **tool.env, "DOCKER_HOST": f"unix://{way.engine}"}
    begun = time.perf_counter()
    subprocess.run(
        [*tool.argv, "load", "-q", "-i", str(archive)], env=env, check=True, stdout=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - begun
    bench.docker("rmi", "cove-bench-large")
    return archive.stat().st_size / 1e6 / seconds
