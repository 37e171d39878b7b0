# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.system.paths import SOCKET_PATH_LIMIT, Home, MachinePaths, check_machine_name

FILES = [
    name
    for name, value in vars(MachinePaths).items()
    if isinstance(value, property) and name not in ("name", "sockets")
]


@given(st.from_regex(r"[a-z][a-z0-9-]{0,29}", fullmatch=True))
def test_names_that_can_name_a_machine(name: str) -> None:
    assert check_machine_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "1a", "-a", "A", "aB", "a_b", "a.b", "a/b", "..", "a" * 31, "ä", "a\n", " a", "a\0", "٣a", "a٣"],
)
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a machine") as caught:
        check_machine_name(name)
    assert repr(name) in caught.value.message
    with pytest.raises(UsageError):
        Home(Path("/h"), Path("/c")).machine(name)


@given(st.text())
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    home = Home(Path("/h"), Path("/c"))
    try:
        paths = home.machine(name)
    except UsageError:
        return
    assert paths.root.parent == home.machines
    assert paths.name == name


def test_every_file_of_a_machine_lies_in_its_folder_under_its_own_name() -> None:
    paths = MachinePaths(Path("/h/m/x"))
    found = [getattr(paths, name) for name in FILES]
    assert len(found) > 10
    assert {path.parent for path in found} == {paths.root, paths.net_dir, paths.vm_dir, paths.saved}
    assert len(set(found)) == len(found)


def test_sockets_are_all_that_are_named_so() -> None:
    paths = MachinePaths(Path("/h/m/x"))
    assert set(paths.sockets) == {getattr(paths, name) for name in FILES if name.endswith("_socket")}


@pytest.mark.parametrize(
    ("env", "root", "cache"),
    [
        ({"COVE_HOME": "/h"}, "/h", "/h/cache"),
        ({"HOME": "/home/u"}, "/home/u/.cove", "/home/u/.cove/cache"),
        ({"HOME": "/home/u", "COVE_HOME": "/h", "COVE_CACHE": "/c"}, "/h", "/c"),
        ({"HOME": "/home/u", "COVE_HOME": "", "COVE_CACHE": ""}, "/home/u/.cove", "/home/u/.cove/cache"),
    ],
)
def test_home_from_the_environment(env: dict[str, str], root: str, cache: str) -> None:
    assert Home.from_environment(env) == Home(Path(root), Path(cache))


def test_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.from_environment({"COVE_HOME": "here"}).root == tmp_path / "here"


def test_no_home_at_all() -> None:
    with pytest.raises(UsageError, match="neither COVE_HOME nor HOME is set"):
        Home.from_environment({})


@pytest.mark.parametrize(
    "env", [{"COVE_HOME": "/a:b"}, {"COVE_HOME": "/a", "COVE_CACHE": "/b;c"}, {"HOME": "/\n"}]
)
def test_what_separates_folders_is_in_no_folder(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="separates folders"):
        Home.from_environment(env)


def test_everything_lies_below_home_and_what_can_be_made_again_in_the_cache() -> None:
    home = Home(Path("/h"), Path("/c"))
    mine = (home.machines, home.config, home.docker_config)
    cached = (home.archive, home.tools, home.images, home.containers, home.probes)
    assert all(path.parent == home.root for path in mine)
    assert all(path.parent == home.cache for path in cached)
    assert len({*mine, *cached}) == 8


def test_socket_paths_are_held_to_what_the_kernel_takes() -> None:
    deepest = len(bytes(MachinePaths(Path("/m/x")).uml_dir / "vm" / "mconsole"))
    fits = Path("/" + "h" * (SOCKET_PATH_LIMIT - deepest - 1))
    assert Home(fits, fits).machine("x")
    with pytest.raises(UsageError, match="the path of a socket would be too long") as caught:
        Home(Path(f"{fits}h"), fits).machine("x")
    assert re.match(f"{SOCKET_PATH_LIMIT + 1} bytes", caught.value.details or "")
    # a Mac's is vfkit's own, which only a machine of the driver vz has
    assert MachinePaths(Path("/m/x")).longest_socket(mac=True).name.startswith("vfkit-")
    # bytes count, not letters
    with pytest.raises(UsageError):
        Home(Path("/" + "ü" * 50), fits).machine("x")


@given(st.text(max_size=30), st.text(max_size=30))
def test_two_machines_have_two_folders_on_every_file_system(one: str, other: str) -> None:
    """Also where A is a, and where letters are taken apart, as on a Mac."""
    names = []
    for name in (one, other, one.swapcase()):
        with suppress(UsageError):
            names.append(check_machine_name(name))
    folded = {unicodedata.normalize("NFD", name).casefold() for name in names}
    assert len(folded) == len(set(names))
    assert folded == set(names)


@pytest.mark.parametrize("name", ["Dev", "DEV", "dEv", "dév", "de\u0301v", "\u017ftop"])
def test_names_of_which_a_file_system_might_make_others(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a machine"):
        check_machine_name(name)
