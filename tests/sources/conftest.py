"""How patient the tests of sources are with a server."""

from __future__ import annotations

import pytest

from nwb_latents.pipeline.sources.retry_policy import RetryPolicy


@pytest.fixture
def impatient() -> RetryPolicy:
    """Return limits for a server that stalls: short ones, and attempts enough for a slow machine."""
    return RetryPolicy(attempts=20, retry_wait_s=0.01, read_timeout_s=1.0)
