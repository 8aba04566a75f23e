"""Scores of the Neural Latents Benchmark, of rates and targets in memory or in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.psth import condition_index, psth_r2, varying_units
from nwb_latents.pipeline.evaluation.metrics.spike_scores import bits_per_spike
from nwb_latents.pipeline.evaluation.nlb.files import read_submission
from nwb_latents.pipeline.evaluation.nlb.timing import timing_correlation
from nwb_latents.pipeline.evaluation.nlb.velocity import nlb_velocity_r2
from nwb_latents.pipeline.stores.hdf5_arrays import whole_array
from nwb_latents.schemas.nlb import NLB_DATASETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
    from nwb_latents.pipeline.stores.exporters.hdf5 import Array


TIMED = NLB_DATASETS["dmfc_rsg"].behaviour_columns
"""What is known of a trial of ``dmfc_rsg``, by column of its behaviour."""


def score_submission(path: Path, targets: Path | Sequence[Path]) -> dict[str, dict[str, float]]:
    """Score every group of a submission that there are targets for.

    Parameters
    ----------
    path
        A submission that `pipeline.evaluation.nlb.submission.check_submission` finds nothing wrong with.
    targets
        Files of targets.

    Returns
    -------
    scores
        Name of the group → score → value, as from `score_rates`.

    Raises
    ------
    DataError
        If a file cannot be read, or no group has targets.
    """
    known: dict[str, dict[str, Array]] = {}
    for file in [targets] if isinstance(targets, Path) else targets:
        known |= read_targets(file)
    found = {
        name: score_rates(rates, known[name])
        for name, rates in read_submission(path).items()
        if name in known
    }
    if not found:
        raise DataError(
            f"{path}: no group has targets; there are targets of {', '.join(known) or 'none'}. Give the file "
            "that was written beside the submission."
        )
    return found


def score_rates(rates: RatePrediction, targets: Mapping[str, Array]) -> dict[str, float]:
    """Return the scores of one group.

    Parameters
    ----------
    rates
        Expected spikes per bin, held-in units first.
    targets
        As from `pipeline.stores.exporters.nlb.nlb_arrays`; what is missing is not scored.

    Returns
    -------
    scores
        ``co_bps`` of the held-out units, ``fp_bps`` of all units in the bins after the window,
        ``nlb_velocity_r2``, ``psth_r2`` of the units whose PSTH varies: the names of the metrics; and
        ``timing_correlation`` where the behaviour is that of ``dmfc_rsg``.

    Raises
    ------
    DataError
        If shapes differ or rates are negative or not finite.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", and its toolkit.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
    >>> spikes = np.array([[[1.0], [3.0]]])
    >>> shown = RatePrediction(train=np.ones((1, 2, 3)), eval=np.concatenate([np.ones((1, 2, 2)), spikes], 2))
    >>> {name: round(value, 5) for name, value in score_rates(shown, {"eval_spikes_heldout": spikes}).items()}
    {'co_bps': 0.18872}
    """
    heldout = np.asarray(targets["eval_spikes_heldout"], dtype=np.float64)
    scores = {"co_bps": bits_per_spike(rates.eval[..., rates.eval.shape[2] - heldout.shape[2] :], heldout)}
    ahead = [f"eval_spikes_{kind}_forward" for kind in ("heldin", "heldout")]
    if rates.eval_forward is not None and all(name in targets for name in ahead):
        after = np.concatenate([np.asarray(targets[name], dtype=np.float64) for name in ahead], axis=2)
        scores["fp_bps"] = bits_per_spike(rates.eval_forward, after)
    velocity = _velocity_r2(rates, targets)
    if velocity is not None:
        scores["nlb_velocity_r2"] = velocity
    if "psth" in targets and "eval_cond_idx" in targets:
        condition = condition_index(targets["eval_cond_idx"], n_trials=len(rates.eval))
        psth = np.asarray(targets["psth"], dtype=np.float64)
        units = varying_units(psth, condition)
        if len(units):
            jitter = np.asarray(targets["eval_jitter"], dtype=np.int64) if "eval_jitter" in targets else None
            scores["psth_r2"] = psth_r2(rates.eval[..., units], condition, psth[..., units], jitter=jitter)
    timing = _timing(rates, targets)
    if timing is not None:
        scores["timing_correlation"] = timing
    return scores


def _timing(rates: RatePrediction, targets: Mapping[str, Array]) -> float | None:
    """Return the timing correlation where the behaviour is that of ``dmfc_rsg``, one row a trial."""
    behaviour = np.asarray(targets.get("eval_behavior", ()), dtype=np.float64)
    if behaviour.ndim != 2 or behaviour.shape[1] != len(TIMED) or not np.isfinite(behaviour).any():
        return None
    # As in the benchmark: by response, direction and prior, since there are few trials of each interval.
    told = behaviour[:, : TIMED.index("ts")]
    conditions = [" ".join(f"{value:g}" for value in row) if np.isfinite(row).all() else "" for row in told]
    scored = np.isfinite(np.asarray(targets["eval_spikes_heldout"], dtype=np.float64)[..., 0])
    return timing_correlation(rates.eval, behaviour[:, TIMED.index("tp")], conditions, scored)


def read_targets(path: Path) -> dict[str, dict[str, Array]]:
    """Return the arrays of each group of a file of targets.

    Raises
    ------
    DataError
        If it is no HDF5 file of groups.
    """
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as h5:
            return {name: {key: whole_array(values) for key, values in h5[name].items()} for name in h5}
    except (OSError, AttributeError) as error:
        raise DataError(
            f"{path}: no targets of the Neural Latents Benchmark ({error}). `pipeline export nlb` "
            "writes them."
        ) from error


def _velocity_r2(rates: RatePrediction, targets: Mapping[str, Array]) -> float | None:
    names = ("train_behavior", "eval_behavior")
    if any(name not in targets or np.ndim(targets[name]) != 3 for name in names):
        return None
    train, scored = (np.asarray(targets[name], dtype=np.float64) for name in names)
    if not all(np.isfinite(velocity).all(axis=-1).any() for velocity in (train, scored)):
        return None
    if "train_decode_mask" not in targets:
        return nlb_velocity_r2(rates.eval, scored, train_rates=rates.train, train_velocity=train)
    masks = [np.asarray(targets[f"{part}_decode_mask"], dtype=bool) for part in ("train", "eval")]
    kept, groups = zip(*(_grouped(mask) for mask in masks), strict=True)
    return nlb_velocity_r2(
        rates.eval[kept[1]],
        scored[kept[1]],
        train_rates=rates.train[kept[0]],
        train_velocity=train[kept[0]],
        groups=groups[1],
        train_groups=groups[0],
    )


def _grouped(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which trials a decoder is for, and the number of the decoder of each of them."""
    kept: NDArray[np.bool_] = np.asarray(mask.any(axis=1), dtype=bool)
    return kept, [str(number) for number in mask[kept].argmax(axis=1)]
