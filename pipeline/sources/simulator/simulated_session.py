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
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.hand_kinematics import move_hand, sample_at
from nwb_latents.pipeline.sources.simulator.lifelike.session import lifelike_session
from nwb_latents.pipeline.sources.simulator.neurons import (
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
from nwb_latents.pipeline.sources.simulator.reach_record import (
    choose_heldout,
    listed_trials,
    reach_columns,
    unit_ids,
)
from nwb_latents.pipeline.sources.simulator.session_content import SessionContent
from nwb_latents.pipeline.sources.simulator.system_session import run_session
from nwb_latents.pipeline.sources.simulator.trial_script import Pace, write_script
from nwb_latents.pipeline.sources.simulator.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nwb_latents.schemas.simulation import SimulateSettings

SIMULATOR_VERSION = 1
FIRST_DAY = datetime(2020, 1, 6, 10, tzinfo=UTC)


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
        The session. Dynamics of reaching are those of the subject and task (of preset 'classic' shared, but
        for a few per cent); those of a system have a parameter of their own.

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
    act = _REACHES[settings.preset] if settings.system == "reaching" else run_session
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


def _classic_session(settings: SimulateSettings, *, subject: int, session: int) -> SessionContent:
    """Simulate the content of one session of reaching, of preset 'classic'."""
    subject_rng = np.random.default_rng([settings.seed, 1, subject])
    dynamics = vary_dynamics(draw_dynamics(np.random.default_rng([settings.seed, 0])), subject_rng)
    reaction, reach = np.exp(0.06 * np.clip(subject_rng.standard_normal(2), -2, 2))
    pace = Pace(reaction_s=float(0.30 * reaction), reach_s=float(0.50 * reach))
    acts, tremor, units, spikes, choices = np.random.default_rng([settings.seed, 2, subject, session]).spawn(
        5
    )

    script = write_script(settings, acts, pace=pace)
    kinematics = move_hand(script, tremor, profile=settings.shared_profile)
    latents = run_dynamics(dynamics, script, kinematics=kinematics)
    neurons = draw_neurons(settings, units)
    rates = firing_rates(neurons, latents)
    spike_times, spike_index = fire_spikes(rates, spikes)

    listed = listed_trials(settings, script)
    time = latent_times(script.duration_s)
    return SessionContent(
        script=script,
        kinematics=kinematics,
        neurons=neurons,
        listed=listed,
        heldout=choose_heldout(len(neurons), choices),
        spike_times=spike_times,
        spike_index=spike_index,
        ends_a_sample_early=False,
        known={
            **reach_columns(script, kinematics, listed=listed),
            "latent_time_s": time,
            "latents": latents,
            "rates_hz": rates,
            "unit_ids": unit_ids(settings, neurons),
            "velocity": sample_at(kinematics.velocity, time),
            "position": sample_at(kinematics.position, time),
        },
    )


_REACHES: Mapping[str, Callable[..., SessionContent]] = {
    "classic": _classic_session,
    "lifelike": lifelike_session,
}
