"""One read-out for every source: a Poisson regression from its latent variables, or held-in rates, to spikes.

Sources read their held-out units out in ways of their own: a model with what it was trained with, factor
analysis with a Poisson regression fitted afterwards. How good its latent variables are is another question
than how good its read-out is. Here each source is read out by the same regression, fitted in the same way on
the same trials: what differs is what it is fitted from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.rate_regression import (
    RATE_FLOOR,
    draw_trials,
    feature_scale,
    fit_rates,
    log_likelihood,
    predict_rates,
)
from nwb_latents.pipeline.signals.folds import group_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]

LATENTS, HELDIN_RATES = "latents", "logarithms of held-in rates"
_ROUGH = 1e-7
"""Tolerance of fits that are only compared, nats per spike."""


@dataclass(frozen=True)
class Features:
    """What a source is read out from.

    Attributes
    ----------
    train, new
        Of the trials fitted on and of those scored, each feature with deviation 1 over the former. Shapes
        ``(trial, time, feature)``, ``(eval trial, time, feature)``.
    kind
        `LATENTS` or `HELDIN_RATES`.
    """

    train: FloatArray
    new: FloatArray
    kind: str


def features_of(session: ScoredSession, made: SourceOutput) -> Features | None:
    """Return what a source is read out from; None where it infers nothing.

    Parameters
    ----------
    session
        Which of its units are held in.
    made
        What the source delivered: latent variables of its own, else those its rates come from, else the
        logarithms of its rates of held-in units.
    """
    rates, kind = made.rates, LATENTS
    if made.states is not None:
        train, new = made.states
    elif rates is None:
        return None
    elif rates.latents is not None:
        train, new = rates.latents
    else:
        kind = HELDIN_RATES
        train, new = (
            np.log(np.maximum(part[..., : session.n_heldin], RATE_FLOOR))
            for part in (rates.train, rates.eval)
        )
    scale = feature_scale(train)
    return Features(train / scale, new / scale, kind)


@dataclass(frozen=True)
class ReadOut:
    """Rates by the common read-out.

    Attributes
    ----------
    rates
        Expected spikes per bin of the trials scored, above 0. Shape ``(eval trial, time, unit)``.
    penalty
        The one that foretells training trials left out best.
    """

    rates: FloatArray
    penalty: float


def read_out(
    features: Features,
    counts: FloatArray,
    settings: BaselineSettings,
    *,
    rows: NDArray[np.int64] | None = None,
) -> ReadOut:
    """Fit the read-out on training trials, and apply it to those scored.

    Parameters
    ----------
    features
        Of both.
    counts
        Spikes per bin of the training trials, NaN where not known. Shape ``(trial, time, unit)``.
    settings
        Penalties, folds and seed, those of the baselines.
    rows
        Training trials to fit on; None: all.

    Returns
    -------
    read_out
        Of penalties that foretell left out trials equally well, that with the largest.

    Raises
    ------
    DataError
        If there are fewer trials than folds.
    """
    mine = np.arange(len(counts)) if rows is None else rows
    known, targets = features.train[mine], counts[mine]
    tried = draw_trials(len(known), settings.choice_trials, seed=settings.seed)
    fold_of = group_folds(tried, folds=min(settings.folds, len(tried)), seed=settings.seed)
    penalties = settings.penalties[::-1]

    def score(penalty: float) -> float:
        total = 0.0
        for fold in np.unique(fold_of):
            kept, left_out = tried[fold_of != fold], tried[fold_of == fold]
            fit = fit_rates(known[kept], targets[kept], penalty=penalty, tolerance=_ROUGH)
            total += log_likelihood(predict_rates(fit, known[left_out]), targets[left_out])
        return total

    penalty = max(penalties, key=score)
    fit = fit_rates(known, targets, penalty=penalty)
    return ReadOut(predict_rates(fit, features.new), penalty)
