"""Figures of sessions, runs and kept measurements, as ``nl.plot.raster`` or ``nl.plot.psth``.

Each function returns a `matplotlib.figure.Figure` of the width of one or two columns of a journal (88 or
178 mm), made of the same data as the pictures of ``pipeline plot``. It shows itself in a notebook, and is
saved with ``figure.savefig("raster.pdf")``. pyplot is not used, so nothing is left open and the backend of a
notebook stays as it is.
"""

from nwb_latents.pipeline.api.plot_numbers import few_shot, forecast, scores, training
from nwb_latents.pipeline.api.plot_runs import latents, paths, velocity
from nwb_latents.pipeline.api.plot_sessions import onsets, psth, raster, session_quality

__all__ = [
    "few_shot",
    "forecast",
    "latents",
    "onsets",
    "paths",
    "psth",
    "raster",
    "scores",
    "session_quality",
    "training",
    "velocity",
]
