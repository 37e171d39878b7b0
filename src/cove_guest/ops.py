# SPDX-License-Identifier: Apache-2.0
"""What the host can ask besides ``exec``: each operation is one function from a request to a JSON object."""

from __future__ import annotations

import os
import time

from cove_guest import __version__, ops_disk, ops_engine, wire
from cove_guest.lean import signals
from cove_guest.procfs import number, read, uptime, write
from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cove_guest.requests import Answer, Context, Request


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
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
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
    for line in read("/proc/meminfo").splitlines():
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
            pid = number(f"{run}/{name}")
            starts = number(f"{run}/{service}.starts")
            running = pid > 0 and os.path.exists(f"/proc/{pid}")
            found[service] = {"pid": pid, "running": running, "restarts": max(0, starts - 1)}
    return found


def _wake(context: Context, request: Request) -> Answer:
    """After a suspension: set the clock, draw random numbers anew, let the data disk be written again.

    With ``hostname`` the guest is a clone: it gets that name and an identity of its own.
    """
    from cove_guest import kernel

    seconds = request.number("seconds")
    try:
        seed = bytes.fromhex(request.text("entropy"))
    except ValueError as error:
        raise RefusedError("bad-argument", "entropy must be hexadecimal") from error
    frozen = kernel.thaw(context.data)  # first: an import may write the data disk
    answer = _clock(context, request) if seconds else {}
    kernel.add_entropy(seed)
    hostname = request.text("hostname", "")
    if hostname:
        kernel.set_hostname(hostname)
        write(context.machine_id, os.urandom(16).hex() + "\n")
    return {**answer, "frozen": frozen}


def _cut(_context: Context, request: Request) -> Answer:
    """End all TCP connections that lead out of the guest: what they led to is not there any more."""
    from cove_guest import outer

    return {"ended": outer.cut(request.peer)}


def _busy(_context: Context, _request: Request) -> Answer:
    """How many programs run that were started for the host."""
    from cove_guest import session

    return {"sessions": session.running()}


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


_OPERATIONS: dict[str, Callable[[Context, Request], Answer]] = {
    "hello": _hello,
    "clock": _clock,
    "clock_get": _clock_get,
    "info": _info,
    "services": _services,
    "mounts": ops_disk.mounts,
    "mount": ops_disk.mount,
    "umount": ops_disk.umount,
    "trim": ops_disk.trim,
    "freeze": ops_disk.freeze,
    "thaw": ops_disk.thaw,
    "wake": _wake,
    "cut": _cut,
    "busy": _busy,
    "forget": ops_disk.forget,
    "touch": ops_disk.touch,
    "search": ops_engine.search,
    "configure": ops_engine.configure,
    "engine": ops_engine.engine,
    "wait_engine": ops_engine.wait_engine,
    "poweroff": _poweroff,
}
