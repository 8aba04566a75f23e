"""When the kinematics of a simulated file are sampled, where it samples them all through the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.sources.simulator.simulated_session import SimulatedSession


def regular_times(simulated: SimulatedSession) -> FloatArray:
    """Return times from 0 at the rate of the settings, in seconds. Shape ``(n_samples,)``.

    Parameters
    ----------
    simulated
        The session: it says whether there is a sample at its very end.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator import simulate_session
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> made = [SimulateSettings(n_units=(3, 3), n_trials=2, preset=name) for name in ("lifelike", "classic")]
    >>> for simulated in map(simulate_session, made):
    ...     print(round(simulated.kinematics.duration_s - regular_times(simulated)[-1], 6))
    0.01
    0.0
    """
    rate = simulated.settings.kinematics_rate_hz
    last = int(simulated.kinematics.duration_s * rate)
    is_at_end = last / rate >= simulated.kinematics.duration_s
    return np.arange(last + (not (is_at_end and simulated.ends_a_sample_early))) / rate
