"""What happened in one simulated session, before it has a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.hand_kinematics import Kinematics
    from nwb_latents.pipeline.sources.simulator.neurons import Neurons
    from nwb_latents.pipeline.sources.simulator.trial_script import Script


@dataclass(frozen=True)
class SessionContent:
    """What happened in one session: of reaching, or of runs of a dynamical system.

    Attributes
    ----------
    script, kinematics, neurons
        Trials and movements, the hand at 1 kHz, the units.
    listed
        Numbers of the trials the file's trial table lists. Shape ``(n_listed,)``.
    heldout
        Units held out for co-smoothing. Shape ``(n_units,)``.
    spike_times
        Seconds, grouped by unit, ascending within each. Shape ``(n_spikes,)``.
    spike_index
        One past the last spike of each unit. Shape ``(n_units,)``.
    ends_a_sample_early
        Whether kinematics end a sample before the session and its trials do, as in recorded files.
    known
        Fields of `Truth`, but the session's id and digest.
    """

    script: Script
    kinematics: Kinematics
    neurons: Neurons
    listed: IntArray
    heldout: BoolArray
    spike_times: FloatArray
    spike_index: IntArray
    ends_a_sample_early: bool
    known: Mapping[str, Any]
