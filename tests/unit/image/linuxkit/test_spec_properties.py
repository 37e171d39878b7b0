# SPDX-License-Identifier: Apache-2.0
"""What holds of every container, whatever its YAML and its label say (LinuxKit's docs/yaml.md)."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cove.image.linuxkit import schema
from cove.image.linuxkit.gowrite import to_json
from cove.image.linuxkit.settings import CAPABILITIES, settings_problems
from cove.image.linuxkit.shapes import shape_faults
from cove.image.linuxkit.spec import Chosen, container_spec, runtime_config

IDS = {"one": 100, "two": 101}
PATHS = st.sampled_from(["/dev", "/proc", "/sys", "/a", "/a/b", "/etc/x", "/tmp"])
TEXTS = st.lists(st.sampled_from(["a", "b=c", "<&>", "é"]), max_size=3)
SPACES = st.sampled_from(["", "root", "host", "new", "none", "/run/netns/x"])
CAPS = st.one_of(
    st.lists(st.sampled_from(CAPABILITIES), max_size=4, unique=True),
    st.sampled_from([["all"], ["ALL"], ["none"]]),
)
BINDS = st.lists(st.builds("/s:{}{}".format, PATHS, st.sampled_from(["", ":ro", ":rw,rshared"])), max_size=3)
IDENTITY = st.one_of(st.integers(0, 65534), st.sampled_from(["root", "", "one", "two"]))
MOUNT = st.fixed_dictionaries(
    {"destination": PATHS, "type": st.sampled_from(["tmpfs", "bind", "overlay"]), "source": st.just("/s")},
    optional={"options": TEXTS},
)
DEVICE = st.fixed_dictionaries(
    {"path": st.sampled_from(["all", "/dev/x"]), "type": st.sampled_from("abcu"), "mode": st.just("0660")},
    optional={"major": st.integers(0, 255), "minor": st.integers(0, 255)},
)
RUNTIME = st.fixed_dictionaries(
    {},
    optional={
        "mkdir": TEXTS,
        "cgroups": TEXTS,
        "mounts": st.lists(MOUNT, max_size=2),
        "namespace": st.just("n"),
        "bindNS": st.fixed_dictionaries({}, optional=dict.fromkeys(schema.NAMESPACES, PATHS)),
        "interfaces": st.lists(
            st.fixed_dictionaries({"name": st.just("v0")}, optional={"add": st.just("veth")}), max_size=2
        ),
    },
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "capabilities": CAPS, "ambient": st.lists(st.sampled_from(CAPABILITIES), max_size=3, unique=True),
        "binds": BINDS, "binds.add": BINDS, "tmpfs": st.lists(PATHS, max_size=2), "mounts": st.lists(MOUNT, max_size=3),
        "devices": st.lists(DEVICE, max_size=2), "command": TEXTS, "env": TEXTS, "cwd": PATHS, "net": SPACES,
        "ipc": st.sampled_from(["", "host", "new", "/x"]), "uts": st.sampled_from(["root", "new", "/x"]),
        "pid": st.sampled_from(["", "host", "/x"]), "hostname": st.sampled_from(["", "h"]), "readonly": st.booleans(),
        "uid": IDENTITY, "gid": IDENTITY, "additionalGids": st.lists(IDENTITY, max_size=2),
        "noNewPrivileges": st.booleans(), "oomScoreAdj": st.integers(-1000, 1000),
        "rootfsPropagation": st.sampled_from(["shared", "private"]), "cgroupsPath": st.just("/g"),
        "rlimits": st.lists(st.sampled_from(["nofile,1,2", "NPROC, 5, unlimited"]), max_size=2),
        "sysctl": st.just({"net.x": "1"}), "annotations": st.just({"b": "1", "a": "<"}), "runtime": RUNTIME,
        "maskedPaths": st.lists(PATHS, max_size=2), "readonlyPaths": st.lists(PATHS, max_size=2),
    },
)  # fmt: skip
IMAGE = st.fixed_dictionaries(
    {}, optional={"Cmd": TEXTS, "Entrypoint": TEXTS, "Env": TEXTS, "WorkingDir": PATHS}
)


@given(SETTINGS, SETTINGS, IMAGE)
def test_what_holds_of_every_container(
    yaml: dict[str, Any], label: dict[str, Any], image: dict[str, Any]
) -> None:
    for settings in (yaml, label):
        assert not list(shape_faults(settings, schema.LABEL))
        assert not list(settings_problems(settings, IDS))
    chosen = Chosen(yaml, label)
    made = json.loads(to_json(container_spec(chosen, image, IDS, name="x")))
    # sorted, and each place once
    places = [mount["destination"] for mount in made["mounts"]]
    assert places == sorted(set(places))
    assert {"/dev", "/proc", "/sys", "/sys/fs/cgroup", "/dev/pts"} <= set(places)
    # effective and ambient are among the permitted, which are the bounding
    caps = made["process"].get("capabilities", {})
    assert {*caps.get("effective", []), *caps.get("ambient", [])} == set(caps.get("permitted", []))
    assert caps.get("permitted") == caps.get("bounding") == caps.get("inheritable")
    # the container's own namespaces: always that of mounts, never that of cgroups
    spaces = [space["type"] for space in made["linux"]["namespaces"]]
    assert spaces[-1] == "mount"
    assert "cgroup" not in spaces
    assert ("pid" in spaces) == ((yaml.get("pid") or label.get("pid")) not in ("host", "root"))
    # who said what
    image_command = [*image.get("Entrypoint", []), *image.get("Cmd", [])]
    wanted = yaml.get("command", label.get("command", image_command))
    assert made["process"].get("args", []) == wanted
    assert made["process"]["cwd"] == (yaml.get("cwd") or label.get("cwd") or image.get("WorkingDir") or "/")
    assert made["root"].get("readonly", False) == yaml.get("readonly", label.get("readonly", False))
    assert made["ociVersion"] == "1.2.1"


@given(SETTINGS, SETTINGS)
def test_what_holds_of_every_runtime(yaml: dict[str, Any], label: dict[str, Any]) -> None:
    own = [{"destination": "/root", "type": "overlay", "source": "overlay", "options": []}]
    made = json.loads(to_json(runtime_config(Chosen(yaml, label), own)))
    assert made.keys() == {"cgroups", "mounts", "mkdir", "interfaces", "bindNS", "namespace"}
    said: dict[str, Any] = {**label.get("runtime", {}), **yaml.get("runtime", {})}
    assert made["mounts"][0]["destination"] == "/root"
    assert len(made["mounts"]) == 1 + len(said.get("mounts", []))
    assert (made["mkdir"] or []) == said.get("mkdir", [])
    assert (made["namespace"] or "") == said.get("namespace", "")
