# SPDX-License-Identifier: Apache-2.0
"""Recipes: what they say, how they are merged, and that every problem is named at once; marked and schema too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.errors import UsageError
from cove.image.recipe import (
    FileEntry,
    Kernel,
    Kind,
    Packages,
    Recipe,
    clean_path,
    load_recipes,
    merge,
    parse_recipe,
)

IMAGES = Path(__file__).parents[3] / "src" / "cove" / "images"

GOOD = """\
kernel:
  package: linux-image-cloud-amd64
  cmdline: "quiet"
  modules: [virtio_blk, erofs]
packages:
  include: [busybox-static]
  exclude: [dpkg]
  drop: ["usr/share/doc/**"]
  applets: true
files:
  - {path: /etc//x, contents: "hello\\n", mode: "0644", uid: 3}
  - {path: tmp, directory: true}
  - {path: init, symlink: bin/busybox}
  - {path: a, source: some/file, optional: true, gid: root}
"""


def test_a_whole_recipe() -> None:
    assert parse_recipe(GOOD, "good.yml") == Recipe(
        kernel=Kernel(package="linux-image-cloud-amd64", cmdline="quiet", modules=("virtio_blk", "erofs")),
        packages=Packages(
            include=("busybox-static",), exclude=("dpkg",), drop=("usr/share/doc/**",), applets=True
        ),
        files=(
            FileEntry(path="etc/x", kind=Kind.CONTENTS, value="hello\n", mode=0o644, uid=3),
            FileEntry(path="tmp", kind=Kind.DIRECTORY),
            FileEntry(path="init", kind=Kind.SYMLINK, value="bin/busybox"),
            FileEntry(path="a", kind=Kind.SOURCE, value="some/file", optional=True),
        ),
    )


def test_entries_know_where_they_stand() -> None:
    assert [one.where for one in parse_recipe(GOOD, "good.yml").files][:2] == ["good.yml:11", "good.yml:12"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n"])
def test_an_empty_recipe(text: str) -> None:
    assert parse_recipe(text, "empty.yml") == Recipe()


BAD = """\
kernel:
  image: linuxkit/kernel:6.6
  packge: x
  modules: erofs
packages: {include: [""]}
services: []
files:
  - {path: etc/a, contents: x, mode: 0644}
  - {path: etc/b, contents: x, mode: "0999"}
  - {contents: x}
  - {path: etc/c, contents: x, uid: -1}
  - {path: etc/d, metadata: yaml}
  - path: etc/e
    directory: 1
    path: etc/f
"""


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(BAD, "bad.yml")
    assert caught.value.message == "bad.yml has 12 problems"
    assert (caught.value.details or "").splitlines() == [
        "bad.yml:2: kernel.image: not yet supported",
        "bad.yml:3: kernel.packge: is not known here (known: binary, cmdline, external, init, modules, package)",
        "bad.yml:4: kernel.modules: must be a list",
        "bad.yml:5: packages.include[0]: must not be empty",
        "bad.yml:6: services: not yet supported",
        'bad.yml:8: files[0].mode: must be a string, in quotes: mode: "0644"',
        "bad.yml:9: files[1].mode: '0999' is not an octal mode such as \"0644\"",
        "bad.yml:10: files[2]: path is missing",
        'bad.yml:11: files[3].uid: must be a number from 0 or "root"',
        "bad.yml:12: files[4].metadata: not yet supported",
        "bad.yml:14: files[5].directory: must be true or false",
        "bad.yml:15: files[5].path: stands twice",
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{path: x}", "contents of file x not specified: one of directory, symlink, contents, source"),
        (
            "{path: x, directory: false}",
            "contents of file x not specified: one of directory, symlink, contents, source",
        ),
        ("{path: x, contents: a, source: b}", "specified contents and source for x: only one of them can be"),
        (
            "{path: x, directory: true, contents: a}",
            "specified directory and contents for x: only one of them can be",
        ),
        ("{path: x, contents: a, optional: true}", "optional goes with source only"),
        ("{path: ../x, contents: a}", "'../x' is not a path inside the image"),
        ("{path: /, contents: a}", "'/' is not a path inside the image"),
        ("{path: x, source: ../../etc/shadow}", "source '../../etc/shadow' leads out of the sources"),
        ("{path: x, source: /etc/shadow}", "source '/etc/shadow' leads out of the sources"),
    ],
)
def test_what_files_exclude(entry: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(f"files:\n  - {entry}\n", "f.yml")
    assert caught.value.details == f"f.yml:2: files[0]: {problem}"


def test_problems_of_several_files_come_together() -> None:
    with pytest.raises(UsageError) as caught:
        load_recipes([("a.yml", "kernel: {x: 1}"), ("b.yml", "onboot: []"), ("c.yml", "")])
    assert caught.value.message == "a.yml, b.yml has 2 problems"
    assert [line.partition(" ")[0] for line in (caught.value.details or "").splitlines()] == [
        "a.yml:1:",
        "b.yml:1:",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "kernel: [",
        "a: b: c",
        "\t- x",
        "- &a [*a, *b]",
        "!!python/object:os.system x",
        "x: !!int abc",
        "\0",
        "[1, 2]",
        "7",
    ],
)
def test_what_is_not_a_recipe_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"x\.yml"):
        parse_recipe(text, "x.yml")


@given(st.text(max_size=60) | st.text(alphabet="{}[]:,-&*!|>'\"#?%@ \nabk01", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_recipe(text, "any.yml")
    except UsageError:
        return


def test_kernel_fields_win_where_set_and_lists_are_appended() -> None:
    first = "kernel: {package: a, cmdline: one, modules: [m]}\npackages: {include: [x, y], applets: true}\n"
    second = "kernel: {package: user-mode-linux, external: true}\npackages: {include: [y, z]}\n"
    third = "kernel: {cmdline: three}\nfiles: [{path: p, directory: true}]\n"
    merged = load_recipes([("1", first), ("2", second), ("3", third)])
    assert merged.kernel == Kernel(package="user-mode-linux", external=True, cmdline="three", modules=("m",))
    assert merged.packages == Packages(include=("x", "y", "z"), applets=True)
    assert [one.path for one in merged.files] == ["p"]


def test_another_kernel_is_not_external_because_the_first_was() -> None:
    merged = load_recipes([("1", "kernel: {package: a, external: true}"), ("2", "kernel: {package: b}")])
    assert not merged.kernel.external


_NAMES = st.lists(st.sampled_from("abc"), max_size=3).map(lambda names: tuple(dict.fromkeys(names)))
_RECIPES = st.builds(
    Recipe,
    kernel=st.builds(
        Kernel, package=st.sampled_from(["", "k", "l"]), cmdline=st.sampled_from(["", "q"]), modules=_NAMES
    ),
    packages=st.builds(Packages, include=_NAMES, exclude=_NAMES, drop=_NAMES, applets=st.booleans()),
)


@given(_RECIPES, _RECIPES, _RECIPES)
def test_merging_groups_as_one_likes(a: Recipe, b: Recipe, c: Recipe) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(Recipe(), a) == a == merge(a, Recipe())


@given(st.text(alphabet="/.ab", max_size=12))
def test_clean_paths_stay_inside(path: str) -> None:
    try:
        clean = clean_path(path)
    except UsageError:
        return
    assert clean_path(clean) == clean
    assert not {"", ".", ".."} & set(clean.split("/"))


@pytest.mark.parametrize("kernel", ["kernel-qemu.yml", "kernel-uml.yml"])
def test_the_recipes_that_ship(kernel: str) -> None:
    recipe = load_recipes([(name, (IMAGES / name).read_text()) for name in ("cove.yml", kernel)])
    assert recipe.kernel.package
    assert "docker.io" in recipe.packages.include
