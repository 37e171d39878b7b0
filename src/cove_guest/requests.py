# SPDX-License-Identifier: Apache-2.0
"""One request of the host, and what the operations work on."""

from __future__ import annotations

from cove_guest.wire import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cove_guest.engine import Engine

    Answer = dict[str, object]


class Context:
    """What the operations work on.

    Args:
        engine: docker's socket.
        data: where the data disk is mounted.
        run: folder with ``NAME.pid`` and ``NAME.starts`` of each service.
        init: process id of init; another one in tests.
        machine_id: where /etc/machine-id leads, machine-id(5).
    """

    def __init__(
        self, *, engine: Engine, data: str, run: str, init: int, machine_id: str = "/run/machine-id"
    ) -> None:
        self.engine = engine
        self.data = data
        self.run = run
        self.init = init
        self.machine_id = machine_id


class Request:
    """One request: its arguments, who asked, and what to do once the reply is on its way.

    Args:
        arguments: the JSON object ``args``.
        peer: descriptor of the connection, watched by long waits.
    """

    def __init__(self, arguments: dict[str, object], peer: int = -1) -> None:
        self.arguments = arguments
        self.peer = peer
        self.then: Callable[[], None] | None = None

    def text(self, name: str, default: str | None = None) -> str:
        """A string argument, without NUL.

        Raises:
            RefusedError: ``bad-argument``.
        """
        value = self.arguments.get(name, default)
        if not isinstance(value, str) or "\0" in value:
            raise RefusedError("bad-argument", f"{name} must be a string")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number that is not negative.

        Raises:
            RefusedError: ``bad-argument``.
        """
        value = self.arguments.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
            raise RefusedError("bad-argument", f"{name} must be a number of seconds, and not negative")
        return value

    def options(self) -> list[str]:
        """Mount options, given as one string with commas or as a list of strings.

        Raises:
            RefusedError: ``bad-argument``.
        """
        value = self.arguments.get("options") or []
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, list) or not all(
            isinstance(word, str) and "\0" not in word for word in words
        ):
            raise RefusedError("bad-argument", "options must be a string or a list of strings")
        return [word for word in words if word]
