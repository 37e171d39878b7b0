# SPDX-License-Identifier: Apache-2.0
"""Certificates that this host's administrator or user added, for the engine in the guest: it has only Mozilla's.

The system's own bundle is not copied: beside Mozilla's list it holds nothing but what lies in these folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

ANCHORS = (
    Path("/usr/local/share/ca-certificates"),  # Debian, Ubuntu, Alpine: update-ca-certificates(8)
    Path("/etc/pki/ca-trust/source/anchors"),  # Fedora, RHEL: update-ca-trust(8)
    Path("/etc/ca-certificates/trust-source/anchors"),  # Arch
    Path("/etc/pki/trust/anchors"),  # SUSE
)
"""Where an administrator puts authorities."""

BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/ssl/certs/ca-bundle.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"), Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
    Path("/etc/ssl/ca-bundle.pem"), Path("/etc/ssl/cert.pem"), Path("/etc/pki/tls/cacert.pem"),
)  # fmt: skip
"""Where distributions keep the whole list; ``SSL_CERT_FILE`` often just names it."""

LONGEST = 4 << 20
"""Bytes of the largest file that is looked at."""

_SUFFIXES = frozenset({".crt", ".pem", ".cer", ".der"})
_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----",
)
_REGISTRY_SUFFIXES = frozenset({".crt", ".cert", ".key"})


def added_authorities(
    env: Mapping[str, str],
    further: Iterable[Path] = (),
    *,
    anchors: Iterable[Path] = ANCHORS,
    bundles: Iterable[Path] = BUNDLES,
) -> bytes:
    """All of them, in PEM, each once; what cannot be read, or is no certificate, is left out.

    Args:
        env: ``SSL_CERT_FILE`` counts, unless it names the system's own bundle.
        further: files that the user named.
        anchors: folders where an administrator puts authorities.
        bundles: the system's own bundles.
    """
    files = [path for folder in anchors for path in _below(folder)]
    named = env.get("SSL_CERT_FILE", "")
    if named and Path(named).resolve() not in {bundle.resolve() for bundle in bundles}:
        files.append(Path(named))
    found: dict[bytes, None] = {}
    for path in (*files, *further):
        found |= dict.fromkeys(certificates(_contents(path)))
    return b"".join(found)


def certificates(data: bytes) -> list[bytes]:
    """The certificates in a file, each as PEM with a last newline; a single one may be in DER."""
    found = _PEM.findall(data)
    if found:
        return [b"\n".join(block.split(b"\n")).replace(b"\r", b"") + b"\n" for block in found]
    if data[:2] == b"\x30\x82":  # a sequence of more than 255 bytes, as every certificate is
        import ssl

        return [ssl.DER_cert_to_PEM_cert(data).encode()]
    return []


def registry_certificates(folders: Iterable[Path]) -> dict[str, bytes]:
    """What dockerd looks for in ``certs.d``: for each registry authorities, and certificates and keys of its clients.

    Args:
        folders: ``certs.d`` folders; what is in the first counts.

    Returns:
        contents by path: ``HOST:PORT/ca.crt``. What cannot be read is left out.
    """
    found: dict[str, bytes] = {}
    for folder in folders:
        for path in sorted(_listed(folder, "*/*")):
            name = f"{path.parent.name}/{path.name}"
            if path.suffix in _REGISTRY_SUFFIXES and name not in found and (data := _contents(path)):
                found[name] = data
    return found


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in _listed(folder, "**/*") if path.suffix.lower() in _SUFFIXES)


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return [path for path in folder.glob(pattern) if path.is_file()]
    except OSError:
        return []


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.stat().st_size <= LONGEST else b""
    except OSError:
        return b""
