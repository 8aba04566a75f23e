"""Greatest values of settings: far above what anybody needs, far below what no machine can do.

They tell a slip of the keyboard, or a time in ms given in s, from a setting. Of a time or a number of one
kind there is one bound, wherever it is used. A bound is no part of a digest.
"""

from __future__ import annotations

MOST_SEED = 2**53 - 1
"""Every program that reads JSON reads it as it was written."""

MOST_WIDTH = 16_384
"""Dimensions and widths of layers; a square matrix of it takes 1 GB."""

MOST_LAYERS = 256
"""Layers, blocks, heads and groups."""

MOST_GB = 1e6
"""Memory, 10⁹ bytes."""

MOST_STEPS = 1_000_000_000
"""Training steps, and steps between things done."""

MOST_BINS = 100_000
"""Bins of a trial, or of a part of one."""

MOST_DRAWS = 1_000_000
"""Resamples and permutations."""

MOST_ITEMS = 1_000_000
"""Trials, sessions, units, folds and processes."""

MOST_LAG_MS = 500.0
"""Between activity of the motor cortex and movement of the hand pass 50 to 200 ms."""

MOST_LAGS = 10_001
"""Lags compared with each other: each narrowest bin of the range."""

NARROWEST_BIN_S = 0.0001
"""Three samples of a recording at 30 kHz."""

LONGEST_S = 86_400.0
"""A day: no session is longer."""

LONGEST_TRIAL_S = 600.0
"""Edges of a window, and lengths of windows that are cut."""

WIDEST_KERNEL_S = 2.0
"""Standard deviation of a kernel that smooths spikes, and of those that smooth kinematics."""
