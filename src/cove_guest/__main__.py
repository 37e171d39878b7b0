# SPDX-License-Identifier: Apache-2.0
"""The agent's start: ``python3 -E -s -S /usr/lib/cove/cove_guest --device wire --peer ADDRESS ...``.

Whatever is imported on the way is compiled from source at the guest's first start: as little as possible.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # -E makes Python itself ignore the variable
    sys.pycache_prefix = os.environ.get("PYTHONPYCACHEPREFIX") or sys.pycache_prefix
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    from cove_guest.agent import main

    sys.exit(main(sys.argv[1:]))
