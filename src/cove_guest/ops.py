# SPDX-License-Identifier: Apache-2.0
"""What the host can ask besides ``exec``: each operation is one function from a request to a JSON object."""

from __future__ import annotations

import os
import time

from cove_guest import __version__, wire
from cove_guest.engine import Engine
from cove_guest.lean import signals
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = dict[str, object]

_LONGEST_WAIT = 3600.0
_GATEWAY = "192.168.127.1"
_LONGEST_FREEZE = 60.0


class Context:
    """What the operations work on.

    Args:
        engine: docker's socket.
        data: where the data disk is mounted.
        run: folder with ``NAME.pid`` and ``NAME.starts`` of each service.
        init: process id of init; another one in tests.
    """

    def __init__(self, *, engine: Engine, data: str, run: str, init: int) -> None:
        self.engine = engine
        self.data = data
        self.run = run
        self.init = init


class Request:
    """One request: its arguments, who asked, and what to do once the reply is on its way.

    Args:
        arguments: the JSON object ``args``.
        peer: descriptor of the connection, watched by long waits.
    """

    def __init__(self, arguments: dict[str, object], peer: int = -1) -> None:
        self.arguments = arguments
        self.peer = peer
        self.then: Callable[[], None] | None = None

    def text(self, name: str, default: str | None = None) -> str:
        """A string argument, without NUL.

        Raises:
            RefusedError: ``bad-argument``.
        """
        value = self.arguments.get(name, default)
        if not isinstance(value, str) or "\0" in value:
            raise RefusedError("bad-argument", f"{name} must be a string")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is not negative.

        Raises:
            RefusedError: ``bad-argument``.
        """
        value = self.arguments.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
            raise RefusedError("bad-argument", f"{name} must be a number of seconds, and not negative")
        return value

    def options(self) -> list[str]:
        """Mount options, given as one string with commas or as a list of strings.

        Raises:
            RefusedError: ``bad-argument``.
        """
        value = self.arguments.get("options") or []
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, list) or not all(
            isinstance(word, str) and "\0" not in word for word in words
        ):
            raise RefusedError("bad-argument", "options must be a string or a list of strings")
        return [word for word in words if word]


def run(context: Context, op: str, request: Request) -> Answer:
    """Do one operation.

    Raises:
        RefusedError: ``unknown-op``, ``bad-argument``, ``deadline`` and what else the operation names; errors
            of the kernel carry its own name for them (``EBUSY``).
    """
    operation = _OPERATIONS.get(op)
    if operation is None:
        raise RefusedError("unknown-op", f"the agent {__version__} knows no operation {op!r}")
    try:
        return operation(context, request)
    except OSError as error:
        import errno

        where = f" ({error.filename})" if error.filename else ""
        raise RefusedError(
            errno.errorcode.get(error.errno or 0, "failed"), f"{op}: {error.strerror}{where}"
        ) from error


def _hello(_context: Context, _request: Request) -> Answer:
    return {
        "protocol": wire.VERSION,
        "agent": __version__,
        "kernel": os.uname().release,
        "kernel_version": os.uname().version,
        "machine": os.uname().machine,
        "boot_id": _read("/proc/sys/kernel/random/boot_id").strip(),
        "uptime": uptime(),
    }


def _clock(_context: Context, request: Request) -> Answer:
    seconds = request.number("seconds")
    offset = seconds - time.time()
    time.clock_settime(time.CLOCK_REALTIME, seconds)
    return {"offset": round(offset, 6)}


def _clock_get(_context: Context, _request: Request) -> Answer:
    return {"seconds": time.time(), "uptime": uptime()}


def _info(context: Context, _request: Request) -> Answer:
    memory = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        memory[name] = int(value.split()[0]) * 1024
    disk = os.statvfs(context.data)
    return {
        "memory": {"total": memory["MemTotal"], "available": memory.get("MemAvailable", memory["MemFree"])},
        "disk": {
            "total": disk.f_blocks * disk.f_frsize,
            "used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        },
        "load": list(os.getloadavg()),
        "cpus": os.cpu_count() or 1,
        "cgroup": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
        "services": services(context.run),
    }


def _services(context: Context, _request: Request) -> Answer:
    return services(context.run)


def services(run: str) -> Answer:
    """Each service that was started: its pid, whether it runs, and how often it was started again."""
    found: Answer = {}
    try:
        names = sorted(os.listdir(run))
    except FileNotFoundError:
        return found
    for name in names:
        service, dot, kind = name.rpartition(".")
        if dot and kind == "pid":
            pid = _number(f"{run}/{name}")
            starts = _number(f"{run}/{service}.starts")
            running = pid > 0 and os.path.exists(f"/proc/{pid}")
            found[service] = {"pid": pid, "running": running, "restarts": max(0, starts - 1)}
    return found


def _mounts(_context: Context, _request: Request) -> Answer:
    return {"mounts": parse_mounts(_read("/proc/self/mounts"))}


def parse_mounts(text: str) -> list[Answer]:
    """The lines of /proc/self/mounts (fstab(5)) as objects."""
    entries: list[Answer] = []
    for line in text.splitlines():
        source, target, fstype, options = (_unescape(word) for word in line.split(" ")[:4])
        entries.append({"source": source, "target": target, "fstype": fstype, "options": options.split(",")})
    return entries


def _unescape(word: str) -> str:
    """Undo getmntent(3)'s octal escapes for space, tab, newline and backslash."""
    first, *rest = word.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _mount(_context: Context, request: Request) -> Answer:
    from cove_guest import kernel

    target = request.text("target")
    os.makedirs(target, exist_ok=True)
    kernel.mount(request.text("source", "none"), target, request.text("fstype", ""), request.options())
    return {}


def _umount(_context: Context, request: Request) -> Answer:
    from cove_guest import kernel

    kernel.umount(request.text("target"), lazy="lazy" in request.options())
    return {}


def _trim(context: Context, _request: Request) -> Answer:
    from cove_guest import kernel

    return {"bytes": kernel.trim(context.data)}


def _freeze(context: Context, request: Request) -> Answer:
    """Flush the data disk and let nobody write to it until ``thaw`` or ``wake``, or until ``seconds`` have passed.

    A guest's time stands still while it is suspended, so the seconds are those in which it runs.
    """
    import _thread

    from cove_guest import kernel

    seconds = min(request.number("seconds", 10), _LONGEST_FREEZE)

    def end() -> None:
        time.sleep(seconds)
        kernel.thaw(context.data)

    kernel.freeze(context.data)
    # what writes the data disk waits now, ourselves included: nothing may be imported from here on
    _thread.start_new_thread(end, ())
    return {}


def _thaw(context: Context, _request: Request) -> Answer:
    from cove_guest import kernel

    return {"frozen": kernel.thaw(context.data)}


def _wake(context: Context, request: Request) -> Answer:
    """After a suspension: set the clock, draw random numbers anew, let the data disk be written again."""
    from cove_guest import kernel

    seconds = request.number("seconds")
    try:
        seed = bytes.fromhex(request.text("entropy"))
    except ValueError as error:
        raise RefusedError("bad-argument", "entropy must be hexadecimal") from error
    frozen = kernel.thaw(context.data)  # first: an import may write the data disk
    answer = _clock(context, request) if seconds else {}
    kernel.add_entropy(seed)
    return {**answer, "frozen": frozen}


def _cut(_context: Context, request: Request) -> Answer:
    """End all TCP connections that lead out of the guest: what they led to is not there any more."""
    from cove_guest import outer

    return {"ended": outer.cut(request.peer)}


def _busy(_context: Context, _request: Request) -> Answer:
    """How many programs run that were started for the host."""
    from cove_guest import session

    return {"sessions": session.running()}


def _forget(_context: Context, _request: Request) -> Answer:
    """Forget names and files that nobody uses now, so that share daemons can let go of them too."""
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2\n")
    return {}


def _touch(_context: Context, request: Request) -> Answer:
    """Wake whoever watches these files or folders; what is not there is left out."""
    from cove_guest import kernel

    paths = request.arguments.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, str) and "\0" not in path for path in paths):
        raise RefusedError("bad-argument", "paths must be a list of strings")
    return {"touched": sum(kernel.touch(path) for path in paths)}


def _search(context: Context, request: Request) -> Answer:
    """Complete short names with these domains; containers do so from their next start on."""
    domains = request.arguments.get("domains")
    if not isinstance(domains, list) or not all(
        isinstance(domain, str) and domain.isascii() and domain.isprintable() and " " not in domain
        for domain in domains
    ):
        raise RefusedError("bad-argument", "domains must be a list of domains")
    path = f"{context.run}/resolv.conf"
    with open(f"{path}.new", "w") as file:
        file.write(f"nameserver {_GATEWAY}\n")
        if domains:
            file.write(f"search {' '.join(domains)}\n")
    os.rename(f"{path}.new", path)
    return {}


def _configure(context: Context, request: Request) -> Answer:
    """Give dockerd new settings; see :mod:`cove_guest.settings`."""
    from cove_guest import settings

    files, restart = request.arguments.get("files"), request.arguments.get("restart", False)
    if not isinstance(files, dict) or not all(
        isinstance(text, str) and "\0" not in name and all(ord(each) < 256 for each in text)
        for name, text in files.items()
    ):
        raise RefusedError("bad-argument", "files must be texts of bytes by path")
    return settings.configure(context.run, context.engine, files, restart=restart is True)


def _engine(context: Context, request: Request) -> Answer:
    end = time.monotonic() + min(request.number("deadline", 10), _LONGEST_WAIT)
    version = context.engine.get_json("/version", end)
    info = context.engine.get_json("/info", end)
    return {
        "version": _some(version, "Version", "ApiVersion", "Os", "Arch", "KernelVersion", "Components"),
        "info": _some(
            info, "Containers", "ContainersRunning", "Images", "Driver", "CgroupDriver", "CgroupVersion",
            "DefaultRuntime", "NCPU", "MemTotal", "OperatingSystem", "ServerVersion", "Warnings",
        ),
    }  # fmt: skip


def _some(value: Answer, *names: str) -> Answer:
    return {name: value[name] for name in names if name in value}


def _wait_engine(context: Context, request: Request) -> Answer:
    begun = time.monotonic()
    context.engine.wait(begun + min(request.number("deadline", 60), _LONGEST_WAIT), request.peer)
    return {"waited": round(time.monotonic() - begun, 3), "uptime": uptime()}


def _poweroff(context: Context, request: Request) -> Answer:
    """Tell init; the deadline is left in ``RUN/stop.deadline`` for its shutdown script.

    busybox init: SIGUSR2 powers off, SIGTERM reboots.
    """
    numbers = {"poweroff": signals.SIGUSR2, "reboot": signals.SIGTERM}
    number = numbers.get(request.text("mode", "poweroff"))
    if number is None:
        raise RefusedError("bad-argument", "mode must be poweroff or reboot")
    deadline = request.number("deadline", 30)
    try:
        with open(f"{context.run}/stop.deadline", "w") as file:
            file.write(f"{deadline:.0f}\n")
    except OSError:
        pass  # the script has a default
    request.then = lambda: os.kill(context.init, number)
    return {"ok": True}


def uptime() -> float:
    """Seconds since the guest's kernel started."""
    return float(_read("/proc/uptime").split()[0])


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _number(path: str) -> int:
    try:
        return int(_read(path))
    except (OSError, ValueError):
        return 0


_OPERATIONS: dict[str, Callable[[Context, Request], Answer]] = {
    "hello": _hello,
    "clock": _clock,
    "clock_get": _clock_get,
    "info": _info,
    "services": _services,
    "mounts": _mounts,
    "mount": _mount,
    "umount": _umount,
    "trim": _trim,
    "freeze": _freeze,
    "thaw": _thaw,
    "wake": _wake,
    "cut": _cut,
    "busy": _busy,
    "forget": _forget,
    "touch": _touch,
    "search": _search,
    "configure": _configure,
    "engine": _engine,
    "wait_engine": _wait_engine,
    "poweroff": _poweroff,
}
