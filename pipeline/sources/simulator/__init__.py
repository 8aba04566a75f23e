"""Simulated sessions with known truth, written as NWB files like those of real dandisets."""

from pipeline.sources.simulator.dandiset import simulate_dandiset
from pipeline.sources.simulator.session import SimulatedSession, simulate_session
from pipeline.sources.simulator.system_truth import SystemTruth, best_forecast
from pipeline.sources.simulator.truth import Truth, read_truth

__all__ = [
    "SimulatedSession",
    "SystemTruth",
    "Truth",
    "best_forecast",
    "read_truth",
    "simulate_dandiset",
    "simulate_session",
]
