# SPDX-License-Identifier: Apache-2.0
"""``python -m cove``, and what the installed command ``cove`` calls."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    from cove.cli.app import run

    # a reader that goes away (`cove list | head -1`) ends us silently, as it does every Unix program
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
