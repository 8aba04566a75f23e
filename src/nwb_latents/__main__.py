"""``python -m nwb_latents``: the command ``pipeline``, for where its script is not on the path."""

import os
import sys

if __name__ == "__main__":
    # Python puts the folder one is in first; what lies there is the user's, whatever it is called.
    if sys.path and sys.path[0] == os.getcwd():  # noqa: PTH109 - compared as Python wrote it
        del sys.path[0]

    from nwb_latents.pipeline.cli.start import main

    main()
