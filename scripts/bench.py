# SPDX-License-Identifier: Apache-2.0
"""Measure Cove on this computer.

    start    cold starts to an answer of the engine
    run      docker run, what cove run adds to it, a container's stdin and stdout
    idle     processor time of a machine that does nothing
    paths    published ports and docker's socket beside ssh -L into the same guest
    folders  files in a bind mount beside native ones

Without a name all of it. Everything is done in a COVE_HOME of its own and removed afterwards, also after Ctrl-C and
SIGTERM. COVE_CACHE is used if it is set; else a cache is made first, which needs the network. What is compared is
measured in turn, so that a computer that is busy at times is as unfair to one as to the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import bench_folders
import bench_paths

from cove.sdk import Client, Machine

COVE = Path(sys.executable).parent / "cove"
IMAGE = "cove.internal/busybox"
TRUE = ("run", "--rm", IMAGE, "true")
MEGABYTES = 100
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Args:
        name: what was measured.
        value: the median, in ``unit``.
        unit: "s", "ms", "%", "MB/s" or "x" for a ratio.
        target: what it is to reach, in the same unit; None where nothing is promised.
        at_least: the target is the least, not the most.
        samples: all that was measured.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    samples: tuple[float, ...] = ()


def figure(name: str, samples: list[float], unit: str = "s", target: float | None = None) -> Figure:
    """The figure of several measurements: their median."""
    scale = 1000 if unit == "ms" else 1
    scaled = tuple(sample * scale for sample in samples)
    return Figure(name=name, value=statistics.median(scaled), unit=unit, target=target, samples=scaled)


def timed(argv: list[str], env: Mapping[str, str], **streams: int | None) -> float:
    """Seconds that a program takes; one that fails ends the benchmark with what it said."""
    begun = time.perf_counter()
    done = subprocess.run(
        argv, env=env, check=False, stderr=subprocess.PIPE, **{"stdout": subprocess.DEVNULL, **streams}
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise SystemExit(f"{argv}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return seconds


@dataclass(frozen=True)
class Bench:
    """A machine to be measured.

    Args:
        machine: it need not exist yet.
        rounds: how often each thing is measured.
    """

    machine: Machine
    rounds: int

    def cove(self, *args: str, **streams: int | None) -> float:
        """Seconds that a command of ``cove`` takes."""
        return timed([str(COVE), "-m", self.machine.name, *args], os.environ, **streams)

    def docker(self, *args: str, **streams: int | None) -> float:
        """Seconds that docker's own CLI takes, with DOCKER_HOST set by hand."""
        tool = self.machine.installation.workshop().toolbox("docker").command("docker")
        env = {**os.environ, **tool.env, "DOCKER_HOST": self.machine.docker_host}
        return timed([*tool.argv, *args], env, **streams)

    def starts(self, rounds: int) -> list[float]:
        """Seconds from ``cove start`` of a stopped machine to an answer of the engine."""
        found = []
        for _ in range(rounds):
            begun = time.perf_counter()
            self.cove("start")
            self.docker("version")
            found.append(time.perf_counter() - begun)
            self.cove("stop")
        return found


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Measure several things alternately, after one round that does not count."""
    found: list[list[float]] = [[] for _ in measures]
    for number in range(rounds + 1):
        for samples, measure in zip(found, measures, strict=True):
            seconds = measure()
            if number:
                samples.append(seconds)
    return found


def measure_uml(bench: Bench, wanted: Collection[str]) -> Iterator[Figure]:
    """What is promised, on User-Mode Linux; ``wanted`` are keys of :data:`TOPICS`."""
    for topic, measure in TOPICS.items():
        if topic in wanted:
            yield from measure(bench)


def measure_starts(bench: Bench) -> Iterator[Figure]:
    """Cold starts; the machine is stopped before and afterwards."""
    bench.cove("stop")
    yield figure("uml: cold start to an answer of the engine", bench.starts(bench.rounds), target=4.0)
    bench.cove("start")


def measure_runs(bench: Bench) -> Iterator[Figure]:
    """Docker run in all its ways, what Cove adds, and the bytes of a container's stdin and stdout."""
    bench.cove(*TRUE)
    run, docker, crun, runc, status = in_turn(
        bench.rounds,
        lambda: bench.cove(*TRUE),
        lambda: bench.docker(*TRUE),
        lambda: bench.docker("run", "--runtime", "crun", *TRUE[1:]),
        lambda: bench.docker("run", "--runtime", "runc", *TRUE[1:]),
        lambda: bench.cove("status"),
    )
    yield figure("uml: docker run --rm ... true", docker, target=1.5)
    yield figure("uml: cove run --rm ... true", run)
    added = [one - other for one, other in zip(run, docker, strict=True)]
    yield figure("uml: what cove run adds to docker run", added, "ms", 150)
    yield figure("uml: docker run with crun", crun)
    yield figure("uml: docker run with runc", runc)
    yield figure("uml: runc to crun", [statistics.median(runc) / statistics.median(crun)], "x")
    yield figure("cove status", status, "ms", 200)
    yield from measure_throughput(bench)


def measure_throughput(bench: Bench) -> Iterator[Figure]:
    """Bytes through the engine's socket, as a container's stdin and stdout, and out of a published port."""

    def upload() -> float:
        with tempfile.TemporaryFile() as data:
            data.truncate(MEGABYTES * 1_000_000)
            return bench.docker(
                "run", "--rm", "-i", IMAGE, "sh", "-c", "cat > /dev/null", stdin=data.fileno()
            )

    def download() -> float:
        return bench.docker("run", "--rm", IMAGE, *zeros("/dev/stdout"))

    nothing, up, down = in_turn(3, lambda: bench.docker(*TRUE), upload, download)
    base = statistics.median(nothing)  # what a container costs that does nothing
    yield figure("uml: into a container's stdin", [MEGABYTES / (one - base) for one in up], "MB/s")
    yield figure("uml: out of a container's stdout", [MEGABYTES / (one - base) for one in down], "MB/s")
    with published(bench) as url:
        (port,) = in_turn(3, lambda: fetch(url))
    yield figure("uml: out of a published port", [MEGABYTES / one for one in port], "MB/s")


def measure_ways(bench: Bench) -> Iterator[Figure]:
    """Cove's ways into a guest beside ``ssh -L``: published ports and docker's socket."""
    with bench_paths.ways(bench) as (ours, theirs):
        steps: list[tuple[str, str, Callable[[bench_paths.Way], float], float]] = [
            ("out of a published port", "MB/s", bench_paths.Way.download, 3.0),
            ("into a published port", "MB/s", bench_paths.Way.upload, 3.0),
            ("connections to a published port", "1/s", bench_paths.Way.connections, 1.0),
            ("an API call, each on a new connection", "ms", bench_paths.Way.call, 1.0),
            ("an API call on an open connection", "ms", bench_paths.Way.call_kept, 1.0),
        ]
        with bench_paths.large_image(bench) as archive:
            steps.append(
                ("docker load of 200 MB", "MB/s", lambda way: bench_paths.load(bench, way, archive), 3.0)
            )
            for name, unit, step, target in steps:
                both = in_turn(3, lambda step=step: step(ours), lambda step=step: step(theirs))  # type: ignore[misc]
                yield from beside(name, unit, both, target)


def beside(name: str, unit: str, both: list[list[float]], target: float) -> Iterator[Figure]:
    """Two rates or times of the same thing and how many times better ours is."""
    medians = [statistics.median(samples) for samples in both]
    for way, median, samples in zip(("cove", "ssh -L"), medians, both, strict=True):
        yield Figure(name=f"uml: {name}, {way}", value=median, unit=unit, samples=tuple(samples))
    ratio = medians[1] / medians[0] if unit == "ms" else medians[0] / medians[1]
    yield Figure(name=f"uml: {name}, how much better", value=ratio, unit="x", target=target, at_least=True)


def measure_folders(bench: Bench) -> Iterator[Figure]:
    """Files in a bind mount beside native ones."""
    folder = Path(bench.machine.inspect()["shares"][-1]["path"])
    with bench_paths.python_image(bench) as image:
        found = bench_folders.measure(bench, image, folder, 3)
    for step, places in found.items():
        name, unit = bench_folders.LABELS[step]
        medians = {place: statistics.median(rates) for place, rates in places.items()}
        for place, rates in places.items():
            yield Figure(name=f"uml: {name}, {place}", value=medians[place], unit=unit, samples=tuple(rates))
        for other, target in (("native", 0.75), ("guest's disk", None)):
            ratio = medians["bind mount"] / medians[other]
            yield Figure(
                name=f"uml: {name}, bind mount to {other}",
                value=ratio,
                unit="x",
                target=target,
                at_least=True,
            )


def zeros(path: str) -> list[str]:
    """A command that writes so many zeros."""
    return ["dd", "if=/dev/zero", f"of={path}", "bs=1000000", f"count={MEGABYTES}", "status=none"]


@contextmanager
def published(bench: Bench) -> Iterator[str]:
    """A web server in a container; gives the URL of a large file, as the host sees it."""
    name = "cove-bench"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script = f"{' '.join(zeros('/www/file'))}; exec httpd -f -p 80 -h /www"
    tmpfs = ("--tmpfs", "/www", "--stop-signal", "KILL")
    bench.docker("run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:80", *tmpfs, IMAGE, "sh", "-c", script)
    try:
        # the server begins to listen when the file is there
        bench.docker(
            "exec", name, "sh", "-c", "until wget -q -O /dev/null http://127.0.0.1/file; do sleep 1; done"
        )
        yield f"http://127.0.0.1:{port}/file"
    finally:
        bench.docker("rm", "-f", name)


def fetch(url: str) -> float:
    """Seconds that the download of a file takes."""
    begun = time.perf_counter()
    with urllib.request.urlopen(url, timeout=300) as reply:  # noqa: S310  (it is our own)
        while reply.read(1 << 20):
            pass
    return time.perf_counter() - begun


def measure_idle(bench: Bench, seconds: float = 30.0) -> Iterator[Figure]:
    """Share of one processor that all processes of an idle machine use together."""
    time.sleep(5)  # what the last container left to do
    supervisor = bench.machine.inspect()["processes"]["supervisor"]
    before, begun = ticks(supervisor), time.perf_counter()
    time.sleep(seconds)
    share = (ticks(supervisor) - before) / TICKS / (time.perf_counter() - begun)
    yield Figure(name="uml: processor time of an idle machine", value=100 * share, unit="%", target=1.0)


def ticks(root: int) -> int:
    """Clock ticks that a process and all below it have used (proc(5), stat: fields 4, 14 and 15)."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), int(fields[11]) + int(fields[12])

    def below(pid: int) -> bool:
        while pid != root and pid in parents:
            pid = parents[pid]
        return pid == root

    return sum(count for pid, count in used.items() if below(pid))


TOPICS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "start": measure_starts,
    "run": measure_runs,
    "idle": measure_idle,
    "paths": measure_ways,
    "folders": measure_folders,
}
"""What can be measured, by its name on the command line."""


def measure_qemu(bench: Bench, wanted: Collection[str]) -> Iterator[Figure]:
    """What emulation costs: starts and runs."""
    rounds = min(3, bench.rounds)
    if "start" in wanted:
        bench.cove("stop")
        yield figure("qemu/tcg: cold start to an answer of the engine", bench.starts(rounds))
        bench.cove("start")
    if "run" in wanted:
        runs = in_turn(rounds, lambda: bench.docker(*TRUE))
        yield figure("qemu/tcg: docker run --rm ... true", runs[0])


@contextmanager
def prepared(driver: str, rounds: int) -> Iterator[Bench]:
    """A running machine with all that it needs in the cache; deleted afterwards."""
    accel = {"qemu": "tcg"}.get(driver, "auto")
    folder = bench_folders.shared_folder()
    machine = Client().machines.create(
        driver, driver=driver, accel=accel, mounts=[str(folder)], mount_none=True
    )
    bench = Bench(machine, rounds)
    try:
        bench.cove(*TRUE)
        yield bench
    finally:
        machine.delete(force=True)
        bench_folders.remove(folder)


def show(one: Figure) -> None:
    """One line of the table."""
    promised = ""
    if one.target is not None:
        better = one.value >= one.target if one.at_least else one.value <= one.target
        promised = f"{'within' if better else 'MISSES'} {one.target:g} {one.unit}"
    spread = f"{min(one.samples):.3g} to {max(one.samples):.3g}" if len(one.samples) > 1 else ""
    print(f"{one.name:66}{one.value:10.3g} {one.unit:5}{promised:20}{spread}", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("topic", nargs="*", metavar="NAME", help=f"one or more of {', '.join(TOPICS)}")
    parser.add_argument("--json", action="store_true", help="print all samples as JSON instead of a table")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="measurements of each (default: 5)"
    )
    parser.add_argument("--driver", choices=("uml", "qemu"), help="only this one (default: both)")
    wanted = parser.parse_args()
    if unknown := set(wanted.topic) - set(TOPICS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # machines are deleted on the way out
    home = tempfile.mkdtemp(prefix="cove-bench-", dir="/tmp")
    os.environ["COVE_HOME"] = home
    figures: list[Figure] = []
    try:
        for driver, measure in (("uml", measure_uml), ("qemu", measure_qemu)):
            if wanted.driver not in (None, driver):
                continue
            with prepared(driver, wanted.rounds) as bench:
                for one in measure(bench, wanted.topic or TOPICS):
                    figures.append(one)
                    if not wanted.json:
                        show(one)
    finally:
        shutil.rmtree(home)
    load, processors = os.getloadavg()[0], os.cpu_count()
    if wanted.json:
        found = {"load": load, "processors": processors, "figures": [asdict(one) for one in figures]}
        print(json.dumps(found, indent=2))
    else:
        print(f"\n{processors} processors, load {load:.1f} at the end")


if __name__ == "__main__":
    main()
