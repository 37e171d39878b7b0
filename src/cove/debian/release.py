# SPDX-License-Identifier: Apache-2.0
"""InRelease: who signed it, whether it is current, and which digests it vouches for.

The form is that of https://wiki.debian.org/DebianRepository/Format, clear-signed as in RFC 9580, section 7.
No file or network is touched here, except for the keys that ship with the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.resources import files

from pysequoia import Cert, verify

from cove.debian.deb822 import parse_paragraphs
from cove.errors import ArchiveError, CoveError, SignatureError

_AUTOMATIC = "04b54c3cdca79751b16bc6b5225629df75b188bd"
_STABLE = "41587f7db8c774bccf131416762f67a0b2c39de4"
_SECURITY = "5e04a1e3223a19a20706e20f9904613d4cce68c6"

_FILES = {
    _AUTOMATIC: "trixie-automatic.asc",
    _STABLE: "trixie-stable.asc",
    _SECURITY: "trixie-security-automatic.asc",
}

SIGNERS: Mapping[str, tuple[str, ...]] = {
    "trixie": (_AUTOMATIC, _STABLE),
    "trixie-updates": (_AUTOMATIC,),
    "trixie-security": (_SECURITY,),
}
"""Which keys, by the fingerprint of their certificate, may sign which suite; one good signature is enough."""

CLOCK_TOLERANCE = timedelta(hours=24)
"""How far in the future a release's date may lie before this computer's clock is blamed."""

Keyring = Mapping[str, Sequence[Cert]]
"""The certificates that may sign each suite."""


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """What a release says of one of its files."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Release:
    """The signed contents of an InRelease.

    Args:
        codename: "trixie-updates".
        date: when it was made.
        valid_until: when it stops to be current; None where Debian sets no end (the stable suite itself).
        by_hash: whether files are also served under their digest.
        files: path below the suite's folder -> digest and size.
    """

    codename: str
    date: datetime
    valid_until: datetime | None
    by_hash: bool
    files: Mapping[str, FileEntry]


def shipped_keyring() -> Keyring:
    """The keys that come with the package.

    Raises:
        SignatureError: a key file does not hold the key it should.
    """
    certs = {fingerprint: _shipped(name, fingerprint) for fingerprint, name in _FILES.items()}
    return {suite: tuple(certs[one] for one in allowed) for suite, allowed in SIGNERS.items()}


def _shipped(name: str, fingerprint: str) -> Cert:
    cert = Cert.from_bytes((files("cove.debian") / "keys" / name).read_bytes())
    if cert.fingerprint != fingerprint:
        raise SignatureError(
            f"keys/{name}", expected=fingerprint, found=cert.fingerprint, hint="Reinstall Cove."
        )
    return cert


def check_signature(name: str, signed: bytes, allowed: Sequence[Cert], now: datetime) -> str:
    """Verify a clear-signed text and return what was signed; text around the signature is dropped.

    Args:
        name: the file, for messages.
        signed: the clear-signed text.
        allowed: the certificates that may sign it. Those revoked, or expired at ``now``, do not count: the
            library alone would accept a signature that claims to be older than its key's expiry.
        now: the time that decides on expiry.

    Raises:
        SignatureError: there is no good signature by one of them.
    """
    good = [
        cert for cert in allowed if not cert.is_revoked and not (cert.expiration and cert.expiration <= now)
    ]
    claimed: list[str] = []

    def lookup(key_ids: list[str]) -> list[Cert]:
        claimed.extend(key_ids)
        return list(good)

    try:
        result = verify(bytes=signed, store=lookup)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise _unsigned(
            name, signed, allowed, good, f"{reason} Signed by {', '.join(claimed) or 'nobody'}."
        ) from None
    trusted = {cert.fingerprint for cert in good}
    if result.bytes is None or not any(one.certificate in trusted for one in result.valid_sigs):
        raise _unsigned(name, signed, allowed, good, "no signature by a key that is allowed here")
    return result.bytes.decode("utf-8", errors="replace")


def _unsigned(
    name: str, signed: bytes, allowed: Sequence[Cert], good: Sequence[Cert], reason: str
) -> SignatureError:
    hint = None
    if not good:
        hint = "All keys for it have expired or are revoked: update Cove, and check this computer's clock."
    return SignatureError(
        name,
        expected="a signature by " + " or ".join(cert.fingerprint for cert in allowed),
        found=f"sha256 {hashlib.sha256(signed).hexdigest()}: {reason}",
        hint=hint,
    )


def parse_release(name: str, text: str) -> Release:
    """Read the verified text of an InRelease.

    Raises:
        ArchiveError: a field that is needed is missing or malformed.
    """
    fields = next(parse_paragraphs(text.splitlines()), {})
    try:
        return Release(
            codename=fields["Codename"],
            date=_date(fields["Date"]),
            valid_until=_date(fields["Valid-Until"]) if "Valid-Until" in fields else None,
            by_hash=fields.get("Acquire-By-Hash", "").lower() == "yes",
            files=dict(_entry(line) for line in fields["SHA256"].splitlines() if line),
        )
    except (KeyError, ValueError) as error:
        raise ArchiveError(f"{name} is malformed", details=repr(error)) from error


def _date(text: str) -> datetime:
    return parsedate_to_datetime(text.replace("UTC", "+0000")).astimezone(UTC)


def _entry(line: str) -> tuple[str, FileEntry]:
    digest, size, path = line.split()
    return path, FileEntry(sha256=digest.lower(), size=int(size))


def check_suite(name: str, release: Release, suite: str) -> None:
    """Refuse another suite's release, however well signed.

    Raises:
        SignatureError: it is for another suite.
    """
    if release.codename != suite:
        raise SignatureError(name, expected=f"the suite {suite}", found=f"the suite {release.codename}")


def check_current(name: str, release: Release, now: datetime) -> None:
    """Refuse a release from the future, or one that is no longer valid: someone may hold back updates.

    Raises:
        CoveError: it is from the future, so this computer's clock is behind.
        SignatureError: its Valid-Until has passed.
    """
    if release.date > now + CLOCK_TOLERANCE:
        raise CoveError(
            f"{name} was made at {release.date:%Y-%m-%d %H:%M} UTC, but it is {now:%Y-%m-%d %H:%M} UTC here",
            hint="This computer's clock is behind: set it right and run the command again.",
        )
    if expired(release, now):
        raise SignatureError(
            name,
            expected=f"valid at {now:%Y-%m-%d %H:%M} UTC, the time of this computer",
            found=f"valid until {release.valid_until:%Y-%m-%d %H:%M} UTC",
            hint="The mirror is outdated, or this computer's clock is ahead: check it or try another mirror.",
        )


def expired(release: Release, now: datetime) -> bool:
    """Whether its Valid-Until has passed."""
    return release.valid_until is not None and release.valid_until < now
