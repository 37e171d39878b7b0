# SPDX-License-Identifier: Apache-2.0
"""What vfkit says after the Mac slept; the vsock itself is macOS's."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from cove_guest import timesync

# as vfkit 0.6.4 writes it (cmd/vfkit/timesync.go)
REQUEST = b'{"execute": "guest-set-time", "arguments":{"time": 1732450000123456789}}\n'


def test_the_time_is_set_and_the_answer_is_what_vfkit_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(time, "clock_settime", lambda clock, seconds: told.append((clock, seconds)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        thread = threading.Thread(target=timesync.serve, args=[theirs])
        thread.start()
        ours.sendall(REQUEST[:20])
        ours.sendall(REQUEST[20:] + REQUEST)
        received = b""
        while received.count(b"\n") < 2:
            received += ours.recv(100)
        assert received == b'{"return": {}}\n' * 2
        ours.sendall(b'{"execute": "guest-exec"}\n')
        assert ours.recv(200).startswith(b'{"error"')
        ours.shutdown(socket.SHUT_WR)
        thread.join(10)
    assert told == [(time.CLOCK_REALTIME, 1732450000.1234567)] * 2


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\xff", b"[]", b"{}", b'{"execute":"guest-exec"}', b'{"execute":"guest-set-time"}',
        b'{"execute":"guest-set-time","arguments":{"time":"now"}}',
        b'{"execute":"guest-set-time","arguments":{"time":true}}',
    ],
)  # fmt: skip
def test_nothing_else_is_obeyed(line: bytes) -> None:
    assert timesync.wanted(line) is None
