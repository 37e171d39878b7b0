# SPDX-License-Identifier: Apache-2.0
"""Folders of the host in the guest and its containers: what can be relied on, and what stays out of reach."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cove.system.confine import landlock_abi
from tests.integration.conftest import TIMEOUT
from tests.integration.world import BUSYBOX, COVE, Home, Machine, Result, alive, talk, wait_until

FRESH = 5.0
"""Seconds within which each side sees what the other changed, also in what it holds open; it takes one."""


@dataclass(frozen=True)
class World:
    """A machine whose user has a home of his own, with ``COVE_HOME`` in it, and a container that sees it all."""

    machine: Machine
    user: Path
    read_only: Path

    def sh(self, script: str, *args: str | Path, code: int | None = 0, user: str = "0") -> str:
        """What a script prints in the container; $1, $2... are ``args``."""
        words = ["sh", "-c", f"cd {self.user}; {script}", "sh", *map(str, args)]
        return self.machine.docker("exec", "-u", user, "box", *words, code=code).stdout.decode()

    def run(self, *args: str | Path, code: int | None = 0) -> Result:
        """``cove run --rm``."""
        return self.machine.run("--rm", *map(str, args), code=code)


@pytest.fixture(scope="module", params=["uml", "qemu"])
def world(request: pytest.FixtureRequest, cache: Path) -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="cove-it-", dir="/tmp"))
    user, read_only = folder / "u", folder / "ro"
    user.mkdir()
    read_only.mkdir()
    (read_only / "file").write_text("read me\n")
    home = Home(user / ".cove", cache, {"HOME": str(user)})
    machine = home.machine("m")
    accel = ["--accel", "tcg"] if request.param == "qemu" else []
    try:
        home.cove(
            "create", "m", "--driver", request.param, *accel, "--mount", f"{read_only}:ro", "--start",
            deadline=TIMEOUT,
        )  # fmt: skip
        mounts = [f"-v{user}:{user}", f"-v{read_only}:{read_only}"]
        machine.run("-d", "--init", "--name", "box", *mounts, BUSYBOX, "sleep", "100000")
        yield World(machine, user, read_only)
    finally:
        home.close()
        shutil.rmtree(folder)


def test_what_one_side_writes_the_other_reads(world: World) -> None:
    (world.user / "from-host").write_text("host\n")
    assert world.sh("cat from-host; echo guest > from-guest") == "host\n"
    assert (world.user / "from-guest").read_text() == "guest\n"
    (world.user / "from-host").unlink()
    wait_until(lambda: world.sh("[ -e from-host ] || echo gone"), "the deletion to be seen", deadline=FRESH)
    world.sh("mkdir d; mv from-guest d/moved")
    assert (world.user / "d/moved").read_text() == "guest\n"


def test_a_file_costs_few_requests_to_the_host(world: World) -> None:
    """Opening, and that nobody has it open any more; not that it is being closed. Reads are as long as can be."""
    (world.user / "asked").write_text("x")
    times, script = (
        500,
        "import os, sys\nfor _ in range(int(sys.argv[2])): os.close(os.open(sys.argv[1], os.O_RDONLY))",
    )
    counters = Path(f"/proc/{world.machine.processes()['share-cove1']}/io")

    def answers() -> int:
        """The daemon tells of each answer by a write(2), or of several by one."""
        return int(next(line.split()[1] for line in counters.read_text().splitlines() if "syscw" in line))

    world.machine.shell("python3", "-c", script, str(world.user / "asked"), "1")
    before = answers()
    world.machine.shell("python3", "-c", script, str(world.user / "asked"), str(times))
    assert answers() - before < 2.4 * times
    ahead = world.machine.shell("sh", "-c", "cat /sys/class/bdi/0:*/read_ahead_kb").stdout
    assert set(ahead.split()) == {b"1024"}


def test_files_come_out_as_the_users(world: World) -> None:
    world.sh("echo > owned; mkdir owned.d")
    for path in (world.user / "owned", world.user / "owned.d"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())


def test_the_users_own_number_may_write_and_others_may_not(world: World) -> None:
    mine = f"{os.geteuid()}:{os.getegid()}"
    assert world.sh("echo x > mine && stat -c %u:%g mine", user=mine) == f"{mine}\n"
    assert "denied" in talk(world.machine.docker(
        "exec", "-u", "4711:4711", "box", "touch", world.user / "theirs", code=None
    ))  # fmt: skip


def test_who_is_no_owner_may_do_what_the_mode_lets_others_do(world: World) -> None:
    (world.user / "open").mkdir()
    (world.user / "open").chmod(0o777)
    assert world.sh("echo x > open/theirs && cat open/theirs", user="4711:4711") == "x\n"
    # only root can give files away
    wanted = 4711 if os.geteuid() == 0 else os.geteuid()
    assert (world.user / "open/theirs").stat().st_uid == wanted


def test_chmod_and_chown(world: World) -> None:
    world.sh("echo > owners; chmod 640 owners; chown 33:44 owners")
    found = (world.user / "owners").stat()
    assert found.st_mode & 0o7777 == 0o640
    # only root can give files away; of an ordinary user's chown nothing remains, and it is no error
    wanted = (33, 44) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    assert (found.st_uid, found.st_gid) == wanted
    assert world.sh("stat -c '%u %g' owners") == f"{wanted[0]} {wanted[1]}\n"


def test_a_file_held_open_in_the_container_shows_what_the_host_adds(world: World) -> None:
    log = world.user / "log"
    log.write_text("one\n")
    world.sh("tail -f -n +1 log > followed & sleep 1")
    with log.open("a") as stream:
        stream.write("two\n")
    followed = world.user / "followed"
    wait_until(lambda: followed.read_text() == "one\ntwo\n", "tail -f to see it", deadline=FRESH)


def test_a_single_file_that_is_edited_in_place(world: World) -> None:
    config = world.user / "server.conf"
    config.write_text("a = 1\n")
    world.machine.run("-d", "--init", "--name", "one", "-v", f"{config}:/c:ro", BUSYBOX, "sleep", "1000")

    def seen() -> str:
        return world.machine.docker("exec", "one", "cat", "/c").stdout.decode()

    assert seen() == "a = 1\n"
    config.write_text("a = 1234567\n")
    wait_until(lambda: seen() == "a = 1234567\n", "the edit to be seen", deadline=FRESH)
    refused = world.machine.docker("exec", "one", "sh", "-c", "echo > /c", code=None)
    assert refused.returncode != 0
    world.machine.docker("rm", "-f", "one")


def test_a_read_only_share_cannot_be_written(world: World) -> None:
    assert world.sh("cat $1/file", world.read_only) == "read me\n"
    assert world.sh("echo x > $1/file || rm $1/file || echo refused", world.read_only) == "refused\n"
    # nor by the guest's root, who can mount it once more
    script = f"mount -o remount,rw {world.read_only}; echo x > {world.read_only}/file"
    assert world.machine.shell("sh", "-c", script, code=None).returncode != 0
    assert (world.read_only / "file").read_text() == "read me\n"


def test_a_missing_folder_of_a_share_is_made_as_docker_does(world: World) -> None:
    world.run("-v", f"{world.user}/not/yet:/x", BUSYBOX, "touch", "/x/file")
    assert (world.user / "not/yet/file").stat().st_uid == os.geteuid()


NAMES = [
    "two words", " begins and ends ", "-dash", "Ünïcödé", "日本語", unicodedata.normalize("NFD", "é"),
    unicodedata.normalize("NFC", "é"), "a,b:c", "quote'\"$(x)`", "new\nline", "🐳" * 60,
]  # fmt: skip


def test_a_missing_source_of_a_mount_is_refused_as_docker_does(world: World) -> None:
    """``--mount`` makes no folders, ``-v`` does; nothing is made on the host by a refusal."""
    missing = world.user / "nowhere"
    told = talk(world.run("--mount", f"type=bind,src={missing},dst=/x", BUSYBOX, "true", code=125))
    assert "bind source path does not exist" in told
    assert not missing.exists()


@pytest.mark.parametrize("option", ["-v{}:/x:ro", "--mount=type=bind,src={},dst=/x,readonly"])
def test_a_read_only_mount_of_a_writable_share(world: World, option: str) -> None:
    folder = world.user / "readonly"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("kept\n")
    script = "cat /x/file; touch /x/new || echo x > /x/file || rm /x/file || mv /x/file /x/b || echo refused"
    assert world.run(option.format(folder), BUSYBOX, "sh", "-c", script).stdout == b"kept\nrefused\n"
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "kept\n"


COMPOSE = """
services:
  one:
    build: ./context
    volumes: ["./data:/data", "./settings.conf:/settings.conf:ro"]
    command: sh -c "cat /built /settings.conf; echo made > /data/made"
"""


def test_compose_and_build_contexts_mean_the_hosts_paths(world: World) -> None:
    project = world.user / "a project"
    (project / "context").mkdir(parents=True)
    (project / "data").mkdir()
    (project / "compose.yaml").write_text(COMPOSE)
    (project / "context/Dockerfile").write_text(f"FROM {BUSYBOX}\nCOPY file /built\n")
    (project / "context/file").write_text("from the context\n")
    (project / "settings.conf").write_text("from the host\n")
    options = ("-m", "m", "docker", "compose", "--project-name", "folders")
    try:
        said = world.machine.home.cove(*options, "run", "--rm", "--build", "one", cwd=project).stdout
        assert said.decode().endswith("from the context\nfrom the host\n")
        assert (project / "data/made").read_text() == "made\n"
    finally:
        world.machine.home.cove(*options, "down", "--rmi", "all", cwd=project)


def test_names_of_every_kind(world: World) -> None:
    folder = world.user / "names"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name)
    world.sh(
        'mkdir back; for f in names/* names/.[!.]*; do [ ! -e "$f" ] || cp "$f" "back/${f#names/}"; done'
    )
    assert {path.name for path in (world.user / "back").iterdir()} == set(NAMES)
    assert all(path.read_text() == path.name for path in (world.user / "back").iterdir())
    odd = world.user / "odd näme's"
    odd.mkdir()
    world.run("-v", f"{odd}:/x", "-w", "/x", BUSYBOX, "touch", "file")
    assert (odd / "file").exists()


def test_symlinks_are_followed_where_they_are_read(world: World) -> None:
    (world.user / "target").write_text("inside\n")
    (world.user / "link").symlink_to("target")
    (world.user / "out").symlink_to("/etc/passwd")
    (world.user / "dangling").symlink_to("nowhere")
    assert world.sh("cat link; readlink out; readlink dangling; ln -s target made") == (
        "inside\n/etc/passwd\nnowhere\n"
    )
    assert (world.user / "made").readlink() == Path("target")
    # one that leads out of the share ends in the container's own files
    assert world.sh("cmp out /etc/passwd && echo same") == "same\n"
    assert world.sh("cat out") != Path("/etc/passwd").read_text()


def test_hard_links(world: World) -> None:
    (world.user / "first").write_text("x")
    world.sh("ln first second; echo more >> second")
    assert (world.user / "first").samefile(world.user / "second")
    assert (world.user / "first").read_text() == "xmore\n"
    assert world.sh("stat -c %h first") == "2\n"


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_locks_hold_on_each_side(world: World, kind: str) -> None:
    """Both kinds, flock(2) and fcntl(2): among all programs of the guest, and among those of the host; not across."""
    python = f"import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.{kind}(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    world.sh("echo > lock")
    lock = str(world.user / "lock")
    hold = f"{python}; print('held', flush=True); import time; time.sleep(60)"
    with world.machine.home.begun("-m", "m", "shell", "python3", "-c", hold, lock) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        second = world.machine.shell("python3", "-c", python, lock, code=None)
        assert b"BlockingIOError" in second.stdout + second.stderr
        # what DESIGN.md says of the other side: virtiofsd carries no locks
        with Path(lock).open("a") as ours:
            getattr(fcntl, kind)(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = subprocess.run([sys.executable, "-c", python, lock], capture_output=True, check=False)
            assert b"BlockingIOError" in there.stderr


def test_mapped_memory(world: World) -> None:
    (world.user / "mapped").write_bytes(bytes(8192))
    script = (
        "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 8192);"
        "m[4095:4099] = b'abcd'; m.flush()"
    )
    world.machine.shell("python3", "-c", script, str(world.user / "mapped"))
    assert (world.user / "mapped").read_bytes()[4095:4099] == b"abcd"


FSX = """
import hashlib, mmap, os, random, sys
path, seed, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
with open(path, "r+b", buffering=0) as file:
    for _ in range(count):
        length = os.fstat(file.fileno()).st_size
        what = chance.choice("write write append map map truncate grow hole".split())
        at, many = chance.randrange(size), chance.randrange(1, 20000)
        data = chance.randbytes(many)
        if what == "write":
            os.pwrite(file.fileno(), data, at)
        elif what == "append":
            os.pwrite(file.fileno(), data, length)
        elif what == "map" and length:
            at %= length
            with mmap.mmap(file.fileno(), length) as view:
                view[at:at + many] = data[:length - at]
        elif what == "truncate":
            os.truncate(path, at)
        elif what == "grow":
            os.truncate(path, length + many)
        elif what == "hole":
            os.pwrite(file.fileno(), bytes(many), at)
with open(path, "rb") as file:
    print(hashlib.file_digest(file, "sha256").hexdigest(), os.path.getsize(path))
"""
"""What fsx of LTP and xfstests does: writes, maps, truncates and extends at random, by a seed."""


def test_random_writes_truncations_and_maps_of_one_side_are_read_by_the_other(world: World) -> None:
    """In turns, on one file; and the same steps on a file that only the host touches end the same."""
    shared, model = world.user / "fsx", world.user.parent / "fsx-model"
    shared.touch()
    model.touch()

    def steps(path: Path, seed: int) -> list[str]:
        return [FSX, str(path), str(seed), str(200_000), "40"]

    def here(path: Path, seed: int) -> str:
        words = [sys.executable, "-c", *steps(path, seed)]
        return subprocess.run(words, capture_output=True, check=True, text=True).stdout

    def there(path: Path, seed: int) -> str:
        return world.machine.shell("python3", "-c", *steps(path, seed)).stdout.decode()

    for seed in range(0, 12, 2):
        assert there(shared, seed) == here(model, seed)
        assert shared.read_bytes() == model.read_bytes(), (
            f"the host reads other than the guest wrote, seed {seed}"
        )
        assert here(shared, seed + 1) == here(model, seed + 1)
        wanted = f"{model.stat().st_size}\n"
        # the guest remembers attributes, the size among them, for a second
        wait_until(lambda: world.sh("stat -c %s fsx") == wanted, "the new size", deadline=FRESH)  # noqa: B023


def test_a_file_that_both_sides_have_open_and_map(world: World) -> None:
    """What the guest writes through a map is in the host's map of the same file, once it is flushed."""
    shared = world.user / "both"
    shared.write_bytes(bytes(16384))
    script = (
        "import mmap, sys; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 16384);"
        "m[8000:8004] = b'here'; m.flush(); print(m[100:104].decode())"
    )
    with shared.open("r+b") as file, mmap.mmap(file.fileno(), 16384) as ours:
        ours[100:104] = b"host"
        assert world.machine.shell("python3", "-c", script, str(shared)).stdout == b"host\n"
        assert ours[8000:8004] == b"here"


def test_a_sparse_file_of_more_than_4_gib(world: World) -> None:
    world.sh("truncate -s 5G sparse; echo end | dd of=sparse bs=1 seek=4294967296 conv=notrunc 2> /dev/null")
    found = (world.user / "sparse").stat()
    assert (found.st_size, found.st_blocks * 512 < 1 << 20) == (5 << 30, True)
    with (world.user / "sparse").open("rb") as stream:
        stream.seek(1 << 32)
        assert stream.read(4) == b"end\n"


def test_ten_thousand_files(world: World) -> None:
    tree = world.user / "tree"
    for number in range(10_000):
        path = tree / str(number % 100) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    counted = "find tree -type f | wc -l; find tree -type f | xargs cat | wc -c; rm -r tree/7; mkdir many"
    size = sum(len(str(number)) for number in range(10_000))
    assert world.sh(counted).split() == ["10000", str(size)]
    assert not (tree / "7").exists()
    world.sh("cd many; for i in $(seq 1000); do echo $i > $i; done")
    assert sorted(int(path.read_text()) for path in (world.user / "many").iterdir()) == list(range(1, 1001))


def test_more_files_than_a_process_may_have_open(cache: Path) -> None:
    limit, files = 4096, 6000
    folder = Path(tempfile.mkdtemp(prefix="cove-it-", dir="/tmp"))
    for number in range(files):
        path = folder / "tree" / str(number % 60) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    home = Home(folder / ".cove", cache, {"HOME": str(folder)})
    try:
        words = ["prlimit", f"--nofile={limit}", str(COVE), "create", "m", "--driver", "uml", "--start"]
        subprocess.run(words, env=home.environment, check=True, capture_output=True, timeout=TIMEOUT)
        # slowly, as a container would that does something with them
        script = (
            f"for d in {folder}/tree/*; do ls -l $d; sleep 0.05; done | grep -c rw; echo x > {folder}/after"
        )
        assert home.machine("m").sh(script, f"-v{folder}:{folder}") == f"{files}\n"
        assert (folder / "after").read_text() == "x\n"
    finally:
        home.close()
        shutil.rmtree(folder)


def test_writers_on_both_sides_lose_nothing(world: World) -> None:
    log = world.user / "appended"
    log.touch()

    def append() -> None:
        for number in range(300):
            with log.open("a") as stream:
                stream.write(f"host {number}\n")

    writer = threading.Thread(target=append)
    writer.start()
    world.sh("for w in a b; do for i in $(seq 0 299); do echo $w $i >> appended; done & done; wait")
    writer.join()
    wanted = {f"{who} {number}" for who in ("host", "a", "b") for number in range(300)}
    lines = log.read_text().splitlines()
    assert (len(lines), set(lines)) == (900, wanted)


def test_coves_own_files_are_not_to_be_seen(world: World) -> None:
    own = world.machine.home.root
    assert world.sh("ls -A .cove") == ""
    assert "belongs to Cove" in talk(world.run("-v", f"{own}:/x", BUSYBOX, "ls", "/x", code=125))
    # a mount that leaves out what lies on it shows what the share daemon sees, which is its own machine at most
    mount = f"type=bind,src={world.user},dst=/x,bind-recursive=disabled"
    seen = world.run("--mount", mount, BUSYBOX, "find", "/x/.cove", "-name", "*.sock").stdout
    assert seen == b""
    world.machine.shell("umount", str(own))
    try:
        assert world.machine.shell("find", str(own), "-type", "f").stdout == b""
    finally:
        world.machine.shell("mount", "-t", "tmpfs", "-o", "ro,mode=555", "hidden", str(own))


def test_an_unshared_folder_is_refused_with_what_to_do(world: World) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as elsewhere:
        for words in (["-v", f"{elsewhere}:/x"], ["--mount", f"type=bind,src={elsewhere},dst=/x"]):
            told = talk(world.run(*words, BUSYBOX, "ls", "/x", code=125))
            assert f"the host's {elsewhere} is not shared" in told
            assert f"cove set m --mount {elsewhere}" in told


def test_the_engines_own_socket_can_be_given_to_a_container(world: World) -> None:
    socket = "/var/run/docker.sock"
    assert world.run("-v", f"{socket}:{socket}", BUSYBOX, "ls", socket).stdout.decode().strip() == socket


@pytest.mark.skipif(
    landlock_abi() == 0, reason="this host's kernel has no Landlock: SECURITY.md says what holds then"
)
def test_the_guests_root_reaches_nothing_else_of_the_host(world: World) -> None:
    secret = world.user.parent / "secret"
    secret.write_text("secret")
    script = (
        "mkdir /t; mount -t hostfs -o $1 none /t; cat /t/secret; mount -t virtiofs cove0 /t; cat /t/../secret"
    )
    done = world.run("--privileged", BUSYBOX, "sh", "-c", script, "sh", str(secret.parent), code=None)
    assert b"secret" not in done.stdout


def test_a_container_that_swaps_a_folder_for_a_link_gets_nowhere(world: World) -> None:
    (world.user / "swap").mkdir()
    (world.user / "swap/passwd").write_text("harmless\n")
    world.sh("cat swap/passwd; cd swap; mv ../swap ../was; ln -s /etc ../swap; cat passwd > ../got")
    assert (world.user / "got").read_text() == "harmless\n"


def test_shares_can_be_changed(world: World, cache: Path) -> None:
    shares = {share["path"]: share["writable"] for share in world.machine.inspect()["shares"]}
    assert shares == {str(world.user): True, str(world.read_only): False}
    more = world.user.parent / "more"
    more.mkdir()
    home = world.machine.home
    home.cove("create", "other", "--driver", "uml", "--mount-none", "--mount", f"{more}:ro")
    home.cove("set", "other", "--mount", more)
    assert home.machine("other").inspect()["shares"] == [{"path": str(more), "writable": True}]
    more.rmdir()
    assert "is no folder" in talk(home.cove("start", "other", code=None))
    home.cove("set", "other", "--mount-none")
    assert home.machine("other").inspect()["shares"] == []
    for path in ("/etc", "/", "/nowhere", home.root):
        assert talk(home.cove("set", "other", "--mount", path, code=2))
    home.cove("delete", "-f", "other")


def test_a_share_daemon_that_dies_ends_the_machine_with_a_word(cache: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="cove-it-", dir="/tmp"))
    home = Home(folder / ".cove", cache, {"HOME": str(folder)})
    machine = home.machine("m")
    try:
        home.cove("create", "m", "--driver", "uml", "--start", deadline=TIMEOUT)
        pid = machine.processes()["share-cove0"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: machine.inspect()["status"] == "failed", "the failure to be recorded")
        assert "share cove0 ended" in machine.inspect()["reason"]
        machine.start()
        pids = list(machine.processes().values())
        home.cove("stop", "m")
        assert not list(filter(alive, pids))
        assert json.loads((folder / ".cove/m/m/state.json").read_text())["processes"] == {}
        assert not list((folder / ".cove/m/m/fs").iterdir())
    finally:
        home.close()
        shutil.rmtree(folder)


WATCH = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
handle = libc.inotify_init()
libc.inotify_add_watch(handle, sys.argv[1].encode(), 0x00000FCE)  # all but opening and reading
print("ready", flush=True)
while True:
    data = os.read(handle, 4096)
    while data:
        _, mask, _, length = struct.unpack("iIII", data[:16])
        print(hex(mask), data[16:16 + length].rstrip(b"\\0").decode() or ".", flush=True)
        data = data[16 + length:]
"""
ATTRIB, CLOSE_WRITE, FOLDER = 0x4, 0x8, 0x4000_0000


def test_changes_on_the_host_wake_watchers(world: World) -> None:
    folder = world.user / "watched"
    folder.mkdir()
    (folder / "file").write_text("1")
    world.run("-d", "--name", "watcher", "-v", f"{folder}:/x:ro", BUSYBOX, "sleep", "1000")
    words = ("-m", "m", "shell", "python3", "-c", WATCH, str(folder))
    seen: list[tuple[float, int, str]] = []

    def woken(since: float, mask: int, name: str) -> float:
        def look() -> float:
            return next((at for at, found, path in seen if at > since and found & mask and path == name), 0.0)

        return wait_until(look, f"an event {mask:#x} of {name} among {seen}", deadline=10) - since

    with world.machine.home.begun(*words) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline().strip() == b"ready"

        def read() -> None:
            for line in watcher.stdout or ():
                mask, name = line.decode().split()
                seen.append((time.monotonic(), int(mask, 16), name))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            time.sleep(1)  # the container's folders are being looked at
            begun = time.monotonic()
            (folder / "file").write_text("2")
            times = [woken(begun, ATTRIB, "file"), woken(begun, CLOSE_WRITE, "file")]
            begun = time.monotonic()
            (folder / "new").write_text("3")
            times.append(woken(begun, ATTRIB, "new"))
            begun = time.monotonic()
            (folder / "file").unlink()
            times.append(woken(begun, ATTRIB | FOLDER, "."))
            assert max(times) < (1 if world.machine.inspect()["driver"] == "uml" else 3)
            (folder / "new").chmod(0o755)
            count = len(seen)
            time.sleep(2)
            # being woken makes no change that would wake again
            assert len(seen) - count <= 2
            assert (folder / "new").stat().st_mode & 0o777 == 0o755
        finally:
            watcher.kill()
            reader.join(10)
    world.machine.docker("rm", "-f", "watcher")


def test_waking_can_be_switched_off(cache: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="cove-it-", dir="/tmp"))
    home = Home(folder / ".cove", cache, {"HOME": str(folder)})
    machine = home.machine("m")
    (folder / "file").write_text("1")
    try:
        home.cove("create", "m", "--driver", "uml", "--no-file-events", "--start", deadline=TIMEOUT)
        assert machine.inspect()["file_events"] is False
        machine.run("-d", "-v", f"{folder}:/x:ro", BUSYBOX, "sleep", "1000")
        with home.begun("-m", "m", "shell", "python3", "-c", WATCH, str(folder)) as watcher:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == b"ready\n"
            (folder / "file").write_text("2")
            wait_until(lambda: machine.sh("cat /x/file", f"-v{folder}:/x") == "2", "the edit", deadline=FRESH)
            time.sleep(1)  # within which it would be woken
            machine.shell("touch", str(folder / "last"))
            assert b" last" in watcher.stdout.readline()  # by this, and nothing before
        home.cove("set", "m", "--file-events")
        assert machine.inspect()["file_events"] is True
        assert machine.inspect()["pending"] == ["file_events"]
    finally:
        home.close()
        shutil.rmtree(folder)


def test_a_machine_without_shares_refuses_every_bind(uml: Machine, home: Home, tmp_path: Path) -> None:
    home.cove("create", "default", "--driver", "uml", "--mount-none", "--start")
    machine = home.machine()
    assert machine.inspect()["shares"] == []
    told = talk(machine.run("--rm", "-v", f"{tmp_path}:/x", BUSYBOX, "true", code=125))
    assert "is not shared with the machine default" in told
    assert machine.shell("grep", "-c", "virtiofs", "/proc/mounts", code=None).stdout == b"0\n"
