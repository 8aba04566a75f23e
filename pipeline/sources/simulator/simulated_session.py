"""One simulated session in memory: script, hand, latents, units, spikes, truth.

Every random draw comes from the seed and the numbers of subject and session alone, so a session of reaching
is the same whichever others are simulated with it. Those of a dynamical system share out the range of its
parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.sources.simulator.hand_kinematics import (
    FINE_RATE_HZ,
    Kinematics,
    move_hand,
    sample_at,
)
from nwb_latents.pipeline.sources.simulator.neurons import (
    Neurons,
    draw_neurons,
    fire_spikes,
    firing_rates,
)
from nwb_latents.pipeline.sources.simulator.reach_dynamics import (
    draw_dynamics,
    latent_times,
    run_dynamics,
    vary_dynamics,
)
from nwb_latents.pipeline.sources.simulator.session_content import SessionContent
from nwb_latents.pipeline.sources.simulator.system_session import run_session
from nwb_latents.pipeline.sources.simulator.trial_script import Pace, Script, write_script
from nwb_latents.pipeline.sources.simulator.truth import Truth

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import IntArray
    from nwb_latents.schemas.simulation import SimulateSettings

SIMULATOR_VERSION = 1
FIRST_DAY = datetime(2020, 1, 6, 10, tzinfo=UTC)
HELDOUT_SHARE = 0.25


@dataclass(frozen=True)
class SimulatedSession(SessionContent):
    """One session, before it is written.

    Attributes
    ----------
    session, subject
        Ids, e.g. ``sub-SimA_ses-CO-20200106`` and ``SimA``.
    start
        Start of the session, UTC.
    settings
        What it was simulated from.
    truth
        What the simulator knows.
    """

    session: str
    subject: str
    start: datetime
    settings: SimulateSettings
    truth: Truth

    def rng(self, purpose: str) -> np.random.Generator:
        """Return a generator that depends on the session and `purpose` alone."""
        origin = f"{self.truth.settings_digest}/{self.session}/{purpose}"
        return np.random.default_rng(list(sha256(origin.encode()).digest()))


def session_digest(settings: SimulateSettings) -> str:
    """Return the digest of everything a session depends on besides its number.

    Parameters
    ----------
    settings
        Settings of the dandiset; how many subjects and sessions it has is left out, except for systems: there
        it decides the parameter of each session.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> session_digest(SimulateSettings(n_sessions=1)) == session_digest(SimulateSettings(n_sessions=9))
    True
    """
    is_reaching = settings.system == "reaching"
    alone = settings.model_copy(update={"n_subjects": 1, "n_sessions": 1}) if is_reaching else settings
    return f"{SIMULATOR_VERSION}:{alone.digest()}"


def name_session(settings: SimulateSettings, *, subject: int, session: int) -> tuple[str, str, datetime]:
    """Return session id, subject id and start of a session.

    Parameters
    ----------
    settings
        Names the task, or the system.
    subject, session
        Numbers of the subject and of its session, from 0.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> name_session(SimulateSettings(), subject=27, session=1)[:2]
    ('sub-SimAB_ses-CO-20200209', 'SimAB')
    """
    letters, rest = "", subject + 1
    while rest:
        rest, letter = divmod(rest - 1, len(ascii_uppercase))
        letters = ascii_uppercase[letter] + letters
    start = FIRST_DAY + timedelta(days=7 * session + subject)
    what = settings.task if settings.system == "reaching" else settings.system.replace("_", "")
    return f"sub-Sim{letters}_ses-{what}-{start:%Y%m%d}", f"Sim{letters}", start


def simulate_session(settings: SimulateSettings, *, subject: int = 0, session: int = 0) -> SimulatedSession:
    """Simulate one session in memory.

    Parameters
    ----------
    settings
        Size and shape of the session.
    subject, session
        Numbers of the subject and of its session, from 0.

    Returns
    -------
    simulated
        The session; the dynamics of reaching are those of all sessions of the seed, a few per cent varied by
        subject, those of a system have a parameter of their own.

    Raises
    ------
    SettingsError
        If a run of a system diverges.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> simulated = simulate_session(SimulateSettings(n_units=(5, 5), n_trials=4))
    >>> simulated.session, simulated.truth.rates_hz.shape[1]
    ('sub-SimA_ses-CO-20200106', 5)
    """
    act = _reach_session if settings.system == "reaching" else run_session
    content = act(settings, subject=subject, session=session)
    session_id, subject_id, start = name_session(settings, subject=subject, session=session)
    return SimulatedSession(
        **vars(content),
        session=session_id,
        subject=subject_id,
        start=start,
        settings=settings,
        truth=Truth(session=session_id, settings_digest=session_digest(settings), **content.known),
    )


def _reach_session(settings: SimulateSettings, *, subject: int, session: int) -> SessionContent:
    """Simulate the content of one session of reaching."""
    subject_rng = np.random.default_rng([settings.seed, 1, subject])
    dynamics = vary_dynamics(draw_dynamics(np.random.default_rng([settings.seed, 0])), subject_rng)
    reaction, reach = np.exp(0.06 * np.clip(subject_rng.standard_normal(2), -2, 2))
    pace = Pace(reaction_s=float(0.30 * reaction), reach_s=float(0.50 * reach))
    acts, tremor, units, spikes, choices = np.random.default_rng([settings.seed, 2, subject, session]).spawn(
        5
    )

    script = write_script(settings, acts, pace=pace)
    kinematics = move_hand(script, tremor, profile=settings.reach_profile)
    latents = run_dynamics(dynamics, script, kinematics=kinematics)
    neurons = draw_neurons(settings, units)
    rates = firing_rates(neurons, latents)
    spike_times, spike_index = fire_spikes(rates, spikes)

    heldout = np.zeros(len(neurons), dtype=np.bool_)
    heldout[choices.permutation(len(neurons))[: int(HELDOUT_SHARE * len(neurons))]] = True
    listed = _listed_trials(settings, script)
    time = latent_times(script.duration_s)
    return SessionContent(
        script=script,
        kinematics=kinematics,
        neurons=neurons,
        listed=listed,
        heldout=heldout,
        spike_times=spike_times,
        spike_index=spike_index,
        known={
            **_reach_columns(script, kinematics, listed=listed),
            "latent_time_s": time,
            "latents": latents,
            "rates_hz": rates,
            "unit_ids": _unit_ids(settings, neurons),
            "velocity": sample_at(kinematics.velocity, time),
            "position": sample_at(kinematics.position, time),
        },
    )


def _listed_trials(settings: SimulateSettings, script: Script) -> IntArray:
    """Trials of the file's table: the benchmark's files list successful ones only, a generic file none."""
    if settings.layout == "generic":
        return np.empty(0, dtype=np.int64)
    is_listed = [settings.layout != "nlb" or trial.result == "R" for trial in script.trials]
    return np.flatnonzero(is_listed).astype(np.int64)


def _unit_ids(settings: SimulateSettings, neurons: Neurons) -> IntArray:
    """Ids as the layout has them: in the benchmark's files 1xxx is PMd and 2xxx is M1."""
    ids = np.arange(len(neurons), dtype=np.int64)
    if settings.layout != "nlb":
        return ids
    return np.where(neurons.area == "PMd", 1001, 2001) + ids


def _reach_columns(script: Script, kinematics: Kinematics, *, listed: IntArray) -> dict[str, Any]:
    """Columns of the truth with one entry per target, or per trial that showed none."""
    row = np.full(len(script.trials), -1, dtype=np.int64)
    row[listed] = np.arange(len(listed))
    speed = kinematics.speed()
    rows: list[tuple[float, ...]] = []
    for number, trial in enumerate(script.trials):
        for reach in range(max(len(trial.target_id), 1)):
            events: tuple[float, ...] = (np.nan,) * 5
            peak = np.nan
            if trial.target_id:
                series = (
                    trial.target_on_s,
                    trial.go_cue_s,
                    trial.onset_s,
                    trial.move_end_s,
                    trial.target_dir,
                )
                events = tuple(values[reach] for values in series)
            if np.isfinite(events[2]):
                first, last = (round(moment * FINE_RATE_HZ) for moment in events[2:4])
                peak = float(speed[first : last + 1].max())
            rows.append((number, row[number], reach, trial.result == "R", *events, peak))
    table = np.array(rows, dtype=np.float64)
    whole = dict(zip(("trial", "trial_row", "reach"), table[:, :3].T.astype(np.int64), strict=True))
    names = ("target_on_s", "go_cue_s", "onset_s", "move_end_s", "target_dir_rad", "peak_speed_cm_s")
    return {**whole, "success": table[:, 3].astype(np.bool_), **dict(zip(names, table[:, 4:].T, strict=True))}
