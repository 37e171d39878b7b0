# SPDX-License-Identifier: Apache-2.0
"""The user's terminal as a guest's console, and the keys that are not the guest's: as QEMU's, behind Ctrl-A."""

from __future__ import annotations

from collections.abc import Callable

ESCAPE = 0x01
"""Ctrl-A."""

HELP = "\r\nCtrl-A h    this help\r\nCtrl-A x    end the guest\r\nCtrl-A a    send Ctrl-A\r\n"


class Keys:
    """Takes what was typed apart: what goes to the guest, and what is meant for us. Pure.

    Args:
        on_quit: Ctrl-A x.
        on_help: Ctrl-A h or ?.
    """

    def __init__(self, on_quit: Callable[[], None], on_help: Callable[[], None]) -> None:
        self._actions = {ord("x"): on_quit, ord("X"): on_quit, ord("h"): on_help, ord("?"): on_help}
        self._escaped = False

    def feed(self, typed: bytes) -> bytes:
        """What of ``typed`` is for the guest; what is for us is done."""
        out = bytearray()
        for key in typed:
            if not self._escaped:
                self._escaped = key == ESCAPE
                if not self._escaped:
                    out.append(key)
                continue
            self._escaped = False
            if key in (ESCAPE, ord("a")):
                out.append(ESCAPE)
            elif action := self._actions.get(key):
                action()
        return bytes(out)
