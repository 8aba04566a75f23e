"""What the model of a run makes of test trials, for a report: latents, embedding, velocity, forecasts.

It is what `pipeline run decode` makes, by its own functions and with the protocol its measurements state; the
numbers beside it are those measurements, and a drawing that would score otherwise is said to.
"""

from __future__ import annotations

import glob
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.report.content import Json, Missing
from nwb_latents.pipeline.evaluation.report.run_arrays import (
    SOURCES,
    decoded_arrays,
    embedding_arrays,
    latent_arrays,
    part_arrays,
)
from nwb_latents.pipeline.stages.decode_forecasts import ForecastPlan
from nwb_latents.pipeline.stages.decode_runs import decoded_run, laid_for, laid_ready
from nwb_latents.pipeline.stages.report import ignore
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.trained_runs import FAILURES, words_of
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.registry import DECODERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import DecodedSignal
    from nwb_latents.pipeline.stages.report_asked import ReportWork
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.measurement import Measurement

    Work = StageWork[DecodeSettings, Measurement]

SAME = 1e-6
"""Scores that differ by less are of the same drawing."""

_DECODE_AGAIN = "run pipeline run decode"


def model_arrays(work: ReportWork, run: RunEntry) -> tuple[Json, Json | None, list[Missing]]:
    """Return what a run's model makes of some sessions, its embedding, and what cannot be had.

    Parameters
    ----------
    work
        What was asked for, with what the stores say.
    run
        The run.

    Returns
    -------
    sessions
        Session → latents, decoded velocity, R² of parts.
    embedding
        Where its sessions lie; None: it has no embedding.
    missing
        What cannot be shown.
    """
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    where = work.catalog_path.parent / run.path
    try:
        trained = load_run(where, run_key=run.run_key, device=work.device)
        embedding = _embedding(trained)
    except FAILURES as error:
        return {}, None, [Missing(f"What the model of {run.run} makes", words_of(error, run.run)[0])]
    mine = [
        entry
        for key, entry in work.entries.items()
        if entry.recipe_id == run.recipe_id and entry.session in run.sessions and key in work.attributes
    ]
    sessions: Json = {}
    missing = []
    for entry in mine[: work.settings.run_sessions]:
        try:
            sessions[entry.session] = _of_session(work, run, trained, entry)
        except FAILURES as error:
            why = words_of(error, run.run)[0]
            missing.append(Missing(f"What {run.run} makes of {entry.session}", why))
    if not mine:
        why = "none of the sessions shown was trained on, or their stores cannot be read"
        missing.append(Missing(f"What the model of {run.run} makes", why))
    return sessions, embedding, missing


def _embedding(trained: TrainedRun) -> Json | None:
    found = {}
    for session, posterior in trained.embeddings.items():
        both = (posterior.mean, posterior.var)
        mean, var = (each[0].detach().cpu().numpy().astype(np.float64) for each in both)
        if mean.size:
            found[session] = (mean, var)
    return embedding_arrays(found)


def _of_session(work: ReportWork, run: RunEntry, trained: TrainedRun, entry: SessionEntry) -> Json:
    measured = _measured(work, run, entry)
    settings, said = _protocol(measured, entry)
    asked: Work = StageWork(work.catalog_path, settings, [entry], [run], ignore, trained={run.run: trained})
    session = asked.session(entry)
    plan = ForecastPlan()
    laid = laid_for(asked, plan, laid_ready(asked, plan, session, wanted=True), run.run, {})
    made, _ = decoded_run(asked, laid, run.run)
    signals = [laid.rates[0], *made[0]]
    test = laid.test
    states = trained.states(test)
    latents = latent_arrays(states, test.condition, test.trials["target_dir"].values, work.settings)
    ids = [str(trial) for trial in test.trials["trial"].values]
    said += _against_measured(signals, measured)
    said += [f"Not drawn: {name}: {reason}" for name, reason in asked.failures.found]
    parts, about_parts = _parts(work, run, entry, measured)
    return {
        "latents": latents,
        "decoded": decoded_arrays(laid.decoders[0], signals, ids, work.settings),
        "parts": parts,
        "said": [*said, *about_parts],
    }


def _measured(work: ReportWork, run: RunEntry, entry: SessionEntry) -> pd.DataFrame:
    """Return the R² of velocity that decode measured of a run and session: current ones, oldest first."""
    table = work.table
    mine = (
        (table["stage"] == "decode")
        & (table["name"] == "velocity_r2")
        & (table["session"] == entry.session)
        & (table["recipe_id"] == entry.recipe_id)
        & ((table["run"] == run.run) | table["run"].isna())
        & (work.why.fillna("unknown").astype(str) == "")
    )
    return table[mine.fillna(value=False)]


def _protocol(measured: pd.DataFrame, entry: SessionEntry) -> tuple[DecodeSettings, list[str]]:
    """Return how velocity is decoded: as it was measured last; where it was not, as by default."""
    said = []
    chosen: dict[str, object] = {"n_permutations": 0, "beside": ()}
    of_run = measured[measured["run"].notna()]
    if of_run.empty:
        said.append(
            "Velocity of this run and session was not measured yet, and is drawn as decode does by default: "
            f"{_DECODE_AGAIN}."
        )
    else:
        last = of_run.iloc[-1]
        chosen["lag_ms"] = float(last["lag_ms"])
        named = [name for name in of_run["decoder"].dropna() if name in DECODERS]
        if named:
            chosen["decoders"] = (named[-1],)
    forecast = of_run[of_run["source"] == "forecast"]
    if not forecast.empty:
        last = forecast.iloc[-1]
        chosen["forecast"] = {"seen_bins": int(last["seen_bins"]), "bins": int(last["bins"])}
    settings = DecodeSettings.model_validate(chosen)
    window = settings.forecast
    if window.seen_bins + window.bins > entry.n_bins:
        said.append(
            f"There is no forecast: {window.seen_bins} bins seen and {window.bins} ahead are more than the "
            f"{entry.n_bins} of a trial."
        )
        settings = settings.model_copy(update={"sources": ("rates", "reconstruction")})
    return settings, said


def _against_measured(signals: Sequence[DecodedSignal], measured: pd.DataFrame) -> list[str]:
    """Return the measured R² of what is drawn, in words."""
    said = []
    mixed = measured[measured["source"] == "ensemble"]
    if not mixed.empty and mixed.iloc[-1]["value"] is not None:
        value = mixed.iloc[-1]["value"]
        said.append(f"Its forecast averaged with others is not drawn: R² {value:.3f}.".replace("-", "−"))
    for signal in signals:
        score = signal.score
        alike = measured[
            (measured["source"] == score.source)
            & (measured["run"].isna() if score.run is None else measured["run"] == score.run)
            & (measured["lag_ms"] == score.lag_ms)
            & ((measured["decoder"] == score.decoder) | (score.source in {"forecast", "ensemble"}))
        ]
        words = SOURCES.get(score.source, score.source)
        if alike.empty:
            said.append(f"Velocity {words}: R² was not measured.")
            continue
        value = alike.iloc[-1]["value"]
        if value is None or not math.isfinite(value):
            said.append(f"Velocity {words}: R² is not defined.")
            continue
        now = score.value
        other = now is None or abs(now - value) > SAME
        tail = ", of a drawing that was other: decode again" if other else ""
        said.append(f"Velocity {words}: R² {value:.3f} over all test trials{tail}.".replace("-", "−"))
    return said


def _parts(
    work: ReportWork, run: RunEntry, entry: SessionEntry, measured: pd.DataFrame
) -> tuple[Json | None, list[str]]:
    """Return R² of bins and conditions as decode wrote them, if they are of the numbers that are current."""
    stem = "_".join(path_name(part) for part in (entry.session, run.run))
    folder = work.catalog_path.parent / "results" / "decode" / path_name(entry.recipe_id)
    # A folder for each choice of settings; the numbers that are current were made with one of them.
    there = [folder / f"{stem}_parts.nc", *folder.glob(f"*/{glob.escape(stem)}_parts.nc")]
    known = [value for value in measured["value"] if value is not None and math.isfinite(value)]
    said = f"R² of bins and conditions is not there: {_DECODE_AGAIN}."
    for path in sorted(filter(Path.is_file, there), key=lambda each: -each.stat().st_mtime):
        found, said = _parts_in(path, known, name=stem)
        if found is not None:
            return found, []
    return None, [said]


def _parts_in(path: Path, known: list[float], *, name: str) -> tuple[Json | None, str]:
    import xarray as xr  # noqa: PLC0415

    try:
        with xr.open_dataset(io.BytesIO(path.read_bytes()), engine="scipy") as table:
            found = part_arrays(table.load())
    except FAILURES as error:
        return (
            None,
            f"R² of bins and conditions cannot be read ({words_of(error, name)[0]}): {_DECODE_AGAIN}.",
        )
    signals = found["signals"]
    values = [each["r2"] for each in signals if isinstance(each, dict)] if isinstance(signals, list) else []
    if any(value is not None and all(abs(value - each) > SAME for each in known) for value in values):
        return None, f"R² of bins and conditions is stale, of an earlier decoding: {_DECODE_AGAIN}."
    return found, ""
