"""The loss of validation trials, scored as training practises them: whole, and cut as in a forecast.

Were trials scored whole alone, the checkpoint would be chosen by reconstructions. Where a share of the
training steps is cut, the same share of the validation loss is that of trials cut at fixed bins, under the
same noise every time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.batching.cuts import cut_at, fixed_cuts
from nwb_latents.models.batching.drawn_masks import held_back_masker
from nwb_latents.models.batching.draws import in_groups
from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.batching.views import compose, observe
from nwb_latents.models.randomness import derived_generator
from nwb_latents.pipeline.training.step_metrics import EMBEDDINGS_APART, read_back, summed, told_of
from nwb_latents.pipeline.training.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nwb_latents.models.batching.tensors import Batch, TrialTensors
    from nwb_latents.models.batching.views import Masker
    from nwb_latents.models.interface import Output
    from nwb_latents.pipeline.training.stored_trials import StoredTrials
    from nwb_latents.schemas.training import TrainSettings

    Forward = Callable[[Batch, torch.Generator, Masker], Output]

FINAL = 10**9
"""Step at which every warm-up is over: validation losses of all steps are weighed alike."""

WHOLE, CUT = "val_whole_loss", "val_cut_loss"
"""Metrics: the two parts of the validation loss, where there are two."""


def validation_metrics(
    forward: Forward,
    trials: Sequence[TrialTensors | StoredTrials],
    settings: TrainSettings,
    *,
    device: torch.device,
    team: Team | None = None,
) -> tuple[dict[str, float], float]:
    """Return the metrics of validation trials, and the loss that decides.

    Where samples were held back, the loss on them decides: they are the only ones no path leads to.

    Parameters
    ----------
    forward
        ``(batch, generator, masker)``: what the model, set to evaluate, makes of a batch.
    trials
        Validation trials of the sessions that have any.
    settings
        Of the training: seed, blocks, held-back samples, cuts.
    device
        Where noise is drawn.
    team
        The processes that share the blocks out; None: this one alone.

    Returns
    -------
    metrics, loss
        ``val_`` and the name of each; where trials are cut too, each is the mean of whole and cut trials in
        the shares of the training.
    """
    team = team or Team()
    groups = in_groups(trials, settings.batch.sessions_per_block)
    mine = list(enumerate(groups))[team.rank.number :: team.rank.of]
    cuts = _cuts(settings, n_bins=trials[0].n_bins)

    def scored(masker: Masker) -> dict[str, float]:
        told = []
        for number, group in mine:
            batch = replace(pack([each.read() for each in group]), number=number)
            noise = derived_generator(settings.seed, "validation", number, device=device)
            with torch.no_grad():
                output = forward(batch, noise, masker)
            told.append(told_of(output, batch, FINAL))
        return summed(team.gathered(read_back(told)))

    def mixed(masker: Masker) -> tuple[dict[str, float], dict[str, float]]:
        if not cuts:
            return scored(masker), {}
        whole = scored(masker)
        cut = [scored(compose(masker, cut_at(bins))) for bins in cuts]
        share = settings.model.cut_share
        means = {name: sum(each[name] for each in cut) / len(cut) for name in whole}
        both = {name: (1 - share) * value + share * means[name] for name, value in whole.items()}
        if EMBEDDINGS_APART in whole:
            both[EMBEDDINGS_APART] = whole[EMBEDDINGS_APART]
        return both, {WHOLE: whole["loss"], CUT: means["loss"]}

    found, parts = mixed(observe)
    metrics = {f"val_{name}": value for name, value in found.items()} | parts
    held_back = held_back_masker(settings.masks)
    if held_back is None:
        return metrics, metrics["val_loss"]
    held, _ = mixed(held_back)
    return metrics | {"val_held_nll": held["nll"], "val_held_loss": held["loss"]}, held["loss"]


def _cuts(settings: TrainSettings, *, n_bins: int) -> tuple[int, ...]:
    """Return the bins validation trials are cut at; none where no training step is cut."""
    return fixed_cuts(n_bins, settings.validation_cuts) if settings.model.cut_share else ()
