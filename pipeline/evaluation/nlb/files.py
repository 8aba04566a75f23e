"""Submissions of the Neural Latents Benchmark: rates of one or several sessions in one HDF5 file.

A file holds one group per dataset, ``KEY`` at bins of 5 ms and ``KEY_20`` at 20 ms, with the rates of the
trials that were fitted and of those that are scored, in expected spikes per bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.spike_scores import LEAST_RATE
from nwb_latents.pipeline.evaluation.nlb.fingerprints import rates_digest
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.stores.exporters.hdf5 import write_groups
from nwb_latents.pipeline.stores.hdf5_arrays import whole_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.exporters.hdf5 import Array

    FloatArray = NDArray[np.float64]

KINDS = ("heldin", "heldout")
RATES = tuple(f"{part}_rates_{kind}" for part in ("train", "eval") for kind in KINDS)
"""Datasets every group of a submission has."""

RATES_DIGEST = "rates_digest"
"""Attribute of a group: of which rates its other attributes speak."""

FORWARD_RATES = tuple(f"eval_rates_{kind}_forward" for kind in KINDS)
"""Datasets a group may have besides, both or neither."""


def raised(rates: FloatArray, *, floor: float = LEAST_RATE) -> tuple[FloatArray, int]:
    """Return rates of at least `floor` spikes per bin, and how many were below.

    Examples
    --------
    >>> raised(np.array([0.5, -0.1]))
    (array([5.e-01, 1.e-09]), 1)
    """
    return np.maximum(rates, floor), int((rates < floor).sum())


def submission_arrays(prediction: RatePrediction, *, n_heldin: int) -> dict[str, FloatArray]:
    """Return the datasets of a group.

    Parameters
    ----------
    prediction
        Expected spikes per bin, held-in units first.
    n_heldin
        Number of units held in.

    Returns
    -------
    arrays
        `RATES`, of shapes ``(trial, time, unit)``, and where forward bins were predicted `FORWARD_RATES`, of
        shapes ``(trial, forward bin, unit)``, float64.

    Examples
    --------
    >>> found = submission_arrays(RatePrediction(np.ones((4, 7, 3)), np.ones((2, 7, 3))), n_heldin=2)
    >>> found["eval_rates_heldout"].shape, len(found)
    ((2, 7, 1), 4)
    """
    parts = {"train_rates_{}": prediction.train, "eval_rates_{}": prediction.eval}
    if prediction.eval_forward is not None:
        parts["eval_rates_{}_forward"] = prediction.eval_forward
    columns = dict(zip(KINDS, (slice(None, n_heldin), slice(n_heldin, None)), strict=True))
    return {
        name.format(kind): np.ascontiguousarray(rates[:, :, mine], dtype=np.float64)
        for name, rates in parts.items()
        for kind, mine in columns.items()
    }


def write_submission(
    path: Path,
    groups: Iterable[tuple[str, Mapping[str, Array], Mapping[str, str | float]]],
    *,
    attributes: Mapping[str, str | float] | None = None,
) -> None:
    """Write a submission, whole or not at all.

    Parameters
    ----------
    path
        Final path.
    groups
        Name, datasets (`submission_arrays`) and attributes of each group.
    attributes
        Attributes of the file.

    Raises
    ------
    MachineError
        If the disk refuses; nothing is left behind.
    """
    scored = {*RATES, *FORWARD_RATES}
    told = (
        (
            name,
            arrays,
            {**about, RATES_DIGEST: rates_digest({k: a for k, a in arrays.items() if k in scored})},
        )
        for name, arrays, about in groups
    )
    write_groups(path, told, attributes=attributes or {})


@dataclass(frozen=True)
class Origin:
    """What a submission says of itself; empty where another program wrote it.

    Attributes
    ----------
    file
        Attributes of the file: run, its key, settings.
    groups
        Group → its attributes: session, key of its store.
    """

    file: Mapping[str, object]
    groups: Mapping[str, Mapping[str, object]]


def read_origin(path: Path) -> Origin:
    """Return what a submission says of itself.

    Raises
    ------
    DataError
        If it is no HDF5 file.
    """
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as h5:
            return Origin(dict(h5.attrs), {name: dict(h5[name].attrs) for name in h5})
    except OSError as error:
        raise DataError(f"{path}: no HDF5 file ({error}). Give a submission.") from error


def read_submission(path: Path) -> dict[str, RatePrediction]:
    """Return the rates of each group of a submission.

    Parameters
    ----------
    path
        File that `pipeline.evaluation.nlb.submission.check_submission` finds nothing wrong with.

    Returns
    -------
    predictions
        Name of the group → expected spikes per bin, held-in units first.

    Raises
    ------
    DataError
        If it is no HDF5 file or lacks a dataset.
    """
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as h5:
            return {name: _prediction(h5[name]) for name in h5}
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: no submission of the Neural Latents Benchmark ({error}). "
            "`pipeline export nlb-submission --check` says what is wrong."
        ) from error


def _prediction(group: h5py.Group) -> RatePrediction:
    def joined(names: Iterable[str]) -> FloatArray:
        return np.concatenate([np.asarray(whole_array(group[name]), np.float64) for name in names], axis=2)

    has_forward = all(name in group for name in FORWARD_RATES)
    return RatePrediction(
        train=joined(RATES[:2]),
        eval=joined(RATES[2:]),
        eval_forward=joined(FORWARD_RATES) if has_forward else None,
    )
