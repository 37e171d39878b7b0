# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cove.debian.mirrors import PUBLIC, Mirror, default_mirrors, host_sources, mirrors_of
from cove.errors import UsageError

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://apt.example.org/debian/ https://second.example.org/debian
Suites: bookworm bookworm-updates
# another
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://sec.example.org/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example.org/debian
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb http://comment.example.org/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://one.example.org/debian sid main # x
deb-src http://one-src.example.org/debian bookworm main
deb http://one.example.org/debian-security bookworm-security main
deb [arch=amd64] http://packages.example.org/linux/debian bookworm stable
deb [signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.example.org/debian bookworm main
deb http://flat.example.org/repo ./
deb http://ubuntu.example.org/ubuntu noble main
deb http://pi.example.org/raspbian bookworm main
deb
"""


def _apt(root: Path, **files: str) -> Path:
    (root / "sources.list.d").mkdir()
    for name, text in files.items():
        (root / name.replace("__", "/").replace("_dot_", ".")).write_text(text)
    return root


def test_deb822_form(tmp_path: Path) -> None:
    root = _apt(tmp_path, sources_dot_list="", **{"sources.list.d__debian.sources": DEB822})
    assert mirrors_of(host_sources(root)) == [
        Mirror(main="http://apt.example.org/debian", security="http://sec.example.org/debian-security"),
        Mirror(main="https://second.example.org/debian", security="http://sec.example.org/debian-security"),
    ]


def test_one_line_form_without_third_parties(tmp_path: Path) -> None:
    root = _apt(tmp_path, **{"sources.list": ONE_LINE})
    assert mirrors_of(host_sources(root)) == [
        Mirror(main="http://one.example.org/debian", security="http://one.example.org/debian-security")
    ]


def test_security_defaults_to_the_neighbour(tmp_path: Path) -> None:
    root = _apt(tmp_path, **{"sources.list": "deb http://x.example.org/debian trixie main\n"})
    assert mirrors_of(host_sources(root))[0].security == "http://x.example.org/debian-security"


def test_mirror_list_files_of_cloud_images(tmp_path: Path) -> None:
    sources = DEB822.replace("http://apt.example.org/debian/", "mirror+file:///etc/apt/m")
    root = _apt(tmp_path, **{"sources.list.d__debian.sources": sources})
    (root / "m").write_text("# first\nhttps://cloud.example.org/debian/ priority:1\n")
    assert mirrors_of(host_sources(root))[0].main == "https://cloud.example.org/debian"


def test_a_host_that_is_not_debian(tmp_path: Path) -> None:
    assert default_mirrors({}, {}, tmp_path / "nowhere") == list(PUBLIC)
    root = _apt(tmp_path, **{"sources.list": "deb http://archive.example.org/ubuntu noble main universe\n"})
    assert default_mirrors({}, {}, root) == list(PUBLIC)


def test_disabled_files_are_not_read(tmp_path: Path) -> None:
    root = _apt(tmp_path, **{"sources.list.d__debian.sources.off": DEB822})
    assert host_sources(root) == []


def test_order_and_no_doubles(tmp_path: Path) -> None:
    root = _apt(tmp_path, **{"sources.list": ONE_LINE})
    env = {"COVE_DEBIAN_MIRROR": "http://one.example.org/debian/"}
    config = {"debian_mirror": {"main": "http://c.example.org/d", "security": "http://c.example.org/s"}}
    assert default_mirrors(env, config, root) == [
        Mirror(main="http://one.example.org/debian", security="http://one.example.org/debian-security"),
        Mirror(main="http://c.example.org/d", security="http://c.example.org/s"),
        *PUBLIC,
    ]


def test_two_urls_in_the_variable(tmp_path: Path) -> None:
    mirror = default_mirrors({"COVE_DEBIAN_MIRROR": "http://a/x  http://b/y/"}, {}, tmp_path)[0]
    assert mirror == Mirror(main="http://a/x", security="http://b/y")


@pytest.mark.parametrize("value", ["ftp://x/debian", "nonsense", "http://a http://b http://c"])
def test_wrong_settings_are_said(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="COVE_DEBIAN_MIRROR"):
        default_mirrors({"COVE_DEBIAN_MIRROR": value}, {}, tmp_path)
    with pytest.raises(UsageError, match="debian_mirror"):
        default_mirrors({}, {"debian_mirror": value}, tmp_path)
    with pytest.raises(UsageError, match="debian_mirror"):
        default_mirrors({}, {"debian_mirror": 5}, tmp_path)


def test_public_mirrors_carry_both_trees_over_https() -> None:
    for mirror in PUBLIC:
        assert mirror.main == f"https://{mirror.host}/debian"
        assert mirror.url("trixie-security", "x") == f"https://{mirror.host}/debian-security/x"
        assert mirror.url("trixie-updates", "x") == f"https://{mirror.host}/debian/x"
