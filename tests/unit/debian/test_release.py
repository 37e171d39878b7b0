# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from pysequoia import Cert, SignatureMode, Tsk, sign

from cove.debian.release import (
    SIGNERS,
    check_current,
    check_signature,
    check_suite,
    expired,
    parse_release,
    shipped_keyring,
)  # fmt: skip
from cove.errors import ArchiveError, CoveError, SignatureError

from .world import NOW, World

NAME = "trixie/InRelease"


def test_shipped_keys_are_the_ones_of_the_table_and_valid() -> None:
    keyring = shipped_keyring()
    assert {suite: tuple(cert.fingerprint for cert in certs) for suite, certs in keyring.items()} == SIGNERS
    for certs in keyring.values():
        assert all(not cert.is_revoked and cert.expiration and cert.expiration > NOW for cert in certs)


def test_a_good_release() -> None:
    world = World()
    text = check_signature(NAME, world.in_release("trixie"), [world.key.extract_certificate()], NOW)
    release = parse_release(NAME, text)
    check_suite(NAME, release, "trixie")
    check_current(NAME, release, NOW)
    assert release.codename == "trixie"
    assert release.by_hash
    index = world.index("trixie")
    entry = release.files["main/binary-amd64/Packages.xz"]
    assert (entry.sha256, entry.size) == (hashlib.sha256(index).hexdigest(), len(index))


def test_one_of_several_signers_is_enough() -> None:
    world = World()
    others = [Tsk.generate(user_id="another").extract_certificate(), world.key.extract_certificate()]
    assert "Codename" in check_signature(NAME, world.in_release("trixie"), others, NOW)


def test_a_changed_text_is_refused_and_named() -> None:
    world = World()
    signed = world.in_release("trixie").replace(b"Codename: trixie", b"Codename: trixiE")
    with pytest.raises(SignatureError) as caught:
        check_signature(NAME, signed, [world.key.extract_certificate()], NOW)
    error = caught.value
    assert error.name == NAME
    assert world.key.extract_certificate().fingerprint in error.expected
    assert hashlib.sha256(signed).hexdigest() in error.found
    assert "backtrace" not in error.found


def test_another_key_is_refused() -> None:
    with pytest.raises(SignatureError, match=NAME):
        check_signature(NAME, World().in_release("trixie"), [World().key.extract_certificate()], NOW)


@pytest.mark.parametrize("signed", [b"", b"Codename: trixie\n", b"-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n"])
def test_not_signed_at_all(signed: bytes) -> None:
    with pytest.raises(SignatureError):
        check_signature(NAME, signed, [World().key.extract_certificate()], NOW)


def test_text_around_the_signature_does_not_count() -> None:
    world = World()
    signed = b"Codename: evil\n" + world.in_release("trixie") + b"\nCodename: evil\n"
    assert "evil" not in check_signature(NAME, signed, [world.key.extract_certificate()], NOW)


def test_an_expired_key_is_refused() -> None:
    world = World()
    cert = world.key.extract_certificate().set_expiration(NOW + timedelta(hours=1), world.key.certifier())
    signed = world.in_release("trixie")
    assert check_signature(NAME, signed, [cert], NOW)
    with pytest.raises(SignatureError) as caught:
        check_signature(NAME, signed, [cert], NOW + timedelta(hours=2))
    assert "expired" in (caught.value.hint or "")


def test_a_revoked_key_is_refused() -> None:
    world = World()
    cert = world.key.extract_certificate()
    revoked = Cert.from_bytes(bytes(cert) + bytes(cert.revoke(world.key.certifier())))
    with pytest.raises(SignatureError) as caught:
        check_signature(NAME, world.in_release("trixie"), [revoked], NOW)
    assert "revoked" in (caught.value.hint or "")


def test_another_suite_is_refused() -> None:
    world = World()
    text = check_signature(NAME, world.in_release("trixie-updates"), [world.key.extract_certificate()], NOW)
    with pytest.raises(SignatureError) as caught:
        check_suite(NAME, parse_release(NAME, text), "trixie")
    assert (caught.value.expected, caught.value.found) == ("the suite trixie", "the suite trixie-updates")


def _release(**changes: str) -> str:
    signed = World().in_release("trixie", **changes)
    return signed.decode().partition("\n\n")[2].partition("-----BEGIN")[0]


def test_valid_until() -> None:
    release = parse_release(NAME, _release())
    assert not expired(release, NOW)
    with pytest.raises(SignatureError) as caught:
        check_current(NAME, release, NOW + timedelta(days=8))
    assert "valid until" in caught.value.found
    assert "clock" in (caught.value.hint or "")


def test_a_clock_that_is_behind_is_blamed() -> None:
    release = parse_release(NAME, _release())
    check_current(NAME, release, NOW - timedelta(hours=20))
    with pytest.raises(CoveError) as caught:
        check_current(NAME, release, NOW - timedelta(days=3))
    assert "clock is behind" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    ["", "Codename: x\n", _release(Date="gestern"), _release(SHA256="\n abc"), _release(SHA256="\n a b c")],
)
def test_malformed(text: str) -> None:
    with pytest.raises(ArchiveError, match="malformed"):
        parse_release(NAME, text)


def test_the_signature_library_takes_a_detached_one_for_nothing() -> None:
    key = Tsk.generate(user_id="x")
    with pytest.raises(SignatureError):
        check_signature(
            NAME, sign(key.signer(), b"x", mode=SignatureMode.DETACHED), [key.extract_certificate()], NOW
        )
