"""Where the command ``pipeline`` begins: it can be interrupted while it loads itself, too."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cli.interruption import hear_interruptions

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
ENVIRONMENT = 5


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    hear_interruptions()
    try:
        run = _command()
        run()
    except (KeyboardInterrupt, Exception) as error:
        from nwb_latents.pipeline.errors import is_interruption

        if not is_interruption(error):
            raise
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    finally:
        # All is done and said: Python, which puts its libraries away, would answer with a traceback.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def _command() -> Callable[[], None]:
    """Return the command line; leave with a sentence where files of the user stand in its way."""
    try:
        from nwb_latents.pipeline.cli.main import main as run
    except (ImportError, AttributeError):
        from nwb_latents.pipeline.cli.in_place_of import in_place_of_packages

        said = in_place_of_packages()
        if not said:
            raise
        sys.stderr.write(f"error: {said}\n")
        sys.exit(ENVIRONMENT)
    return run
