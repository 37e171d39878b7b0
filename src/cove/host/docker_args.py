# SPDX-License-Identifier: Apache-2.0
"""What Cove reads in docker's arguments: its own ``--machine``, and built-in images to be loaded first. Pure.

Docker's arguments are passed on as they are; nothing here changes them. Where an argument cannot be told for
sure (docker has hundreds of options), an image too many is loaded rather than one too few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, zip_longest
from posixpath import join

from cove.errors import UsageError
from cove.system.paths import check_machine_name

DOMAIN = "cove.internal"
"""The made-up registry of built-in images; reserved for private use, so nobody can publish under it."""

Reader = Callable[[str], str | None]
"""Gives a file's text, or None if there is no such file. Paths are as the user wrote them."""

_REFERENCE = re.compile(
    rf"(?<![\w./-]){re.escape(DOMAIN)}/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?"
)
_GLOBAL_WITH_VALUE = frozenset(
    {
        "-H", "--host", "-c", "--context", "--config", "-l",
        "--log-level", "--tlscacert", "--tlscert", "--tlskey",
    }
)  # fmt: skip
_GROUPS = frozenset({"container", "image", "buildx", "builder"})
_ALL_REFERENCES = frozenset({"pull", "tag", "save", "history", "inspect"})
_BUILD_SWITCHES = frozenset(
    {
        "--no-cache", "--pull", "--quiet", "-q", "--rm", "--force-rm",
        "--squash", "--compress", "--push", "--load", "--debug", "-D",
        "--check", "--help", "--disable-content-trust",
    }
)  # fmt: skip
_COMPOSE_WITH_VALUE = frozenset(
    {
        "--ansi", "--env-file", "-f", "--file", "--parallel", "--profile",
        "--progress", "--project-directory", "-p", "--project-name",
    }
)  # fmt: skip
_COMPOSE_STARTS = frozenset({"up", "run", "create", "build", "start", "watch"})
_COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_COMPOSE_OVERRIDES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
)
_COMPOSE_CONTEXT = re.compile(r"""^\s*(?:build|context):[ \t]*["']?([^\s"'{#]+)""", re.MULTILINE)
_COMPOSE_DOCKERFILE = re.compile(r"""^\s*dockerfile:[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)
_PARENTS = 6
_RUN_PROGRAMS = frozenset({"run", "create", "exec"})
"""Commands behind whose first own word another program's words begin."""


_RUN_SWITCHES = frozenset(
    {
        "detach", "disable-content-trust", "help", "init", "interactive", "no-healthcheck", "oom-kill-disable",
        "privileged", "publish-all", "quiet", "read-only", "rm", "sig-proxy", "tty", "use-api-socket",
    }
)  # fmt: skip
"""Options of ``docker run`` without a value."""

_RUN_LETTERS = frozenset("diPqt")
"""Their short forms."""

_TRUE = frozenset({"", "1", "t", "T", "true", "TRUE", "True"})
"""What docker takes for true (Go's strconv.ParseBool), and an option without a value."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Docker's command line, taken apart as far as Cove needs it.

    Args:
        command: the command without its group: "run" also for ``container run``; "" for bare ``docker``.
        arguments: what follows the command.
    """

    command: str
    arguments: tuple[str, ...]

    @property
    def builds(self) -> bool:
        """Whether images may be built; such commands save nothing in config.json."""
        return self.command in ("build", "bake", "compose")

    @property
    def pulls_builtin(self) -> bool:
        """Whether this is ``docker pull`` of a built-in image, which no registry could answer."""
        return self.command == "pull" and any(_REFERENCE.fullmatch(word) for word in self.arguments)


def split_machine(args: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Take Cove's own ``--machine NAME`` or ``-m NAME`` off the front of docker's arguments.

    Only at the front, and ``-m`` only before a letter: ``-m 512m`` is docker's memory limit, and the names of
    machines begin with a letter. If it is given more than once, the last counts.

    Returns:
        the machine, or None if none was named, and docker's arguments.

    Raises:
        UsageError: no name follows, or it cannot name a machine.
    """
    rest = list(args)
    machine: str | None = None
    while rest:
        first = rest[0]
        if first == "--machine":
            if len(rest) < 2:
                raise UsageError("--machine needs the name of a machine", hint="Write --machine NAME.")
            machine, rest = check_machine_name(rest[1]), rest[2:]
        elif first.startswith("--machine="):
            machine, rest = check_machine_name(first.partition("=")[2]), rest[1:]
        elif first == "-m" and len(rest) > 1 and rest[1][:1].isalpha():
            machine, rest = check_machine_name(rest[1]), rest[2:]
        elif first.startswith("-m") and first[2:3].isalpha():
            machine, rest = check_machine_name(first[2:]), rest[1:]
        else:
            break
    return machine, tuple(rest)


def parse(args: Sequence[str]) -> Invocation:
    """Find the command in docker's arguments, behind global options and groups (``image``, ``buildx``...)."""
    rest = _after_options(args, _GLOBAL_WITH_VALUE)
    if rest and rest[0] in _GROUPS:
        rest = _after_options(rest[1:], frozenset({"--builder"}))
    return Invocation(command=rest[0] if rest else "", arguments=tuple(rest[1:]))


def needs_no_engine(args: Sequence[str]) -> bool:
    """Whether docker answers by itself, without any engine: help, its own version, a program without its image.

    Where it cannot be told for sure, an engine is started too many rather than one too few.
    """
    call = parse(args)
    if call.command in ("", "help"):
        return True
    if call.command in _RUN_PROGRAMS:
        return not call.arguments or call.arguments[0] == "--help"
    return "--help" in call.arguments


def detaches(args: Sequence[str]) -> bool:
    """Whether ``docker run`` with these arguments leaves its container in the background (``-d``)."""
    found = False
    pending = iter(args)
    for word in pending:
        if not word.startswith("-") or word in ("-", "--"):
            break  # the image; what follows are the words of the container's own program
        name, equals, value = word.partition("=")
        letters = "" if word.startswith("--") else name[1:]
        takes = next((at for at, letter in enumerate(letters) if letter not in _RUN_LETTERS), None)
        if name == "--detach" or "d" in letters[:takes]:
            found = value in _TRUE or takes is not None
        if takes is not None:
            needs_value = takes == len(letters) - 1 and not equals
        else:
            needs_value = not letters and not equals and name[2:] not in _RUN_SWITCHES
        if needs_value:
            next(pending, None)
    return found


def builtin_images(args: Sequence[str], *, read: Reader, env: Mapping[str, str]) -> tuple[str, ...]:
    """The built-in images (``cove.internal/NAME[:TAG]``) that a docker command is going to use.

    Looks at the arguments and, for builds and compose, into the Dockerfiles and compose files they lead to.

    Args:
        args: docker's arguments, without the program.
        read: gives the text of a Dockerfile or compose file.
        env: the environment, for ``COMPOSE_FILE``.

    Returns:
        references in order of appearance, each once, without digests.
    """
    call = parse(args)
    texts: list[str] = []
    if call.command in ("run", "create"):
        # the first one is the image; what follows are arguments of the container's own program
        return next(((word,) for word in call.arguments if _REFERENCE.fullmatch(word)), ())
    if call.command in _ALL_REFERENCES:
        texts = [word for word in call.arguments if _REFERENCE.match(word)]
    elif call.command == "build":
        texts = [*call.arguments, *_dockerfile(call.arguments, read)]
    elif call.command == "compose":
        texts = list(_compose(call.arguments, read, env))
    return references(texts)


def platform(args: Sequence[str], *, env: Mapping[str, str]) -> str | None:
    """The platform that a docker command is told to use: ``--platform linux/arm64``, or DOCKER_DEFAULT_PLATFORM.

    Args:
        args: docker's arguments, without the program.
        env: the environment.
    """
    call = parse(args)
    words = list(call.arguments)
    if call.command in ("run", "create"):
        # behind the image stand the words of the container's own program
        words = words[: next((at for at, word in enumerate(words) if _REFERENCE.fullmatch(word)), 0)]
    named = _options(words, ("--platform", "--platform"))
    return (named or [env.get("DOCKER_DEFAULT_PLATFORM", "")])[-1] or None


def references(texts: Sequence[str]) -> tuple[str, ...]:
    """All references to built-in images in some texts, each once; lines that are comments do not count."""
    found: dict[str, None] = {}
    for text in texts:
        for line in text.splitlines():
            if not line.lstrip().startswith("#"):
                found.update(dict.fromkeys(_REFERENCE.findall(line)))
    return tuple(found)


def _after_options(args: Sequence[str], with_value: frozenset[str]) -> list[str]:
    rest = list(args)
    while rest and rest[0].startswith("-"):
        rest = rest[2 if rest[0] in with_value else 1 :]
    return rest


def _options(args: Sequence[str], names: tuple[str, str]) -> list[str]:
    """Values of an option in all its forms: ``-f x``, ``-fx``, ``--file x``, ``--file=x``."""
    short, long = names
    found = []
    for word, following in zip_longest(args, args[1:], fillvalue=""):
        if word in names:
            found.append(following)
        elif word.startswith(f"{long}="):
            found.append(word.partition("=")[2])
        elif word.startswith(short) and not word.startswith("--"):
            found.append(word[2:].removeprefix("="))
    return found


def _positionals(args: Sequence[str], switches: frozenset[str]) -> list[str]:
    found = []
    pending = iter(args)
    for word in pending:
        if word == "-" or not word.startswith("-"):
            found.append(word)
        elif "=" not in word and word not in switches and (word.startswith("--") or len(word) == 2):
            next(pending, None)
    return found


def _dockerfile(args: Sequence[str], read: Reader) -> Iterator[str]:
    named = _options(args, ("-f", "--file"))
    contexts = _positionals(args, _BUILD_SWITCHES)[:1]
    for path in named or [join(context, "Dockerfile") for context in contexts]:
        # "-" is stdin, which belongs to docker
        text = read(path) if path != "-" and "://" not in path else None
        if text is not None:
            yield text


def _compose(args: Sequence[str], read: Reader, env: Mapping[str, str]) -> Iterator[str]:
    command = _after_options(args, _COMPOSE_WITH_VALUE)[:1]
    if not set(command) & _COMPOSE_STARTS:
        return
    named = _options(args[: len(args) - len(_after_options(args, _COMPOSE_WITH_VALUE))], ("-f", "--file"))
    if not named and env.get("COMPOSE_FILE"):
        named = env["COMPOSE_FILE"].split(env.get("COMPOSE_PATH_SEPARATOR") or ":")
    folder = next(iter(_options(args, ("--project-directory", "--project-directory"))), "")
    for path in named or _default_compose_files(folder, read):
        text = read(path) if path != "-" else None
        if text is None:
            continue
        yield text
        base = folder or path.rpartition("/")[0]
        contexts = _COMPOSE_CONTEXT.findall(text)
        for context, name in product(contexts, {"Dockerfile", *_COMPOSE_DOCKERFILE.findall(text)}):
            yield (read(join(base, context, name)) or "") if "://" not in context else ""


def _default_compose_files(folder: str, read: Reader) -> list[str]:
    """Compose's own search: here, then in each parent; the first folder with a file wins."""
    for level in range(_PARENTS):
        base = join(folder, "../" * level) if folder or level else ""
        if any(read(join(base, name)) is not None for name in _COMPOSE_FILES):
            return [join(base, name) for name in (*_COMPOSE_FILES, *_COMPOSE_OVERRIDES)]
    return []
