"""How small a deviation may be that something is divided by."""

from __future__ import annotations

MIN_DEVIATION_HZ = 1.0
"""Least deviation of a rate that it is scaled by, in what models are shown and in forecasts from rates alike:
about that of a 0.1 Hz unit under a 25 ms Gaussian. Without it, one spike of a unit that is silent in the
training trials would outweigh all other units."""
