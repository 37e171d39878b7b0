# SPDX-License-Identifier: Apache-2.0
"""``config.json`` and ``runtime.json`` of a container. Pure.

``config.json`` is what runc reads (opencontainers/runtime-spec 1.2.1); ``runtime.json`` is LinuxKit's own: what to do
in the running system before the container starts. Precedence: YAML, then the image's label
``org.mobyproject.config``, then the image's configuration; values are replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cove.errors import UsageError
from cove.image.linuxkit import schema
from cove.image.linuxkit.gowrite import json_value
from cove.image.linuxkit.settings import (
    Refused,
    bind_mount,
    capability_set,
    device_mode,
    full_mount,
    numeric_id,
    rlimit,
    settings_problems,
    tmpfs_mount,
)
from cove.image.linuxkit.shapes import shape_faults
from cove.image.marked import raise_problems, read_yaml

LABEL = "org.mobyproject.config"

_VERSION = "1.2.1"
_NAMESPACES = (("net", "network"), ("ipc", "ipc"), ("uts", "uts"))
_SIZES = (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10))


def read_label(text: str, image: str) -> dict[str, Any]:
    """The settings in an image's label.

    Args:
        text: the label, YAML or JSON; "" when the image has none.
        image: its name, for messages.

    Raises:
        UsageError: it is none; lists every problem.
    """
    if not text:
        return {}
    hint = "The image itself is wrong: its label has to be mended."
    document = read_yaml(text, f"label {LABEL} of {image}")
    faults = list(shape_faults(document.value, schema.LABEL))
    if not faults:
        faults = list(settings_problems(document.value, _Anyone()))
    raise_problems([*document.problems, *(document.problem(place, what) for place, what in faults)], hint)
    value: dict[str, Any] = document.value
    return value


class _Anyone(dict[str, int]):
    """Names of containers are checked later: a label does not know them."""

    def __missing__(self, _key: str) -> int:
        return 0

    def __contains__(self, _key: object) -> bool:
        return True


class Chosen:
    """A container's settings: what the YAML says, else the label.

    Args:
        yaml: of the YAML, volumes replaced.
        label: of the label.
    """

    def __init__(self, yaml: Mapping[str, Any], label: Mapping[str, Any]) -> None:
        self.yaml, self.label = yaml, label

    def get(self, key: str, default: Any = None) -> Any:
        """A value; an empty one counts."""
        return self.yaml.get(key, self.label.get(key, default))

    def text(self, key: str, default: str = "") -> str:
        """A string; an empty one does not count."""
        return str(self.yaml.get(key) or self.label.get(key) or default)

    def added(self, key: str) -> list[str]:
        """A list that ``KEY.add`` of the YAML adds to."""
        if key in self.yaml:
            return list(self.yaml[key])
        return [*self.label.get(key, []), *self.yaml.get(f"{key}.add", [])]


def container_spec(
    chosen: Chosen, image: Mapping[str, Any], ids: Mapping[str, int], *, name: str
) -> dict[str, Any]:
    """The contents of ``config.json``.

    Args:
        chosen: the settings.
        image: ``config`` of the image's configuration.
        ids: the numbers of all containers' names.
        name: of the container, for messages.

    Raises:
        UsageError: a value is refused.
    """
    try:
        return _without_empty(_spec(chosen, image, ids))
    except Refused as problem:
        raise UsageError(f"{name}: {problem}") from problem


def _spec(chosen: Chosen, image: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    readonly = bool(chosen.get("readonly", False))
    return {
        "ociVersion": _VERSION,
        "process": _process(chosen, image, ids),
        "root": {"path": "rootfs", "readonly": readonly},
        "hostname": chosen.text("hostname"),
        "mounts": _mounts(chosen, readonly=readonly),
        "annotations": _sorted(chosen.get("annotations", {})),
        "linux": _linux(chosen),
    }


def _process(chosen: Chosen, image: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    command = [*(image.get("Entrypoint") or []), *(image.get("Cmd") or [])]
    effective = capability_set(chosen.added("capabilities"))
    ambient = capability_set(chosen.get("ambient", []))
    bounding = sorted({*effective, *ambient})
    return {
        "user": {
            "uid": numeric_id(chosen.get("uid", 0), ids),
            "gid": numeric_id(chosen.get("gid", 0), ids),
            "additionalGids": [numeric_id(one, ids) for one in chosen.get("additionalGids", [])],
        },
        "args": chosen.get("command", command),
        "env": chosen.get("env", image.get("Env") or []),
        "cwd": chosen.text("cwd", image.get("WorkingDir") or "/"),
        "capabilities": {
            "bounding": bounding,
            "effective": effective,
            "inheritable": bounding,
            "permitted": bounding,
            "ambient": ambient,
        },
        "rlimits": [rlimit(one) for one in chosen.get("rlimits", [])],
        "noNewPrivileges": chosen.get("noNewPrivileges", False),
        "oomScoreAdj": chosen.get("oomScoreAdj"),
    }


def _mounts(chosen: Chosen, *, readonly: bool) -> list[dict[str, Any]]:
    last = ["ro"] if readonly else []
    default = [
        ("/proc", "proc", ["nosuid", "nodev", "noexec", "relatime"]),
        ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k", *last]),
        ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ("/sys", "sysfs", ["nosuid", "noexec", "nodev", *last]),
        ("/sys/fs/cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
    asked = [
        *(
            {"destination": d, "type": kind, "source": kind, "options": options}
            for d, kind, options in default
        ),
        *(tmpfs_mount(one) for one in chosen.get("tmpfs", [])),
        *(bind_mount(one) for one in chosen.added("binds")),
        *(full_mount(one) for one in chosen.get("mounts", [])),
    ]
    by_destination = {mount["destination"]: json_value(mount, schema.MOUNT) for mount in asked}
    return [by_destination[place] for place in sorted(by_destination, key=lambda text: text.encode())]


def _linux(chosen: Chosen) -> dict[str, Any]:
    resources = dict(chosen.get("resources", {}))
    rules = list(resources.get("devices", []))
    devices = []
    for device in chosen.get("devices", []):
        rule = {"allow": True, "type": device.get("type", ""), "access": "rwm"}
        mode = device_mode(device)
        if mode is not None:
            number = {"major": device.get("major", 0), "minor": device.get("minor", 0)}
            about = {
                "path": device.get("path", ""),
                "type": device.get("type", ""),
                **number,
                "fileMode": mode,
            }
            devices.append(about)
            rule |= number
        rules.append(rule)
    resources["devices"] = rules
    resources["hugepageLimits"] = [
        {**one, "pageSize": _page_size(one.get("pageSize", 0))} for one in resources.get("hugepageLimits", [])
    ]
    return {
        "uidMappings": [json_value(one, schema.ID_MAPPING) for one in chosen.get("uidMappings", [])],
        "gidMappings": [json_value(one, schema.ID_MAPPING) for one in chosen.get("gidMappings", [])],
        "sysctl": _sorted(chosen.get("sysctl", {})),
        "resources": json_value(resources, schema.RESOURCES),
        "cgroupsPath": chosen.get("cgroupsPath", ""),
        "namespaces": _namespaces(chosen),
        "devices": devices,
        "rootfsPropagation": chosen.get("rootfsPropagation", ""),
        "maskedPaths": chosen.get("maskedPaths", []),
        "readonlyPaths": chosen.get("readonlyPaths", []),
    }


def _namespaces(chosen: Chosen) -> list[dict[str, str]]:
    found = []
    for key, kind in _NAMESPACES:
        found += _namespace(chosen.text(key, "root"), kind, new=("new", "none") if key == "net" else ("new",))
    found += _namespace(chosen.text("pid", "new"), "pid", new=("new",))
    found += _namespace(chosen.text("userns", "root"), "user", new=("new",))
    return [*found, {"type": "mount"}]


def _namespace(value: str, kind: str, *, new: Sequence[str]) -> list[dict[str, str]]:
    if value in ("host", "root"):
        return []
    return [{"type": kind}] if value in new else [{"type": kind, "path": value}]


def _page_size(size: int) -> str:
    """As the kernel names its hugetlb cgroups: 2MB, 1GB, 64KB."""
    for unit, factor in _SIZES:
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


def runtime_config(chosen: Chosen, root_mounts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The contents of ``runtime.json``; all its keys are always there.

    Args:
        chosen: the settings.
        root_mounts: what makes the container's root, done before the user's own mounts.
    """
    mine, theirs = chosen.yaml.get("runtime", {}), chosen.label.get("runtime", {})
    values = {**theirs, **mine}
    spaces = {**theirs.get("bindNS", {}), **mine.get("bindNS", {})}
    return {
        "cgroups": values.get("cgroups", []),
        "mounts": [json_value(one, schema.MOUNT) for one in (*root_mounts, *values.get("mounts", []))],
        "mkdir": values.get("mkdir", []),
        "interfaces": [json_value(one, schema.INTERFACE) for one in values.get("interfaces", [])],
        "bindNS": {name: spaces.get(name, "") for name in schema.NAMESPACES},
        "namespace": values.get("namespace", ""),
    }


def _sorted(value: Mapping[str, str]) -> dict[str, str]:
    return {key: value[key] for key in sorted(value)}


_KEPT: Mapping[str, Sequence[str]] = {"linux": ("resources",), "process": ("user", "cwd", "capabilities")}


def _without_empty(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what Go's ``omitempty`` leaves out."""
    out: dict[str, Any] = {}
    for key, value in spec.items():
        if key in _KEPT:
            kept = _KEPT[key]
            out[key] = {name: item for name, item in value.items() if name in kept or _counts(item)}
        elif _counts(value):
            out[key] = value
    out["root"] = {key: item for key, item in out["root"].items() if item}
    user = out["process"]["user"]
    out["process"]["user"] = {key: item for key, item in user.items() if key != "additionalGids" or item}
    capabilities = out["process"]["capabilities"]
    out["process"]["capabilities"] = {key: item for key, item in capabilities.items() if item}
    return out


def _counts(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})
