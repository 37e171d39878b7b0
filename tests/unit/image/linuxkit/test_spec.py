# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from cove.errors import UsageError
from cove.image.linuxkit.settings import CAPABILITIES
from cove.image.linuxkit.spec import Chosen, container_spec, read_label, runtime_config
from cove.image.linuxkit.volumes import with_volumes

IDS = {"web": 101}


def spec(
    yaml: dict[str, Any] | None = None,
    label: dict[str, Any] | None = None,
    image: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return container_spec(Chosen(yaml or {}, label or {}), image or {}, IDS, name="x")


def options(made: dict[str, Any], destination: str) -> list[str]:
    [mount] = [one for one in made["mounts"] if one["destination"] == destination]
    found: list[str] = mount.get("options", [])
    return found


def test_yaml_wins_over_label_over_image_as_a_whole() -> None:
    image = {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=1"], "WorkingDir": "/w", "User": "5"}
    assert spec(image=image)["process"]["args"] == ["/e", "c"]
    label = {"command": ["/l"], "env": ["L=1"], "net": "host", "readonly": True}
    made = spec({"env": []}, label, image)["process"]
    assert made["args"] == ["/l"]
    assert "env" not in made
    assert made["cwd"] == "/w"
    assert made["user"] == {"uid": 0, "gid": 0}
    assert spec({"command": ["/y"], "cwd": "/z"}, label, image)["process"]["args"] == ["/y"]
    assert spec({"readonly": False}, label)["root"] == {"path": "rootfs"}


def test_add_goes_behind_the_labels_list_unless_there_is_a_plain_one() -> None:
    label = {"capabilities": ["CAP_CHOWN"], "binds": ["/a:/a"], "capabilities.add": ["CAP_KILL"]}
    made = spec({"capabilities.add": ["CAP_SYS_ADMIN"], "binds.add": ["/b:/b"]}, label)
    assert made["process"]["capabilities"]["effective"] == ["CAP_CHOWN", "CAP_SYS_ADMIN"]
    assert {"/a", "/b"} <= {mount["destination"] for mount in made["mounts"]}
    made = spec({"capabilities.add": ["CAP_SYS_ADMIN"], "capabilities": ["CAP_KILL"]}, label)
    assert made["process"]["capabilities"]["effective"] == ["CAP_KILL"]


def test_all_and_none_capabilities_and_ambient_ones() -> None:
    made = spec({"capabilities": ["ALL"], "ambient": ["CAP_KILL"]})["process"]["capabilities"]
    assert made["effective"] == list(CAPABILITIES)
    assert len(CAPABILITIES) == 41
    assert made["bounding"] == made["permitted"] == made["inheritable"] == sorted(CAPABILITIES)
    assert made["ambient"] == ["CAP_KILL"]
    assert spec({"capabilities": ["None"], "ambient": ["CAP_KILL"]})["process"]["capabilities"] == {
        "bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    }  # fmt: skip
    assert spec()["process"]["capabilities"] == {}


def test_mounts_are_sorted_and_later_kinds_replace_earlier_ones() -> None:
    made = spec(
        {
            "tmpfs": ["/t", "/x:size=1m,ro"],
            "binds": ["/s:/x", "/s:/y:ro,rshared"],
            "mounts": [
                {"source": "proc", "options": ["nosuid"]},
                {"destination": "/dev"},
                {"type": "mqueue"},
            ],
        }
    )
    places = [mount["destination"] for mount in made["mounts"]]
    assert places == sorted(places)
    assert options(made, "/x") == ["rw", "rbind", "rshared"]
    assert options(made, "/y") == ["ro", "rshared", "rbind"]
    assert options(made, "/t") == []
    assert options(made, "/proc") == ["nosuid"]
    [dev] = [mount for mount in made["mounts"] if mount["destination"] == "/dev"]
    assert dev == {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}
    assert "/dev/mqueue" in places


def test_a_readonly_root_makes_dev_and_sys_readonly_too() -> None:
    made = spec({"readonly": True})
    assert made["root"] == {"path": "rootfs", "readonly": True}
    assert options(made, "/dev")[-1] == options(made, "/sys")[-1] == "ro"


@pytest.mark.parametrize(
    ("settings", "spaces"),
    [
        ({}, [{"type": "pid"}, {"type": "mount"}]),
        ({"net": "new", "ipc": "new", "uts": "new", "pid": "host", "userns": "new"},
         [{"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "user"}, {"type": "mount"}]),
        ({"net": "none", "ipc": "/i", "pid": "/p"},
         [{"type": "network"}, {"type": "ipc", "path": "/i"}, {"type": "pid", "path": "/p"}, {"type": "mount"}]),
        ({"net": "root", "pid": "new", "userns": "/u"},
         [{"type": "pid"}, {"type": "user", "path": "/u"}, {"type": "mount"}]),
    ],
)  # fmt: skip
def test_namespaces(settings: dict[str, str], spaces: list[dict[str, str]]) -> None:
    assert spec(settings)["linux"]["namespaces"] == spaces


def test_devices_and_their_rules() -> None:
    made = spec(
        {
            "devices": [
                {"path": "all", "type": "b"},
                {"path": "/dev/x", "type": "c", "major": 5, "minor": 1, "mode": "0666"},
            ],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        }
    )["linux"]
    assert made["devices"] == [{"path": "/dev/x", "type": "c", "major": 5, "minor": 1, "fileMode": 0o666}]
    assert made["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "b", "access": "rwm"},
        {"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
    ]


def test_resources_keep_what_linuxkit_loses() -> None:
    resources = {
        "memory": {"limit": 1, "kernelTCP": 2, "disableOOMKiller": True},
        "cpu": {"realtimeRuntime": 3, "cpus": "0-1"},
        "pids": {"limit": 9},
        "blockio": {"leafWeight": 4, "weightDevice": [{"major": 8, "minor": 0, "weight": 5}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 6}]},
        "hugepageLimits": [{"pageSize": 2 << 20, "limit": 7}, {"pageSize": 1 << 30, "limit": 0}],
        "network": {"classID": 8, "priorities": [{"name": "eth0", "priority": 1}]},
    }  # fmt: skip
    assert spec({"resources": resources})["linux"]["resources"] == {
        "memory": {"limit": 1, "kernelTCP": 2, "disableOOMKiller": True},
        "cpu": {"realtimeRuntime": 3, "cpus": "0-1"},
        "pids": {"limit": 9},
        "blockIO": {"leafWeight": 4, "weightDevice": [{"major": 8, "minor": 0, "weight": 5}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 6}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 7}, {"pageSize": "1GB", "limit": 0}],
        "network": {"classID": 8, "priorities": [{"name": "eth0", "priority": 1}]},
    }  # fmt: skip
    assert spec()["linux"]["resources"] == {}


def test_ids_limits_and_the_rest() -> None:
    made = spec(
        {"uid": "web", "gid": 7, "additionalGids": ["root", "web", 9], "rlimits": ["nofile, 5, unlimited"],
         "oomScoreAdj": 0, "noNewPrivileges": True, "hostname": "h", "sysctl": {"b": "1", "a": "2"},
         "annotations": {"k": "v"}, "uidMappings": [{"hostID": 1, "size": 10}]},
    )  # fmt: skip
    assert made["process"]["user"] == {"uid": 101, "gid": 7, "additionalGids": [0, 101, 9]}
    assert made["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 2**64 - 1, "soft": 5}]
    assert made["process"]["oomScoreAdj"] == 0
    assert made["hostname"] == "h"
    assert list(made["linux"]["sysctl"]) == ["a", "b"]
    assert made["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1, "size": 10}]


def test_labels_are_checked_like_files() -> None:
    assert read_label("", "x") == {}
    assert read_label('{"net": "host"}', "x") == {"net": "host"}
    with pytest.raises(UsageError) as caught:
        read_label("{name: n, image: i, net: 5, capabilities: [CAP_X]}", "fake/x:1")
    assert str(caught.value.details).count("\n") == 2
    assert "label org.mobyproject.config of fake/x:1" in str(caught.value.details)
    with pytest.raises(UsageError, match="has one problem"):
        read_label("[a]", "x")
    with pytest.raises(UsageError, match="cannot find id"):
        spec(label={"uid": "ghost"})


def test_volumes_become_folders_in_binds_and_in_mounts() -> None:
    settings = with_volumes(
        {
            "binds": ["v:/v:ro", "/a:/b"],
            "binds.add": ["w:/w"],
            "mounts": [
                {"type": "bind", "source": "v", "destination": "/m"},
                {"type": "tmpfs", "source": "t"},
            ],
        }
    )
    assert settings == {
        "binds": ["/containers/volumes/v/merged:/v:ro", "/a:/b"],
        "binds.add": ["/containers/volumes/w/merged:/w"],
        "mounts": [
            {"type": "bind", "source": "/containers/volumes/v/merged", "destination": "/m"},
            {"type": "tmpfs", "source": "t"},
        ],
    }


def test_all_keys_of_the_runtime_are_always_there() -> None:
    label = {"runtime": {"mkdir": ["/l"], "bindNS": {"net": "/n", "pid": "/p"}, "namespace": "x"}}
    made = runtime_config(
        Chosen({"runtime": {"mkdir": [], "bindNS": {"pid": "/y"}}}, label), [{"destination": "/r"}]
    )
    assert made == {
        "cgroups": [], "mounts": [{"destination": "/r"}], "mkdir": [], "interfaces": [],
        "bindNS": {"cgroup": "", "ipc": "", "mnt": "", "net": "/n", "pid": "/y", "user": "", "uts": ""},
        "namespace": "x",
    }  # fmt: skip
