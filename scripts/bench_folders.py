# SPDX-License-Identifier: Apache-2.0
"""Files in a bind mount beside the same work natively on the host, and on the guest's own disk.

The same Python script does the same calls everywhere; what it costs itself is small against them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import Bench

FILES = 1000
MEGABYTES = 256

WORK = """
import json, os, sys, time
root, files, megabytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
folder = os.path.join(root, f"work-{os.getpid()}")
os.mkdir(folder)
names = [os.path.join(folder, f"file-{number}") for number in range(files)]
large, block = os.path.join(folder, "large"), bytes(1 << 20)
def create():
    for name in names:
        with open(name, "wb", buffering=0) as file:
            file.write(b"x" * 1024)
def read():
    for name in names:
        with open(name, "rb", buffering=0) as file:
            file.read(4096)
def stat():
    for name in names:
        os.stat(name)
def scan():
    for entry in os.scandir(folder):
        entry.stat()
def rename():
    for name in names:
        os.rename(name, name + "-")
def unlink():
    for name in names:
        os.unlink(name + "-")
def write_large():
    with open(large, "wb", buffering=0) as file:
        for _ in range(megabytes):
            file.write(block)
        os.fsync(file.fileno())
def read_large():
    with open(large, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
found = {}
for work, count in ((create, files), (read, files), (stat, files), (scan, files), (rename, files), (unlink, files),
                    (write_large, megabytes), (read_large, megabytes)):
    begun = time.perf_counter()
    work()
    found[work.__name__] = count / (time.perf_counter() - begun)
os.unlink(large)
os.rmdir(folder)
print(json.dumps(found))
"""

LABELS = {
    "create": ("create files of 1 KiB", "1/s"),
    "read": ("open and read them", "1/s"),
    "stat": ("stat them", "1/s"),
    "scan": ("list them with stat", "1/s"),
    "rename": ("rename them", "1/s"),
    "unlink": ("unlink them", "1/s"),
    "write_large": ("write a large file and sync", "MiB/s"),
    "read_large": ("read it", "MiB/s"),
}
"""What each step is called, and the unit of its rate."""


def measure(bench: Bench, image: str, folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """The rates of each step: on the host, in a bind mount, on the guest's disk; measured in turn.

    Args:
        bench: the machine.
        image: has Python.
        folder: is shared with the machine.
        rounds: how often.
    """
    program = folder / "work.py"
    program.write_text(WORK)
    words = (str(FILES), str(MEGABYTES))
    inside = ("-v", f"{folder}:{folder}", image, "/usr/bin/python3.13", str(program))
    found: dict[str, dict[str, list[float]]] = {}
    places = {
        "native": lambda: _natively(program, str(folder), *words),
        "bind mount": lambda: _printed(bench, "run", "--rm", *inside, str(folder), *words),
        "guest's disk": lambda: _printed(
            bench, "run", "--rm", "-v", "cove-bench:/disk", *inside, "/disk", *words
        ),
    }
    order = list(places)
    for _ in range(rounds):
        for place in order:
            for step, rate in json.loads(places[place]()).items():
                found.setdefault(step, {}).setdefault(place, []).append(rate)
        # ext4 searches longer for an inode the more were freed lately: nobody shall always come after the same one
        order.append(order.pop(0))
    bench.docker("volume", "rm", "cove-bench")
    return found


def _natively(program: Path, *words: str) -> bytes:
    return subprocess.run([sys.executable, program, *words], check=True, capture_output=True).stdout


def _printed(bench: Bench, *args: str) -> bytes:
    with tempfile.TemporaryFile() as output:
        bench.docker(*args, stdout=output.fileno())
        output.seek(0)
        return output.read()


def shared_folder() -> Path:
    """A new folder to be shared."""
    return Path(tempfile.mkdtemp(prefix="cove-bench-share-", dir="/tmp"))


def remove(folder: Path) -> None:
    """Remove it with all that is in it."""
    shutil.rmtree(folder)
