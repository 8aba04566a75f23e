"""Simulated reaching sessions with known truth, written as NWB files like those of real dandisets."""

from pipeline.sources.simulator.dandiset import simulate_dandiset
from pipeline.sources.simulator.session import SimulatedSession, simulate_session
from pipeline.sources.simulator.truth import Truth, read_truth

__all__ = ["SimulatedSession", "Truth", "read_truth", "simulate_dandiset", "simulate_session"]
