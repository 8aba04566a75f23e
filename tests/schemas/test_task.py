"""What several stages share is the same in all of them."""

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from single_changes import SETTINGS, settings_class

from nwb_latents.schemas import task
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.task_words import BINS, FOLDS, FORWARD, HELDOUT, LAG, PSTH_SIGMA, SEEN_BINS

WORDS = {word.name: word for word in (LAG, FORWARD, HELDOUT, PSTH_SIGMA, SEEN_BINS, BINS, FOLDS)}
NOT_ASKED = {("TrainSettings", "forward_ms"), ("TrainSettings", "heldout_fraction")} | {
    ("LfadsExport", "forward_ms"), ("LfadsExport", "heldout_fraction")
}  # fmt: skip
"""Where nothing is scored of it unless that is asked for."""

OTHER_FOLDS = {("BaselineSettings", "folds"), ("QualitySettings", "folds")}
"""Folds of something other than a decoder's penalties."""


def shared(kind: type[BaseModel]):
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from shared(field.annotation)
        elif name in WORDS and (kind.__name__, name) not in OTHER_FOLDS:
            yield kind.__name__, name, field


def test_name_unit_default_and_description_are_the_same_in_every_stage():
    found = {(of, name): field for kind in map(settings_class, SETTINGS) for of, name, field in shared(kind)}
    assert len(found) > 15
    for (of, name), field in found.items():
        word = WORDS[name]
        assert field.description == word.description, of
        assert field.default == (0 if (of, name) in NOT_ASKED else word.default), of
    by_name = {}
    for (of, name), field in found.items():
        bounds = {str(mark) for mark in field.metadata if type(mark).__module__ == "annotated_types"}
        assert by_name.setdefault(name, bounds) == bounds, of


def test_no_setting_says_the_same_under_another_name():
    """Lags, times after the window and forecast windows have no second name among settings of stages."""
    others = {"QualitySettings", "NlbDataset"}  # a recipe is in seconds throughout
    for kind in (settings_class(name) for name in SETTINGS if name not in others | {"IngestRecipe"}):
        for name in kind.model_fields:
            assert name not in {
                "lag",
                "lag_s",
                "lag_bins",
                "forward_bins",
                "forward_s",
                "n_seen",
                "forecast_bins",
            }


def test_a_forecast_window_is_one_thing_wherever_it_stands():
    window = {"seen_bins": 7, "bins": 9}
    of_stages = [ForecastSettings(**window)]
    of_stages += [kind(forecast=window).forecast for kind in (DecodeSettings, EvaluateSettings)]
    for found in of_stages:
        assert isinstance(found, task.ForecastWindow)
        assert (found.end, list(range(20))[found.ahead]) == (16, list(range(7, 16)))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_times_are_finite(wrong):
    for kind in (task.LagMs, task.ForwardMs, task.PsthSigmaMs):
        with pytest.raises(ValidationError, match="finite"):
            TypeAdapter(kind).validate_python(wrong)


def test_penalties_are_above_zero_in_every_stage():
    for kind in map(settings_class, ("DecodeSettings", "ForecastSettings", "EmbedSettings")):
        with pytest.raises(ValidationError, match=r"above 0, found \[1\.0, 0\.0\]"):
            kind(alphas=(1.0, 0.0))
