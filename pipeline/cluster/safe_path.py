"""Processes that are started take no file of the folder they start in for a module of Python."""

from __future__ import annotations

import os
from multiprocessing import resource_tracker

SAFE_PATH = "PYTHONSAFEPATH"
"""Variable that keeps a Python process from looking for modules in the folder it starts in."""


def start_tracker() -> None:
    """Start the process in which `multiprocessing` writes down what others have to clean up.

    It is started once, by the first process that needs it, as ``python -c``: beside a ``types.py`` or
    ``random.py`` of the user it ends with a traceback, and so does each that is started in its place.

    Examples
    --------
    >>> start_tracker()
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before
