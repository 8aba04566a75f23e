"""Why a metric is not to be had on a session: what it needs that the session, or a source's output, lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nwb_latents.pipeline.evaluation.metrics.metric import Need
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput


def _lacks_heldout(session: ScoredSession, made: SourceOutput) -> str:
    del made
    return "" if session.n_heldout else "no unit is held out"


def _lacks_forward(session: ScoredSession, made: SourceOutput) -> str:
    ahead = session.answers.eval_forward
    if ahead is None or made.rates is None or made.rates.eval_forward is None:
        why = "" if made.rates is None else made.rates.why_no_forward
        return why or "no bins after the window are predicted"
    if not np.nansum(ahead) > 0:
        return "nothing was recorded after the windows that belongs to no other trial"
    return ""


def _lacks_velocity(session: ScoredSession, made: SourceOutput) -> str:
    del made
    return "" if session.velocity is not None else "no hand velocity was recorded"


def _lacks_conditions(session: ScoredSession, made: SourceOutput) -> str:
    del made
    if session.psth is None:
        return "fewer than two conditions"
    return "" if len(session.psth.units) else "no unit's PSTH varies"


def _lacks_early_days(session: ScoredSession, made: SourceOutput) -> str:
    del made
    return "no day is held out" if session.early is None else ""


def _lacks_true_rates(session: ScoredSession, made: SourceOutput) -> str:
    del made
    return "the true rates are not known" if session.true_rates is None else ""


def _lacks_true_states(session: ScoredSession, made: SourceOutput) -> str:
    del made
    return "the true states are not known" if session.true_states is None else ""


LACKS: Mapping[Need, Callable[[ScoredSession, SourceOutput], str]] = {
    "heldout": _lacks_heldout,
    "forward": _lacks_forward,
    "velocity": _lacks_velocity,
    "conditions": _lacks_conditions,
    "early_days": _lacks_early_days,
    "true_rates": _lacks_true_rates,
    "true_states": _lacks_true_states,
}
"""Need of a metric → function that says why it is not met; empty where it is."""
