# SPDX-License-Identifier: Apache-2.0
"""docker build, docker compose and named volumes, with plugins from the toolbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import BUSYBOX, Machine, talk

DOCKERFILE = f"""\
FROM {BUSYBOX} AS first
COPY data /data
RUN sha256sum /data | cut -d ' ' -f 1 > /sum
FROM {BUSYBOX}
COPY --from=first /sum /sum
ENV WHO=built
CMD ["cat", "/sum"]
"""

COMPOSE = f"""\
services:
  web:
    image: {BUSYBOX}
    command: sh -c "echo hello from compose > /www/index.html; exec httpd -f -p 80 -h /www"
    stop_signal: SIGKILL
    volumes: ["site:/www"]
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"]
      interval: 1s
      retries: 60
  client:
    image: {BUSYBOX}
    command: wget -q -O - http://web/
    depends_on:
      web: {{condition: service_healthy}}
volumes:
  site: {{}}
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build's context with 3 MB that must arrive whole."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "data").write_bytes(os.urandom(3 << 20))
    return tmp_path


def check(machine: Machine, tag: str, context: Path) -> None:
    import hashlib

    found = machine.run("--rm", tag).stdout.decode().strip()
    assert found == hashlib.sha256((context / "data").read_bytes()).hexdigest()
    machine.docker("rmi", tag)


def test_buildx_is_the_default(machine: Machine, context: Path) -> None:
    done = machine.docker("build", "--progress", "plain", "-t", "built:x", context)
    assert "[internal] load build definition" in talk(done)
    check(machine, "built:x", context)


def test_the_legacy_builder(uml: Machine, context: Path) -> None:
    uml.home.env["DOCKER_BUILDKIT"] = "0"
    try:
        done = uml.docker("build", "-t", "built:legacy", context)
    finally:
        del uml.home.env["DOCKER_BUILDKIT"]
    assert b"Successfully tagged built:legacy" in done.stdout
    check(uml, "built:legacy", context)


def test_the_context_may_come_through_stdin(uml: Machine) -> None:
    text = f"FROM {BUSYBOX}\nRUN echo made > /made\n".encode()
    uml.docker("pull", BUSYBOX)  # what stdin says, cove cannot know
    uml.docker("build", "-t", "built:stdin", "-", stdin=text)
    assert uml.run("--rm", "built:stdin", "cat", "/made").stdout == b"made\n"


def test_a_build_that_fails_says_so(uml: Machine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BUSYBOX}\nRUN echo reason >&2; exit 7\n")
    done = uml.docker("build", "--progress", "plain", tmp_path, code=1)
    assert "reason" in talk(done)
    assert "exit code: 7" in talk(done)


@pytest.fixture
def project(machine: Machine, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    yield tmp_path
    machine.docker("compose", "-p", "itest", "down", "-v", cwd=tmp_path)


def test_compose_services_talk_by_name(machine: Machine, project: Path) -> None:
    done = machine.docker(
        "compose", "-p", "itest", "up", "--exit-code-from", "client", "--attach", "client", cwd=project
    )
    assert b"hello from compose" in done.stdout
    assert b"itest_site" in machine.docker("volume", "ls", "-q").stdout
    read = machine.sh("cat /www/index.html", "-v", "itest_site:/www")
    assert read == "hello from compose\n"
    machine.docker("compose", "-p", "itest", "down", "-v", cwd=project)
    assert b"itest" not in machine.docker("volume", "ls", "-q").stdout
    assert b"itest" not in machine.docker("ps", "-a").stdout
