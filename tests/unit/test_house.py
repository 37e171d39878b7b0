# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import io
import shutil
import subprocess
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
SCRIPTS = [
    ROOT / "cove",
    *(path for path in sorted((ROOT / "scripts").iterdir()) if path.is_file() and path.suffix in ("", ".sh")),
]
GUEST_SCRIPTS = [
    path
    for path in sorted((ROOT / "src/cove/images").rglob("*"))
    if path.is_file() and (path.suffix == ".sh" or path.read_bytes().startswith(b"#!/bin/"))
]

FUNCTION_LINES = 50
MODULE_LINES = 500
MODULE_AIM = 300

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: not blank, not only a comment."""
    skipped = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
        tokenize.ENCODING,
    }  # fmt: skip
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def public_without_docstring(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    """Public classes, functions and methods that say nothing about themselves."""
    for node in body:
        if not isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) or node.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        # what overrides or completes a documented thing is documented there
        if decorators & {"setter", "override", "overload"}:
            continue
        if not ast.get_docstring(node):
            yield f"{prefix}{node.name} (line {node.lineno})"
        if isinstance(node, ast.ClassDef):
            yield from public_without_docstring(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    code = code_lines(source) - docstring_lines(tree)
    long = [
        f"{function.name} (line {function.lineno}): {count} lines"
        for function in functions(tree)
        if (count := len(code & set(range(function.lineno, (function.end_lineno or 0) + 1)))) > FUNCTION_LINES
    ]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_things_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    missing = list(public_without_docstring(tree.body, ""))
    if path.name not in ("__init__.py", "__main__.py") or tree.body:
        assert ast.get_docstring(tree), "the module has no docstring"
    assert not missing


def test_modules_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    above_aim = {name: length for name, length in lengths.items() if length > MODULE_AIM}
    print(f"modules above {MODULE_AIM} lines:", above_aim)  # shown by pytest -rP; a reminder only
    assert not {name: length for name, length in above_aim.items() if length > MODULE_LINES}


@pytest.mark.parametrize("path", [*PYTHON, *SCRIPTS, *GUEST_SCRIPTS], ids=name_of)
def test_licence_is_named(path: Path) -> None:
    lines = path.read_text().splitlines()[:2]
    assert not lines or "# SPDX-License-Identifier: Apache-2.0" in lines


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_system_starts_programs(path: Path) -> None:
    """import-linter sees imports of modules; this sees also the calls that hide in ``os`` and ``asyncio``."""
    if path.is_relative_to(ROOT / "src/cove/system") or path.is_relative_to(ROOT / "src/cove_guest"):
        return
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            )
            found |= {"subprocess"} & set(modules)
        elif isinstance(node, ast.Attribute):
            name = node.attr
            if name in {"system", "popen", "posix_spawn", "posix_spawnp"} or name.startswith(
                ("exec", "spawn")
            ):
                found |= {f"os.{name}"} & {ast.unparse(node)}
            found |= {"create_subprocess_exec", "create_subprocess_shell"} & {name}
    assert not found, "use cove.system.process"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_file_uses_modern_annotations(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if any(isinstance(node, ast.ClassDef | Function | ast.AnnAssign) for node in tree.body):
        assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_syntax_warnings(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(path.read_text(), str(path), "exec")


@pytest.mark.parametrize("path", [*SCRIPTS, *GUEST_SCRIPTS], ids=name_of)
@pytest.mark.parametrize("shell", ["sh", "dash", "busybox"])
def test_scripts_are_posix(path: Path, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    argv = [program, "sh"] if shell == "busybox" else [program]
    done = subprocess.run([*argv, "-n", str(path)], capture_output=True, text=True, check=False, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.suffix == ""], ids=name_of)
def test_scripts_can_be_started(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/bin/sh\n")
