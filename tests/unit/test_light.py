# SPDX-License-Identifier: Apache-2.0
"""What every ``cove run`` and ``cove status`` loads: each module costs whoever waits for the answer."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp", "asyncio", "concurrent.futures", "email", "http.client", "jsonschema", "pysequoia", "rich", "ssl",
    "urllib.request", "yaml", "zstandard",
    # other commands' modules, and what only making a machine asks the host
    "cove.cli.boot", "cove.cli.lifecycle", "cove.cli.predecessors", "cove.machine.builtins", "cove.system.probe",
}  # fmt: skip


@pytest.mark.parametrize(
    "modules",
    [
        "cove.cli.app, cove.cli.report, cove.sdk, cove.machine.store",
        "cove.cli.app, cove.cli.use, cove.sdk, cove.machine.docker, cove.machine.assets",
    ],
    ids=["status", "run"],
)
def test_nothing_heavy_is_loaded(modules: str) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not HEAVY & set(done.stdout.split())
