# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.host.contexts import (
    Context,
    context_name,
    current_context,
    folder_name,
    from_meta,
    to_meta,
    with_current,
)

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
VALUES = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=9), PLAIN, max_size=3)
CONFIGS = st.dictionaries(st.text(max_size=9), VALUES, max_size=4)


def test_the_file_is_dockers(golden: Callable[[str, str], None]) -> None:
    """The golden file was written by ``docker context create``."""
    context = Context.of_machine("dev", PurePath("/h/m/dev/docker.sock"))
    golden("contexts/meta.json", to_meta(context))
    golden("contexts/folder.txt", folder_name(context.name) + "\n")


def test_names() -> None:
    assert context_name("default") == "cove"
    assert context_name("dev") == "cove-dev"


def test_what_is_written_can_be_read() -> None:
    context = Context.of_machine("dev", PurePath("/h/ü/docker.sock"))
    assert from_meta(json.loads(to_meta(context))) == context
    assert context.ours
    assert context.machine == "dev"
    assert str(context.socket) == "/h/ü/docker.sock"


@settings(max_examples=50)
@given(VALUES)
def test_anything_else_is_no_context(value: object) -> None:
    assert from_meta(value) is None
    assert from_meta({"Name": "x", "Metadata": None, "Endpoints": value}) is None


def test_a_context_without_description_is_not_ours() -> None:
    data = {"Name": "x", "Metadata": None, "Endpoints": {"docker": {"Host": "tcp://h:2376"}}}
    context = from_meta(data)
    assert context is not None
    assert not context.ours
    assert context.socket is None


@settings(max_examples=30)
@given(CONFIGS, st.text(min_size=1).filter(lambda name: name != "default"))
def test_only_the_current_context_changes(config: dict[str, object], name: str) -> None:
    text = json.dumps(config)
    used = with_current(text, name)
    assert current_context(used) == name
    assert json.loads(used) == {**config, "currentContext": name}
    left = with_current(used, "default")
    assert current_context(left) == "default"
    assert json.loads(left) == {key: value for key, value in config.items() if key != "currentContext"}


def test_an_absent_config_is_an_empty_one() -> None:
    assert current_context("") == "default"
    assert with_current("", "cove") == '{\n\t"currentContext": "cove"\n}'


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "3"])
def test_what_could_not_be_kept_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"config\.json"):
        with_current(text, "cove")
