# SPDX-License-Identifier: Apache-2.0
"""What the real LinuxKit made of the same files: ``shared/linuxkit`` beside the clone, judged by its own check.py."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cove.cli.app import run

KIT = next(
    (
        parent / "shared/linuxkit"
        for parent in Path(__file__).parents
        if (parent / "shared/linuxkit").is_dir()
    ),
    None,
)
ARGUMENTS = argparse.Namespace(only={"tar", "kernel+initrd", "dry-run"}, case=None)


def load() -> ModuleType | None:
    if KIT is None:
        return None
    spec = importlib.util.spec_from_file_location("linuxkit_check", KIT / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


CHECK: Any = load()
CASES = CHECK.load_cases(ARGUMENTS) if CHECK else []


@pytest.mark.skipif(KIT is None, reason="shared/linuxkit is not beside this clone")
def test_there_are_cases() -> None:
    assert len(CASES) > 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_same_as_linuxkit(
    case: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert KIT is not None
    work = KIT / "yml"
    if not case.get("upstream"):
        work = tmp_path / "work"
        shutil.copytree(KIT / "yml", work, ignore=shutil.ignore_patterns("upstream"))
    if case.get("home"):
        monkeypatch.setenv("HOME", str(work / case["home"]))
    monkeypatch.chdir(work)
    monkeypatch.setenv("COVE_HOME", str(tmp_path / "home"))

    def outcome(form: str) -> Any:
        folder = tmp_path / (form or "dry-run")
        folder.mkdir()
        images = [word for image in case["images"] for word in ("--images", str(KIT / image))]
        arguments = [
            "-f",
            form,
            "--name",
            "out",
            "--dir",
            str(folder),
            "--no-sbom",
            "--arch",
            "amd64",
            *images,
        ]
        code = run(["--offline", "build", *(arguments if form else ["--dry-run"]), *case["yml"]])
        said = capsysbinary.readouterr()
        text = (said.out + b"\n" + said.err).decode(errors="replace")
        for name in case["yml"]:
            text = text.replace(name, "").replace(Path(name).name, "")
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return CHECK.Outcome(code, text, said.out.decode(errors="replace"), files)

    if case["formats"]:
        outcomes = {form: outcome(form) for form in case["formats"]}
        try:
            CHECK.evaluate(outcomes, case, "bytes")
        except CHECK.Problem:
            alternatives = case.get("alternatives", [])
            if not alternatives:
                raise
            CHECK.evaluate(outcomes, alternatives[0], "files")
    if "dry_run" in case:
        CHECK.check_dry_run(outcome(""), case)
