"""Any NWB file with units and a position or velocity series, with or without a trial table.

Event columns are recognised under the names published files use. Without a trial table, reaches are found
from speed.
"""

from __future__ import annotations

from nwb_latents.pipeline.nwb.layouts.layout import Layout

LAYOUT = Layout(
    name="generic",
    summary="any file with units and a position or velocity series",
    recognises=lambda _: True,
    known_by="no other layout knows it",
    priority=-100,  # only where nobody knows better
)
