"""Numbers of an evaluation are compared, and kept, by all that decides them and by nothing else."""

import pytest

from nwb_latents.pipeline.stages.evaluate_records import EVALUATION_VERSION, settings_digest
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.task import ForecastWindow

DECIDES = {
    "heldout_fraction": 0.5, "forward_ms": 40.0, "lag_ms": 60.0, "psth_sigma_ms": 30.0,
    "forecast": ForecastWindow(seen_bins=9), "n_resamples": 99, "level": 0.5, "folds": 3, "seed": 1,
    "held_out_days": 2,
}  # fmt: skip
DECIDES_NOTHING = {"metrics": ("co_bps",), "baselines": ("null",), "phase": "val", "baseline": {"folds": 3}}


def digest_of(**changes):
    return settings_digest(EvaluateSettings.model_validate(changes))


def test_every_setting_is_here():
    assert DECIDES.keys() | DECIDES_NOTHING.keys() == EvaluateSettings.model_fields.keys()


@pytest.mark.parametrize("name", DECIDES)
def test_other_numbers_are_told_apart(name):
    assert digest_of(**{name: DECIDES[name]}) != digest_of()


@pytest.mark.parametrize("name", DECIDES_NOTHING)
def test_the_same_numbers_are_taken_for_the_same(name):
    assert digest_of(**{name: DECIDES_NOTHING[name]}) == digest_of()


def test_numbers_of_another_version_are_told_apart():
    settings = EvaluateSettings()
    assert settings_digest(settings) == settings_digest(settings, version=EVALUATION_VERSION)
    assert settings_digest(settings) != settings_digest(settings, version=EVALUATION_VERSION - 1)
