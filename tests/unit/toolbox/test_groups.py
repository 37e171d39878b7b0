# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cove.errors import NotFoundError
from cove.toolbox.groups import GROUPS, group_of


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
