# SPDX-License-Identifier: Apache-2.0
"""Write values as Go's encoders do, byte for byte: JSON (encoding/json) and YAML (gopkg.in/yaml, 2 and 3). Pure.

YAML version 2 is what LinuxKit puts into images (``files: metadata: yaml``), version 3 what its dry run prints. Both
come from libyaml, as PyYAML does: only indentation, the width of lines and the choice of quotes are theirs.
"""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
import yaml.emitter
import yaml.representer
import yaml.resolver
import yaml.serializer

from cove.image.linuxkit.shapes import (
    Boolean,
    Field,
    Identity,
    Integer,
    ListOf,
    MapOf,
    Octal,
    Shape,
    Struct,
    Text,
    octal,
)

_HTML = {"&": "\\u0026", "<": "\\u003c", ">": "\\u003e", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_HTML_CHARACTERS = re.compile("[&<>\u2028\u2029]")
_NOT_PLAIN = re.compile(
    r"(?:~|null|Null|NULL|true|True|TRUE|false|False|FALSE|<<"
    r"|y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[0-9][0-9_]*)"
    r"|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ ]+)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}.*)?)?"
)
_STR = "tag:yaml.org,2002:str"
_WIDE = 1 << 30


def to_json(value: Any) -> bytes:
    """``json.MarshalIndent(value, "", "    ")``: four spaces, no newline at the end, HTML's characters escaped."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return _HTML_CHARACTERS.sub(lambda found: _HTML[found[0]], text).encode("utf-8", "surrogateescape")


def json_value(value: Any, shape: Shape) -> Any:
    """What of ``value`` goes into JSON: fields in their order, empty ones left out as ``omitempty`` has it."""
    if isinstance(shape, Struct):
        out: dict[str, Any] = {}
        for one in shape.fields:
            item = value.get(one.name)
            if one.hidden or (not one.json_keep and _left_out(one, item)):
                continue
            empty = item is None or (isinstance(one.shape, ListOf) and not item and not one.pointer)
            out[one.json or one.name] = _zero(one, json_form=True) if empty else json_value(item, one.shape)
        return out
    return _converted(value, shape, json_value)


def yaml_value(value: Any, shape: Shape) -> Any:
    """What of ``value`` goes into YAML."""
    if isinstance(shape, Struct):
        out: dict[str, Any] = {}
        for one in shape.fields:
            item = value.get(one.name)
            written = None if item is None else yaml_value(item, one.shape)
            if one.hidden or (not one.keep and _left_out(one, written)):
                continue
            out[one.plain or one.name] = _zero(one, json_form=False) if item is None else written
        return out
    if isinstance(shape, MapOf):
        return {key: yaml_value(value[key], shape.item) for key in natural_order(list(value))}
    return _converted(value, shape, yaml_value)


def _left_out(one: Field, item: Any) -> bool:
    return item is None if one.pointer else not item


def _zero(one: Field, *, json_form: bool) -> Any:
    match one.shape:
        case ListOf():
            return None if json_form else []
        case MapOf():
            return {}
        case Struct() if not one.pointer:
            return json_value({}, one.shape) if json_form else yaml_value({}, one.shape)
        case Text() | Octal() if not one.pointer:
            return ""
        case Integer() if not one.pointer:
            return 0
        case Boolean() if not one.pointer:
            return False
        case _:
            return None


def _converted(value: Any, shape: Shape, below: Any) -> Any:
    match shape:
        case ListOf():
            return [below(item, shape.item) for item in value]
        case MapOf():
            return {key: below(value[key], shape.item) for key in sorted(value)}
        case Octal():
            return octal(value)
        case Integer() | Identity() if isinstance(value, int):
            return int(value)
        case _:
            return value


def to_yaml(value: Any, *, version: int) -> str:
    """``yaml.Marshal(value)``.

    Args:
        value: mappings, lists, strings, numbers, booleans, None.
        version: 2 or 3 of gopkg.in/yaml.
    """
    out = io.StringIO()
    dumper = _Dumper2(out) if version == 2 else _Dumper3(out)
    try:
        dumper.open()
        dumper.represent(value)
        dumper.close()
    finally:
        dumper.dispose()
    return out.getvalue()


class _Dumper2(
    yaml.emitter.Emitter,
    yaml.serializer.Serializer,
    yaml.representer.SafeRepresenter,
    yaml.resolver.BaseResolver,
):
    """gopkg.in/yaml 2: two spaces, lists not indented, lines of 80."""

    INDENT = 2
    WIDTH = 80

    def __init__(self, stream: io.StringIO) -> None:
        yaml.emitter.Emitter.__init__(self, stream, indent=self.INDENT, width=self.WIDTH, allow_unicode=True)
        yaml.serializer.Serializer.__init__(self)
        yaml.representer.SafeRepresenter.__init__(self, default_flow_style=False, sort_keys=False)
        yaml.resolver.BaseResolver.__init__(self)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Go's encoders write no anchors."""
        return True

    def string(self, text: str) -> yaml.ScalarNode:
        """A string, in quotes where it would be read as something else."""
        if "\n" in text:
            return self.represent_scalar(_STR, text, style="|")
        return self.represent_scalar(_STR, text, style='"' if _NOT_PLAIN.fullmatch(text) else None)

    def bare(self, value: Any) -> yaml.ScalarNode:
        """A number, a boolean or null."""
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        return self.represent_scalar(_STR, text)

    def mapping(self, data: Mapping[str, Any]) -> yaml.MappingNode:
        """A mapping in the order that it has."""
        return self.represent_mapping("tag:yaml.org,2002:map", list(data.items()))


class _Dumper3(_Dumper2):
    """gopkg.in/yaml 3: four spaces, lists indented, lines of any length."""

    INDENT = 4
    WIDTH = _WIDE

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indents are multiples of four, but two behind a list's dash."""
        self.indents.append(self.indent)
        if self.indent is None:
            self.indent = self.INDENT if flow else 0
        elif self.states and self.states[-1] == self.expect_block_sequence_item:
            self.indent += 2
        else:
            self.indent = self.INDENT * ((self.indent + self.INDENT) // self.INDENT)

    def determine_block_hints(self, text: str) -> str:
        """The real indentation of a text that begins with blanks; Go writes four whatever it is."""
        hints = super().determine_block_hints(text)
        return hints.replace("4", str((self.indent or 0) - (self.indents[-1] or 0)), 1)


_Dumper2.add_representer(str, _Dumper2.string)
_Dumper2.add_representer(dict, _Dumper2.mapping)
for _kind in (int, bool, type(None)):
    _Dumper2.add_representer(_kind, _Dumper2.bare)


def natural_order(keys: Sequence[str]) -> list[str]:
    """Keys of a map in the order of gopkg.in/yaml (sorter.go): numbers in them count as numbers."""
    return sorted(keys, key=functools.cmp_to_key(_compare))


def _compare(first: str, second: str) -> int:
    if first == second:
        return 0
    return -1 if _less(first, second) else 1


def _less(first: str, second: str) -> bool:
    digits = False
    for index, (one, two) in enumerate(zip(first, second, strict=False)):
        if one == two:
            digits = one.isdigit()
            continue
        if one.isalpha() and two.isalpha():
            return one < two
        if one.isalpha() or two.isalpha():
            return one.isalpha() if digits else two.isalpha()
        mine, theirs = _digits(first, index), _digits(second, index)
        leading = "1" if "0" in (one, two) and re.search(r"[1-9][0-9]*$", first[:index]) else "0"
        numbers = int(leading + mine), int(leading + theirs)
        if numbers[0] != numbers[1]:
            return numbers[0] < numbers[1]
        return len(mine) < len(theirs) if len(mine) != len(theirs) else one < two
    return len(first) < len(second)


def _digits(text: str, start: int) -> str:
    end = start
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[start:end]
