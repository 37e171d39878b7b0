# SPDX-License-Identifier: Apache-2.0
"""Names of images, as docker and LinuxKit write them. Pure.

Grammar: github.com/distribution/reference, reference.go. Normalisation is docker's: ``redis`` is
``docker.io/library/redis``; the first part is a host only if it has a dot or a colon or is ``localhost``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cove.errors import UsageError

_HUB = "docker.io"
_OLD_HUB = "index.docker.io"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<host>{_HOST})/(?P<path>{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}))?"
)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The full name of an image.

    Args:
        host: the registry, with its port if it has one: "docker.io".
        path: the repository in it: "library/redis".
        tag: "" when the name has none.
        digest: "sha256:..." when the name is pinned, else "".
    """

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Host and path."""
        return f"{self.host}/{self.path}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which an image store may know the image, the best first.

        A name without tag and digest is also looked for as ``:latest``, as docker does; LinuxKit 1.8 does not.
        """
        return (str(self), f"{self}:latest") if not self.tag and not self.digest else (str(self),)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Read an image's name and make it a full one; no tag is added.

    Args:
        text: ``redis``, ``a/b:1``, ``localhost:5000/x@sha256:...``.

    Raises:
        UsageError: it is no name of an image.
    """
    host, slash, rest = text.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, rest = _HUB, text
    if host == _OLD_HUB:
        host = _HUB
    if host == _HUB and "/" not in rest:
        rest = f"library/{rest}"
    found = _REFERENCE.fullmatch(f"{host}/{rest}")
    if found is None:
        raise UsageError(
            f"{text!r} is not the name of an image",
            hint="Names look like redis:7, org/app:1.0, host:5000/app.",
        )
    return Reference(
        host=found["host"], path=found["path"], tag=found["tag"] or "", digest=found["digest"] or ""
    )
