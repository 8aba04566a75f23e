"""What models see: trials of one session, and trials of several sessions packed into one block.

Axes are ``(session, trial, time, unit)``. Sessions differ in their units and trials; the packed block is
as large as the largest, and boolean masks say what is real. Padding holds zeros and carries no weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nwb_latents.models.batching.shown_input import ShownSmoothing


@dataclass(frozen=True)
class TrialTensors:
    """Trials of one session.

    Attributes
    ----------
    session
        Session id.
    y
        What an encoder may be shown, bin by bin. Shape ``(trial, time, unit)``, float, NaN where not
        recorded.
    target
        What is scored; at least as many bins and units as `y`, whose bins and units come first.
        Shape ``(trial, time, unit)``; None stands for `y` itself.
    ext
        External inputs. Shape ``(trial, time, input)``, float, finite.
    truth
        Name → known truth for evaluation; models do not read it.
    held_back
        Samples kept for sample validation. Shape of `y`, bool; None: none.
    bin_s
        Width of a bin, s.
    smoothing
        What the bins that are shown are smoothed with; None: they are shown as they are.
    behaviour
        Behaviour that goes with each bin, scaled. Shape ``(trial, time, axis)``, float, NaN where not known.
    """

    session: str
    y: Tensor
    target: Tensor | None = None
    ext: Tensor | None = None
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    held_back: Tensor | None = None
    bin_s: float = 0.02
    smoothing: ShownSmoothing | None = None
    behaviour: Tensor | None = None

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.y.shape[0]

    @property
    def n_bins(self) -> int:
        """Bins of a trial that may be shown."""
        return self.y.shape[1]

    @property
    def n_units(self) -> int:
        """Units that may be shown."""
        return self.y.shape[2]

    def target_means(self) -> Tensor:
        """Return the mean of what is scored of each unit, 0 where nothing is. Shape ``(unit,)``."""
        return self.scored.nanmean((0, 1)).nan_to_num()

    def read(self) -> TrialTensors:
        """Return all trials: these."""
        return self

    @property
    def scored(self) -> Tensor:
        """`target`, or `y` where there is no target of its own."""
        return self.y if self.target is None else self.target

    def shown(self) -> Tensor:
        """Return the encoder input of whole trials. Shape of `y`, NaN where not recorded."""
        if self.smoothing is None:
            return self.y
        known = self.y.isfinite()
        if known.all():
            return self.smoothing(self.y)
        return self.smoothing(self.y.nan_to_num(), known).masked_fill(~known, float("nan"))

    def select(self, trials: Tensor) -> TrialTensors:
        """Return the trials of the given indices.

        Parameters
        ----------
        trials
            Indices of trials. Shape ``(n,)``, int64.

        Examples
        --------
        >>> TrialTensors("a", torch.zeros(5, 3, 2)).select(torch.tensor([4, 0])).n_trials
        2
        """
        return replace(
            self,
            y=self.y[trials],
            target=None if self.target is None else self.target[trials],
            ext=None if self.ext is None else self.ext[trials],
            truth={name: values[trials] for name, values in self.truth.items()},
            held_back=None if self.held_back is None else self.held_back[trials],
            behaviour=None if self.behaviour is None else self.behaviour[trials],
        )


@dataclass(frozen=True)
class Batch:
    """Sessions packed into one padded block; a single session is the case of one.

    Attributes
    ----------
    sessions
        Session ids, in the order of the first axis.
    y
        What encoders may be shown, bin by bin. Shape ``(session, trial, time, unit)``, NaN where not
        recorded, 0 in padding.
    target
        What is scored. Shape ``(session, trial, target time, target unit)``, NaN and padding as in `y`.
    unit_mask
        Real units of `target`. Shape ``(session, target unit)``, bool.
    trial_mask
        Real trials. Shape ``(session, trial)``, bool.
    time_mask
        Real bins of `target`. Shape ``(session, trial, target time)``, bool.
    ext
        External inputs. Shape ``(session, trial, target time, input)``.
    held_back
        Samples kept for sample validation. Shape of `y`, bool; None: none.
    smoothing
        What the bins that are shown are smoothed with (`views.encoder_input`); None: nothing.
    behaviour
        Behaviour that goes with each bin, scaled session by session, NaN where not known and in padding;
        read in training alone. Shape ``(session, trial, time, axis)``; None: it is not looked at.
    gaps
        Whether `y` may hold samples that were not recorded. Only looked at where there is smoothing.
    number
        Its number among the blocks of a step, which its noise hangs on.
    share
        Share of the trials of its session that it holds, where these are cut into several blocks: its loss
        counts by it.
    largest
        Largest whole numbers of what is shown and what is scored (`with_largest`); None: not known.
    """

    sessions: tuple[str, ...]
    y: Tensor
    target: Tensor
    unit_mask: Tensor
    trial_mask: Tensor
    time_mask: Tensor
    ext: Tensor | None = None
    held_back: Tensor | None = None
    smoothing: ShownSmoothing | None = None
    behaviour: Tensor | None = None
    gaps: bool = True
    number: int = 0
    share: float = 1.0
    largest: tuple[int, int] | None = None

    def first_bins(self, n_bins: int) -> Batch:
        """Return the batch without behaviour, and anything recorded after the first `n_bins` bins of `y`.

        External inputs stay: they are given, not recorded.

        Examples
        --------
        >>> batch = pack([TrialTensors("a", torch.zeros(2, 6, 4), target=torch.zeros(2, 8, 5))])
        >>> early = batch.first_bins(3)
        >>> tuple(early.y.shape), tuple(early.target.shape)
        ((1, 2, 3, 4), (1, 2, 3, 5))
        """
        y = self.y[:, :, :n_bins]
        return replace(
            self,
            y=y,
            target=y if self.target is self.y else self.target[:, :, :n_bins],
            time_mask=self.time_mask[:, :, :n_bins],
            held_back=None if self.held_back is None else self.held_back[:, :, :n_bins],
            behaviour=None,
        )

    def check_forecast(self, t0: int, k: int) -> None:
        """Raise if `k` bins cannot be forecast from the first `t0` bins.

        Raises
        ------
        ValueError
            If `t0` is not between 1 and the number of bins, or `k` is below 1.
        """
        T = self.y.shape[2]
        if not 1 <= t0 <= T or k < 1:
            raise ValueError(f"a forecast of {k} bins after {t0} seen bins of trials with {T} bins")

    @property
    def n_trials(self) -> Tensor:
        """Real trials of each session, at least 1. Shape ``(session,)``, float of `y`'s dtype."""
        return self.trial_mask.sum(1).clamp_min(1).to(self.y.dtype)

    def real(self) -> Tensor:
        """Return which elements of `target` are no padding. Shape of `target`, bool."""
        return (
            self.unit_mask[:, None, None, :]
            & self.trial_mask[:, :, None, None]
            & self.time_mask[:, :, :, None]
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """Return the batch on another device, values as `dtype`; a `pinned` one is not waited for."""
        pinned = self.y.is_pinned()

        def moved(x: Tensor) -> Tensor:
            return x.to(device, dtype if x.is_floating_point() else None, non_blocking=pinned)

        return self._each(moved)

    def pinned(self) -> Batch:
        """Return the batch in memory a GPU reads by itself, while the processor goes on."""
        return self._each(Tensor.pin_memory)

    def with_largest(self) -> Batch:
        """Return the batch with the largest whole numbers of it that are neither missing nor held back.

        Examples
        --------
        >>> pack([TrialTensors("a", torch.tensor([[[3.0, float("nan")]]]))]).with_largest().largest
        (3, 3)
        """
        kept = torch.ones_like(self.y, dtype=torch.bool) if self.held_back is None else ~self.held_back
        T, N = self.y.shape[2:]
        shown = torch.where(kept, self.y, 0.0).nan_to_num(posinf=0.0, neginf=0.0)
        scored = self.target.nan_to_num(posinf=0.0, neginf=0.0)
        scored[:, :, :T, :N] *= kept[:, :, : scored.shape[2], : scored.shape[3]]
        return replace(self, largest=(int(shown.max()), int(scored.max())))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(x: Tensor | None) -> Tensor | None:
            return None if x is None else change(x)

        y = change(self.y)
        return replace(
            self,
            y=y,
            target=y if self.target is self.y else change(self.target),
            unit_mask=change(self.unit_mask),
            trial_mask=change(self.trial_mask),
            time_mask=change(self.time_mask),
            ext=changed(self.ext),
            held_back=changed(self.held_back),
            behaviour=changed(self.behaviour),
        )


def pack(sessions: Sequence[TrialTensors]) -> Batch:
    """Pack trials of several sessions into one padded block.

    Parameters
    ----------
    sessions
        At least one session; all with the same number of bins and inputs.

    Returns
    -------
    batch
        As large as the largest session in trials and units.

    Raises
    ------
    ValueError
        If there is no session, or their numbers of bins or inputs, or what smooths them, differ.

    Examples
    --------
    >>> batch = pack([TrialTensors("a", torch.ones(2, 3, 4)), TrialTensors("b", torch.ones(1, 3, 5))])
    >>> tuple(batch.y.shape), batch.unit_mask.sum(1).tolist(), batch.trial_mask.sum(1).tolist()
    ((2, 2, 3, 5), [4, 5], [2, 1])
    """
    if not sessions:
        raise ValueError("nothing to pack: no session was given")
    bins = {(s.y.shape[1], s.scored.shape[1], None if s.ext is None else s.ext.shape[2]) for s in sessions}
    if len(bins) > 1:
        names = ", ".join(s.session for s in sessions)
        raise ValueError(
            f"{names}: sessions of one batch need equal bins and inputs, found {sorted(map(str, bins))}"
        )
    smoothing = sessions[0].smoothing
    if any(s.smoothing != smoothing for s in sessions):
        found = ", ".join(f"{s.session}: {s.smoothing}" for s in sessions)
        raise ValueError(f"sessions of one batch are smoothed alike, found {found}")
    n_trials = max(s.n_trials for s in sessions)
    n_units = max(s.scored.shape[2] for s in sessions)
    first = sessions[0].y
    y = first.new_zeros(len(sessions), n_trials, first.shape[1], max(s.y.shape[2] for s in sessions))
    own_target = any(s.target is not None for s in sessions)
    target = y.new_zeros(len(sessions), n_trials, sessions[0].scored.shape[1], n_units) if own_target else y
    unit_mask = torch.zeros(len(sessions), n_units, dtype=torch.bool, device=first.device)
    trial_mask = torch.zeros(len(sessions), n_trials, dtype=torch.bool, device=first.device)
    for row, session in enumerate(sessions):
        y[row, : session.n_trials, :, : session.y.shape[2]] = session.y
        if own_target:
            target[row, : session.n_trials, :, : session.scored.shape[2]] = session.scored
        unit_mask[row, : session.scored.shape[2]] = True
        trial_mask[row, : session.n_trials] = True
    held_back = None
    if any(session.held_back is not None for session in sessions):
        held_back = torch.zeros(y.shape, dtype=torch.bool, device=first.device)
        for row, session in enumerate(sessions):
            if session.held_back is not None:
                held_back[row, : session.n_trials, :, : session.y.shape[2]] = session.held_back
    return Batch(
        sessions=tuple(s.session for s in sessions),
        y=y,
        target=target,
        unit_mask=unit_mask,
        trial_mask=trial_mask,
        time_mask=trial_mask[:, :, None].expand(-1, -1, target.shape[2]),
        ext=_stacked([s.ext for s in sessions], y, fill=0.0),
        held_back=held_back,
        smoothing=smoothing,
        behaviour=_stacked([s.behaviour for s in sessions], y, fill=float("nan")),
        gaps=smoothing is None or not all(bool(s.y.isfinite().all()) for s in sessions),
    )


def _stacked(parts: Sequence[Tensor | None], y: Tensor, *, fill: float) -> Tensor | None:
    """Return what sessions have besides `y`, padded with `fill`; None where none has any."""
    given = [part for part in parts if part is not None]
    if not given:
        return None
    stacked = y.new_full((*y.shape[:2], *given[0].shape[1:]), fill)
    for row, part in enumerate(parts):
        if part is not None:
            stacked[row, : len(part)] = part
    return stacked
