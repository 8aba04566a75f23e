"""Rates by Gaussian-process factor analysis, as elephant has it.

Elephant is given square roots of counts, as it makes them of spike trains. Parameters are learnt from a draw
of the training trials. With them, the latent variables of all trials are inferred, divided by their standard
deviations, and mapped to the rates of all units by Poisson regression. Number of latent dimensions and
penalty are those that factor analysis is best with, since learning the parameters anew for every setting
takes too long.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.latent_models import choose_factors, rates_of_latents
from nwb_latents.pipeline.evaluation.baselines.rate_regression import draw_trials, feature_scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.spike_task import RatePrediction, SpikeTask
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]

_GAIN = 1e-2
"""Share of the log-likelihood gained so far that five iterations have to gain to be followed by more."""
_KNOWN_WARNINGS = (
    "trial corresponding to index",  # trials shorter than a segment of 20 bins are learnt from whole
    "No segments extracted",
    "Private variance floor",
)


def gpfa(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict rates from the latent variables of Gaussian-process factor analysis.

    Parameters
    ----------
    task
        What may be seen.
    settings
        Latent dimensions, trials and iterations; what factor analysis tries.

    Raises
    ------
    DataError
        If a held-in bin was not recorded, units repeat one another, or there are fewer training trials than
        folds.

    Warns
    -----
    UserWarning
        If the parameters have not converged within the iterations allowed.

    References
    ----------
    Yu et al. 2009, "Gaussian-process factor analysis for low-dimensional single-trial analysis of neural
    population activity".
    """
    for counts in (task.train_heldin, task.eval_heldin):
        if not np.isfinite(counts).all():
            raise DataError(
                f"{task.session}: {int((~np.isfinite(counts)).sum())} held-in counts were not recorded, but "
                "GPFA needs whole trials. Leave out the baseline gpfa; factor_analysis can do without them."
            )
    latents = settings.latents if settings.gpfa_latents is None else (settings.gpfa_latents,)
    choice = choose_factors(task, settings, latents=latents)
    train, new = _infer(task, settings, latents=choice.latents)
    return rates_of_latents(train, new, task, settings, penalty=choice.penalty)


def _infer(task: SpikeTask, settings: BaselineSettings, *, latents: int) -> tuple[FloatArray, FloatArray]:
    """Return latent variables of the training trials and of those to predict."""
    core = import_module("elephant.gpfa.gpfa_core")
    rows = draw_trials(len(task.train_heldin), settings.gpfa_trials, seed=settings.seed)
    fires = task.train_heldin[rows].any(axis=(0, 1))
    shown = task.train_heldin[rows][..., fires]
    with _quiet(settings.seed):
        flat = np.sqrt(shown).reshape(-1, shown.shape[2])
        if np.linalg.matrix_rank(np.cov(flat.T)) < flat.shape[1]:
            raise DataError(
                f"{task.session}: GPFA of {len(rows)} trials and {task.train_heldin.shape[2]} units failed: "
                "the covariance of the counts is rank deficient, because units repeat one another or there "
                "are too few bins. Leave out the baseline gpfa, or units that repeat others."
            )
        parameters, info = core.fit(
            _sequences(shown),
            x_dim=latents,
            bin_width=task.bin_size_s * 1e3,
            em_tol=_GAIN,
            em_max_iters=settings.gpfa_iterations,
        )
    if len(info["log_likelihoods"]) >= settings.gpfa_iterations:
        warnings.warn(
            f"{task.session}: GPFA has not converged within {settings.gpfa_iterations} iterations; allow "
            "more with gpfa_iterations",
            stacklevel=3,
        )

    def infer(counts: FloatArray) -> FloatArray:
        with _quiet(settings.seed):
            found, _ = core.exact_inference_with_ll(_sequences(counts[..., fires]), parameters, get_ll=False)
            _, found = core.orthonormalize(parameters, found)
        return np.stack([np.asarray(each.T, dtype=np.float64) for each in found["latent_variable_orth"]])

    # Apart, so that no rounding of one part depends on the other.
    train, new = infer(task.train_heldin), infer(task.eval_heldin)
    scale = feature_scale(train)
    return train / scale, new / scale


def _sequences(counts: FloatArray) -> Any:
    """Return trials as elephant works on them: square roots of counts, ``(unit, time)`` each.

    Its own way there, from a spike train object for each unit and trial, takes longer than the model.
    """
    made = np.empty(len(counts), dtype=[("T", int), ("y", object)])
    for number, trial in enumerate(np.sqrt(counts)):
        made[number] = (len(trial), np.ascontiguousarray(trial.T))
    return made


@contextlib.contextmanager
def _quiet(seed: int) -> Iterator[None]:
    """Keep elephant from printing, and its cuts of trials from depending on numpy's global random state."""
    state = np.random.get_state()  # noqa: NPY002 (the one elephant draws from)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            for message in _KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


GPFA = Baseline(
    name="gpfa",
    meaning="Poisson regression on Gaussian-process factors (by elephant)",
    rates=gpfa,
    order=20,
)
