"""Velocity on a day that is held out: the decoder was fitted on earlier days of the subject."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.early_days import (
    EarlyDays,
    decoder_of_days,
    of_units,
)
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.metrics.velocity_r2 import NO_VELOCITY, velocity_found
from nwb_latents.schemas.decoding import DEFAULT_DECODER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    FloatArray = NDArray[np.float64]

SOURCE = "Karpowicz et al. 2024, 'Few-shot algorithms for consistent neural decoding (FALCON) benchmark'"


def _days_and_velocity(session: ScoredSession) -> tuple[EarlyDays, FloatArray]:
    if session.early is None or session.velocity is None:
        raise CannotBeHadError(NO_VELOCITY if session.early else "no day is held out")
    reason = session.early.why_not_decoded_alike(session.session)
    if reason:
        raise CannotBeHadError(reason)
    return session.early, session.velocity[1]


def _by_rates(session: ScoredSession, made: SourceOutput) -> Found:
    early, true = _days_and_velocity(session)
    if made.rates_hz is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    decoder, ids = session.decoder_of_early_rates
    described = session.describe_decoder(decoder)
    predicted = decoder.predict(of_units(made.rates_hz, session.session, ids))
    found = velocity_found(true, predicted, described, fitted_on=RATES.fitted_on)
    how = f"ids of {len(ids)} of its {session.session.n_units} units"
    return _of_days(found, tuple(early.keys), how=how)


def _by_latents(session: ScoredSession, made: SourceOutput) -> Found:
    early, true = _days_and_velocity(session)
    if made.states is None or made.early is None:
        raise CannotBeHadError(made.lacks("latents") or "it has no states of earlier days")
    if isinstance(made.early, str):
        raise CannotBeHadError(made.early)
    velocity = {
        day.name: day.velocity(session.settings.lag_ms).velocity[day.rows("train")] for day in early.sessions
    }
    parts = [(states, velocity[name]) for name, states in made.early.train.items()]
    decoder = decoder_of_days(session.chosen_decoder, parts)
    described = session.describe_decoder(decoder)
    predicted = decoder.predict(made.states[1])
    found = velocity_found(true, predicted, described, fitted_on=LATENTS.fitted_on)
    return _of_days(found, tuple(made.early.train), how=made.early.how)


def _of_days(found: Found, fitted: tuple[str, ...], *, how: str) -> Found:
    return replace(found, fitted_sessions=fitted, details={"day_known_by": how})


RATES = Metric(
    name="held_out_day_r2",
    title="velocity, held-out days",
    definition="r2_uniform",
    meaning="As velocity_r2, with a decoder fitted on recorded rates of train trials of earlier days, of the "
    "units whose ids are found on all of them.",
    source=SOURCE,
    needs=("velocity", "early_days"),
    decoder=DEFAULT_DECODER,
    fitted_on="recorded rates of earlier days",
    has_lag=True,
    order=35,
    compute={"reconstruction": _by_rates},
)

LATENTS = Metric(
    name="held_out_day_latent_r2",
    title="velocity, held-out days, by latents",
    definition="r2_uniform",
    meaning="Velocity by a decoder fitted on a run's latents of train trials of earlier days, given its "
    "latents of the held-out day: of a run aligned to a few of its trials, of one trained on it without its "
    "velocity, or of one that reads it in as the last earlier day with the same units.",
    source=SOURCE,
    needs=("velocity", "early_days"),
    decoder=DEFAULT_DECODER,
    fitted_on="own latents of earlier days",
    has_lag=True,
    order=36,
    compute={"latents": _by_latents},
)
