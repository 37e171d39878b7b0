# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from cove.errors import UsageError
from cove.host.proxies import Proxies
from cove.machine.config import Config, load_config


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert load_config(tmp_path / "config.yml") == Config()


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("# nothing yet\n", {}),
        ("debian_mirror: https://x\n", {"debian_mirror": "https://x"}),
        ("debian_mirror: {main: https://x, security: https://y}\n",
         {"debian_mirror": {"main": "https://x", "security": "https://y"}}),
    ],
)  # fmt: skip
def test_settings(tmp_path: Path, text: str, settings: object) -> None:
    (tmp_path / "config.yml").write_text(text)
    assert load_config(tmp_path / "config.yml").values == settings


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: [", "is not YAML"),
        (b"a: !!python/object/apply:os.system [x]", "is not YAML"),
        (b"- a\n", "is not a list of settings"),
        (b"text", "is not a list of settings"),
        (b"debian_miror: x\nother: 1\n", "has settings that are wrong"),
        (b"a: \xff\xfe", "is not YAML"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "config.yml").write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        load_config(tmp_path / "config.yml")
    assert str(tmp_path / "config.yml") in caught.value.message


def test_all_unknown_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("debian_miror: x\nother: 1\n")
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "config.yml")
    assert caught.value.details == "unknown setting 'debian_miror'\nunknown setting 'other'"
    assert caught.value.hint == (
        "Known: ca_certificates, debian_mirror, docker, insecure_registries, proxies, registry_mirrors, resolv_conf."
    )


def test_another_resolv_conf(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("resolv_conf: /run/other/resolv.conf\n")
    assert load_config(tmp_path / "config.yml").resolv_conf == Path("/run/other/resolv.conf")


@pytest.mark.parametrize("value", ["relative/resolv.conf", "3", "[/a]"])
def test_wrong_values_are_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "config.yml").write_text(f"resolv_conf: {value}\n")
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "config.yml")
    assert caught.value.details == "resolv_conf: it is not an absolute path"


@pytest.mark.parametrize(
    ("text", "proxies", "for_containers"),
    [
        ("proxies: false", Proxies(), True),
        ("proxies: {containers: false}", None, False),
        ("proxies: {}", None, True),
        ("proxies: {https-proxy: 'http://p:1', no-proxy: a}", Proxies(https="http://p:1", no="a"), True),
        ("proxies: {http-proxy: 'http://p:1', containers: false}", Proxies(http="http://p:1"), False),
    ],
)
def test_proxies(tmp_path: Path, text: str, proxies: Proxies | None, for_containers: bool) -> None:
    (tmp_path / "config.yml").write_text(text)
    config = load_config(tmp_path / "config.yml")
    assert (config.proxies, config.container_proxies) == (proxies, for_containers)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("proxies: true", "proxies: it is neither false nor a mapping"),
        ("proxies: {socks: x}", "proxies: it is neither false nor a mapping"),
        ("proxies: {http-proxy: 3}", "proxies: its values are not all texts"),
        ("proxies: {containers: x}", "proxies: containers is neither true nor false"),
        ("docker: {tls: true}", "docker: Cove needs tls for itself"),
        ("ca_certificates: /x", "ca_certificates: it is not a list of absolute paths"),
        ("ca_certificates: [x]", "ca_certificates: it is not a list of absolute paths"),
    ],
)
def test_what_is_wrong_with_settings_of_the_engine(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "config.yml")
    assert problem in (caught.value.details or "")
