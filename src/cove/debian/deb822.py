# SPDX-License-Identifier: Apache-2.0
"""Paragraphs of ``Field: value``, the form of Debian's control files (deb822(5)). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def parse_paragraphs(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Read paragraphs. Field names keep their case; continuation lines are joined by newlines, stripped.

    Lines that begin with "#" are comments; a line that is neither field nor continuation is left out.
    """
    paragraph: dict[str, str] = {}
    field = ""
    for line in lines:
        if not line.strip():
            if paragraph:
                yield paragraph
            paragraph, field = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            if field:
                paragraph[field] += "\n" + line.strip()
        else:
            field, colon, value = line.partition(":")
            field = field.strip() if colon else ""
            if field:
                paragraph[field] = value.strip()
    if paragraph:
        yield paragraph
