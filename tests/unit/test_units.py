# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.units import GIB, KIB, MIB, format_seconds, format_size, parse_size

FACTORS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1024 * GIB}


@given(
    st.integers(1, 10**6), st.sampled_from("bkmgt"), st.sampled_from(["", "b", "ib", "B", "iB"]), st.booleans(),
    st.sampled_from(["", " "]),
)  # fmt: skip
def test_every_way_of_writing_a_size(number: int, unit: str, rest: str, upper: bool, space: str) -> None:
    written = f"{number}{space}{unit.upper() if upper else unit}{rest}"
    assert parse_size(written) == number * FACTORS[unit]
    assert parse_size(f"  {written}\n", default_unit="g") == number * FACTORS[unit]


@given(st.integers(1, 10**6), st.sampled_from(["", "k", "m", "g", "t"]))
def test_a_bare_number_has_the_default_unit(number: int, unit: str) -> None:
    assert parse_size(str(number), default_unit=unit) == number * FACTORS[unit]


@given(st.integers(1, 4000), st.sampled_from("kmgt"))
def test_fractions(quarters: int, unit: str) -> None:
    assert parse_size(f"{quarters / 4}{unit}") == quarters * FACTORS[unit] // 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "-1",
        "1x",
        "1..5g",
        ".5g",
        "1e3",
        "0",
        "0g",
        "0.0001",
        "1 2",
        "g",
        "1gg",
        "1_000",
        "inf",
        "nan",
    ],
)
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as caught:
        parse_size(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["8388608t", "9223372036854775808", "9" * 400, "9" * 400 + "g"])
def test_more_than_a_file_can_have_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is more than a file can have"):
        parse_size(text)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_an_error(text: str) -> None:
    with suppress(UsageError):
        assert parse_size(text) > 0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * KIB, "1.5 MiB"),
        (10 * MIB, "10 MiB"),
        (12 * GIB, "12 GiB"),
        (2048 * GIB, "2.0 TiB"),
        (5000 * 1024 * GIB, "5000.0 TiB"),
    ],
)
def test_printed_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(1, 2**60))
def test_a_printed_size_reads_as_nearly_itself(size: int) -> None:
    printed = format_size(size)
    assert re.fullmatch(r"\d+(\.\d)? ([KMGT]i)?B", printed)
    assert abs(parse_size(printed) - size) <= size * 0.051


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.256, "0.26 s"),
        (12.34, "12.3 s"),
        (60, "1 min 00 s"),
        (245.9, "4 min 05 s"),
        (3600, "1 h 00 min"),
        (12000, "3 h 20 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_printed_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
