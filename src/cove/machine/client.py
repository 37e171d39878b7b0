# SPDX-License-Identifier: Apache-2.0
"""Talk to a machine's supervisor: HTTP with JSON on a unix socket.

Standard library only, because the CLI passes here on every call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from cove import errors
from cove.errors import CoveError, MachineError
from cove.system.unixhttp import UnixConnection


class SupervisorClient:
    """One machine's supervisor.

    Args:
        path: its socket.
        name: the machine's name, for errors.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def call(self, method: str, route: str, body: object = None, *, deadline: float = 10.0) -> Any:
        """One request; returns the reply's JSON.

        Raises:
            MachineError: the supervisor cannot be reached or did not answer in ``deadline`` seconds.
            CoveError: it refused; the error is the one it raised.
        """
        connection = UnixConnection(self._path, timeout=deadline)
        try:
            connection.request(method, route, json.dumps(body) if body is not None else None)
            reply = connection.getresponse()
            data = json.loads(reply.read() or b"null")
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if reply.status >= 400:
            raise error_from(data)
        return data

    def events(self, *, deadline: float) -> Iterator[dict[str, Any]]:
        """The events of the running start, from its beginning, until it ended one way or the other.

        Args:
            deadline: seconds between two events.

        Raises:
            MachineError: the supervisor cannot be reached, or ended without a last word.
        """
        connection = UnixConnection(self._path, timeout=deadline)
        try:
            connection.request("GET", "/v1/events")
            for line in connection.getresponse():
                yield json.loads(line)
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _unreachable(self, error: Exception) -> MachineError:
        return MachineError(
            f"the supervisor of {self._name} does not answer: {error}",
            hint=f"cove status {self._name} says how it is; cove start {self._name} recovers it.",
            log=self._path.with_name("supervisor.log"),
        )


def error_from(data: Any) -> CoveError:
    """The error that another process described with :meth:`CoveError.as_dict`."""
    if not isinstance(data, dict):
        return MachineError("the supervisor sent something that is not an error", details=str(data))
    kind = getattr(errors, str(data.get("error")), None)
    log = Path(data["log"]) if data.get("log") else None
    message, details, hint = str(data.get("message")), data.get("details"), data.get("hint")
    if isinstance(kind, type) and issubclass(kind, CoveError):
        error = kind.__new__(kind)
        CoveError.__init__(error, message, details=details, hint=hint, log=log)
        return error
    return MachineError(message, details=details, hint=hint, log=log)
