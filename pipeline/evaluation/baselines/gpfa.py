"""Rates by Gaussian-process factor analysis, as elephant has it.

Elephant is given spike trains, not counts, so every spike is put at the centre of its bin; it takes the
square root of the counts itself. Parameters are learnt from a draw of the training trials. With them, the
latent variables of all trials are inferred, divided by their standard deviations, and mapped to the rates of
all units by Poisson regression. Number of latent dimensions and penalty are those that factor analysis is
best with, since learning the parameters anew for every setting takes too long.
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
    "The 'copy' argument in Quantity",
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
    from quantities import ms  # noqa: PLC0415 (the packages of the extra)

    bin_ms = task.bin_size_s * 1e3
    rows = draw_trials(len(task.train_heldin), settings.gpfa_trials, seed=settings.seed)
    model = import_module("elephant.gpfa").GPFA(
        bin_size=bin_ms * ms, x_dim=latents, em_tol=_GAIN, em_max_iters=settings.gpfa_iterations
    )
    trains = _spike_trains(task.train_heldin, bin_ms)
    with _quiet(settings.seed):
        try:
            model.fit([trains[row] for row in rows])
        except ValueError as error:
            raise DataError(
                f"{task.session}: GPFA of {len(rows)} trials and {task.train_heldin.shape[2]} units failed "
                f"({' '.join(str(error).split())}). Leave out the baseline gpfa, or units that repeat others."
            ) from error
    if len(model.fit_info["log_likelihoods"]) >= settings.gpfa_iterations:
        warnings.warn(
            f"{task.session}: GPFA has not converged within {settings.gpfa_iterations} iterations; allow "
            "more with gpfa_iterations",
            stacklevel=3,
        )

    def infer(trials: list[list[Any]]) -> FloatArray:
        with _quiet(settings.seed):
            return np.stack([np.asarray(found.T, dtype=np.float64) for found in model.transform(trials)])

    # Apart, so that no rounding of one part depends on the other.
    train, new = infer(trains), infer(_spike_trains(task.eval_heldin, bin_ms))
    scale = feature_scale(train)
    return train / scale, new / scale


def _spike_trains(counts: FloatArray, bin_ms: float) -> list[list[Any]]:
    """Put every spike at the centre of its bin; trial by trial, unit by unit, as elephant wants them."""
    from neo.core.spiketrainlist import SpikeTrainList  # noqa: PLC0415
    from quantities import ms  # noqa: PLC0415

    trials = []
    for trial in counts.astype(np.int64):
        at, unit = np.nonzero(trial)
        number = trial[at, unit]
        trains = SpikeTrainList.from_spike_time_array(
            np.repeat((at + 0.5) * bin_ms, number),
            np.repeat(unit, number),
            np.arange(trial.shape[1]),
            units="ms",
            t_start=0.0 * ms,
            t_stop=len(trial) * bin_ms * ms,
        )
        trials.append(list(trains))
    return trials


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
