# SPDX-License-Identifier: Apache-2.0
"""``python -m cove``, and what the installed command ``cove`` calls."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line; ends the process with its exit code, or as a Unix program ends whose reader is gone.

    Python ignores SIGPIPE, and so do we: it would end us without a word when a connection breaks, not only when our
    reader goes away (``cove list | head -1``).
    """
    from cove.cli.app import READER_GONE, run

    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = READER_GONE
    if code == READER_GONE:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
    sys.exit(code)


if __name__ == "__main__":
    main()
