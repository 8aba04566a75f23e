"""What a group of a submission to the Neural Latents Benchmark has to hold: trials, bins, units."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.nlb.files import FORWARD_RATES, RATES
from nwb_latents.pipeline.evaluation.nlb.fingerprints import behaviour_course
from nwb_latents.pipeline.stores.hdf5_arrays import whole_array
from nwb_latents.schemas.nlb import NLB_BIN_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import h5py
    from numpy.typing import ArrayLike

AXES = ("trial", "time", "unit")


@dataclass(frozen=True)
class GroupSizes:
    """What a group has to hold; None where it is not known.

    Attributes
    ----------
    n_train, n_eval
        Trials fitted and scored.
    n_bins, n_forward
        Bins of the window and after it.
    n_heldin, n_heldout
        Units.
    bin_size_s
        Width of a bin, s.
    phase
        Phase of the targets.
    mean_counts
        Dataset of rates → mean spikes per bin of what it predicts.
    identity
        Which trials and units they are of, in their order (`identity_of`).
    """

    n_train: int | None = None
    n_eval: int | None = None
    n_bins: int | None = None
    n_forward: int | None = None
    n_heldin: int | None = None
    n_heldout: int | None = None
    bin_size_s: float | None = None
    phase: str | None = None
    mean_counts: Mapping[str, float] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)

    def shape(self, dataset: str) -> tuple[int | None, int | None, int | None]:
        """Return the shape a dataset has to have.

        Examples
        --------
        >>> GroupSizes(n_train=8, n_eval=2, n_bins=35, n_heldin=9).shape("eval_rates_heldin")
        (2, 35, 9)
        """
        return (
            self.n_train if dataset.startswith("train_") else self.n_eval,
            self.n_forward if dataset.endswith("_forward") else self.n_bins,
            self.n_heldout if "heldout" in dataset else self.n_heldin,
        )


def trials_digest(trials: ArrayLike) -> str:
    """Return a digest of the ids of trials in their order, by which two files know that they hold the same.

    Examples
    --------
    >>> trials_digest([1, 2]) == trials_digest([2, 1])
    False
    """
    return hashlib.sha256(np.asarray(trials, dtype=np.int64).tobytes()).hexdigest()[:16]


COUNTED = ("eval_spikes_heldout", "eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
"""Targets whose counts show which trials and units they are of, whoever wrote the file."""

NAMED_BY = ("train_trial", "eval_trial", "heldin_unit", "heldout_unit")
"""Datasets of ids, which files of the benchmark's own toolkit lack."""

FITTED = "train_behavior"
"""Target whose course from trial to trial shows which trials were fitted."""


def identity_of(targets: Mapping[str, ArrayLike]) -> dict[str, str]:
    """Return by what files know that they are of the same trials and units, in the same order.

    Parameters
    ----------
    targets
        Arrays of a group of targets; of those that are missing nothing is said.

    Returns
    -------
    identity
        ``train_trials``, ``eval_trials`` and ``units`` → digest of the ids; names of `COUNTED` → digest of
        their counts; `FITTED` → its course (`fingerprints.behaviour_course`).

    Examples
    --------
    >>> spikes = np.array([[[0.0, 1.0]], [[2.0, np.nan]]])
    >>> one, other = ({"eval_spikes_heldout": each} for each in (spikes, spikes[..., ::-1]))
    >>> identity_of(one) == identity_of({"eval_spikes_heldout": spikes.astype("f4")})
    True
    >>> identity_of(one) == identity_of(other)
    False
    """
    found = {
        f"{part}_trials": trials_digest(targets[f"{part}_trial"])
        for part in ("train", "eval")
        if f"{part}_trial" in targets
    }
    if "heldin_unit" in targets and "heldout_unit" in targets:
        ids = [np.asarray(targets[name], dtype=np.int64) for name in ("heldin_unit", "heldout_unit")]
        found["units"] = trials_digest([len(ids[0]), *ids[0], *ids[1]])
    if FITTED in targets:
        found[FITTED] = behaviour_course(targets[FITTED])
    return found | {name: _counts_digest(targets[name]) for name in COUNTED if name in targets}


def _counts_digest(counts: ArrayLike) -> str:
    values = np.asarray(counts, dtype=np.float64)
    whole = np.where(np.isfinite(values), np.rint(values), -1).astype(np.int32)
    return hashlib.sha256(repr(whole.shape).encode() + whole.tobytes()).hexdigest()[:16]


def target_sizes(targets: Path | Sequence[Path]) -> dict[str, GroupSizes]:
    """Return what a submission has to hold to be scored against files of targets.

    Parameters
    ----------
    targets
        Files of targets.

    Returns
    -------
    sizes
        By the name of the group.

    Raises
    ------
    DataError
        If a file cannot be read or holds no targets.
    """
    import h5py  # noqa: PLC0415

    found: dict[str, GroupSizes] = {}
    for path in [targets] if isinstance(targets, Path) else targets:
        try:
            with h5py.File(path, "r") as h5:
                found |= {name: _sizes_of_targets(h5[name], h5) for name in h5}
        except (OSError, KeyError, AttributeError) as error:
            raise DataError(
                f"{path}: no targets of the Neural Latents Benchmark ({error}). `pipeline export nlb` "
                "writes them."
            ) from error
    return found


def _sizes_of_targets(group: h5py.Group, root: h5py.Group) -> GroupSizes:
    def size(axis: int, *names: str) -> int | None:
        return next((int(group[name].shape[axis]) for name in names if name in group), None)

    n_heldout = size(2, "eval_spikes_heldout", "train_spikes_heldout")
    n_heldin = size(2, "eval_spikes_heldin", "train_spikes_heldin", "eval_spikes_heldin_forward")
    if n_heldin is None and n_heldout is not None and "psth" in group:
        n_heldin = int(group["psth"].shape[2]) - n_heldout
    about = {**root.attrs, **group.attrs}
    counts = {
        name: float(np.nanmean(mine))
        for name in (*RATES, *FORWARD_RATES)
        if (spikes := name.replace("rates", "spikes")) in group
        and np.isfinite(mine := np.asarray(whole_array(group[spikes]), np.float64)).any()
    }
    return GroupSizes(
        n_train=size(0, "train_spikes_heldin", "train_spikes_heldout", "train_behavior"),
        n_eval=int(group["eval_spikes_heldout"].shape[0]),
        n_bins=int(group["eval_spikes_heldout"].shape[1]),
        n_forward=size(1, "eval_spikes_heldin_forward", "eval_spikes_heldout_forward"),
        n_heldin=n_heldin,
        n_heldout=n_heldout,
        bin_size_s=float(about["bin_size_s"]) if "bin_size_s" in about else None,
        phase=stated_phase(about),
        mean_counts=counts,
        identity=identity_of(
            {key: whole_array(group[key]) for key in (*NAMED_BY, FITTED, *COUNTED) if key in group}
        ),
    )


def stated_phase(about: Mapping[str, object]) -> str | None:
    """Return the phase that the attributes of a file or group state."""
    if "export_settings" not in about:
        return None
    found = json.loads(str(about["export_settings"])).get("phase")
    return None if found is None else str(found)


def sizes_of_group(group: h5py.Group) -> GroupSizes:
    """Return the sizes that the datasets of a group show themselves."""

    def shape(name: str) -> tuple[int | None, ...]:
        found = group[name].shape if name in group else ()
        return found if len(found) == len(AXES) else (None, None, None)

    train, scored, ahead = shape(RATES[0]), shape(RATES[3]), shape(FORWARD_RATES[0])
    return GroupSizes(
        n_train=train[0],
        n_eval=scored[0],
        n_bins=train[1],
        n_forward=ahead[1],
        n_heldin=train[2],
        n_heldout=scored[2],
    )


def plain_name(name: str) -> str:
    """Return the name of a group without the width of its bins."""
    return re.sub(r"_\d+(\.\d+)?$", "", name)


def stated_ms(name: str) -> float:
    """Return the width of bins that the name of a group states, ms."""
    found = re.search(r"_(\d+(?:\.\d+)?)$", name)
    return float(found[1]) if found else float(NLB_BIN_MS[0])
