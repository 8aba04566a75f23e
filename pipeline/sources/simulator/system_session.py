"""One session of runs of a planar system: states, hand, units, spikes, truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.hand_kinematics import FINE_RATE_HZ, Kinematics, sample_at
from nwb_latents.pipeline.sources.simulator.neurons import RATE_CAP_HZ
from nwb_latents.pipeline.sources.simulator.reach_dynamics import LEAD_S
from nwb_latents.pipeline.sources.simulator.session_content import SessionContent
from nwb_latents.pipeline.sources.simulator.system_runs import (
    BIN_S,
    Runs,
    choose_system,
    draw_velocity_weights,
    follow_runs,
    parameters_of,
    run_system,
)
from nwb_latents.pipeline.sources.simulator.system_truth import SystemTruth
from nwb_latents.pipeline.sources.simulator.system_units import draw_readers, fire_in_bins, rates_of_states
from nwb_latents.pipeline.sources.simulator.trial_script import Script, Trial

if TYPE_CHECKING:
    from typing import Any

    from nwb_latents.schemas.simulation import SimulateSettings


def run_session(settings: SimulateSettings, *, subject: int, session: int) -> SessionContent:
    """Simulate the content of one session of a system.

    Parameters
    ----------
    settings
        Size and shape of the session.
    subject, session
        Numbers of the subject and of its session, from 0.

    Returns
    -------
    content
        Sessions differ in the parameter of the system, and have units and a hand of their own.

    Raises
    ------
    SettingsError
        If a run diverges.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings = SimulateSettings(system="limit_cycle", n_units=(4, 4), n_trials=3)
    >>> content = run_session(settings, subject=0, session=0)
    >>> content.known["system"].parameters, len(content.script.trials)
    ({'omega': 0.5, 'd': 2.0}, 3)
    """
    states, hand, units, spikes = np.random.default_rng([settings.seed, 3, subject, session]).spawn(4)
    runs = run_system(choose_system(settings, subject=subject, session=session), settings, states)
    weights = draw_velocity_weights(runs, hand)
    kinematics = follow_runs(runs, weights)
    neurons, log_rate = draw_readers(runs, settings, units)
    rates = rates_of_states(runs.latents, neurons.loadings, log_rate)
    spike_times, spike_index = fire_in_bins(rates, spikes)
    script = _script(runs)
    time = np.arange(len(runs.latents)) * round(1000 * BIN_S) / 1000
    return SessionContent(
        script=script,
        kinematics=kinematics,
        neurons=neurons,
        listed=np.arange(len(script.trials), dtype=np.int64),
        heldout=np.zeros(len(neurons), dtype=np.bool_),
        spike_times=spike_times,
        spike_index=spike_index,
        ends_a_sample_early=False,
        known={
            **_trial_columns(script, kinematics),
            "latent_time_s": time,
            "latents": runs.latents,
            "rates_hz": rates.astype(np.float32),
            "unit_ids": np.arange(len(neurons), dtype=np.int64),
            "velocity": sample_at(kinematics.velocity, time),
            "position": sample_at(kinematics.position, time),
            "system": SystemTruth(
                name=settings.system,
                parameters=parameters_of(runs.system),
                dt=runs.system.dt,
                noise_per_step=runs.noise_per_step,
                read_out=neurons.loadings,
                log_rate=log_rate,
                rate_cap_hz=RATE_CAP_HZ,
                velocity_weights=weights,
                start_bin=runs.start_bin,
                trial_bins=runs.trial_bins,
            ),
        },
    )


def _script(runs: Runs) -> Script:
    start = np.round(runs.start_bin * BIN_S, 3)
    length = runs.trial_bins * BIN_S
    stop = np.round(start + length, 3)
    # No trial may seem longer than it is: ingest leaves out those beyond a limit, by default 6 s.
    stop = np.where(stop - start > length, np.nextafter(stop, start), stop)
    trials = tuple(
        Trial(
            start_s=first,
            stop_s=last,
            onset_s=[round(first + LEAD_S, 3)],
            move_end_s=[round(last + LEAD_S, 3)],
        )
        for first, last in zip(start.tolist(), stop.tolist(), strict=True)
    )
    return Script(trials, movements=(), duration_s=runs.duration_s)


def _trial_columns(script: Script, kinematics: Kinematics) -> dict[str, Any]:
    """Columns of the truth with one entry per trial; of what is not part of a run there is none."""
    n_trials = len(script.trials)
    onset = np.array([trial.onset_s[0] for trial in script.trials])
    end = np.array([trial.move_end_s[0] for trial in script.trials])
    speed = kinematics.speed()
    spans = np.round(np.stack([onset, end], axis=1) * FINE_RATE_HZ).astype(np.int64)
    return {
        "trial": np.arange(n_trials, dtype=np.int64),
        "trial_row": np.arange(n_trials, dtype=np.int64),
        "reach": np.zeros(n_trials, dtype=np.int64),
        "target_on_s": np.full(n_trials, np.nan),
        "go_cue_s": np.full(n_trials, np.nan),
        "onset_s": onset,
        "move_end_s": end,
        "success": np.ones(n_trials, dtype=np.bool_),
        "target_dir_rad": np.full(n_trials, np.nan),
        "peak_speed_cm_s": np.array([speed[first : last + 1].max() for first, last in spans]),
    }
