# SPDX-License-Identifier: Apache-2.0
"""``python supervisor_process.py -m cove.machine.supervise ARGUMENTS``: the real supervisor's process, with the
fake driver (it prints the stages in ``COVE_TEST_STAGES``) and a network that carries nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from cove.machine import assembly, supervise  # noqa: E402
from cove.vmm.fake import Fake  # noqa: E402
from tests.unit.machine.world import Wire  # noqa: E402

if __name__ == "__main__":
    if os.environ.get("COVE_TEST_STAGES") == "none":
        sys.exit("this supervisor dies at once")
    stages = tuple(os.environ["COVE_TEST_STAGES"].split())
    for module in (assembly, supervise):
        module.driver_named = lambda _name: Fake(stages=stages)  # type: ignore[assignment]
    supervise.Gvproxy = lambda *_arguments, **_options: Wire()  # type: ignore[assignment, misc]
    assert sys.argv[1:3] == ["-m", "cove.machine.supervise"]
    supervise.main(sys.argv[3:])
