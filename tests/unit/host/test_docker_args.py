# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shlex
from collections.abc import Mapping
from posixpath import normpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.host.docker_args import (
    builtin_images,
    detaches,
    needs_no_engine,
    parse,
    platform,
    references,
    split_machine,
)


@pytest.mark.parametrize(
    ("line", "machine", "rest"),
    [
        ("", None, ""),
        ("alpine true", None, "alpine true"),
        ("-m dev alpine", "dev", "alpine"),
        ("-mdev alpine", "dev", "alpine"),
        ("--machine dev alpine", "dev", "alpine"),
        ("--machine=dev alpine", "dev", "alpine"),
        ("--machine=dev -m 512m alpine", "dev", "-m 512m alpine"),
        ("-m dev -m test alpine", "test", "alpine"),
        ("-m 512m alpine", None, "-m 512m alpine"),
        ("-m512m alpine", None, "-m512m alpine"),
        ("-m", None, "-m"),
        ("-m '' alpine", None, "-m '' alpine"),
        ("-it -m dev alpine", None, "-it -m dev alpine"),
        ("alpine --machine dev", None, "alpine --machine dev"),
    ],
)
def test_split_machine(line: str, machine: str | None, rest: str) -> None:
    assert split_machine(shlex.split(line)) == (machine, tuple(shlex.split(rest)))


@pytest.mark.parametrize(
    "line", ["--machine", "--machine=", "--machine 1", "-m Dev", "-m under_score", "--machine ''"]
)
def test_split_machine_refuses(line: str) -> None:
    with pytest.raises(UsageError):
        split_machine(shlex.split(line))


@given(st.lists(st.text()))
def test_split_machine_keeps_dockers_arguments(args: list[str]) -> None:
    try:
        _, rest = split_machine(args)
    except UsageError:
        return
    assert tuple(args[len(args) - len(rest) :]) == rest


@pytest.mark.parametrize(
    ("line", "command", "arguments"),
    [
        ("", "", ""),
        ("--help", "", ""),
        ("run x", "run", "x"),
        ("-H unix:///x --debug -l info container run x", "run", "x"),
        ("--context=c image pull x", "pull", "x"),
        ("buildx --builder b build .", "build", "."),
        ("compose -f x up", "compose", "-f x up"),
    ],
)
def test_parse(line: str, command: str, arguments: str) -> None:
    call = parse(shlex.split(line))
    assert (call.command, call.arguments) == (command, tuple(shlex.split(arguments)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", True),
        ("--version", True),
        ("--help", True),
        ("help run", True),
        ("run", True),
        ("run --help", True),
        ("container run --help", True),
        ("compose up --help", True),
        ("ps --help", True),
        ("ps", False),
        ("version", False),
        ("run alpine --help", False),
        ("run -e X alpine --help", False),
        ("exec web ls --help", False),
        ("compose up", False),
    ],
)
def test_needs_no_engine(line: str, expected: bool) -> None:
    assert needs_no_engine(shlex.split(line)) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pull cove.internal/busybox", True),
        ("image pull -q cove.internal/busybox:latest", True),
        ("pull busybox", False),
        ("push cove.internal/busybox", False),
        ("pull example.org/cove.internal/busybox", False),
    ],
)
def test_pulls_builtin(line: str, expected: bool) -> None:
    assert parse(shlex.split(line)).pulls_builtin is expected


@pytest.mark.parametrize(
    ("line", "env", "expected"),
    [
        ("run --platform linux/arm64 cove.internal/busybox", "", "linux/arm64"),
        ("run --platform=linux/amd64 --platform=arm64 --rm cove.internal/busybox", "", "arm64"),
        ("run cove.internal/busybox --platform linux/arm64", "", None),
        ("pull cove.internal/busybox --platform linux/arm64", "", "linux/arm64"),
        ("buildx build --platform linux/arm64 .", "", "linux/arm64"),
        ("run cove.internal/busybox", "linux/arm64", "linux/arm64"),
        ("run --platform linux/amd64 cove.internal/busybox", "linux/arm64", "linux/amd64"),
        ("ps", "", None),
    ],
)
def test_platform(line: str, env: str, expected: str | None) -> None:
    settings = {"DOCKER_DEFAULT_PLATFORM": env} if env else {}
    assert platform(shlex.split(line), env=settings) == expected


FILES = {
    "Dockerfile": "FROM cove.internal/debian AS a\nFROM busybox\nCOPY --from=cove.internal/tools:1.2 /a /b\n",
    "sub/Dockerfile": "# FROM cove.internal/comment\nARG BASE=cove.internal/busybox\nFROM $BASE\n",
    "other.file": "FROM cove.internal/other@sha256:00\n",
    "compose.yaml": "services:\n  a:\n    image: ${IMAGE:-cove.internal/busybox}\n  b:\n    build: sub\n",
    "p/docker-compose.yml": (
        "services:\n  a:\n    build:\n      context: ./c\n      dockerfile: 'x.Dockerfile'\n"
    ),
    "p/c/x.Dockerfile": "FROM cove.internal/nested\n",
    "compose.override.yml": "services:\n  c:\n    image: 'cove.internal/extra'\n",
}
DEFAULT = "busybox extra"


def read(path: str) -> str | None:
    return FILES.get(normpath(path))


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("run --rm -it cove.internal/busybox echo cove.internal/debian", "busybox"),
        ("run --rm busybox", ""),
        ("-D container create --name x cove.internal/debian:trixie", "debian:trixie"),
        ("run -e IMAGE=cove.internal/busybox alpine", ""),
        ("run cove.internal.example.org/busybox", ""),
        ("pull cove.internal/busybox@sha256:00", "busybox"),
        ("tag cove.internal/busybox mine", "busybox"),
        ("rmi cove.internal/busybox", ""),
        ("ps", ""),
        ("", ""),
        ("build .", "debian tools:1.2"),
        ("build -t x .", "debian tools:1.2"),
        ("build . -t cove-x", "debian tools:1.2"),
        ("build --no-cache --tag=x sub", "busybox"),
        ("buildx build --load -f other.file .", "other"),
        ("build --file=other.file --build-arg X=cove.internal/arg .", "arg other"),
        ("build -fother.file .", "other"),
        ("build -f - .", ""),
        ("build -", ""),
        ("build https://example.org/x.git", ""),
        ("build missing", ""),
        ("compose up -d", DEFAULT),
        ("compose -p name --profile x run a", DEFAULT),
        ("compose ps", ""),
        ("compose", ""),
        ("compose -f p/docker-compose.yml up", "nested"),
        ("compose --file=compose.override.yml up --force-recreate", "extra"),
        ("compose --project-directory p build", "nested"),
        ("compose -f - up", ""),
    ],
)
def test_builtin_images(line: str, names: str) -> None:
    found = builtin_images(shlex.split(line), read=read, env={})
    assert found == tuple(f"cove.internal/{name}" for name in names.split())


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"COMPOSE_FILE": "compose.override.yml:compose.yaml"}, ["extra", "busybox"]),
        ({"COMPOSE_FILE": "compose.override.yml,p/x", "COMPOSE_PATH_SEPARATOR": ","}, ["extra"]),
    ],
)
def test_compose_file_in_the_environment(env: Mapping[str, str], names: list[str]) -> None:
    found = builtin_images(["compose", "up"], read=read, env=env)
    assert found == tuple(f"cove.internal/{name}" for name in names)


def test_compose_searches_the_parents() -> None:
    files = {"../../compose.yml": "image: cove.internal/up"}
    assert builtin_images(["compose", "up"], read=files.get, env={}) == ("cove.internal/up",)


@given(st.lists(st.text()), st.text())
def test_nothing_the_user_types_breaks_it(args: list[str], text: str) -> None:
    for command in ("run", "build", "compose", "pull"):
        builtin_images([command, *args], read=lambda _path: text, env={})


def test_references_end_where_punctuation_begins() -> None:
    texts = ["image: cove.internal/a, cove.internal/b. (cove.internal/c:1)", "xcove.internal/no"]
    assert references(texts) == ("cove.internal/a", "cove.internal/b", "cove.internal/c:1")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-d image", True), ("--detach image", True), ("-itd image", True), ("-dp 80:80 image", True),
        ("--detach=true image", True), ("-d=1 image", True), ("--rm --name d -e d -d image", True),
        ("--init --privileged -d image", True), ("-v /d:/d --cpus 2 -d image", True),
        ("image", False), ("image -d", False), ("--rm -it image sh -d", False), ("-e -d image", False),
        ("-ed image", False), ("--name -d image", False), ("--detach=false image", False), ("-d=false image", False),
        ("--detach-keys ctrl-d image", False), ("-w d image", False), ("--hostname=d image", False), ("", False),
        ("-- -d", False), ("-e", False), ("-d", True), ("-i=true -t=false image", False),
    ],
)  # fmt: skip
def test_detaches(line: str, expected: bool) -> None:
    assert detaches(line.split()) is expected
