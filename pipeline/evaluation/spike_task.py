"""What a predictor of spikes is given, what it returns, and what it is scored against.

The three are separate objects so that held-out spikes of the trials that are scored cannot reach whatever is
fitted: a `SpikeTask` does not hold them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Literal

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]
    IntArray = NDArray[np.int64]

    Phase = Literal["test", "val"]

SPLITS: dict[Phase, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "test": (("train", "val"), ("test",)),
    "val": (("train",), ("val",)),
}
"""Splits that are fitted and that are scored, by phase, as in the Neural Latents Benchmark."""


def fitted_trials(phase: str) -> str:
    """Return which trials are fitted in a phase, in words; empty for a phase that is not known.

    Examples
    --------
    >>> fitted_trials("test"), fitted_trials("val"), fitted_trials("other")
    ('train and val trials', 'train trials', '')
    """
    splits = [fitted for name, (fitted, _) in SPLITS.items() if name == phase]
    return f"{' and '.join(splits[0])} trials" if splits else ""


@dataclass(frozen=True)
class SpikeTask:
    """All a predictor may see of a session. Counts are spikes per bin, NaN where nothing was recorded.

    Attributes
    ----------
    session
        Session id.
    train_heldin, train_heldout
        Trials to fit on. Shapes ``(trial, time, n_in)`` and ``(trial, time, n_out)``, float64.
    eval_heldin
        Trials to predict. Shape ``(eval trial, time, n_in)``, float64.
    train_condition, eval_condition
        Condition of each trial, empty where there is none. Shapes ``(trial,)``, object.
    bin_size_s
        Width of a bin, s.
    train_forward
        Bins after the windows, held-in units first; None where none are asked for.
        Shape ``(trial, forward bin, n_in + n_out)``, float64.
    remembered
        What was worked out from this task alone and is asked for more than once, by a key of whoever did.
    """

    session: str
    train_heldin: FloatArray
    train_heldout: FloatArray
    eval_heldin: FloatArray
    train_condition: NDArray[np.object_]
    eval_condition: NDArray[np.object_]
    bin_size_s: float
    train_forward: FloatArray | None = None
    remembered: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def train(self) -> FloatArray:
        """Training counts of all units, held-in first. Shape ``(trial, time, n_in + n_out)``."""
        return np.concatenate([self.train_heldin, self.train_heldout], axis=2)

    @property
    def n_forward(self) -> int:
        """Bins to predict after the window."""
        return 0 if self.train_forward is None else self.train_forward.shape[1]


@dataclass(frozen=True)
class SpikeAnswers:
    """What is scored against, and where it comes from.

    Attributes
    ----------
    eval_heldin, eval_heldout
        Spikes per bin. Shapes ``(eval trial, time, n_in)`` and ``(eval trial, time, n_out)``, float64.
    eval_forward
        Bins after the windows, held-in units first, NaN where not recorded or part of a trial that is not
        scored; None where none are asked for. Shape ``(eval trial, forward bin, n_in + n_out)``.
    order
        Units of the store, held-in first. Shape ``(n_in + n_out,)``, int64.
    heldout
        Which units of the store are held out. Shape ``(unit,)``, bool.
    train_rows, eval_rows
        Rows of the trials in the store. Shapes ``(trial,)`` and ``(eval trial,)``, int64.
    """

    eval_heldin: FloatArray
    eval_heldout: FloatArray
    eval_forward: FloatArray | None
    order: IntArray
    heldout: BoolArray
    train_rows: IntArray
    eval_rows: IntArray


@dataclass(frozen=True)
class RatePrediction:
    """Expected spikes per bin, above 0, held-in units first.

    Attributes
    ----------
    train, eval
        Shapes ``(trial, time, n_in + n_out)`` and ``(eval trial, time, n_in + n_out)``, float64.
    eval_forward
        Bins after the windows, None where they are not predicted.
        Shape ``(eval trial, forward bin, n_in + n_out)``, float64.
    latents
        Latent variables of the same trials, from the same spikes; None where there are none. Shapes
        ``(trial, time, latent)`` and ``(eval trial, time, latent)``, float64.
    why_no_forward
        Why bins after the windows are not predicted, where there is more to say than that; else empty.
    """

    train: FloatArray
    eval: FloatArray
    eval_forward: FloatArray | None = None
    latents: tuple[FloatArray, FloatArray] | None = None
    why_no_forward: str = ""


def spike_task(
    session: Session,
    *,
    heldout: ArrayLike,
    phase: Phase = "test",
    forward_bins: int = 0,
) -> tuple[SpikeTask, SpikeAnswers]:
    """Divide a session into what a predictor may see and what it is scored against.

    Parameters
    ----------
    session
        The session.
    heldout
        Which units are to be predicted from the others. Shape ``(unit,)``, bool.
    phase
        One of ``"test"`` (fit on train and val, score test) and ``"val"`` (fit on train, score val; test
        trials are not looked at).
    forward_bins
        Bins after each window to be predicted.

    Returns
    -------
    task, answers
        Rows of both are in the order of the store.

    Raises
    ------
    DataError
        If a part has no trial, no unit is held in, or `heldout` does not fit the units.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", section 3.

    Examples
    --------
    >>> import xarray as xr
    >>> from nwb_latents.pipeline.stores.session import session_in_memory
    >>> coords = {"split": ("trial", ["train", "test"]), "condition": ("trial", ["a", "a"]),
    ...           "start_bin": ("trial", [0, 2])}
    >>> counts = np.arange(12).reshape(2, 2, 3)
    >>> trials = xr.Dataset({"counts": (("trial", "time", "unit"), counts)}, coords, {"session": "s"})
    >>> task, answers = spike_task(session_in_memory(trials), heldout=[False, True, False])
    >>> task.eval_heldin.tolist(), answers.eval_heldout.tolist()
    ([[[6.0, 8.0], [9.0, 11.0]]], [[[7.0], [10.0]]])
    """
    is_out = np.asarray(heldout, dtype=bool)
    if is_out.shape != (session.n_units,) or is_out.all():
        raise DataError(
            f"{session.name}: {int(is_out.sum())} of {is_out.size} units are to be held out of a store of "
            f"{session.n_units} units; expected one entry per unit and at least one unit held in."
        )
    fitted, scored = SPLITS[phase]
    rows = {
        "train": session.rows(fitted, purpose="fitting"),
        "eval": session.rows(scored, purpose="scoring"),
    }
    n_in = int((~is_out).sum())
    order = np.concatenate([np.flatnonzero(~is_out), np.flatnonzero(is_out)])
    counts = {part: _counts(session, mine)[..., order] for part, mine in rows.items()}
    ahead: dict[str, FloatArray | None] = dict.fromkeys(rows)
    if forward_bins:
        for part, mine in rows.items():
            found = session.counts_after(mine, n_bins=forward_bins)
            ahead[part] = found.astype(np.float64)[..., order]
    condition = session.condition
    task = SpikeTask(
        session=session.name,
        train_heldin=counts["train"][..., :n_in],
        train_heldout=counts["train"][..., n_in:],
        eval_heldin=counts["eval"][..., :n_in],
        train_condition=condition[rows["train"]],
        eval_condition=condition[rows["eval"]],
        bin_size_s=session.bin_size_s,
        train_forward=ahead["train"],
    )
    answers = SpikeAnswers(
        eval_heldin=counts["eval"][..., :n_in],
        eval_heldout=counts["eval"][..., n_in:],
        eval_forward=ahead["eval"],
        order=order,
        heldout=is_out,
        train_rows=rows["train"],
        eval_rows=rows["eval"],
    )
    return task, answers


def _counts(session: Session, rows: IntArray) -> FloatArray:
    return session.trials["counts"].values[rows].astype(np.float64)
