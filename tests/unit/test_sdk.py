# SPDX-License-Identifier: Apache-2.0
"""The SDK on recorded machines: what needs no guest."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cove
from cove import sdk
from cove.errors import ConflictError, MachineError, NotFoundError, UsageError
from cove.events import Event, Note
from cove.machine.logs import read_log
from cove.machine.state import State
from cove.machine.store import StateRecord, write_state
from cove.sdk import Client
from cove.system.process import Identity
from tests.unit.machine.world import SPEC, short_home


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.delenv("COVE_CACHE", raising=False)
    monkeypatch.setenv("COVE_DEBIAN_MIRROR", "http://127.0.0.1:1/")
    with short_home() as home:
        yield Client(home.root, offline=True)


def running(client: Client) -> sdk.Machine:
    me = Identity.of(os.getpid())
    assert me is not None
    write_state(
        client.store.create(SPEC).paths, StateRecord(state=State.RUNNING, processes={"supervisor": me})
    )
    return client.machine("dev")


def test_the_front_door_has_what_it_promises() -> None:
    assert {name: getattr(cove, name) for name in cove.__all__} == {
        "Client": sdk.Client, "Machine": sdk.Machine, "CoveError": cove.CoveError, "__version__": cove.__version__,
    }  # fmt: skip
    with pytest.raises(AttributeError, match="nothing"):
        cove.nothing  # noqa: B018


def test_home_is_what_is_given_or_the_environments(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVE_HOME", "/elsewhere")
    assert Client(client.home.root).home == client.home
    assert Client().home.root == Path("/elsewhere")


def test_nobody_is_there_at_first(client: Client) -> None:
    assert client.machines.list() == list(client.machines) == []
    machine = client.machine("dev")
    assert not machine.exists
    assert repr(machine) == "<cove.Machine dev>"
    for ask in (lambda: client.machines.get("dev"), lambda: machine.status, machine.inspect, machine.start):
        with pytest.raises(NotFoundError):
            ask()
    with pytest.raises(UsageError):
        client.machine("../x")
    assert machine.versions()["server"] is None


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="the driver uml is for x86_64 Linux"
)
def test_created_it_is_listed_inspected_and_deleted(client: Client) -> None:
    seen: list[Event] = []
    client.report = seen.append
    machine = client.machines.create("dev", driver="uml", memory=1 << 30, disk=2 << 30)
    assert isinstance(seen[0], Note)
    assert "Created the machine dev: driver uml (" in seen[0].text
    assert [one.name for one in client.machines] == ["dev"]
    assert client.machines.get("dev").status == "created"
    data = machine.inspect()
    assert (data["memory"], data["disk"]["size"], data["disk"]["allocated"]) == (1 << 30, 2 << 30, 0)
    with pytest.raises(ConflictError):
        client.machines.create("dev")
    assert not machine.stop()
    machine.delete()
    assert not machine.exists


def test_where_docker_clients_find_it(client: Client) -> None:
    machine = client.machine("dev")
    assert machine.docker_host == f"unix://{client.home.root}/m/dev/docker.sock"
    assert machine.environment()["DOCKER_HOST"] == machine.docker_host
    assert machine.shell_lines(shell="fish", unset=True, command="x").startswith("set -e DOCKER_HOST;")


def test_one_that_runs_is_left_as_it_is(client: Client) -> None:
    machine = running(client)
    machine.start()
    assert machine.ensure_running().running
    assert machine.status == "running"
    assert machine.inspect()["uptime"] >= 0
    with pytest.raises(ConflictError, match="dev is running"):
        machine.delete()
    assert machine.guest() is not None


def test_what_needs_a_guest_says_so(client: Client) -> None:
    client.store.create(SPEC)
    machine = client.machine("dev")
    for ask in (machine.guest, machine.explain, lambda: list(machine.logs("dockerd"))):
        with pytest.raises(MachineError, match="dev is created") as caught:
            ask()
        assert caught.value.hint == "cove start dev"


def test_log_sources_are_all_known(client: Client) -> None:
    client.store.create(SPEC)
    machine = client.machine("dev")
    for source in sdk.LOG_SOURCES:
        with pytest.raises((NotFoundError, MachineError)):
            list(machine.logs(source))


def test_a_followed_log_goes_on(client: Client) -> None:
    paths = client.store.create(SPEC).paths
    paths.supervisor_log.write_bytes(b"one\ntwo\n")
    pieces = read_log(client.store.load("dev"), "supervisor", tail=1, follow=True)
    assert next(pieces) == b"two\n"
    with paths.supervisor_log.open("ab") as stream:
        stream.write(b"three\n")
    assert next(pieces) == b"three\n"
    pieces.close()  # type: ignore[attr-defined]


def test_the_cache_is_measured_and_pruned(client: Client) -> None:
    home = client.home
    assert client.cache_sizes() == {"packages": 0, "tools": 0, "images": 0, "containers": 0, "content": 0}
    used, pointed, old = (home.images / name for name in ("used", "pointed", "old"))
    for folder in (home.archive, used, pointed, old):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(os.urandom(100_000))
    (home.images / "request.json").write_text('{"id": "pointed"}')
    (home.images / "damaged.json").write_text("{")
    machine = client.store.create(SPEC)
    client.store.set_image(machine, "used")
    assert client.cache_sizes()["images"] > 300_000
    assert client.prune_cache() > 200_000
    assert sorted(path.name for path in home.images.iterdir() if path.is_dir()) == ["pointed", "used"]
    assert client.prune_cache(everything=True) > 200_000
    assert client.cache_sizes()["images"] == 0
    assert client.store.exists("dev")


def test_images_of_users_guests_are_kept_for_machines_alone(client: Client) -> None:
    images = client.home.images
    for name in ("now", "before"):
        (images / name).mkdir(parents=True)
        (images / f"request-{name}.json").write_text(f'{{"id": "{name}", "custom": true}}')
    client.store.set_image(client.store.create(SPEC), "now")
    client.prune_cache()
    assert sorted(path.name for path in images.iterdir()) == ["now", "request-now.json"]


def test_nothing_is_pruned_away_under_a_machine_that_runs(client: Client) -> None:
    running(client)
    with pytest.raises(ConflictError, match="dev needs the cache"):
        client.prune_cache(everything=True)
    assert client.prune_cache() == 0


def test_the_machine_is_taken_off_dockers_arguments() -> None:
    assert sdk.split_machine(["-m", "dev", "run", "x"]) == ("dev", ("run", "x"))
