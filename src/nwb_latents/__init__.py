"""From NWB recordings of motor cortex to latent dynamics and decoded hand velocity.

>>> import nwb_latents as nl

The functions below are all a study needs; each is one stage of the command ``pipeline``, or opens what the
stages made. They are imported when they are first used, so that ``import nwb_latents`` costs next to nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if os.path.isfile(os.path.join(__path__[0], "pipeline")):  # noqa: PTH113, PTH118 - pathlib takes longer
    raise ImportError(
        f"{__path__[0]}: pipeline, models and schemas are text files; expected links to the folders of "
        "the same name. This checkout was made without symbolic links. Make it again with "
        "`git clone -c core.symlinks=true`, or restore them with `git config core.symlinks true` and "
        "`git checkout -- src`; or take the .tar.gz archive in place of the .zip."
    )

if TYPE_CHECKING:
    from nwb_latents.pipeline.api import plot
    from nwb_latents.pipeline.api.measuring import decode, evaluate, forecast
    from nwb_latents.pipeline.api.numbers import leaderboard, scores
    from nwb_latents.pipeline.api.opened_catalog import open_catalog, open_session
    from nwb_latents.pipeline.api.recordings import ingest, inspect, simulate
    from nwb_latents.pipeline.api.reporting import report
    from nwb_latents.pipeline.api.runs import align, load_run, train
    from nwb_latents.pipeline.api.studies import study

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "align",
    "decode",
    "evaluate",
    "forecast",
    "ingest",
    "inspect",
    "leaderboard",
    "load_run",
    "open_catalog",
    "open_session",
    "plot",
    "report",
    "scores",
    "simulate",
    "study",
    "train",
]

_HOMES = {
    "measuring": ("decode", "evaluate", "forecast"),
    "numbers": ("leaderboard", "scores"),
    "opened_catalog": ("open_catalog", "open_session"),
    "recordings": ("ingest", "inspect", "simulate"),
    "reporting": ("report",),
    "runs": ("align", "load_run", "train"),
    "studies": ("study",),
}


def __getattr__(name: str) -> object:
    """Import a public function when it is first used (PEP 562)."""
    import sys  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    if name == "plot":  # a room of its own: nl.plot.raster, nl.plot.psth …
        globals()[name] = module = import_module("nwb_latents.pipeline.api.plot")
        return module
    for home, functions in _HOMES.items():
        if name in functions:
            found: object = getattr(import_module(f"nwb_latents.pipeline.api.{home}"), name)
            globals()[name] = found
            return found
    said = f"module 'nwb_latents' has no attribute {name!r}"
    raise AttributeError(said, name=name, obj=sys.modules[__name__])  # Python adds what was meant


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
