"""From sessions to tensors: signal, split, scale.

Inside a model one number is one bin: counts, or expected counts ``rate · bin width``. What is shown to the
encoders is shifted and scaled per unit; what a Gaussian likelihood scores is too, what a Poisson or gamma
likelihood scores is not. `Scaling` remembers how, so that what a model gives back is in hertz again.

Of smoothed rates, encoders are shown the counts of the bins they may see, smoothed from these bins alone
(`models.batching.shown_input`), shifted and scaled as the recorded rates are; what is scored are the recorded
rates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from nwb_latents.models.batching.shown_input import ShownSmoothing
from nwb_latents.models.batching.tensors import TrialTensors
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.scaling import MIN_DEVIATION_HZ
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.schemas.models import BehaviourSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.training import Signal, TrainSettings

MIN_DEVIATION_CM_S = 0.01
"""A hand that moves less does not move; its velocity is not blown up."""

FORWARD, FORWARD_INPUTS = "forward_counts", "forward_external"
"""Arrays `with_forward_bins` adds to the trials of a store."""


@dataclass(frozen=True)
class VelocityScaling:
    """How velocity becomes what a behaviour head tells, ``(velocity − offset) / scale``.

    Attributes
    ----------
    offset
        Mean over training trials, cm/s. Shape ``(axis,)``, float32.
    scale
        Deviation over training trials, one for all axes so that directions stay what they are, cm/s. Shape
        ``(1,)``, float32, above 0.
    """

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    def to_cm_s(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return velocity in cm/s. Shape ``(trial, time, axis)``.

        Examples
        --------
        >>> scaling = VelocityScaling(np.array([1.0, 2.0], np.float32), np.full(1, 3.0, np.float32))
        >>> scaling.to_cm_s(np.ones((1, 1, 2), np.float32)).tolist()
        [[[4.0, 5.0]]]
        """
        return values * self.scale + self.offset


@dataclass(frozen=True)
class Scaling:
    """How values per bin become model values, ``(value − offset) / scale``, unit by unit.

    Attributes
    ----------
    offset, scale
        Expected spikes per bin. Shape ``(unit,)``, float32, finite, `scale` above 0.
    units
        Unit ids of the file. Shape ``(unit,)``, int64.
    bin_size_s
        Width of a bin, s.
    scaled_target
        Whether the model predicts scaled values too, or expected spikes per bin.
    velocity
        Of the hand velocity, where the model is trained on that too.
    """

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]
    units: NDArray[np.int64]
    bin_size_s: float
    scaled_target: bool = True
    velocity: VelocityScaling | None = None

    def to_model(self, per_bin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return model values of expected spikes per bin. Shape ``(trial, time, unit)``."""
        return (per_bin - self.offset) / self.scale

    def to_hz(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return rates in Hz of what a model predicts. Shape ``(trial, time, unit)``.

        Examples
        --------
        >>> one = np.ones(1, np.float32)
        >>> Scaling(0 * one, one, np.array([7]), 0.02).to_hz(np.full((1, 1, 1), 0.5, np.float32)).tolist()
        [[[25.0]]]
        """
        per_bin = values * self.scale + self.offset if self.scaled_target else values
        return per_bin / np.float32(self.bin_size_s)


@dataclass(frozen=True)
class SessionFeed:
    """One session, ready for training.

    Attributes
    ----------
    train, val
        Trials of the splits; `val` may hold none.
    scaling
        Estimated on the training trials alone.
    """

    train: TrialTensors
    val: TrialTensors
    scaling: Scaling

    is_in_memory = True


def read_signal(session: Session, signal: Signal) -> NDArray[np.float32]:
    """Return spikes per bin, counted or expected from the rates.

    Parameters
    ----------
    session
        The session.
    signal
        One of ``"rates"`` or ``"counts"``.

    Returns
    -------
    per_bin
        Shape ``(trial, time, unit)``, float32.
    """
    if signal == "counts":
        return session.trials["counts"].values.astype(np.float32)
    return session.trials["rates"].values.astype(np.float32) * np.float32(session.bin_size_s)


def feed_sessions(sessions: Iterable[Session], settings: TrainSettings) -> dict[str, SessionFeed]:
    """Turn sessions into tensors, scaled by their training trials.

    Parameters
    ----------
    sessions
        The sessions.
    settings
        Decide the signal, whether it is standardised, and the likelihood.

    Returns
    -------
    feeds
        Session id → tensors on the CPU, float32.

    Raises
    ------
    DataError
        If a session has no training trials, or the sessions differ in their bins.
    """
    feeds = {session.name: feed_session(session, settings) for session in sessions}
    require_equal_bins({name: (feed.train.n_bins, feed.scaling.bin_size_s) for name, feed in feeds.items()})
    return feeds


def require_equal_bins(sessions: Mapping[str, tuple[int, float]]) -> None:
    """Refuse sessions of other numbers of bins, or of bins of other widths, s.

    Raises
    ------
    DataError
        If they differ.

    Examples
    --------
    >>> require_equal_bins({"a": (45, 0.02), "b": (45, 0.02)})
    """
    shapes = {shape: name for name, shape in sessions.items()}
    if len(shapes) > 1:
        found = "; ".join(f"{name}: {n} bins of {width:g} s" for (n, width), name in shapes.items())
        raise DataError(
            f"Sessions trained together need equal bins, found {found}. Ingest them with one recipe."
        )


def hidden_units(session: Session, settings: TrainSettings) -> NDArray[np.bool_]:
    """Return the units a model is not shown: those co-smoothing holds out.

    Parameters
    ----------
    session
        The session.
    settings
        Whether units are hidden, and how many where the store marks none.

    Returns
    -------
    hidden
        All False without co-smoothing. Shape ``(unit,)``.
    """
    if not settings.co_smoothing:
        return np.zeros(session.n_units, bool)
    return session.heldout(fraction=settings.heldout_fraction)


def session_tensors(session: Session, scaling: Scaling, settings: TrainSettings) -> TrialTensors:
    """Return all trials of a session as a model sees them, float32 on the CPU.

    Raises
    ------
    DataError
        If the model has external inputs and the store does not hold as many.
    """
    trials, per_bin = session.trials, read_signal(session, settings.signal)
    smoothing = shown_smoothing(session, settings)
    y = scaled = scaling.to_model(per_bin)
    if smoothing is not None:
        counts = np.where(np.isfinite(per_bin), read_signal(session, "counts"), np.float32(np.nan))
        y = scaling.to_model(counts)
    target = scaled if scaling.scaled_target else per_bin
    if FORWARD in trials:
        ahead = trials[FORWARD].values
        target = np.concatenate([target, scaling.to_model(ahead) if scaling.scaled_target else ahead], axis=1)
    if settings.co_smoothing:
        y = np.where(hidden_units(session, settings), np.float32(np.nan), y)
    return TrialTensors(
        session=session.name,
        y=torch.from_numpy(y),
        target=None if target is y else torch.from_numpy(target),
        ext=_external(session, getattr(settings.model, "external_inputs", 0)),
        bin_s=scaling.bin_size_s,
        smoothing=smoothing,
    )


def shown_smoothing(session: Session, settings: TrainSettings) -> ShownSmoothing | None:
    """Return what a model's input is smoothed with; None where it is shown what the store holds, as it is.

    Parameters
    ----------
    session
        Its recipe says how wide the Gaussian is that its rates were smoothed with, and where it ends.
    settings
        Decide the signal, and what of it is shown.
    """
    recipe = session.recipe
    if settings.signal != "rates" or settings.input_smoothing != "shown" or not recipe.smooth_sigma_s:
        return None
    return ShownSmoothing(
        recipe.smooth_sigma_s / session.bin_size_s,
        recipe.smooth_truncate,
        is_causal=recipe.smooth_kernel == "causal",
    )


def with_forward_bins(session: Session, n_bins: int) -> Session:
    """Return a session with the bins that follow the windows, to be scored but not shown.

    Parameters
    ----------
    session
        The session.
    n_bins
        Number of bins.

    Returns
    -------
    session
        Its trials have the array `FORWARD` of spikes per bin, shape ``(trial, forward, unit)``, float32, NaN
        where nothing was recorded and in windows of trials of another split; and, where there are external
        inputs, `FORWARD_INPUTS` of the same bins, 0 where they are not known.

    Raises
    ------
    DataError
        If not one of these bins was recorded for a training trial.
    """
    trials, split = session.trials, session.split
    ahead = np.full((trials.sizes["trial"], n_bins, trials.sizes["unit"]), np.nan, np.float32)
    for name in set(split.tolist()):
        rows = session.rows(name)
        ahead[rows] = session.counts_after(rows, n_bins=n_bins)
    if not np.isfinite(ahead[split == "train"]).any():
        raise DataError(
            f"{session.name}: nothing was recorded in the {n_bins} bins after the windows of its "
            "training trials, or it belongs to trials of other splits. Use a smaller forward_ms, or leave "
            "the session out."
        )
    out = trials.assign({FORWARD: (("trial", "forward", "unit"), ahead)})
    if "external" not in trials:
        return session.with_trials(out)
    bins = trials["start_bin"].values.astype(np.int64)[:, None] + trials.sizes["time"] + np.arange(n_bins)
    known = session.continuous["external"].values.astype(np.float32)
    inputs = np.where((bins < len(known))[..., None], known[np.minimum(bins, len(known) - 1)], 0.0)
    named = (("trial", "forward", "input"), np.nan_to_num(inputs).astype(np.float32))
    return session.with_trials(out.assign({FORWARD_INPUTS: named}))


def _external(session: Session, n_inputs: int) -> torch.Tensor | None:
    if not n_inputs:
        return None
    trials = session.trials
    found = trials.sizes["input"] if "external" in trials else 0
    if found != n_inputs:
        raise DataError(
            f"{session.name}: the model takes {n_inputs} external inputs, the store holds {found}. Set "
            f"model.external_inputs={found}, or choose sessions that were imported with their inputs."
        )
    parts = [trials[key].values for key in ("external", FORWARD_INPUTS) if key in trials]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))


def feed_session(session: Session, settings: TrainSettings, *, scaling: Scaling | None = None) -> SessionFeed:
    """Turn a session into tensors, scaled by its training trials.

    Parameters
    ----------
    session, settings
        As for `feed_sessions`.
    scaling
        Of the session, where it was estimated before.

    Raises
    ------
    DataError
        If it has no training trials.
    """
    rows = {part: session.rows(part) for part in ("train", "val")}
    if len(rows["train"]) == 0:
        raise DataError(
            f"{session.name}: no trial is in the training split ({session.n_trials} trials). Ingest the "
            "session with another split, or leave it out of the training."
        )
    if scaling is None:
        per_bin = read_signal(session.select(rows["train"]), settings.signal)
        scaling = _scaling(per_bin, session, settings=settings)
    tensors = session_tensors(session, scaling, settings)
    known = behaviour_of(session, settings)
    if known is not None:
        velocity = _velocity_scaling(known[rows["train"]])
        scaling = replace(scaling, velocity=velocity)
        scaled = (known - velocity.offset) / velocity.scale
        tensors = replace(tensors, behaviour=torch.from_numpy(scaled.astype(np.float32)))
    return SessionFeed(
        train=tensors.select(torch.from_numpy(rows["train"])),
        val=tensors.select(torch.from_numpy(rows["val"])),
        scaling=scaling,
    )


def behaviour_of(session: Session, settings: TrainSettings) -> NDArray[np.float32] | None:
    """Return the hand velocity that goes with each bin, where a model is trained on it.

    Parameters
    ----------
    session
        All its trials.
    settings
        Whether the model has a behaviour head, and its lag.

    Returns
    -------
    velocity
        cm/s, NaN where not known. Shape ``(trial, time, axis)``. None without a head, and, which is said,
        where no velocity of a training trial is known.

    Raises
    ------
    DataError
        If the velocity has other axes than the head.
    """
    model = settings.model
    if not isinstance(model, BehaviourSettings) or not model.trains_on_velocity:
        return None
    there = "velocity" in session.continuous
    velocity = session.velocity(model.behaviour_lag_ms).velocity.astype(np.float32) if there else None
    if velocity is None or not np.isfinite(velocity[session.rows("train")]).all(axis=-1).any():
        say(
            f"{session.name}: no hand velocity of a training trial is known {model.behaviour_lag_ms:g} "
            f"ms after the "
            "activity; the session is trained without (model.behaviour_weight has no effect on it)."
        )
        return None
    if velocity.shape[-1] != model.behaviour_axes:
        raise DataError(
            f"{session.name}: its velocity has {velocity.shape[-1]} axes, the model's head "
            f"{model.behaviour_axes}. Set "
            f"model.behaviour_axes={velocity.shape[-1]}, or model.behaviour_weight=0 to train without."
        )
    return velocity


def _velocity_scaling(velocity: NDArray[np.float32]) -> VelocityScaling:
    known = velocity[np.isfinite(velocity).all(axis=-1)].astype(np.float64)
    offset = known.mean(axis=0)
    scale = np.sqrt(np.square(known - offset).mean()).clip(MIN_DEVIATION_CM_S)
    return VelocityScaling(offset.astype(np.float32), np.array([scale], np.float32))


def unscaled(session: Session, settings: TrainSettings) -> Scaling:
    """Return the scaling that changes nothing, of a model that was trained on values as they are."""
    n_units = session.n_units
    return Scaling(
        offset=np.zeros(n_units, np.float32),
        scale=np.ones(n_units, np.float32),
        units=session.trials["unit"].values.astype(np.int64),
        bin_size_s=session.bin_size_s,
        scaled_target=settings.model.scales_target,
    )


def _scaling(per_bin: NDArray[np.float32], session: Session, *, settings: TrainSettings) -> Scaling:
    plain = unscaled(session, settings)
    if not settings.standardise:
        return plain
    offset = np.asarray(np.nanmean(per_bin, axis=(0, 1), dtype=np.float64), np.float32)
    deviation = np.nanstd(per_bin, axis=(0, 1), dtype=np.float64)
    scale = deviation.clip(MIN_DEVIATION_HZ * plain.bin_size_s)
    return replace(plain, offset=offset, scale=scale.astype(np.float32))
