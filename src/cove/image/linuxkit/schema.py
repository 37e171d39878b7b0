# SPDX-License-Identifier: Apache-2.0
"""LinuxKit's YAML, key by key, and what Cove adds to it. Pure data.

Source: docs/yaml.md and src/cmd/linuxkit/moby/{schema,config}.go of linuxkit/linuxkit 1.8, and specs-go/config.go of
opencontainers/runtime-spec 1.2.1 for the order in which Go writes fields.
"""

from __future__ import annotations

import re

from cove.image.linuxkit.shapes import (
    Boolean,
    Field,
    Identity,
    Integer,
    ListOf,
    MapOf,
    Octal,
    Shape,
    Struct,
    Text,
)

_UINT16 = Integer(0, (1 << 16) - 1)
_UINT32 = Integer(0, (1 << 32) - 1)
_UINT64 = Integer(0, (1 << 64) - 1)
_TEXT = Text()
_TEXTS = ListOf(_TEXT)
_NUMBER = Integer()
_YES = Boolean()


def _not_empty(text: str) -> str | None:
    return None if text else "must not be empty"


_NAME = Text(_not_empty)
_NAMES = ListOf(_NAME)
_VOLUME_NAME = re.compile(r"[a-z0-9_-]*")


def _volume_name(text: str) -> str | None:
    good = text and _VOLUME_NAME.fullmatch(text)
    return None if good else f"{text!r} is not a volume's name: a to z, 0 to 9, _ and -"


def _container_name(text: str) -> str | None:
    good = text and "/" not in text and text not in (".", "..") and "\0" not in text
    return None if good else f"{text!r} cannot be the name of a container's folder"


def _one_of(*values: str) -> Text:
    def check(text: str) -> str | None:
        return None if text in values else f"{text!r} is none of {', '.join(v for v in values if v)}"

    return Text(check)


def _inherited(name: str, shape: Shape, *, pointer: bool = True, plain: str = "", json: str = "") -> Field:
    """A field of the OCI runtime specification, for which LinuxKit has no YAML name of its own."""
    return Field(name, shape, pointer=pointer, keep=True, plain=plain or name.lower(), json=json or name)


ID_MAPPING = Struct(
    (
        Field("containerID", _UINT32, keep=True, plain="containerid", json_keep=True),
        Field("hostID", _UINT32, keep=True, plain="hostid", json_keep=True),
        Field("size", _UINT32, keep=True, json_keep=True),
    )
)
_ID_MAPPINGS = ListOf(ID_MAPPING)

MOUNT = Struct(
    (
        Field("destination", _TEXT, keep=True, json_keep=True),
        Field("type", _TEXT, keep=True),
        Field("source", _TEXT, keep=True),
        Field("options", _TEXTS, keep=True),
        Field("uidmappings", _ID_MAPPINGS, keep=True, json="uidMappings"),
        Field("gidmappings", _ID_MAPPINGS, keep=True, json="gidMappings"),
    )
)
_MOUNTS = ListOf(MOUNT)

DEVICE = Struct(
    (
        Field("path", _TEXT, keep=True, json_keep=True),
        Field("type", _TEXT, keep=True, json_keep=True),
        Field("major", _NUMBER, keep=True, json_keep=True),
        Field("minor", _NUMBER, keep=True, json_keep=True),
        Field("mode", Octal()),
    )
)

DEVICE_RULE = Struct(
    (
        Field("allow", _YES, keep=True, json_keep=True),
        _inherited("type", _TEXT, pointer=False),
        _inherited("major", _NUMBER),
        _inherited("minor", _NUMBER),
        _inherited("access", _TEXT, pointer=False),
    )
)
_MEMORY = Struct(
    (
        _inherited("limit", _NUMBER),
        _inherited("reservation", _NUMBER),
        _inherited("swap", _NUMBER),
        _inherited("kernel", _NUMBER),
        _inherited("kernelTCP", _NUMBER),
        _inherited("swappiness", _UINT64),
        _inherited("disableOOMKiller", _YES),
    )
)
_CPU = Struct(
    (
        _inherited("shares", _UINT64),
        _inherited("quota", _NUMBER),
        _inherited("period", _UINT64),
        _inherited("realtimeRuntime", _NUMBER),
        _inherited("realtimePeriod", _UINT64),
        _inherited("cpus", _TEXT, pointer=False),
        _inherited("mems", _TEXT, pointer=False),
    )
)
_PIDS = Struct((Field("limit", _NUMBER, keep=True, json_keep=True),))
_WEIGHT_DEVICE = Struct(
    (
        Field("major", _NUMBER, keep=True, json_keep=True),
        Field("minor", _NUMBER, keep=True, json_keep=True),
        _inherited("weight", _UINT16),
        _inherited("leafWeight", _UINT16),
    )
)
_THROTTLE_DEVICE = Struct(
    (
        Field("major", _NUMBER, keep=True, json_keep=True),
        Field("minor", _NUMBER, keep=True, json_keep=True),
        Field("rate", _UINT64, keep=True, json_keep=True),
    )
)
_BLOCK_IO = Struct(
    (
        _inherited("weight", _UINT16),
        _inherited("leafWeight", _UINT16),
        _inherited("weightDevice", ListOf(_WEIGHT_DEVICE), pointer=False),
        _inherited("throttleReadBpsDevice", ListOf(_THROTTLE_DEVICE), pointer=False),
        _inherited("throttleWriteBpsDevice", ListOf(_THROTTLE_DEVICE), pointer=False),
        _inherited("throttleReadIOPSDevice", ListOf(_THROTTLE_DEVICE), pointer=False),
        _inherited("throttleWriteIOPSDevice", ListOf(_THROTTLE_DEVICE), pointer=False),
    )
)
_HUGE_PAGES = Struct(
    (
        Field("pageSize", _UINT64, keep=True, plain="pagesize", json_keep=True),
        Field("limit", _UINT64, keep=True, json_keep=True),
    )
)
_PRIORITY = Struct(
    (
        Field("name", _TEXT, keep=True, json_keep=True),
        Field("priority", _UINT32, keep=True, json_keep=True),
    )
)
_NETWORK = Struct(
    (_inherited("classID", _UINT32), _inherited("priorities", ListOf(_PRIORITY), pointer=False))
)
RESOURCES = Struct(
    (
        _inherited("devices", ListOf(DEVICE_RULE), pointer=False),
        _inherited("memory", _MEMORY),
        _inherited("cpu", _CPU),
        _inherited("pids", _PIDS),
        _inherited("blockio", _BLOCK_IO, json="blockIO"),
        _inherited("hugepageLimits", ListOf(_HUGE_PAGES), pointer=False),
        _inherited("network", _NETWORK),
    )
)

INTERFACE = Struct(
    (
        Field("name", _TEXT),
        Field("add", _TEXT),
        Field("peer", _TEXT),
        Field("createInRoot", _YES, keep=True, json_keep=True),
    )
)
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
BIND_NS = Struct(tuple(Field(name, _TEXT, pointer=True) for name in NAMESPACES))
RUNTIME = Struct(
    (
        Field("cgroups", _TEXTS, pointer=True),
        Field("mounts", _MOUNTS, pointer=True),
        Field("mkdir", _TEXTS, pointer=True),
        Field("interfaces", ListOf(INTERFACE), pointer=True),
        Field("bindNS", BIND_NS, json_keep=True),
        Field("namespace", _TEXT, pointer=True),
    )
)

SETTINGS = (
    Field("capabilities", _TEXTS, pointer=True),
    Field("capabilities.add", _TEXTS, pointer=True),
    Field("ambient", _TEXTS, pointer=True),
    Field("mounts", _MOUNTS, pointer=True),
    Field("binds", _TEXTS, pointer=True),
    Field("binds.add", _TEXTS, pointer=True),
    Field("devices", ListOf(DEVICE), pointer=True),
    Field("tmpfs", _TEXTS, pointer=True),
    Field("command", _TEXTS, pointer=True),
    Field("env", _TEXTS, pointer=True),
    Field("cwd", _TEXT),
    Field("net", _TEXT),
    Field("pid", _TEXT),
    Field("ipc", _TEXT),
    Field("uts", _TEXT),
    Field("userns", _TEXT),
    Field("hostname", _TEXT),
    Field("readonly", _YES, pointer=True),
    Field("maskedPaths", _TEXTS, pointer=True),
    Field("readonlyPaths", _TEXTS, pointer=True),
    Field("uid", Identity(), pointer=True),
    Field("gid", Identity(), pointer=True),
    Field("additionalGids", ListOf(Identity()), pointer=True),
    Field("noNewPrivileges", _YES, pointer=True),
    Field("oomScoreAdj", _NUMBER, pointer=True),
    Field("rootfsPropagation", _TEXT, pointer=True),
    Field("cgroupsPath", _TEXT, pointer=True),
    Field("resources", RESOURCES, pointer=True),
    Field("sysctl", MapOf(_TEXT), pointer=True),
    Field("rlimits", _TEXTS, pointer=True),
    Field("uidMappings", _ID_MAPPINGS, pointer=True),
    Field("gidMappings", _ID_MAPPINGS, pointer=True),
    Field("annotations", MapOf(_TEXT), pointer=True),
    Field("runtime", RUNTIME, pointer=True),
)
"""What may be said of a container, in the YAML and in the label ``org.mobyproject.config``."""

LABEL = Struct(SETTINGS)
CONTAINER = Struct(
    (
        Field("name", Text(_container_name), keep=True, json_keep=True),
        Field("image", _TEXT, keep=True, json_keep=True),
        *SETTINGS,
    ),
    required=("name", "image"),
)

FILE = Struct(
    (
        Field("path", _TEXT, keep=True, json_keep=True),
        Field("directory", _YES, keep=True, json_keep=True),
        Field("symlink", _TEXT),
        Field("contents", _TEXT, pointer=True),
        Field("source", _TEXT),
        Field("metadata", _one_of("", "yaml", "json")),
        Field("optional", _YES, keep=True, json_keep=True),
        Field("mode", Octal()),
        Field("uid", Identity(), pointer=True),
        Field("gid", Identity(), pointer=True),
    ),
    required=("path",),
)

VOLUME = Struct(
    (
        Field("name", Text(_volume_name), keep=True, json_keep=True),
        Field("image", _TEXT),
        Field("readonly", _YES),
        Field("format", _one_of("", "filesystem", "oci")),
        Field("platforms", _TEXTS),
    ),
    required=("name",),
)

KERNEL = Struct(
    (
        Field("image", _TEXT, keep=True, json_keep=True),
        Field("cmdline", _TEXT),
        Field("binary", _TEXT),
        Field("tar", _TEXT, pointer=True, nullable=True),
        Field("ucode", _TEXT, pointer=True, nullable=True),
        # additions of Cove: a kernel out of a Debian package, and what the initramfs of a root on a disk needs
        Field("package", _NAME, pointer=True),
        Field("external", _YES, pointer=True),
        Field("init", _NAME, pointer=True),
        Field("modules", _NAMES, pointer=True),
        Field("unpacked", _NAMES, pointer=True),
    )
)

PACKAGES = Struct(
    (
        Field("include", _NAMES, pointer=True),
        Field("exclude", _NAMES, pointer=True),
        Field("drop", _NAMES, pointer=True),
        Field("applets", _YES, pointer=True),
    )
)
"""Debian packages at /, an addition of Cove."""

_TRUST = Struct((Field("image", _TEXTS), Field("org", _TEXTS)))

CONFIG = Struct(
    (
        Field("kernel", KERNEL, keep=True, json_keep=True),
        Field("init", _TEXTS, keep=True, json_keep=True),
        Field("onboot", ListOf(CONTAINER), keep=True, json_keep=True),
        Field("onshutdown", ListOf(CONTAINER), keep=True, json_keep=True),
        Field("services", ListOf(CONTAINER), keep=True, json_keep=True),
        Field("files", ListOf(FILE), keep=True, json_keep=True),
        Field("volumes", ListOf(VOLUME), keep=True, json_keep=True),
        Field("packages", PACKAGES, pointer=True),
        # accepted and ignored, as LinuxKit does since docker's content trust is gone
        Field("trust", _TRUST, hidden=True),
    )
)
"""A whole file."""
