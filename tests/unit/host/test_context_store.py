# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cove.errors import ConflictError, StorageError, UsageError
from cove.host.context_store import ContextStore
from cove.host.contexts import Context, folder_name

DEV = Context.of_machine("dev", Path("/h/m/dev/docker.sock"))
THEIRS = Context(name="cove-dev", description="mine", host="tcp://h:2376")


@pytest.fixture
def contexts(tmp_path: Path) -> ContextStore:
    return ContextStore(tmp_path / "docker")


def test_modes_are_dockers(contexts: ContextStore) -> None:
    previous = os.umask(0o022)
    try:
        assert contexts.write(DEV)
    finally:
        os.umask(previous)
    file = contexts.config / "contexts" / "meta" / folder_name(DEV.name) / "meta.json"
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.parent.stat().st_mode & 0o777 == 0o755
    assert contexts.config.stat().st_mode & 0o777 == 0o700


def test_written_once(contexts: ContextStore) -> None:
    assert contexts.ours() == []
    assert contexts.write(DEV)
    assert not contexts.write(DEV)
    assert contexts.ours() == [DEV]
    assert contexts.find(DEV.name) == DEV
    assert contexts.remove(DEV.name)
    assert not contexts.remove(DEV.name)
    assert contexts.ours() == []
    assert list((contexts.config / "contexts" / "meta").iterdir()) == []


@pytest.mark.parametrize("text", ['{"Name":"cove-dev","Endpoints":{"docker":{"Host":"tcp://h"}}}', "{", ""])
def test_what_is_not_ours_is_left_alone(contexts: ContextStore, text: str) -> None:
    contexts.write(DEV)
    file = contexts.config / "contexts" / "meta" / folder_name(DEV.name) / "meta.json"
    file.write_text(text)
    with pytest.raises(ConflictError, match="did not make"):
        contexts.write(DEV)
    assert file.read_text() == text
    assert contexts.ours() == []


def test_one_that_is_not_ours_is_not_removed(contexts: ContextStore) -> None:
    contexts.write(DEV)
    file = contexts.config / "contexts" / "meta" / folder_name(DEV.name) / "meta.json"
    file.write_text(json.dumps({"Name": DEV.name, "Metadata": {}, "Endpoints": {"docker": {"Host": "x"}}}))
    with pytest.raises(ConflictError):
        contexts.remove(DEV.name)
    assert file.exists()


def test_use_keeps_the_rest_and_the_mode(contexts: ContextStore) -> None:
    contexts.write(DEV)
    config = contexts.config / "config.json"
    config.write_text('{"auths": {"r": {"auth": "c2VjcmV0"}}, "new": [1]}')
    config.chmod(0o640)
    contexts.use(DEV.name)
    assert contexts.current() == DEV.name
    assert json.loads(config.read_text()) == {
        "auths": {"r": {"auth": "c2VjcmV0"}},
        "new": [1],
        "currentContext": DEV.name,
    }
    assert config.stat().st_mode & 0o777 == 0o640
    before = config.stat().st_ino
    contexts.use(DEV.name)
    assert config.stat().st_ino == before


def test_a_link_is_followed(contexts: ContextStore, tmp_path: Path) -> None:
    dotfile = tmp_path / "dotfile.json"
    dotfile.write_text("{}")
    contexts.config.mkdir()
    (contexts.config / "config.json").symlink_to(dotfile)
    contexts.use("cove")
    assert (contexts.config / "config.json").is_symlink()
    assert json.loads(dotfile.read_text()) == {"currentContext": "cove"}


def test_a_removed_context_is_not_in_use(contexts: ContextStore) -> None:
    contexts.write(DEV)
    contexts.use(DEV.name)
    contexts.remove(DEV.name)
    assert contexts.current() == "default"


def test_a_new_config_is_private(contexts: ContextStore) -> None:
    contexts.use("cove")
    assert (contexts.config / "config.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_config_is_not_touched(contexts: ContextStore, data: bytes) -> None:
    contexts.config.mkdir()
    (contexts.config / "config.json").write_bytes(data)
    with pytest.raises(UsageError):
        contexts.use("cove")
    assert (contexts.config / "config.json").read_bytes() == data


def test_a_home_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    contexts = ContextStore(tmp_path / "nobody" / ".docker")
    with pytest.raises(StorageError, match="no folder"):
        contexts.write(DEV)
    with pytest.raises(StorageError):
        contexts.use("cove")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(contexts: ContextStore) -> None:
    contexts.config.mkdir(mode=0o500)
    with pytest.raises(StorageError):
        contexts.write(DEV)
