"""What is drawn of a run: loss curves, latents, embedding, velocity decoded and forecast, R² of parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.report.packing import numbers
from nwb_latents.pipeline.evaluation.report.session_arrays import chosen_trials, ordered_conditions, thinned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.session_decoder import DecodedSignal, SessionDecoder
    from nwb_latents.pipeline.evaluation.report.content import Json
    from nwb_latents.schemas.report import ReportSettings

    FloatArray = NDArray[np.float64]

MOST_STEPS = 400
"""Points of a loss curve that are drawn."""

SOURCES = {
    "rates": "decoded from recorded rates",
    "reconstruction": "decoded from the reconstruction",
    "forecast": "forecast",
    "forecast_decoded": "forecast, read by the decoder of recorded rates",
    "ensemble": "forecast, mean with others",
}
"""Source of a signal → its words."""


def loss_curves(rows: Sequence[Mapping[str, float]]) -> Json:
    """Return the losses of a training, thinned to `MOST_STEPS` points each.

    Parameters
    ----------
    rows
        Lines of its log, each with its step (`pipeline.training.run_files.read_metrics`).

    Examples
    --------
    >>> loss_curves([{"step": 1, "loss": 2.0, "lr": 0.1}, {"step": 2, "val_loss": 1.5}])["curves"]
    {'loss': [[1, 2.0]], 'val_loss': [[2, 1.5]]}
    """
    names = [name for name in ("loss", "val_loss") if any(name in row for row in rows)]
    names += sorted({name for row in rows for name in row if name.endswith("nll") and name not in names})
    curves, is_thinned = {}, False
    for name in names:
        points = [
            (int(row["step"]), float(row[name])) for row in rows if name in row and math.isfinite(row[name])
        ]
        is_thinned |= len(points) > MOST_STEPS
        curves[name] = [
            [points[i][0], float(f"{points[i][1]:.6g}")] for i in thinned(len(points), MOST_STEPS)
        ]
    left_out = [f"{MOST_STEPS} points of each curve are drawn, evenly spread."] if is_thinned else []
    return {"curves": curves, "left_out": left_out}


def principal_axes(samples: FloatArray, *, most: int = 3) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, principal axes and the share of the variance each holds.

    Parameters
    ----------
    samples
        Shape ``(sample, dimension)``, finite.
    most
        Axes returned at most.

    Returns
    -------
    mean, axes, share
        Shapes ``(dimension,)``, ``(axis, dimension)`` and ``(axis,)``.

    Examples
    --------
    >>> mean, axes, share = principal_axes(np.array([[0.0, 0.0], [2.0, 0.0]]), most=1)
    >>> mean.tolist(), np.abs(axes).tolist(), share.tolist()
    ([1.0, 0.0], [[1.0, 0.0]], [1.0])
    """
    mean = samples.mean(axis=0)
    _, size, axes = np.linalg.svd(samples - mean, full_matrices=False)
    total = float(np.square(size).sum())
    share = np.square(size) / total if total else np.zeros_like(size)
    return mean, axes[:most], share[:most]


def latent_arrays(
    states: NDArray[np.float32],
    condition: NDArray[np.object_],
    target_dir: FloatArray,
    settings: ReportSettings,
) -> Json:
    """Return latent trajectories of test trials in three dimensions, with the mean of each condition.

    Parameters
    ----------
    states
        Posterior means of the latent states. Shape ``(trial, time, dimension)``, finite.
    condition, target_dir
        Of each trial. Shape ``(trial,)``.
    settings
        How many trials and conditions.
    """
    n_trials, n_bins, n_dims = states.shape
    flat = states.reshape(-1, n_dims).astype(np.float64)
    mean, axes, share = principal_axes(flat)
    projected = ((flat - mean) @ axes.T).reshape(n_trials, n_bins, -1)
    names, total = ordered_conditions(condition, target_dir, most=settings.conditions)
    rows = chosen_trials(condition, names, settings.trials)
    means = [projected[condition == name].mean(axis=0) for name in names]
    where = f"along {len(axes)} principal axes of the test trials"
    said = [f"{n_dims} latent dimensions are shown {where}, which hold {share.sum():.0%} of their variance."]
    if len(rows) < n_trials:
        said.append(f"Thin lines: {len(rows)} of {n_trials} test trials; means are over all of them.")
    if len(names) < total:
        said.append(f"{len(names)} of {total} conditions are drawn, those of most trials.")
    return {
        "conditions": list(names),
        "share": numbers(share, digits=3),
        "trials": [numbers(projected[row].T, digits=2) for row in rows],
        "trial_conditions": [list(names).index(str(condition[row])) for row in rows],
        "means": [numbers(each.T, digits=2) for each in means],
        "left_out": said,
    }


def decoded_arrays(
    decoder: SessionDecoder,
    signals: Sequence[DecodedSignal],
    trial_ids: Sequence[str],
    settings: ReportSettings,
) -> Json:
    """Return recorded velocity of test trials, and what was decoded and forecast of it.

    Parameters
    ----------
    decoder
        Test trials of the session.
    signals
        What was decoded of them.
    trial_ids
        Name of each test trial.
    settings
        How many trials and conditions.
    """
    names, total = ordered_conditions(decoder.condition, decoder.target_dir, most=settings.conditions)
    rows = chosen_trials(decoder.condition, names, settings.trials)
    said = []
    if len(rows) < len(decoder.test):
        said.append(f"{len(rows)} of {len(decoder.test)} test trials can be chosen.")
    if len(names) < total:
        said.append(f"Trials are of {len(names)} of {total} conditions, those of most trials.")
    return {
        "time": numbers(decoder.time_s, digits=4),
        "lag_ms": decoder.lag_ms,
        "axes": list(decoder.axes),
        "velocity_unit": decoder.velocity_unit,
        "conditions": list(names),
        "trials": [str(trial_ids[row]) for row in rows],
        "trial_conditions": [list(names).index(str(decoder.condition[row])) for row in rows],
        "recorded": [numbers(decoder.velocity[row].T, digits=1) for row in rows],
        "signals": [
            {
                "source": signal.score.source,
                "label": SOURCES.get(signal.score.source, signal.score.source.replace("_", " ")),
                "first_bin": signal.first_bin,
                "velocity": [numbers(signal.velocity[row].T, digits=1) for row in rows],
                "half_width": None if signal.half_width is None else numbers(signal.half_width.T, digits=1),
                "r2_now": signal.score.value,
            }
            for signal in signals
        ],
        "left_out": said,
    }


def embedding_arrays(embeddings: Mapping[str, tuple[FloatArray, FloatArray]]) -> Json | None:
    """Return where sessions lie in the embedding of a run; None where it has none.

    Parameters
    ----------
    embeddings
        Session → mean and variance of its posterior. Shapes ``(dimension,)``.

    Examples
    --------
    >>> made = embedding_arrays({"a": (np.zeros(2), np.ones(2)), "b": (np.ones(2), np.ones(2))})
    >>> made["sessions"], made["sd"]
    (['a', 'b'], [[1.0, 1.0], [1.0, 1.0]])
    >>> embedding_arrays({}) is None
    True
    """
    if not embeddings:
        return None
    mean = np.array([each[0] for each in embeddings.values()], dtype=np.float64)
    sd = np.sqrt(np.array([each[1] for each in embeddings.values()], dtype=np.float64))
    said = "Posterior means and standard deviations, each dimension as the model has it."
    if mean.shape[1] > 2:
        centre, axes, share = principal_axes(mean, most=2)
        said = (
            f"{mean.shape[1]} dimensions along {len(axes)} principal axes of the sessions, which hold "
            f"{share.sum():.0%} of their variance; standard deviations of the posteriors are projected."
        )
        mean, sd = (mean - centre) @ axes.T, np.sqrt(np.square(sd) @ np.square(axes).T)
    return {
        "sessions": list(embeddings),
        "mean": numbers(mean, digits=4),
        "sd": numbers(sd, digits=4),
        "left_out": [said],
    }


def part_arrays(table: xr.Dataset) -> Json:
    """Return the R² of every bin and condition that `pipeline run decode` wrote (`decoding.parts`)."""
    signals = [
        {
            "source": str(one["source"].item()),
            "label": SOURCES.get(str(one["source"].item()), str(one["source"].item())),
            "decoder": str(one["decoder"].item()),
            "run": str(one["run"].item()),
            "r2": None if not math.isfinite(float(one["r2"])) else float(one["r2"]),
            "over_time": numbers(one["r2_over_time"].values, digits=3),
            "of_conditions": numbers(one["r2_of_conditions"].values, digits=3),
        }
        for one in (table.isel(signal=i) for i in range(table.sizes["signal"]))
    ]
    return {
        "time": numbers(table["time"].values, digits=4),
        "conditions": [str(name) for name in table["condition"].values],
        "lag_ms": float(table.attrs["lag_ms"]),
        "signals": signals,
    }
