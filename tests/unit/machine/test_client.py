# SPDX-License-Identifier: Apache-2.0
"""The client against servers that do not behave."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cove import errors
from cove.errors import CoveError, MachineError
from cove.machine.client import SupervisorClient, error_from

KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, CoveError)]


@pytest.fixture
def answer(tmp_path: Path) -> Iterator[list[bytes]]:
    """What a server on ``s`` below the test's folder answers each connection with before it hangs up."""
    answers: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answers[0])

    server = threading.Thread(target=serve)
    server.start()
    yield answers
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    server.join(10)


@pytest.mark.parametrize(
    "reply",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n{"],
    ids=["nothing", "no HTTP", "cut off", "no JSON"],
)
def test_what_is_no_answer(tmp_path: Path, answer: list[bytes], reply: bytes) -> None:
    answer.append(reply)
    with pytest.raises(MachineError, match="the supervisor of dev does not answer: ") as caught:
        SupervisorClient(tmp_path / "s", "dev").call("GET", "/v1/status")
    assert caught.value.log == tmp_path / "supervisor.log"
    assert "cove start dev" in (caught.value.hint or "")


def test_an_empty_answer_is_nothing(tmp_path: Path, answer: list[bytes]) -> None:
    answer.append(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert SupervisorClient(tmp_path / "s", "dev").call("POST", "/v1/x") is None


def test_events_that_break_off_in_a_line(tmp_path: Path, answer: list[bytes]) -> None:
    answer.append(b'HTTP/1.1 200 OK\r\n\r\n{"event": "stage-begun"}\n{"event": ')
    events = SupervisorClient(tmp_path / "s", "dev").events(deadline=10)
    assert next(events) == {"event": "stage-begun"}
    with pytest.raises(MachineError, match="does not answer"):
        next(events)


def test_nobody_listens(tmp_path: Path) -> None:
    client = SupervisorClient(tmp_path / "nobody", "dev")
    with pytest.raises(MachineError, match="No such file"):
        client.call("GET", "/v1/status")
    with pytest.raises(MachineError, match="No such file"):
        next(client.events(deadline=1))


def test_one_that_says_nothing_is_left_at_the_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(MachineError, match="timed out"):
            SupervisorClient(tmp_path / "s", "dev").call("GET", "/v1/status", deadline=0.1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_survives_the_way(kind: type[CoveError]) -> None:
    sent = kind.__new__(kind)
    CoveError.__init__(sent, "no", details="because", hint="try", log=Path("/log"))
    received = error_from(sent.as_dict())
    assert type(received) is kind
    assert received.as_dict() == sent.as_dict()
    assert received.exit_code == kind.exit_code


@pytest.mark.parametrize("name", ["Path", "os", "Nothing", "annotations", None])
def test_errors_that_we_do_not_know_are_machine_errors(name: str | None) -> None:
    received = error_from({"error": name, "message": "no"})
    assert (type(received), received.message, received.log) == (MachineError, "no", None)


@pytest.mark.parametrize("data", [None, [], "no", 1])
def test_what_is_no_error(data: object) -> None:
    assert error_from(data).details == str(data)
