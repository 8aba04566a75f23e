"""Files of a user that Python takes for the packages this program needs.

That is so where ``PYTHONPATH`` names a folder with a ``yaml.py`` or ``torch.py``. Nothing can be done about
it while it happens, but it can be told from a fault of the program.
"""

from __future__ import annotations

import os
import sys

MOST_NAMED = 4


def in_place_of_packages() -> str:
    """Return which files were imported in place of installed packages, and what to do; empty: none was.

    Only standard modules are needed, so that it works where nothing else does.

    Examples
    --------
    >>> in_place_of_packages()
    ''
    """
    said = os.environ.get("PYTHONPATH")
    # An empty entry, as of "PYTHONPATH=:/opt", is the folder one is in.
    folders = {os.path.abspath(one) for one in said.split(os.pathsep)} if said else set()  # noqa: PTH100
    known: set[str] | None = None
    found = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." in name or name in {"__main__", "nwb_latents"} or not isinstance(file, str):
            continue
        place = os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
        if os.path.basename(file) == "__init__.py":  # noqa: PTH119
            place = os.path.dirname(place)  # noqa: PTH120
        if place not in folders:
            continue
        known = _installed() if known is None else known
        if name in known:
            found.append(f"{name} ({file})")
    if not found:
        return ""
    named = ", ".join(found[:MOST_NAMED]) + (" …" if len(found) > MOST_NAMED else "")
    return (
        f"PYTHONPATH names a folder whose files are imported in place of installed packages: {named}. Rename "
        "them, or start without that folder in PYTHONPATH."
    )


def _installed() -> set[str]:
    """Return the names that modules of Python and of installed distributions have."""
    from importlib.metadata import packages_distributions

    return {*sys.stdlib_module_names, *packages_distributions()}
