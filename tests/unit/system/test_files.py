# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or absent, on a real file system, with processes that are really killed."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cove.errors import ConflictError, DeadlineError, StorageError
from cove.system import files
from cove.system.files import (
    Section,
    allocated,
    building,
    locked,
    make_sparse,
    private_folder,
    read_json,
    remove_tree,
    storage_errors,
    sweep_scratch,
    try_lock,
    write_atomic,
    write_json,
)

SOURCE = Path(__file__).resolve().parents[3] / "src"
MIB = 1 << 20


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs ``code``; its first line of output says that it is ready."""
    argv = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\n{code}", *arguments]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        process.kill()
        process.communicate()
        pytest.fail("the child did not get ready")
    return process


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: what a full disk is to a writer (EFBIG for ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_a_storage_error(number: int) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("saving x"):
        raise OSError(number, os.strerror(number), "/some/file")
    assert caught.value.message == f"saving x failed: {os.strerror(number)}: /some/file"
    assert "COVE_HOME" in (caught.value.hint or "")


def test_other_errors_pass() -> None:
    with pytest.raises(FileNotFoundError), storage_errors("saving x"):
        raise FileNotFoundError(errno.ENOENT, "no such file")


def test_private_folders_are_private(tmp_path: Path) -> None:
    made = private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o755)
    assert private_folder(made) == made
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # root is refused nowhere but here
        with pytest.raises(StorageError, match="creating a private folder failed"):
            private_folder(Path("/sys/kernel/cove-test"))
        return
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="creating a private folder failed"):
        private_folder(tmp_path / "a")


def test_written_in_one_step_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, "text")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("text", 0o600)
    write_atomic(path, b"\0bytes", mode=0o755)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"\0bytes", 0o755)
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_contents_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    with file_size_limit(MIB), pytest.raises(StorageError, match="writing file failed"):
        write_atomic(path, bytes(2 * MIB))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_killed_at_any_time_leaves_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = {letter * (256 << 10) for letter in "ab"}
    write_atomic(path, "a" * (256 << 10))
    code = """
from pathlib import Path
from cove.system.files import write_atomic
print("ready", flush=True)
while True:
    for letter in "ab":
        write_atomic(Path(sys.argv[1]), letter * (256 << 10))
"""
    for _ in range(3):
        writer = child(code, str(path))
        for _ in range(50):
            assert path.read_text() in texts
        writer.kill()
        writer.communicate()
        assert path.read_text() in texts


def test_json_is_sorted_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": [1, None], "a": "ü"})
    assert path.read_text() == '{\n  "a": "\\u00fc",\n  "b": [\n    1,\n    null\n  ]\n}\n'
    assert read_json(path) == {"a": "ü", "b": [1, None]}


@pytest.mark.parametrize("contents", [b"", b"{", b"\xff\xfe", b"{} {}"])
def test_damaged_json_is_none(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "x.json").write_bytes(contents)
    assert read_json(tmp_path / "x.json") is None


def test_absent_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_json(tmp_path / "none.json") is None
    assert read_json(tmp_path / "file" / "below.json") is None


HOLDER = """
from cove.system.files import try_lock
from pathlib import Path
handle = try_lock(Path(sys.argv[1]))
assert handle is not None
print("ready", flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = child(HOLDER, str(path))
    assert try_lock(path) is None
    with (
        pytest.raises(DeadlineError, match="another process has been baking for 0 s") as caught,
        locked(path, waiting_for="baking", deadline=0.1),
    ):
        pass
    assert str(path) in (caught.value.hint or "")
    threading.Timer(0.15, holder.kill).start()
    with locked(path, waiting_for="baking", deadline=20):  # a killed holder lets go
        assert try_lock(path) is None
    holder.communicate()
    handle = try_lock(path)
    assert handle is not None
    os.close(handle)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_lock_lives_as_long_as_a_copy_of_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    handle = try_lock(path)
    assert handle is not None
    code = "import sys; print('ready', flush=True); sys.stdin.read()"
    heir = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[handle],
    )
    os.close(handle)
    assert try_lock(path) is None
    heir.communicate("")
    with locked(path, waiting_for="nothing", deadline=10):
        pass


def test_a_lock_is_released_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with pytest.raises(ValueError, match="broken"), locked(path, waiting_for="x"):
        raise ValueError("broken")
    with locked(path, waiting_for="x", deadline=0):
        pass


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_lock_that_cannot_be_made_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_handle: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    before = open_descriptors()
    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.raises(OSError, match="no locks available"):
        try_lock(tmp_path / "lock")
    assert open_descriptors() == before


def test_a_built_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "parent" / "target"
    with building(target) as scratch:
        (scratch / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_build_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    def build() -> None:
        with building(tmp_path / "target") as scratch:
            (scratch / "folder").mkdir()
            (scratch / "folder").chmod(0o500)
            raise failure

    with pytest.raises(failure):
        build()
    assert list(tmp_path.iterdir()) == []


def test_a_build_never_replaces(tmp_path: Path) -> None:
    target = tmp_path / "target"

    def build() -> None:
        with building(target) as scratch:
            (scratch / "mine").touch()
            target.mkdir()
            (target / "theirs").touch()

    with pytest.raises(ConflictError):
        build()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "theirs"]


def test_a_full_disk_fails_a_build(tmp_path: Path) -> None:
    with (
        file_size_limit(MIB),
        pytest.raises(StorageError, match="making target failed"),
        building(tmp_path / "target") as scratch,
    ):
        (scratch / "file").write_bytes(bytes(2 * MIB))
    assert list(tmp_path.iterdir()) == []


def test_trees_are_removed_also_from_read_only_folders(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").touch()
    (root / "link").symlink_to(tmp_path)
    (root / "a" / "b").chmod(0o500)
    (root / "a").chmod(0)
    remove_tree(root)
    remove_tree(root)  # absent is fine
    assert list(tmp_path.iterdir()) == []


UNPRIVILEGED = """
import os
from pathlib import Path
from cove.system.files import remove_tree
if os.geteuid() == 0:  # only now: the interpreter may lie where nobody else can read it
    os.setgid(65534)
    os.setuid(65534)
print("ready", flush=True)
remove_tree(Path(sys.argv[1]))
"""


def test_trees_are_removed_by_an_ordinary_user_too() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        root = Path(folder, "tree")
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "file").touch()
        (root / "a" / "b").chmod(0o500)
        (root / "a").chmod(0o500)
        if os.geteuid() == 0:
            for path in (root.parent, root, *root.rglob("*")):
                os.chown(path, 65534, 65534)
        remover = child(UNPRIVILEGED, str(root))
        remover.communicate()
        assert remover.returncode == 0
        assert not root.exists()


def test_files_and_links_are_removed_as_such(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "file").touch()
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "file")
    assert list(tmp_path.iterdir()) == [kept]


def test_a_link_is_replaced_at_once(tmp_path: Path) -> None:
    for target in ("one", "two"):
        files.link_to(tmp_path / target, tmp_path / "link")
        assert (tmp_path / "link").readlink() == tmp_path / target
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_sparse_file_takes_no_space_and_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "data.img"
    make_sparse(path, 64 << 30)
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (64 << 30, 0o600)
    assert allocated(path) < MIB
    path.write_text("data")
    with pytest.raises(FileExistsError):
        make_sparse(path, 1)
    assert path.read_text() == "data"


def test_a_sparse_file_that_is_too_large_is_not_left_empty(tmp_path: Path) -> None:
    with file_size_limit(MIB), pytest.raises(StorageError, match=r"creating data\.img failed"):
        make_sparse(tmp_path / "data.img", 2 * MIB)
    assert list(tmp_path.iterdir()) == []


def test_allocated_counts_blocks_once_and_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(MIB))
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_bytes(os.urandom(MIB))
    alone = allocated(root)
    assert MIB <= alone < 2 * MIB
    os.link(root / "a" / "file", root / "hard")
    (root / "soft").symlink_to(tmp_path / "elsewhere")
    (root / "folder").symlink_to(tmp_path)
    assert allocated(root) - alone < 64 << 10
    assert allocated(tmp_path / "absent") == 0


def test_json_of_a_killed_writer_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"number": -1})
    code = """
from pathlib import Path
from cove.system.files import write_json
print("ready", flush=True)
number = 0
while True:
    write_json(Path(sys.argv[1]), {"number": number, "rest": list(range(1000))})
    number += 1
"""
    writer = child(code, str(path))
    for _ in range(20):
        assert isinstance(json.loads(path.read_text())["number"], int)
    writer.kill()
    writer.communicate()
    assert read_json(path) is not None


def test_a_section_is_a_stream_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    path.write_bytes(b"0123456789")
    with Section(path, 2, 5) as section:
        assert section.read(2) == b"23"
        assert section.read() == b"456"
        assert section.read(1) == b""
    assert section.closed


def test_scratch_of_those_who_were_killed_is_swept_and_nothing_else(tmp_path: Path) -> None:
    script = """
import os
from pathlib import Path
from cove.system import files
os.fsync = lambda _: os._exit(0)
if sys.argv[2] == "file":
    files.write_atomic(Path(sys.argv[1]) / "state.json", "new")
with files.building(Path(sys.argv[1]) / "clone"):
    os._exit(0)
"""
    for what in ("file", "folder"):
        argv = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(SOURCE)!r})\n{script}"]
        subprocess.run([*argv, str(tmp_path), what], check=True)
    assert len(list(tmp_path.iterdir())) == 2
    kept = [".lock", ".restoring", ".data.qcow2", "a.json", "snapshot.12345678"]
    for name in kept:
        (tmp_path / name).touch()
    sweep_scratch(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    sweep_scratch(tmp_path / "absent")
