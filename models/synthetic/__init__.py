"""Simulated dynamical systems with a known best forecast, to test models against."""
