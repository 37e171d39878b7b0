# SPDX-License-Identifier: Apache-2.0
"""Which container holds which port of the host: one table, in which a port has one holder at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cove.host.carrying import Dial
from cove.host.forward import Forward, bind
from cove.host.ports import ANY, HostPort, Target


@dataclass
class _Held:
    holder: str
    forward: Forward | None
    """None where the host lacks the whole family."""
    target: Target | None = None


class PortTable:
    """The ports of one machine. All of it is done at once, without waiting.

    Args:
        dial: leads into the guest.
    """

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._held: dict[HostPort, _Held] = {}
        self._missing: dict[str, dict[HostPort, tuple[Target, str]]] = {}

    def holder(self, port: HostPort) -> str | None:
        """Who holds a port that excludes this one: the same, or one whose address or ours means all."""
        for held, entry in self._held.items():
            if _excludes(held, port):
                return entry.holder
        return None

    def holders(self) -> set[str]:
        """Everyone who holds a port, or was refused one."""
        return {entry.holder for entry in self._held.values()} | self._missing.keys()

    def take(self, holder: str, ports: Iterable[HostPort]) -> tuple[HostPort, OSError] | None:
        """Bind ports without opening them; those that the holder has stay as they are.

        Returns:
            the first one that cannot be had and why; none was taken then.
        """
        taken: list[HostPort] = []
        for port in sorted(ports):
            try:
                if self._take(holder, port):
                    taken.append(port)
            except OSError as error:
                for each in taken:
                    self._release(each)
                return port, error
        return None

    def settle(self, holder: str, published: Mapping[HostPort, Target]) -> dict[HostPort, OSError]:
        """Open exactly these ports for a holder, and give back its others.

        Returns:
            those that cannot be had, and why.
        """
        for port in [port for port, entry in self._held.items() if entry.holder == holder]:
            if port not in published:
                self._release(port)
        failed: dict[HostPort, OSError] = {}
        for port, target in published.items():
            try:
                self._take(holder, port)
            except OSError as error:
                failed[port] = error
                continue
            entry = self._held[port]
            if entry.target != target and entry.forward is not None:
                entry.forward.open(target)
            entry.target = target
        self._missing.pop(holder, None)
        if failed:
            self._missing[holder] = {
                port: (published[port], error.strerror or str(error)) for port, error in failed.items()
            }
        return failed

    def close(self) -> None:
        """Give everything back."""
        for port in list(self._held):
            self._release(port)
        self._missing.clear()

    def describe(self, names: Mapping[str, str]) -> list[dict[str, Any]]:
        """All ports as JSON data, those that could not be had with an error.

        Args:
            names: the holders' names.
        """
        found: list[tuple[HostPort, str, Target, str | None]] = [
            (port, entry.holder, entry.target, None)
            for port, entry in self._held.items()
            if entry.target is not None and entry.forward is not None
        ]
        for holder, ports in self._missing.items():
            found += [(port, holder, target, error) for port, (target, error) in ports.items()]
        return [
            {
                "container": names.get(holder, holder),
                "protocol": port.protocol,
                "address": port.address,
                "port": port.port,
                "container_port": target.port,
                "error": error,
            }
            for port, holder, target, error in sorted(found, key=lambda entry: entry[0])
        ]

    def _take(self, holder: str, port: HostPort) -> bool:
        """Bind one port; says whether the holder did not have it before."""
        entry = self._held.get(port)
        if entry is not None and entry.holder == holder:
            return False
        self._held[port] = _Held(holder, bind(port, self._dial))
        return True

    def _release(self, port: HostPort) -> None:
        entry = self._held.pop(port)
        if entry.forward is not None:
            entry.forward.close()


def _excludes(one: HostPort, other: HostPort) -> bool:
    same = (one.network, one.port) == (other.network, other.port)
    return same and (one.address == other.address or one.address in ANY or other.address in ANY)
