# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import NotFoundError
from cove.toolbox.groups import GROUPS, group_of, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Docker version 26.1.5+dfsg1, build a72d7cd", (26, 1, 5)),
        ("QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", (10, 0, 13)),
        ("mkfs.erofs (erofs-utils) 1.8.6", (1, 8, 6)),
        ("gvproxy version v0.8.1", (0, 8, 1)),
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("x 1.2", (1, 2)),
        ("x 12", None),
        ("", None),
    ],
)
def test_parse_version(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


def test_every_program_is_in_one_group_and_below_the_prefix() -> None:
    programs = [program for group in GROUPS.values() for program in group.programs]
    assert len({program.name for program in programs}) == len(programs)
    for program in programs:
        assert not program.path.startswith("/")
        assert program.path.rpartition("/")[2] == program.name


def test_nothing_wanted_is_excluded() -> None:
    for group in GROUPS.values():
        wanted = {*group.packages, *(program.package for program in group.programs)}
        assert not wanted & set(group.exclude)
        assert not any(program.path.startswith(group.drop) for program in group.programs if group.drop)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(NotFoundError, match="no toolbox 'x'"):
        group_of("x")
    with pytest.raises(NotFoundError, match="no program 'x'"):
        group_of("net").program("x")
