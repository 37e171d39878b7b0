# SPDX-License-Identifier: Apache-2.0
"""The format ``docker``: the tar is the context of a docker build. Pure."""

from __future__ import annotations

from cove.image.entries import MTIME
from cove.image.sinks import Sink
from cove.image.tar.header import NANO, Header

DOCKERFILE = b'\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT ["/bin/rc.init"]\n'


def add_dockerfile(sink: Sink) -> None:
    """Put the Dockerfile at the end, as LinuxKit does."""
    sink.begin(Header(name="Dockerfile", size=len(DOCKERFILE), mtime=MTIME * NANO))
    sink.write(DOCKERFILE)
