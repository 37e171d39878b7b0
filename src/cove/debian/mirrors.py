# SPDX-License-Identifier: Apache-2.0
"""Where Debian's archive is fetched from: what the user says, what the host uses, public mirrors.

A mirror needs no trust: everything from it is checked against Debian's signature. So a wrong guess here costs
time, never safety. Reads files, touches no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cove.debian.deb822 import parse_paragraphs
from cove.errors import UsageError

VARIABLE = "COVE_DEBIAN_MIRROR"
"""One URL (the main archive; security is its neighbour) or two, main and security, separated by a space."""

CONFIG_KEY = "debian_mirror"
"""The same in the configuration: a string as above, or a mapping with ``main`` and ``security``."""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A copy of the archive.

    Args:
        main: URL of the main archive, without a final slash: ``https://host/debian``.
        security: URL of the security archive: ``https://host/debian-security``.
    """

    main: str
    security: str

    @property
    def host(self) -> str:
        """Its host name, for messages."""
        return urlsplit(self.main).hostname or self.main

    def url(self, suite: str, path: str) -> str:
        """The URL of a file of ``suite``, given by its path below the archive's root."""
        return f"{self.security if suite.endswith('-security') else self.main}/{path}"


PUBLIC = tuple(
    Mirror(main=f"https://{host}/debian", security=f"https://{host}/debian-security")
    for host in (
        "debian.ethz.ch",  # ETH Zürich
        "mirrors.dotsrc.org",  # Aalborg University
        "mirrors.ocf.berkeley.edu",  # UC Berkeley
        "mirrors.tuna.tsinghua.edu.cn",  # Tsinghua University
    )
)
"""Well-kept mirrors that carry both trees, tried when neither the user nor the host names one."""

_CODENAMES = {
    "oldoldstable", "oldstable", "stable", "testing", "unstable", "sid", "experimental",
    "stretch", "buster", "bullseye", "bookworm", "trixie", "forky", "duke",
}  # fmt: skip
_DERIVATIVES = re.compile(r"ubuntu|raspbian|devuan|kali|mint", re.IGNORECASE)  # they reuse Debian's codenames
_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>.*)"
)


@dataclass(frozen=True)
class Source:
    """One URI and one suite of the host's apt configuration."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


def default_mirrors(
    env: Mapping[str, str], config: Mapping[str, object], apt_root: Path = Path("/etc/apt")
) -> list[Mirror]:
    """All mirrors to try, in order: environment, configuration, the host's apt sources, public ones.

    Args:
        env: the environment; ``COVE_DEBIAN_MIRROR`` counts.
        config: the user's configuration; ``debian_mirror`` counts.
        apt_root: the folder of the host's apt configuration; it may be missing.

    Raises:
        UsageError: the variable or the configuration is not one or two URLs.
    """
    found: list[Mirror] = []
    if env.get(VARIABLE, "").strip():
        found.append(_mirror(env[VARIABLE].split(), VARIABLE))
    configured = config.get(CONFIG_KEY)
    if configured:
        found.append(_mirror(_configured(configured), CONFIG_KEY))
    found += mirrors_of(host_sources(apt_root))
    found += PUBLIC
    return list(dict.fromkeys(found))


def _configured(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    if isinstance(value, Mapping):
        return [str(value[key]) for key in ("main", "security") if key in value]
    return []


def _mirror(urls: list[str], origin: str) -> Mirror:
    clean = [url.rstrip("/") for url in urls]
    if len(clean) not in (1, 2) or any(urlsplit(url).scheme not in ("http", "https") for url in clean):
        raise UsageError(
            f"{origin} does not name a Debian mirror",
            details=" ".join(urls),
            hint="Give the URL of the main archive, as https://host/debian, and after a space that of the "
            "security archive if it is not https://host/debian-security.",
        )
    return Mirror(main=clean[0], security=clean[1] if len(clean) == 2 else _neighbour(clean[0]))


def _neighbour(main: str) -> str:
    return f"{main}-security"


def mirrors_of(sources: list[Source]) -> list[Mirror]:
    """The Debian mirrors among apt sources: each main archive with its security archive."""
    ours = [source for source in sources if _is_debian(source)]
    security = list(dict.fromkeys(source.uri for source in ours if _is_security(source)))
    mains = list(dict.fromkeys(source.uri for source in ours if not _is_security(source)))
    return [Mirror(main=main, security=_security_for(main, security)) for main in mains]


def _security_for(main: str, security: list[str]) -> str:
    same_host = [uri for uri in security if urlsplit(uri).netloc == urlsplit(main).netloc]
    return next(iter(same_host or security), _neighbour(main))


def _is_security(source: Source) -> bool:
    return "-security" in source.suite or "/updates" in source.suite or source.uri.endswith("-security")


def _is_debian(source: Source) -> bool:
    """Whether it is Debian itself, and not somebody's packages for it or a derivative."""
    codename = re.split(r"[-/]", source.suite, maxsplit=1)[0]
    return (
        urlsplit(source.uri).scheme in ("http", "https")
        and codename in _CODENAMES
        and "main" in source.components
        and ("debian-archive" in source.signed_by or not source.signed_by)
        and not _DERIVATIVES.search(source.uri)
    )


def host_sources(apt_root: Path) -> list[Source]:
    """Every enabled binary source of ``sources.list`` and ``sources.list.d`` (sources.list(5))."""
    folder = apt_root / "sources.list.d"
    files = [apt_root / "sources.list"]
    if folder.is_dir():
        files += sorted(path for path in folder.iterdir() if path.suffix in (".list", ".sources"))
    found: list[Source] = []
    for path in files:
        try:
            text = path.read_text(errors="replace")
        except OSError:  # missing, or not for us to read: the next source will do
            continue
        parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
        for source in parse(text):
            found += _expand(source, apt_root)
    return found


def parse_deb822(text: str) -> Iterator[Source]:
    """Read a ``.sources`` file; disabled and source-only entries are left out."""
    for entry in parse_paragraphs(text.splitlines()):
        fields = {name.lower(): value for name, value in entry.items()}
        enabled = fields.get("enabled", "yes").lower() not in (
            "no",
            "false",
            "without",
            "off",
            "disable",
            "0",
        )
        if not enabled or "deb" not in fields.get("types", "").split():
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri.rstrip("/"), suite.rstrip("/"), components, fields.get("signed-by", ""))


def parse_one_line(text: str) -> Iterator[Source]:
    """Read a ``sources.list`` file; comments, other types and malformed lines are left out."""
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match is None:
            continue
        options = dict(part.partition("=")[::2] for part in (match["options"] or "").split())
        components = tuple(match["components"].split())
        yield Source(
            match["uri"].rstrip("/"), match["suite"].rstrip("/"), components, options.get("signed-by", "")
        )


def _expand(source: Source, apt_root: Path) -> list[Source]:
    """Replace ``mirror+file:/etc/apt/...``, as Debian's cloud images have it, by the URIs in that file."""
    scheme, _, rest = source.uri.partition(":")
    if scheme not in ("mirror+file", "mirror"):
        return [source]
    listed = "/" + rest.lstrip("/")
    path = apt_root / listed.removeprefix("/etc/apt/") if listed.startswith("/etc/apt/") else Path(listed)
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    uris = [line.split()[0].rstrip("/") for line in lines if line.strip() and not line.startswith("#")]
    return [Source(uri, source.suite, source.components, source.signed_by) for uri in uris]
