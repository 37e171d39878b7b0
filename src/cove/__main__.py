# SPDX-License-Identifier: Apache-2.0
"""``python -m cove``, and what the installed command ``cove`` calls."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    from cove.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
