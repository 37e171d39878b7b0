# SPDX-License-Identifier: Apache-2.0
"""What may be said of a container, taken apart: binds, tmpfs, mounts, capabilities, limits, devices, ids. Pure.

Each of these functions raises :class:`Refused` for what LinuxKit refuses too. They serve twice: for checking a
file before anything is built, and for making ``config.json``, where labels of images come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cove.image.linuxkit.shapes import octal
from cove.image.marked import Place

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
"""All capabilities of Linux in the kernel's order (capabilities(7))."""

_LIMITS = frozenset(
    f"RLIMIT_{name}"
    for name in [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ]
)
_UNLIMITED = (1 << 64) - 1
_TYPED_BY_SOURCE = ("mqueue", "devpts", "proc", "sysfs", "cgroup")
_MOUNT_POINTS = {
    "proc": "/proc",
    "devpts": "/dev/pts",
    "sysfs": "/sys",
    "cgroup": "/sys/fs/cgroup",
    "mqueue": "/dev/mqueue",
}

Mount = dict[str, Any]


class Refused(Exception):  # noqa: N818  # it never leaves this package
    """A value that means nothing; the text says why."""


def settings_problems(settings: Mapping[str, Any], ids: Mapping[str, int]) -> Iterator[tuple[Place, str]]:
    """Everything that is wrong with the values of a container's settings.

    Args:
        settings: of the right shape.
        ids: the numbers of all containers' names.

    Yields:
        the place in ``settings``, and what is wrong there.
    """
    readers: Mapping[str, Callable[[Any], Any]] = {
        "binds": bind_mount,
        "binds.add": bind_mount,
        "tmpfs": tmpfs_mount,
        "mounts": full_mount,
        "rlimits": rlimit,
        "devices": device_mode,
        "additionalGids": lambda value: numeric_id(value, ids),
    }
    for key, reader in readers.items():
        for index, item in enumerate(settings.get(key, [])):
            yield from _tried(reader, item, (key, index))
    for key in ("capabilities", "capabilities.add", "ambient"):
        # "all" and "none" count only alone, and what stands in .add comes behind the label's
        alone = len(settings.get(key, [])) == 1
        for index, item in enumerate(settings.get(key, [])):
            if not (alone and item.lower() in ("all", "none")):
                yield from _tried(known_capability, item, (key, index))
    for key in ("uid", "gid"):
        yield from _tried(lambda value: numeric_id(value, ids), settings.get(key, 0), (key,))


def _tried(reader: Callable[[Any], Any], value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    try:
        reader(value)
    except Refused as problem:
        yield place, str(problem)


def bind_mount(text: str) -> Mount:
    """``source:destination[:options]`` as a mount."""
    parts = text.split(":")
    if len(parts) < 2:
        raise Refused(f"cannot parse bind, missing ':': {text}")
    if len(parts) > 3:
        raise Refused(f"cannot parse bind, too many ':': {text}")
    options = [*parts[2].split(","), "rbind"] if len(parts) == 3 else ["rw", "rbind", "rshared"]
    return {"destination": parts[1], "type": "bind", "source": parts[0], "options": options}


def tmpfs_mount(text: str) -> Mount:
    """``destination[:options]`` as a mount."""
    parts = text.split(":")
    if len(parts) > 2:
        raise Refused(f"cannot parse tmpfs, too many ':': {text}")
    options = parts[1].split(",") if len(parts) == 2 else []
    return {"destination": parts[0], "type": "tmpfs", "source": "tmpfs", "options": options}


def full_mount(value: Mapping[str, Any]) -> Mount:
    """An entry of ``mounts`` with what it leaves open filled in."""
    kind, source, destination = (value.get(key, "") for key in ("type", "source", "destination"))
    if not kind and source in _TYPED_BY_SOURCE:
        kind = source
    if not kind and destination == "/dev":
        kind = "tmpfs"
    if not kind:
        raise Refused(f"mount for destination {destination} is missing type")
    destination = destination or _MOUNT_POINTS.get(kind, "")
    if not destination:
        raise Refused(f"mount type {kind} is missing destination")
    mount = {
        "destination": destination,
        "type": kind,
        "source": source or kind,
        "options": value.get("options", []),
    }
    # what LinuxKit drops, though its schema has it
    mount.update({key: value[key] for key in ("uidmappings", "gidmappings") if value.get(key)})
    return mount


def known_capability(name: str) -> str:
    """A capability's name."""
    if name not in CAPABILITIES:
        raise Refused(f"unknown capability: {name}")
    return name


def capability_set(names: Sequence[str]) -> list[str]:
    """A list of capabilities; a single ``all`` or ``none``, in any case, stands for all or none."""
    if len(names) == 1 and names[0].lower() == "none":
        return []
    if len(names) == 1 and names[0].lower() == "all":
        return list(CAPABILITIES)
    return [known_capability(name) for name in names]


def rlimit(text: str) -> dict[str, Any]:
    """``name,soft,hard`` as a limit."""
    parts = text.split(",", 2)
    if len(parts) != 3:
        raise Refused(f"cannot parse rlimit: {text}: it is name,soft,hard")
    name = parts[0].strip().upper()
    name = name if name.startswith("RLIMIT_") else f"RLIMIT_{name}"
    soft, hard = (_limit(part.strip()) for part in parts[1:])
    if name not in _LIMITS:
        raise Refused(f"unknown limit: {parts[0].strip()}")
    return {"type": name, "hard": hard, "soft": soft}


def _limit(text: str) -> int:
    if text.lower() == "unlimited":
        return _UNLIMITED
    if not (text.isascii() and text.isdigit() and int(text) <= _UNLIMITED):
        raise Refused(f"cannot parse {text} as a limit: a number from 0, or unlimited")
    return int(text)


def device_mode(device: Mapping[str, Any]) -> int | None:
    """The mode of an entry of ``devices``; None for one that stands for all of a type."""
    if device.get("path") == "all":
        return None
    mode = octal(device.get("mode", ""))
    if not mode:
        raise Refused(f"device {device.get('path', '')} needs a mode")
    return int(mode, 8)


def numeric_id(value: int | str, ids: Mapping[str, int]) -> int:
    """A user or group as a number."""
    if isinstance(value, int):
        return int(value)
    if value in ("", "root"):
        return 0
    if value not in ids:
        raise Refused(f"cannot find id: there is no container {value!r}")
    return ids[value]
