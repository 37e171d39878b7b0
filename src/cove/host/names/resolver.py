# SPDX-License-Identifier: Apache-2.0
"""This host's resolver for the guest's questions: the names of docker, of hosts(5), and then its name servers.

Both files are looked at with every question, so that a new network or VPN counts at once. They may be links
into folders that other programs rewrite.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Generic, TypeVar

from cove.host.names.ask import ask
from cove.host.names.files import HOSTS, RESOLV_CONF, ResolvConf, read_hosts, read_resolv_conf
from cove.host.names.message import (
    AAAA,
    NO_SUCH_NAME,
    REFUSED,
    SERVER_FAILURE,
    A,
    Question,
    read_question,
    reply,
)

log = logging.getLogger("cove.names")

HOST_NAMES = frozenset({"host.docker.internal", "gateway.docker.internal", "host.containers.internal"})
"""What containers call this host, in docker's words and in podman's."""

_DOMAINS = (".docker.internal", ".containers.internal")
_LOCALHOST = IPv4Address("127.0.0.1")

T = TypeVar("T")


class Resolver:
    """Answers questions as this host would.

    Args:
        host: the address by which the guest reaches this host's loopback.
        resolv_conf: says which name servers there are.
        hosts: says what names the host knows itself.
    """

    def __init__(self, host: IPv4Address, *, resolv_conf: Path = RESOLV_CONF, hosts: Path = HOSTS) -> None:
        self._host = host
        self._conf = _Parsed(resolv_conf, read_resolv_conf)
        self._hosts = _Parsed(hosts, read_hosts)

    @property
    def conf(self) -> ResolvConf:
        """Where names are asked for, now."""
        return self._conf.value

    async def answer(self, query: bytes, *, stream: bool) -> bytes:
        """The answer to a question; there always is one.

        Args:
            query: the message.
            stream: it came over TCP: the answer may have any length.
        """
        question = read_question(query)
        if question is None:
            return reply(query, None, code=REFUSED)
        own = self._own_answer(query, question)
        if own is not None:
            return own
        conf = self.conf
        answer = await ask(conf.servers, conf.port, query, stream=stream)
        if answer is None:
            log.info("no name server answered: %s", ", ".join(conf.servers))
        return answer or reply(query, question, code=SERVER_FAILURE)

    def _own_answer(self, query: bytes, question: Question) -> bytes | None:
        """The answer, if no name server is needed for it."""
        known = self._known(question.name)
        if question.type == A and known is not None:
            return reply(query, question, known)
        if question.type == AAAA or question.name in HOST_NAMES:  # the guest has no network of IPv6
            return reply(query, question)
        return reply(query, question, code=NO_SUCH_NAME) if question.name.endswith(_DOMAINS) else None

    def _known(self, name: str) -> tuple[IPv4Address, ...] | None:
        """The addresses of a name that no name server is needed for; None for all others."""
        if name in HOST_NAMES:
            return (self._host,)
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
            return (_LOCALHOST,)
        found = self._hosts.value.get(name)
        if found is None:
            return None
        # what the host has on its loopback, the guest reaches elsewhere
        return tuple(dict.fromkeys(self._host if one.is_loopback else one for one in found))


class _Parsed(Generic[T]):
    """What stands in a file, read anew when it changed."""

    def __init__(self, path: Path, read: Callable[[str], T]) -> None:
        self._path = path
        self._read = read
        self._seen: tuple[int, ...] | None = None
        self._value = read("")

    @property
    def value(self) -> T:
        try:
            stat = self._path.stat()
            seen = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if seen != self._seen:
                self._value = self._read(self._path.read_text(errors="replace"))
                self._seen = seen
        except OSError:  # absent, or just being replaced
            self._value, self._seen = self._read(""), None
        return self._value
