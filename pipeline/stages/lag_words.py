"""What is said of a lag that turns cause and effect around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.stages.report import Report


def say_negative(lags_ms: Iterable[float], report: Report) -> None:
    """Say of lags below 0 that the hand moved before the activity it is decoded from.

    Examples
    --------
    >>> say_negative([100, -40], lambda event: print(event.text))
    lag_ms -40: the velocity is read 40 ms before the neural activity, as if the hand moved first
    """
    for lag_ms in sorted({lag for lag in lags_ms if lag < 0}):
        report(
            NoteEvent(
                text=f"lag_ms {lag_ms:g}: the velocity is read {-lag_ms:g} ms before the neural activity, as "
                "if the hand moved first"
            )
        )
