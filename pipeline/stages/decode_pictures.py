"""Pictures of `pipeline run decode`, and the table of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.current_numbers import sorted_out
from nwb_latents.pipeline.stages.picture_folder import settings_folder
from nwb_latents.pipeline.stores.atomic import write_bytes
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.schemas.events import LagEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import Decoded, DecodedSignal
    from nwb_latents.pipeline.stages.stage_work import StageWork
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.measurement import Measurement

    Work = StageWork[DecodeSettings, Measurement]


FORECASTS = ("ensemble", "forecast")
"""Forecasts of runs that are drawn, the first of them with its traces."""


def pictures_folder(settings: DecodeSettings, *, unseen_trials: bool = False) -> str:
    """Return the name of the folder of the pictures made with some settings, within that of the recipe.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> pictures_folder(DecodeSettings(lag_ms=60)).rpartition("-")[0]
    'lag60ms'
    """
    return settings_folder(f"lag{settings.lag_ms:g}ms", settings, unseen_trials=unseen_trials)


def draw_session(
    work: Work, decoded: list[Decoded], *, run: str, beside: Sequence[DecodedSignal] = ()
) -> None:
    """Draw the signals of a session and of one run, and write the table of their parts.

    Parameters
    ----------
    work
        The stage.
    decoded
        Signals, by decoder.
    run
        Name of the run; empty: signals of no run.
    beside
        Forecasts that belong to no run.
    """
    from nwb_latents.pipeline.evaluation.decoding.parts import parts_table  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.decoding import draw_parts  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.reaches import draw_reaches  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.velocity import draw_trajectories, draw_velocity  # noqa: PLC0415

    folder = work.folder("decode")
    stem = "_".join(path_name(part) for part in (decoded[0].decoder.session, run) if part)
    for one in decoded:
        suffix = one.decoder.decoder.suffix
        name = f"{stem}{path_name(suffix)}" if suffix else stem
        draw_velocity(folder / f"{name}_velocity.png", one, pictures=work.pictures)
        draw_trajectories(folder / f"{name}_trajectories.png", one, pictures=work.pictures)
    table = parts_table(decoded)
    write_bytes(folder / f"{stem}_parts.nc", bytes(table.to_netcdf(engine="scipy")))
    draw_parts(folder / f"{stem}_parts.png", table, pictures=work.pictures)
    forecasts = [signal for signal in decoded[0].signals if signal.score.source in FORECASTS]
    if forecasts:
        # The mean with others first, where there is one.
        forecasts.sort(key=lambda signal: FORECASTS.index(signal.score.source))
        path = folder / f"{stem}_forecast.png"
        draw_reaches(path, decoded[0].decoder, [*forecasts, *beside], pictures=work.pictures)


def draw_scan(work: Work, scans: list[LagScan], scores: list[Measurement]) -> None:
    """Draw R² against lag, and report the lag that is best on training trials."""
    from nwb_latents.pipeline.evaluation.figures.decoding import draw_lag_scan  # noqa: PLC0415

    session = scans[0].session
    for scan in scans:
        best, name = max(scan.cv_r2), scan.decoder.name
        work.report(LagEvent(session=session, decoder=name, lag_ms=scan.best_lag_ms, value=best))
    path = work.folder("decode") / f"{path_name(session)}_lags.png"
    draw_lag_scan(path, scans, scores, pictures=work.pictures)


def draw_scores(work: Work) -> None:
    """Draw all scores of the recipe at this lag, those of earlier decodings included."""
    from nwb_latents.pipeline.evaluation.figures.summary import without_alignments  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.velocity import draw_summary  # noqa: PLC0415

    known = read_measurements(
        work.catalog_path, names=["velocity_r2"], stages=["decode"], splits=["test"], recipe_id=work.recipe_id
    )
    seen, ahead = work.settings.forecast.seen_bins, work.settings.forecast.bins
    same_window = (known["seen_bins"] == seen) & (known["bins"] == ahead)
    of_now = known["bins"].isna() | same_window.fillna(value=False)
    # What was measured of a store or run that is no more is past.
    catalog = read_catalog(work.catalog_path)
    found = sorted_out(known[(known["lag_ms"] == work.settings.lag_ms) & of_now], catalog)
    if found.measurements:
        aligned = {run.run for run in catalog.runs.values() if run.alignment is not None}
        shown, left_out = without_alignments(found.measurements, aligned)
        path = work.folder("decode") / "r2_summary.png"
        draw_summary(path, shown, left_out=left_out, also=found.said, pictures=work.pictures)
