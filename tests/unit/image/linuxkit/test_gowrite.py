# SPDX-License-Identifier: Apache-2.0
"""Expectations were taken from gopkg.in/yaml's own tests and from what the real LinuxKit wrote."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cove.image.linuxkit import schema
from cove.image.linuxkit.gowrite import json_value, natural_order, to_json, to_yaml, yaml_value
from cove.image.marked import read_yaml


def test_json_is_gos() -> None:
    value = {"a": "<&>\u2028", "b": [], "c": {}, "d": [1, True, None], "e": "ü\n\x01"}
    assert to_json(value).decode() == (
        '{\n    "a": "\\u003c\\u0026\\u003e\\u2028",\n    "b": [],\n    "c": {},\n    "d": [\n        1,\n'
        '        true,\n        null\n    ],\n    "e": "ü\\n\\u0001"\n}'
    )


VALUE = {
    "plain": "two words", "number": "0755", "yes": "y", "date": "2020-01-02", "sixty": "1:30", "empty": "",
    "hash": "a #b", "colon": "a: b", "lines": "one\ntwo\n", "cut": "one\ntwo", "list": ["a", {"b": ["c"]}],
    "none": [], "map": {}, "one": 1, "true": True, "null": None, "uni": "ü",
}  # fmt: skip


def test_yaml_of_version_2() -> None:
    assert to_yaml(VALUE, version=2) == (
        'plain: two words\nnumber: "0755"\n"yes": "y"\ndate: "2020-01-02"\nsixty: "1:30"\nempty: ""\n'
        "hash: 'a #b'\ncolon: 'a: b'\nlines: |\n  one\n  two\ncut: |-\n  one\n  two\nlist:\n- a\n- b:\n  - c\n"
        'none: []\nmap: {}\none: 1\n"true": true\n"null": null\nuni: ü\n'
    )


def test_yaml_of_version_3_indents_lists_and_folds_nothing() -> None:
    text = to_yaml({"a": {"b": ["x", {"c": "d", "e": ["f"]}], "long": "word " * 40 + "end"}}, version=3)
    assert text == (
        "a:\n    b:\n        - x\n        - c: d\n          e:\n            - f\n"
        f"    long: {'word ' * 40}end\n"
    )
    assert len(max(to_yaml({"long": "word " * 40 + "end"}, version=2).splitlines(), key=len)) <= 90


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
)
def test_what_is_written_is_read_again(value: object) -> None:
    try:
        yaml.safe_load(yaml.safe_dump(value, allow_unicode=True))
    except yaml.YAMLError:
        return  # characters that YAML does not know
    for version in (2, 3):
        text = to_yaml({"k": value}, version=version)
        assert read_yaml(text, "x").value == {"k": value} or "<<" in text or "\x85" in text


def test_fields_are_written_in_their_order_and_empty_ones_left_out() -> None:
    container = {
        "image": "i", "name": "n", "readonly": False, "cwd": "", "command": [],
        "mounts": [{"type": "proc"}], "uidMappings": [{"hostID": 1, "size": 2}], "runtime": {"bindNS": {}},
        "resources": {"cpu": {"shares": 5}},
    }  # fmt: skip
    assert to_yaml(yaml_value(container, schema.CONTAINER), version=3) == (
        'name: "n"\nimage: i\nmounts:\n    - destination: ""\n      type: proc\n      source: ""\n      options: []\n'
        "      uidmappings: []\n      gidmappings: []\ncommand: []\nreadonly: false\nresources:\n    devices: []\n"
        "    memory: null\n    cpu:\n        shares: 5\n        quota: null\n        period: null\n"
        "        realtimeruntime: null\n        realtimeperiod: null\n"
        '        cpus: ""\n        mems: ""\n    pids: null\n    blockio: null\n    hugepagelimits: []\n'
        "    network: null\nuidMappings:\n    - containerid: 0\n      hostid: 1\n      size: 2\nruntime: {}\n"
    )
    assert json_value(container, schema.CONTAINER) == {
        "name": "n", "image": "i", "mounts": [{"destination": "", "type": "proc"}], "command": [],
        "readonly": False, "resources": {"cpu": {"shares": 5}},
        "uidMappings": [{"containerID": 0, "hostID": 1, "size": 2}], "runtime": {"bindNS": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        ["a1", "a2", "a10"],
        ["a", "ab", "b"],
        ["a1", "a01", "a2"],
        ["net.ipv4.x", "net.ipv6.a"],
        ["1", "2", "10", "a"],
    ],
)
def test_keys_are_sorted_as_people_do(keys: list[str]) -> None:
    assert natural_order(keys[::-1]) == keys
