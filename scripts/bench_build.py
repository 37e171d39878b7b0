# SPDX-License-Identifier: Apache-2.0
"""Measure `cove build` on this computer: time, processor time and memory, for a tiny and for a big image.

The images are generated: nothing is fetched. Each build is a process of its own; what Python takes to start and to
load the builder is measured apart. LinuxKit's figures are those of the real tool, version 1.8.2, on two quiet cores
with an image of the same size; they are shown, not measured here.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from isal import igzip

FILES = 993
LINUXKIT = {
    ("tiny", "tar"): (0.06, 41), ("tiny", "kernel+initrd"): (0.10, 49),
    ("big", "tar"): (2.4, 43), ("big", "kernel+initrd"): (4.4, 335),
}  # fmt: skip
"""Seconds and megabytes of memory."""

# runs in the child: what was measured goes to stdout as JSON
CHILD = """
import json, resource, sys, time
before = time.perf_counter()
from cove.cli.app import run
import cove.image.produce, cove.machine.building
def usage():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
loaded, (cpu, memory) = time.perf_counter(), usage()
code = run(sys.argv[1:])
done, (cpu_after, peak) = time.perf_counter(), usage()
print(json.dumps({"code": code, "load": loaded - before, "build": done - loaded, "cpu": cpu_after - cpu,
                  "growth": peak - memory, "peak": peak}))
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One build, medians of all rounds.

    Args:
        image: "tiny" or "big".
        format: of `cove build`.
        start: seconds until an empty Python program has ended.
        load: seconds to load the builder.
        build: seconds of the build itself.
        cpu: seconds of processor time of the build itself.
        growth: megabytes by which memory grew during the build.
        peak: megabytes of memory at most.
    """

    image: str
    format: str
    start: float
    load: float
    build: float
    cpu: float
    growth: float
    peak: float


def contents(number: int, size: int) -> bytes:
    """A file that compresses about as well as programs do: words that repeat, and noise."""
    source = random.Random(number)  # noqa: S311  # noise, not a secret
    words = [source.randbytes(source.randint(4, 12)) for _ in range(400)]
    out = bytearray()
    while len(out) < size:
        out += source.randbytes(400) if source.random() < 0.3 else b"".join(source.choices(words, k=150))
    return bytes(out[:size])


def write_layer(path: Path, size: int) -> str:
    """A layer of :data:`FILES` files, gzip; returns its digest."""
    with (
        path.open("wb") as raw,
        igzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as out,
        tarfile.open(fileobj=out, mode="w|") as tar,
    ):
        for number in range(FILES if size > 1 << 20 else 1):
            data = contents(number, size // FILES if size > 1 << 20 else size)
            info = tarfile.TarInfo(f"usr/lib/folder{number % 37}/file{number}")
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_layout(folder: Path, sizes: dict[str, int]) -> None:
    """An OCI layout with one image for each size."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}.v1+json",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    manifests = []
    for name, size in sizes.items():
        scratch = folder / "layer"
        digest = write_layer(scratch, size)
        layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{digest}",
                 "size": scratch.stat().st_size}  # fmt: skip
        scratch.rename(blobs / digest)
        config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {}}).encode(), "config")
        manifest = blob(
            json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode(), "manifest"
        )
        manifests.append(
            {**manifest, "annotations": {"io.containerd.image.name": f"docker.io/bench/{name}:1"}}
        )
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def child(argv: list[str], folder: Path) -> dict[str, float]:
    """Run one build in a process of its own."""
    env = {**os.environ, "COVE_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *argv], env=env, cwd=folder, check=True, stdout=subprocess.PIPE
    )
    measured: dict[str, float] = json.loads(done.stdout)
    if measured["code"] != 0:
        raise SystemExit(f"cove {' '.join(argv)}: exit code {measured['code']}")
    return measured


def start_of_python(folder: Path) -> float:
    """Seconds until an empty program has ended."""
    import time

    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], cwd=folder, check=True)
    return time.perf_counter() - begun


def measure(folder: Path, rounds: int) -> Iterator[Result]:
    """All builds."""
    for image, form in LINUXKIT:
        (folder / f"{image}.yml").write_text(f"init: [bench/{image}:1]\n")
        argv = [
            "--offline",
            "--quiet",
            "build",
            "--arch",
            "amd64",
            "--no-sbom",
            "-f",
            form,
            "--images",
            "layout",
        ]
        samples = [child([*argv, f"{image}.yml"], folder) for _ in range(rounds)]
        start = statistics.median(start_of_python(folder) for _ in range(rounds))
        keys = ("load", "build", "cpu", "growth", "peak")
        medians = {key: statistics.median(one[key] for one in samples) for key in keys}
        yield Result(image=image, format=form, start=start, **medians)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="how often each is built (default 3)"
    )
    parser.add_argument(
        "--megabytes", type=int, default=335, metavar="N", help="of the big image (default 335)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-build-") as name:
        folder = Path(name)
        write_layout(folder / "layout", {"tiny": 100, "big": arguments.megabytes * 1_000_000})
        results = list(measure(folder, arguments.rounds))
    if arguments.json:
        print(json.dumps([asdict(one) for one in results], indent=2))
        return
    print(f"{'':22}{'python':>8}{'load':>8}{'build':>8}{'cpu':>8}{'memory':>16}{'LinuxKit 1.8.2':>20}")
    for one in results:
        seconds, megabytes = LINUXKIT[one.image, one.format]
        print(
            f"{one.image + ' ' + one.format:22}{one.start:7.2f}s{one.load:7.2f}s{one.build:7.3f}s{one.cpu:7.3f}s"
            f"{f'+{one.growth:.0f} to {one.peak:.0f} MB':>16}{f'{seconds} s, {megabytes} MB':>20}"
        )


if __name__ == "__main__":
    main()
