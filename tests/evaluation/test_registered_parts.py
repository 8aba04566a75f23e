"""What another distribution registers as a metric or a baseline, and is none, is told and left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.evaluation.baselines.known import baseline_called, known_baselines
from nwb_latents.pipeline.evaluation.metrics.known import known_metrics, metric_called
from nwb_latents.schemas.registry import BASELINES, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {
    "metric": (METRICS, "co_bps", "fp_bps", metric_called, known_metrics),
    "baseline": (BASELINES, "null", "pca", baseline_called, known_baselines),
}


@pytest.mark.parametrize("noun", KINDS)
@pytest.mark.parametrize("of_another_name", [False, True])
def test_a_part_that_is_none_is_told_and_the_others_stay(
    noun: str, of_another_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, name, other, called, known = KINDS[noun]
    found: Any = called(other) if of_another_name else 5
    monkeypatch.setitem(parts._loaded, name, found)
    look: Callable[[str], object] = called
    what = f"a {noun} called {other}" if of_another_name else "a int"
    with pytest.raises(
        SettingsError, match=f"the {noun} '{name}' of .* is {what}; expected a `{noun.title()}`"
    ):
        look(name)
    whole, broken = known()
    assert set(broken) == {name}
    assert name not in [part.name for part in whole]
    assert other in [part.name for part in whole]
