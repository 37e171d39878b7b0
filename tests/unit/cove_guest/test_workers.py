# SPDX-License-Identifier: Apache-2.0
"""Threads that are used again."""

from __future__ import annotations

import threading

import pytest

from cove_guest import workers

WAIT = 10.0


@pytest.fixture(autouse=True)
def no_idle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without idle threads; those that it leaves sleep on and are not used again."""
    monkeypatch.setattr(workers, "_idle", [])


def wait_for_idle(count: int) -> None:
    done = threading.Event()
    for _ in range(1000):
        if len(workers._idle) == count:
            return
        done.wait(0.01)
    raise AssertionError(f"{len(workers._idle)} idle threads, not {count}")


def test_one_thread_serves_one_after_the_other() -> None:
    seen: list[int] = []
    for number in range(5):
        workers.start(lambda: seen.append(threading.get_ident()))
        wait_for_idle(1)
        assert len(seen) == number + 1
    assert len(set(seen)) == 1


def test_all_that_is_begun_at_once_runs_at_once() -> None:
    """None waits for another: each connection is served, however long the others take."""
    meeting = threading.Barrier(40)
    for _ in range(39):
        workers.start(lambda: meeting.wait(WAIT) and None)
    meeting.wait(WAIT)
    wait_for_idle(workers.IDLE)


def test_what_fails_ends_its_thread_alone(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        done.set()
        raise SystemExit  # what ends a thread without a word

    done = threading.Event()
    workers.start(fail)
    assert done.wait(WAIT)
    again = threading.Event()
    workers.start(again.set)
    assert again.wait(WAIT)
    wait_for_idle(1)
    assert capfd.readouterr().err == ""


def test_what_was_worked_on_is_let_go() -> None:
    import weakref

    class Connection:
        def serve(self) -> None:
            pass

    connection = Connection()
    seen = weakref.ref(connection)
    workers.start(connection.serve)
    wait_for_idle(1)
    del connection
    assert seen() is None
