"""Simulated sessions with known truth, written as NWB files like those of real dandisets."""

from nwb_latents.pipeline.sources.simulator.dandiset import simulate_dandiset
from nwb_latents.pipeline.sources.simulator.lifelike.truth import ReachingTruth
from nwb_latents.pipeline.sources.simulator.simulated_session import SimulatedSession, simulate_session
from nwb_latents.pipeline.sources.simulator.system_truth import SystemTruth, best_forecast
from nwb_latents.pipeline.sources.simulator.truth import Truth, read_truth

__all__ = [
    "ReachingTruth",
    "SimulatedSession",
    "SystemTruth",
    "Truth",
    "best_forecast",
    "read_truth",
    "simulate_dandiset",
    "simulate_session",
]
