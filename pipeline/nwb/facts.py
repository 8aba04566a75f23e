"""Which recording a file is of: read without its data, and without what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.nwb.file import open_nwb
from nwb_latents.pipeline.signals.recording import RecordingFacts

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbSource


def read_facts(source: NwbSource, *, name: str | None = None) -> RecordingFacts:
    """Return which recording a file is of without reading its data.

    Parameters
    ----------
    source
        As for `read_recording`.
    name
        Name of the file where the source has none.

    Raises
    ------
    DataError
        If the file is not NWB.
    """
    with open_nwb(source, name=name) as file:
        return RecordingFacts(file.session, file.subject, file.identifier, file.start)
