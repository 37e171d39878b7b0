# SPDX-License-Identifier: Apache-2.0
"""Kernel modules: what they say, load order, and depmod's lists."""

from __future__ import annotations

import gzip
import lzma

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from cove.errors import ArchiveError, NotFoundError
from cove.image.modules import Module, ModuleSet, is_module, module_name, read_module, unpack_module

from .parts import make_ko


def mod(name: str, *depends: str, **more: tuple[str, ...]) -> Module:
    return Module(name=name, path=f"kernel/{name}.ko", depends=depends, **more)


def test_reading_a_module() -> None:
    elf = make_ko(
        license="GPL",
        depends="nf-nat,x_tables",
        alias=["ip6t_X", "char-major-10-*"],
        softdep=["pre: a-b post: c", "pre: d"],
    )
    assert read_module(elf, "kernel/net/xt-x.ko.xz") == Module(
        name="xt_x",
        path="kernel/net/xt-x.ko.xz",
        depends=("nf_nat", "x_tables"),
        aliases=("ip6t_X", "char-major-10-*"),
        pre=("a_b", "d"),
        post=("c",),
        softdeps=("pre: a-b post: c", "pre: d"),
    )


def test_a_module_that_depends_on_nothing() -> None:
    assert read_module(make_ko(name="x", depends=""), "x.ko").depends == ()


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("", bytes),
        (".xz", lzma.compress),
        (".gz", gzip.compress),
        (".zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_modules(suffix: str, pack: object) -> None:
    path = f"kernel/a-b.ko{suffix}"
    assert is_module(path)
    assert module_name(path) == "a_b"
    assert unpack_module(pack(b"elf"), path) == b"elf"  # type: ignore[operator]
    if suffix:
        with pytest.raises(ArchiveError, match=r"a-b\.ko"):
            unpack_module(b"junk", path)


def test_other_files_are_no_modules() -> None:
    assert not any(map(is_module, ["modules.dep", "kernel/x.ko.sig", "kernel/ko"]))


@example(b"", 47, 128)  # the table of sections lies where no file reaches
@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255))
def test_damaged_modules_are_refused_or_read(junk: bytes, place: int, value: int) -> None:
    elf = bytearray(make_ko(name="x", depends="y"))
    if place < len(elf):
        elf[place] = value
    for data in (bytes(elf), b"\x7fELF\x02\x01" + junk, junk):
        try:
            read_module(data, "x.ko")
        except ArchiveError:
            continue


def test_order_builtin_and_soft_dependencies() -> None:
    modules = ModuleSet(
        [
            mod("a", "b", pre=("s", "absent")),
            mod("b", "c", post=("p",)),
            mod("c"),
            mod("s"),
            mod("p", "q"),
            mod("q"),
        ],
        builtin="kernel/fs/ext4/ext4.ko\n",
    )
    assert [one.name for one in modules.closure(["ext4", "a", "c"])] == ["s", "c", "b", "q", "p", "a"]
    assert len(modules) == 6


def test_modules_that_need_each_other_do_not_hang() -> None:
    modules = ModuleSet([mod("a", "b"), mod("b", "a")])
    assert {one.name for one in modules.closure(["a"])} == {"a", "b"}
    assert modules.dep_text()


def test_unknown_modules_are_named() -> None:
    with pytest.raises(NotFoundError, match="no module nope, nada"):
        ModuleSet([mod("a")]).closure(["nope", "a", "nada"])


def test_lists() -> None:
    modules = ModuleSet([mod("x", aliases=("pci:v1*",)), mod("y", "x"), mod("z", "y", softdeps=("pre: w",))])
    assert modules.dep_text() == (
        "kernel/x.ko:\nkernel/y.ko: kernel/x.ko\nkernel/z.ko: kernel/y.ko kernel/x.ko\n"
    )
    assert modules.alias_text().splitlines()[1:] == ["alias pci:v1* x"]
    assert modules.softdep_text().splitlines()[1:] == ["softdep z pre: w"]


@given(st.lists(st.sets(st.integers(0, 9)), min_size=10, max_size=10), st.sets(st.integers(0, 9)))
def test_what_is_needed_is_loaded_first(needs: list[set[int]], wanted: set[int]) -> None:
    modules = [mod(f"m{i}", *(f"m{n}" for n in sorted(below) if n < i)) for i, below in enumerate(needs)]
    known = ModuleSet(modules)
    order = [one.name for one in known.closure(f"m{i}" for i in sorted(wanted))]
    assert len(set(order)) == len(order)
    for module in modules:
        if module.name in order:
            assert all(order.index(below) < order.index(module.name) for below in module.depends)
    for line in known.dep_text().splitlines():
        path, _, below = line.partition(": ")
        chain = [path.rstrip(":"), *below.split()]
        names = [module_name(one) for one in chain]
        for module in modules:
            if module.name in names:
                assert all(names.index(one) > names.index(module.name) for one in module.depends)
