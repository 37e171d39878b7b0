# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cove.errors import UsageError
from cove.image.linuxkit.config import Config, load_config


def load(*texts: str) -> Config:
    return load_config([(f"{number}.yml", text) for number, text in enumerate(texts, 1)])


def problems(*texts: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(*texts).check()
    return str(caught.value.details).splitlines()


EVERYTHING_WRONG = """\
kernle: {}
kernel:
  image: UPPER/case
  cmdline: 5
init: fake/init:1
onboot:
  - name: one
  - {image: a/b, name: ../up, command: "/bin/sh", readonly: yes, cwd: null}
  - name: two
    image: a/b
    binds: [/x, "/a:/b:ro:z"]
    tmpfs: ["/t:a:b"]
    mounts: [{destination: /m}, {type: bind, source: /s}]
    capabilities: [CAP_NOPE, all]
    ambient: [cap_chown]
    rlimits: ["nofile,1", "nofile,x,2", "bogus,1,2"]
    devices: [{path: /dev/null, type: c, major: 1, minor: 3}]
    uid: nobody
    additionalGids: [two, four]
  - name: three
    image: "@pkg:./dir"
    gid: -1
    oomScoreAdj: high
    uid: 5
    uid: 6
    resources: {cpu: {shares: -1, burst: 3}, blockio: {weight: 70000}}
services:
  - {name: same, image: a/b}
  - {name: same, image: a/b}
files:
  - {path: etc/nothing}
  - {path: etc/both, contents: x, source: y}
  - {path: ../out, contents: x}
  - {path: a/, contents: x}
  - {path: "", contents: x}
  - {path: m, contents: x, mode: "0999"}
  - {path: m, metadata: toml}
  - {path: m, contents: x, uid: ghost}
volumes:
  - {name: UPPER}
  - {name: v}
  - {name: v}
  - {name: o, format: oci, platforms: [a/b/c/d]}
  - {name: f, format: tar}
"""


def test_everything_wrong_is_told_at_once(golden: Callable[[str, str], None]) -> None:
    golden("linuxkit/problems.err", "\n".join(problems(EVERYTHING_WRONG)) + "\n")


def test_volumes_are_checked_before_a_build_but_not_by_a_dry_run() -> None:
    text = """
volumes: [{name: v, readonly: true}]
services:
  - {name: a, image: x, binds: ["v:/v"], binds.add: ["w:/w"]}
  - {name: b, image: x, mounts: [{type: bind, source: v, destination: /v, options: [rw, ro]}]}
  - {name: c, image: x, binds: ["v:/v:ro"], mounts: [{type: bind, source: v, destination: /v, options: [ro]}]}
"""
    assert [one.place for one in load(text).complaints] == [
        "services[0].binds[0]", "services[0].binds.add[0]", "services[1].mounts[0]",
    ]  # fmt: skip
    assert len(problems(text)) == 3


def test_kernel_fields_win_where_set_and_lists_are_appended() -> None:
    config = load(
        "kernel: {image: k:1, cmdline: one, tar: none}\ninit: [a]\nvolumes: [{name: v}]",
        "kernel: {image: '', cmdline: two, ucode: u}\ninit: [b]\nservices: [{name: s, image: x, binds: ['v:/v']}]",
    )
    assert (config.kernel.image, config.kernel.cmdline, config.kernel.tar, config.kernel.ucode) == (
        "k:1",
        "two",
        "",
        "u",
    )
    assert config.init == ("a", "b")
    # LinuxKit 1.8 forgets the volumes of all files but the last
    assert config.complaints == ()


def test_names_are_unique_over_all_files() -> None:
    service = "services: [{name: s, image: x}]\nvolumes: [{name: v}]\nonboot: [{name: o, image: x}]"
    assert problems(service, service) == [
        "2.yml:1: services[0].name: duplicate service name: s is already at 1.yml:1",
        "2.yml:2: volumes[0].name: duplicate volume name: v is already at 1.yml:2",
    ]


def test_ids_begin_at_100_and_the_last_of_equal_names_counts() -> None:
    config = load(
        "onboot: [{name: a, image: x}, {name: b, image: x}]\nonshutdown: [{name: a, image: x}]\n"
        "services: [{name: c, image: x, uid: b}]"
    )
    assert config.ids == {"a": 102, "b": 101, "c": 103}


@pytest.mark.parametrize(
    ("yaml", "mode"),
    [('"0644"', 0o644), ("0644", 0o644), ("644", 0o644), ("0o644", 0o644), ('""', None), ('"1777"', 0o1777)],
)
def test_modes_are_octal_quoted_or_not(yaml: str, mode: int | None) -> None:
    assert load(f"files: [{{path: a, contents: x, mode: {yaml}}}]").files[0].mode == mode


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2020-01-02", "2020-01-02"),
        ("'5'", "5"),
        ("a:b", "a:b"),
    ],
)
def test_strings_are_what_linuxkit_takes_for_strings(yaml: str, value: str) -> None:
    assert load(f"services: [{{name: s, image: x, command: [{yaml}]}}]").services[0].settings["command"] == [
        value
    ]


@pytest.mark.parametrize("yaml", ["5", "0x10", "1.5", "true", "null", "~", "[a]", ".inf"])
def test_what_is_no_string_is_refused(yaml: str) -> None:
    [problem] = problems(f"services: [{{name: s, image: x, command: [{yaml}]}}]")
    assert "services[0].command[0]: must be a string" in problem


def test_anchors_and_merge_keys() -> None:
    config = load(
        "services:\n- &a {name: s, image: x, net: host}\n- {<<: *a, name: t, net: new}\n- {<<: [*a], name: u}"
    )
    assert [(one.name, one.settings["net"]) for one in config.services] == [
        ("s", "host"),
        ("t", "new"),
        ("u", "host"),
    ]


@pytest.mark.parametrize(
    "text",
    ["a: [", "- a", "x", "a: 1\n---\nb: 2", "a: &x [*x]", "a: !!python/object:os.system x", "\t", "a: !x y", "1: 2",
     "? [a]\n: b", "kernel: {<<: 5}"],
)  # fmt: skip
def test_what_is_no_configuration_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        load(text)


def test_a_bomb_of_aliases_ends() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for number in range(1, 12):
        text += f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n"
    with pytest.raises(UsageError, match="too many values"):
        load(text)


@pytest.mark.parametrize("text", ["", "{}", "---\n", "# only\n"])
def test_nothing_is_a_configuration_too(text: str) -> None:
    assert load(text) == Config()


def test_the_dry_run_prints_what_it_comes_to() -> None:
    text = load("kernel: {image: k, tar: ''}", "files: [{path: a, contents: 'x', mode: 0644}]").as_yaml()
    assert text == (
        'kernel:\n    image: k\n    tar: ""\ninit: []\nonboot: []\nonshutdown: []\nservices: []\n'
        'files:\n    - path: a\n      directory: false\n      contents: x\n      optional: false\n      mode: "0644"\n'
        "volumes: []\n"
    )


def test_what_was_printed_can_be_read_again() -> None:
    first = load(
        "services: [{name: s, image: x, uid: 5, oomScoreAdj: -9, sysctl: {a.b: '1'}}]\nvolumes: [{name: v}]"
    )
    again: Any = load(first.as_yaml())
    assert again == first


def test_a_wrong_key_hides_nothing_else_of_its_entry() -> None:
    yaml = """
onboot:
  - {name: a, image: x/y:1, capabilities: [CAP_NOPE], resources: {memory: {limit: much}}}
  - {image: "bad ref!", binds: [/a]}
services:
  - {name: a, image: x/y:1, command: sh, binds: ["lost:/x", "kept:/y"]}
volumes:
  - {name: kept, readonly: true}
"""
    assert sorted(problems(yaml)) == [
        "1.yml:3: onboot[0].capabilities[0]: unknown capability: CAP_NOPE",
        "1.yml:3: onboot[0].resources.memory.limit: must be a whole number, not 'much'",
        "1.yml:4: onboot[1].binds[0]: cannot parse bind, missing ':': /a",
        "1.yml:4: onboot[1].image: 'bad ref!' is not the name of an image",
        "1.yml:4: onboot[1]: name is missing",
        "1.yml:6: services[0].binds[0]: volume 'lost' not found among volumes",
        (
            "1.yml:6: services[0].binds[1]: volume kept is read-only, "
            "but attempting to write into container read-write: add :ro"
        ),
        "1.yml:6: services[0].command: must be a list, not 'sh': write ['sh']",
    ]
