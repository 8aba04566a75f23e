"""One session of the lifelike preset: script, hand, latents, units, spikes, truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.hand_kinematics import move_hand, sample_at
from nwb_latents.pipeline.sources.simulator.lifelike.dynamics import (
    LIFELIKE_LATENTS,
    dynamics_of,
    how_a_subject_differs,
    parameters_of,
    run_lifelike,
)
from nwb_latents.pipeline.sources.simulator.lifelike.population import population_of
from nwb_latents.pipeline.sources.simulator.lifelike.script import draw_habit, write_lifelike_script
from nwb_latents.pipeline.sources.simulator.lifelike.truth import Movements, ReachingTruth
from nwb_latents.pipeline.sources.simulator.neurons import Neurons, areas_of, fire_spikes, scale_rates
from nwb_latents.pipeline.sources.simulator.reach_dynamics import latent_times
from nwb_latents.pipeline.sources.simulator.reach_record import (
    choose_heldout,
    listed_trials,
    reach_columns,
    unit_ids,
)
from nwb_latents.pipeline.sources.simulator.session_content import SessionContent

if TYPE_CHECKING:
    from nwb_latents.schemas.simulation import SimulateSettings


PACE_SHARE = 0.5
"""How far the pace of subjects differs, as a share of the spread of their dynamics."""


def lifelike_session(settings: SimulateSettings, *, subject: int, session: int) -> SessionContent:
    """Simulate the content of one session.

    Parameters
    ----------
    settings
        Size and shape of the session.
    subject, session
        Numbers of the subject and of its session, from 0.

    Returns
    -------
    content
        A subject has its dynamics, its habits and most of its neurons on all its days.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings = SimulateSettings(n_units=(4, 4), n_trials=3)
    >>> days = [lifelike_session(settings, subject=0, session=day) for day in (0, 1)]
    >>> days[0].known["reaching"].dynamics == days[1].known["reaching"].dynamics
    True
    """
    dynamics = dynamics_of(settings, subject=subject)
    pace = PACE_SHARE * settings.dynamics_spread * how_a_subject_differs(settings, subject=subject)["pace"]
    habit = draw_habit(np.random.default_rng([settings.seed, 1, subject]), task=settings.task, pace=pace)
    acts, tremor, spikes, choices = np.random.default_rng([settings.seed, 2, subject, session]).spawn(4)

    script = write_lifelike_script(settings, acts, habit=habit)
    kinematics = move_hand(script, tremor, profile=settings.shared_profile)
    latents = run_lifelike(dynamics, script, kinematics=kinematics)
    time = latent_times(script.duration_s)
    tuning = population_of(settings, subject=subject, session=session, duration_s=script.duration_s)
    rates, gain = scale_rates(np.exp(tuning.log_rates(latents, time).astype(np.float32)), tuning.mean_hz)
    tuning = replace(tuning, log_gain=np.log(gain))
    spike_times, spike_index = fire_spikes(rates, spikes)
    neurons = Neurons(tuning.linear, tuning.mean_hz, areas_of(len(tuning)))
    listed = listed_trials(settings, script)
    return SessionContent(
        script=script,
        kinematics=kinematics,
        neurons=neurons,
        listed=listed,
        heldout=choose_heldout(len(neurons), choices),
        spike_times=spike_times,
        spike_index=spike_index,
        ends_a_sample_early=True,
        known={
            **reach_columns(script, kinematics, listed=listed),
            "latent_time_s": time,
            "latents": latents,
            "rates_hz": rates,
            "unit_ids": unit_ids(settings, neurons),
            "velocity": sample_at(kinematics.velocity, time),
            "position": sample_at(kinematics.position, time),
            "reaching": ReachingTruth(
                latent_names=LIFELIKE_LATENTS,
                dynamics=parameters_of(dynamics),
                tuning=tuning,
                movements=Movements.of(script.movements),
            ),
        },
    )
