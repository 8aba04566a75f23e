"""Where the command ``pipeline`` begins: it can be interrupted while it loads itself, too."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from nwb_latents.pipeline.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
