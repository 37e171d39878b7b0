# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path

import pytest

from cove.host.authorities import LONGEST, added_authorities, certificates, registry_certificates


def pem(text: str) -> bytes:
    """Something of a certificate's form; what is in it is not looked at."""
    body = base64.b64encode(text.encode() * 20).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode()


def test_certificates_are_found_among_other_things() -> None:
    key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    assert certificates(b"subject=x\n" + pem("a") + key + pem("b").replace(b"\n", b"\r\n")) == [
        pem("a"),
        pem("b"),
    ]
    assert certificates(b"nothing") == []
    assert certificates(b"") == []


def test_der_becomes_pem() -> None:
    der = b"\x30\x82\x01\x00" + bytes(256)
    (found,) = certificates(der)
    assert ssl.PEM_cert_to_DER_cert(found.decode()) == der


def test_what_an_administrator_added(tmp_path: Path) -> None:
    anchors = tmp_path / "anchors"
    (anchors / "corp").mkdir(parents=True)
    (anchors / "a.crt").write_bytes(pem("a"))
    (anchors / "corp/b.pem").write_bytes(pem("b") + pem("a"))
    (anchors / "README").write_bytes(pem("not looked at"))
    (anchors / "large.crt").write_bytes(pem("large") + bytes(LONGEST))
    (anchors / "dangling.crt").symlink_to("nowhere")
    found = added_authorities({}, anchors=[tmp_path / "absent", anchors], bundles=[])
    assert certificates(found) == [pem("a"), pem("b")]


def test_what_a_user_named(tmp_path: Path) -> None:
    own, bundle, further = tmp_path / "own.pem", tmp_path / "bundle.crt", tmp_path / "further.pem"
    own.write_bytes(pem("own"))
    bundle.write_bytes(pem("mozilla's"))
    further.write_bytes(pem("further"))
    link = tmp_path / "link.crt"
    link.symlink_to(bundle)

    def found(named: Path) -> list[bytes]:
        return certificates(
            added_authorities({"SSL_CERT_FILE": str(named)}, [further], anchors=[], bundles=[bundle])
        )

    assert found(own) == [pem("own"), pem("further")]
    assert found(link) == [pem("further")]  # the system's own list
    assert found(tmp_path / "absent") == [pem("further")]


def test_certificates_of_registries(tmp_path: Path) -> None:
    mine, systems = tmp_path / "mine", tmp_path / "systems"
    for folder, text in ((mine, b"mine"), (systems, b"system's")):
        (folder / "reg.corp:5000").mkdir(parents=True)
        (folder / "reg.corp:5000/ca.crt").write_bytes(text)
    (systems / "reg.corp:5000/client.cert").write_bytes(b"cert")
    (systems / "reg.corp:5000/client.key").write_bytes(b"key")
    (systems / "reg.corp:5000/notes.txt").write_bytes(b"no")
    (systems / "loose.crt").write_bytes(b"no")
    assert registry_certificates([mine, tmp_path / "absent", systems]) == {
        "reg.corp:5000/ca.crt": b"mine",
        "reg.corp:5000/client.cert": b"cert",
        "reg.corp:5000/client.key": b"key",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_bytes(pem("a"))
    (tmp_path / "a.crt").chmod(0)
    assert added_authorities({}, anchors=[tmp_path], bundles=[]) == b""
