"""What an encoder sees and what the loss counts: one type for every kind of mask.

A masker turns a batch into a `View`: finite samples that are shown, a loss weight for every element, and
elements that count in the value but not in the gradient. Missing samples, held-out units, forward bins,
coordinated dropout and masked modelling are all maskers, and everything downstream is blind to which. They
act on samples, bin by bin; only then are the bins that are shown smoothed, where the input is smoothed
rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from nwb_latents.models.batching.tensors import Batch

if TYPE_CHECKING:
    from nwb_latents.models.batching.shown_input import ShownSmoothing


@dataclass(frozen=True)
class View:
    """What encoders are shown of a batch, and its loss weights.

    Attributes
    ----------
    samples
        What is shown, bin by bin, before it is smoothed. Shape ``(session, trial, time, unit)``, finite.
    target
        What is scored. Shape ``(session, trial, target time, target unit)``, finite; 0 where `weight` and
        `sg` are 0.
    weight
        Weight of each scored element, 0 or more; 0 in padding. Shape of `target`.
    sg
        Weight with which an element counts in the value of the loss but not in its gradient.
    known
        Samples that were recorded. Shape of `samples`, bool; None: all.
    smoothing
        What the bins shown are smoothed with; None: they are shown as they are.
    n_shown
        First bins of `samples` that are shown, where the trials are cut (`models.batching.cuts`); None: all.

    Examples
    --------
    >>> from nwb_latents.models.batching.shown_input import ShownSmoothing
    >>> step = torch.tensor([0.0, 0.0, 4.0, 4.0]).reshape(1, 1, 4, 1)
    >>> view = View(step, step, torch.ones_like(step), smoothing=ShownSmoothing(1.0))
    >>> float(view.shown(2).sum()), bool(view.x[:, :, :2].sum() > 0)
    (0.0, True)
    """

    samples: Tensor
    target: Tensor
    weight: Tensor
    sg: Tensor | None = None
    known: Tensor | None = None
    smoothing: ShownSmoothing | None = None
    n_shown: int | None = None

    @cached_property
    def x(self) -> Tensor:
        """Encoder input: all bins that are shown. Shape ``(session, trial, n_shown, unit)``."""
        return self.shown(self.n_shown)

    def shown(self, n_bins: int | None) -> Tensor:
        """Return the encoder input where the first `n_bins` bins are shown, and nothing of later ones."""
        known = None if self.known is None else self.known[:, :, :n_bins]
        return _smoothed(self.samples[:, :, :n_bins], known, self.smoothing)

    def first_bins(self, n_bins: int) -> View:
        """Return the same input with the first `n_bins` bins of what is scored."""
        sg = None if self.sg is None else self.sg[:, :, :n_bins]
        return replace(self, target=self.target[:, :, :n_bins], weight=self.weight[:, :, :n_bins], sg=sg)

    def from_bin(self, first: int) -> View:
        """Return the same input with bins from `first` on of what is scored."""
        sg = None if self.sg is None else self.sg[:, :, first:]
        return replace(self, target=self.target[:, :, first:], weight=self.weight[:, :, first:], sg=sg)


Masker = Callable[[Batch, "torch.Generator | None", int], View]
"""``(batch, generator, step) -> View``."""

Change = Callable[[View, Batch, "torch.Generator | None", int], View]
"""``(view, batch, generator, step) -> View``: a mask laid over what is already masked."""


def observe(batch: Batch, generator: torch.Generator | None = None, step: int = 0) -> View:
    """Show and score every recorded element: NaN becomes 0 in the input and weight 0 in the loss.

    This is selective backpropagation through time where units come and go (Zhu et al. 2021).

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> view = observe(pack([TrialTensors("a", torch.tensor([[[1.0, float("nan")]]]))]))
    >>> view.x.flatten().tolist(), view.weight.flatten().tolist()
    ([1.0, 0.0], [1.0, 0.0])
    """
    del generator, step
    finite = batch.target.isfinite() & batch.real()
    target = torch.where(finite, batch.target, 0.0)
    weight = finite.to(target.dtype)
    if batch.y is batch.target:
        return View(target, target, weight, known=_known(batch.y, batch), smoothing=batch.smoothing)
    T, N = batch.y.shape[2:]
    shown = batch.y.isfinite() & batch.real()[:, :, :T, :N]
    samples = torch.where(shown, batch.y, 0.0)
    return View(samples, target, weight, known=_known(batch.y, batch), smoothing=batch.smoothing)


def encoder_input(batch: Batch, n_bins: int | None = None) -> Tensor:
    """Return the encoder input of `observe` alone, where nothing is scored.

    Parameters
    ----------
    batch
        The sessions.
    n_bins
        Show the first `n_bins` bins, and nothing that later ones hold; None: all.

    Returns
    -------
    x
        Shape ``(session, trial, n_bins, unit)``, finite.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> encoder_input(pack([TrialTensors("a", torch.tensor([[[1.0, float("nan")]]]))])).flatten().tolist()
    [1.0, 0.0]
    """
    y = batch.y[:, :, :n_bins]
    samples = torch.nan_to_num(y, nan=0.0, posinf=0.0, neginf=0.0)
    return _smoothed(samples, _known(y, batch), batch.smoothing)


def _known(y: Tensor, batch: Batch) -> Tensor | None:
    """Return which samples were recorded, where smoothing has to know; padding counts as recorded."""
    return y.isfinite() if batch.smoothing is not None and batch.gaps else None


def _smoothed(samples: Tensor, known: Tensor | None, smoothing: ShownSmoothing | None) -> Tensor:
    return samples if smoothing is None else smoothing(samples, known)


def hold_out(n_units: int, n_bins: int) -> Change:
    """Pad the input with zeros for `n_units` held-out units and `n_bins` forward bins that are scored.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> batch = pack([TrialTensors("a", torch.ones(1, 3, 2), target=torch.ones(1, 4, 5))])
    >>> view = compose(observe, hold_out(3, 1))(batch, None, 0)
    >>> tuple(view.x.shape), float(view.x.sum())
    ((1, 1, 4, 5), 6.0)
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        del batch, generator, step
        known = view.known
        if known is None and view.smoothing is not None:
            known = torch.ones_like(view.samples, dtype=torch.bool)
        wider = (0, n_units, 0, n_bins)
        samples = torch.nn.functional.pad(view.samples, wider)
        known = None if known is None else torch.nn.functional.pad(known, wider)
        return replace(view, samples=samples, known=known)

    return change


def coordinated_dropout(rate: float, pass_rate: float = 0.0) -> Change:
    """Hide elements from the input and let only the hidden ones drive the gradient (Keshtkaran 2019).

    Parameters
    ----------
    rate
        Share of elements hidden from the encoder; the others are scaled up by ``1 / (1 - rate)``.
    pass_rate
        Share of shown elements that drive the gradient all the same.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> masker = compose(observe, coordinated_dropout(0.5))
    >>> view = masker(pack([TrialTensors("a", torch.ones(1, 4, 8))]), torch.Generator().manual_seed(0), 0)
    >>> bool(((view.samples > 0) == (view.sg > 0)).all()), bool((view.weight + view.sg == 1).all())
    (True, True)
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        del step
        if generator is None or rate == 0:
            return view
        draw = torch.rand(view.samples.shape, generator=generator, device=view.samples.device)
        keep = draw >= rate
        # What is never shown cannot be copied: it drives the gradient always.
        silent = keep & batch.y.isfinite()
        if pass_rate > 0:
            silent = silent & (torch.rand(keep.shape, generator=generator, device=keep.device) >= pass_rate)
        held = torch.where(on_target(silent, view, outside=False), view.weight, 0.0)
        return replace(
            view,
            samples=torch.where(keep, view.samples / (1 - rate), 0.0),
            weight=view.weight - held,
            sg=held + (view.sg if view.sg is not None else 0),
        )

    return change


def hide_held_back(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
    """Neither show nor score the samples that are kept for sample validation (Keshtkaran 2019)."""
    del generator, step
    if batch.held_back is None:
        return view
    kept = ~batch.held_back
    everywhere = on_target(kept, view, outside=True)
    return replace(
        view,
        samples=torch.where(kept, view.samples, 0.0),
        target=torch.where(everywhere, view.target, 0.0),
        weight=view.weight * everywhere,
        sg=None if view.sg is None else view.sg * everywhere,
    )


def score_held_back(rate: float) -> Change:
    """Score only the samples that are kept for sample validation, which are not shown.

    Parameters
    ----------
    rate
        Share that is kept; weights are ``1 / rate``, so that the loss compares to that of all samples, and
        inputs ``1 / (1 − rate)`` times what they were, as in training.
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        if batch.held_back is None:
            return view
        shown = hide_held_back(view, batch, generator, step)
        held = on_target(batch.held_back, view, outside=False)
        return replace(view, samples=shown.samples / (1 - rate), weight=view.weight * held / rate, sg=None)

    return change


def scale_held_in(rate: float) -> Change:
    """Scale input and weight of the samples that are left when a share of `rate` is held back.

    Inputs, and weights of bins and units that are shown to the encoders, become ``1 / (1 − rate)`` times what
    they were.
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        del generator, step
        if batch.held_back is None:
            return view
        shown = on_target(batch.y.isfinite(), view, outside=False)
        factor = torch.where(shown, 1 / (1 - rate), 1.0).to(view.weight.dtype)
        return replace(view, samples=view.samples / (1 - rate), weight=view.weight * factor)

    return change


def on_target(mask: Tensor, view: View, *, outside: bool) -> Tensor:
    """Return a mask of the input's shape on the target's, `outside` where only the target reaches.

    Parameters
    ----------
    mask
        Bool. Shape ``(session, trial, time, unit)``, those of the input.
    view
        Whose target it is laid on.
    outside
        What it is in bins and units that are scored and not part of the input.

    Examples
    --------
    >>> step = torch.zeros(1, 1, 3, 1)
    >>> view = View(step[:, :, :2], step, step)
    >>> on_target(view.samples > 0, view, outside=True).flatten().tolist()
    [False, False, True]
    """
    grid = torch.full(view.weight.shape, outside, dtype=torch.bool, device=mask.device)
    T, N = view.weight.shape[2:]
    grid[:, :, : mask.shape[2], : mask.shape[3]] = mask[:, :, :T, :N]
    return grid


def compose(first: Masker, *changes: Change) -> Masker:
    """Lay masks over one another: inputs and weights multiply, missing samples are handled first."""

    def masker(batch: Batch, generator: torch.Generator | None, step: int) -> View:
        view = first(batch, generator, step)
        for change in changes:
            view = change(view, batch, generator, step)
        return view

    return masker


def weighted(nll: Tensor, view: View) -> Tensor:
    """Weigh an elementwise loss; elements of ``view.sg`` count without a gradient. Shape of `nll`."""
    loss = nll * view.weight
    return loss if view.sg is None else loss + (nll * view.sg).detach()


def session_means(nll: Tensor, view: View) -> Tensor:
    """Return the mean loss of each session's scored elements. Shape ``(session,)``.

    Examples
    --------
    >>> weight = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    >>> view = View(weight, target=weight, weight=weight)
    >>> session_means(torch.tensor([[[[3.0, 9.0]]], [[[1.0, 2.0]]]]), view).tolist()
    [3.0, 1.5]
    """
    counted = view.weight if view.sg is None else view.weight + view.sg
    return weighted(nll, view).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp_min(1)


def masked_mean(nll: Tensor, view: View, *, over: Literal["elements", "weights"] = "weights") -> Tensor:
    """Return the weighted mean of an elementwise loss, a scalar.

    Parameters
    ----------
    nll
        Loss of each element, finite. Shape ``(session, trial, time, unit)``.
    view
        Its weights.
    over
        One of ``"weights"`` (divide by the sum of the weights) or ``"elements"`` (divide by the number of
        elements that are scored in value or gradient, so that hiding elements lowers the step).

    Examples
    --------
    >>> weight = torch.tensor([[[[1.0, 0.0]]]])
    >>> view = View(weight, target=weight, weight=weight)
    >>> float(masked_mean(torch.tensor([[[[3.0, 9.0]]]]), view))
    3.0
    """
    total = view.weight if view.sg is None else view.weight + view.sg
    count = (total > 0).sum() if over == "elements" else total.sum()
    return weighted(nll, view).sum() / count.clamp_min(1)
