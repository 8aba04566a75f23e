"""Settings of a sweep: the space of AutoLFADS, spaces laid over it, names and ranges that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.training.search_member import member_settings
from nwb_latents.schemas.sweep import HyperParameter, SweepSettings, searchable, with_values
from nwb_latents.schemas.training import TrainSettings


def test_the_default_space_is_the_table_of_autolfads() -> None:
    space = SweepSettings().space
    table = {
        # low, high, start, width
        "optimiser.lr": (1e-5, 5e-3, 4e-3, 0.3),
        "model.dropout": (0, 0.6, None, 0.3),
        "masks.coordinated_dropout": (0.01, 0.7, 0.5, 0.3),
        "model.kl_initial_weight": (1e-6, 1e-3, None, 0.8),
        "model.kl_input_weight": (1e-6, 1e-4, None, 0.8),
        "model.l2_generator": (1e-4, 1, None, 0.8),
        "model.l2_controller": (1e-4, 1, None, 0.8),
    }
    assert {name: (w.low, w.high, w.start, w.explore) for name, w in space.items()} == table
    assert {n for n, w in space.items() if w.per_element} == {n for n, w in space.items() if w.explore == 0.8}
    # The KL weight of lfads-torch's examples, for losses averaged over 35 bins of 137 units, lies within.
    of_sums = space["model.kl_initial_weight"].times(35 * 137)
    assert of_sums.low < 1 < of_sums.high
    assert (of_sums.low, of_sums.high) == pytest.approx((1e-6 * 4795, 1e-3 * 4795))


def test_the_example_of_the_manual_is_autolfads() -> None:
    example = settings_from(
        SweepSettings, file=Path(__file__).parents[2] / "docs" / "examples" / "autolfads.yaml"
    )
    assert example.space == SweepSettings().space
    assert (example.strategy, example.population, example.min_improvement) == ("pbt", 20, 5e-4)
    assert example.train.masks.sample_validation == 0.2


@pytest.mark.parametrize(
    "words",
    [
        ["space.optimiser.lr.high=1e-2"],
        ["space={optimiser.lr: {high: 1.0e-2}}"],
        ["space={optimiser: {lr: {high: 1.0e-2}}}"],
    ],
)
def test_a_space_is_laid_over_the_default_one(words: list[str]) -> None:
    space = settings_from(SweepSettings, words=words).space
    assert space["optimiser.lr"] == HyperParameter(low=1e-5, high=1e-2, scale="log", start=4e-3)
    assert len(space) == 7


def test_null_takes_a_setting_out_and_a_sweep_can_begin_with_nothing() -> None:
    assert "model.dropout" not in settings_from(SweepSettings, words=["space.model.dropout=null"]).space
    words = ["default_space=false", "space.optimiser.clip_norm={low: 1, high: 300}"]
    assert list(settings_from(SweepSettings, words=words).space) == ["optimiser.clip_norm"]


def test_what_is_written_down_is_read_back_equal() -> None:
    given = settings_from(SweepSettings, words=["space.model.dropout=null", "space.optimiser.lr.high=0.01"])
    assert SweepSettings.model_validate(given.model_dump(mode="json")) == given
    assert SweepSettings.model_validate_json(given.model_dump_json()).digest() == given.digest()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["space.optimizer.lr.high=1"], "space.optimizer: no number .* did you mean optimiser.lr?"),
        (["space.optimiser.lr.hihg=1"], r"lr\.hihg: unknown key.* did you mean space\.optimiser\.lr\.high"),
        (["space.optimiser.lr=3"], r"space\.optimiser\.lr: expected .* found 3"),
        (["space.optimiser.lr.low=1"], "expected low at least 1 % below high, found 1 to 0.005"),
        (["space.optimiser.lr.start=1"], "start 1 is not within 1e-05 to 0.005"),
        (["space.model.dropout={low: 0, high: 0.5, scale: log}"], "a log scale needs low above 0"),
        (["space.model.dropout.high=1.5"], "1.5 is no value of it: Input should be less than 1"),
        (["space.optimiser.lr.explore=1"], "explore: expected a number less than 1"),
        (["space.seed={low: 0, high: 9}"], "space.seed: no number of the training settings that can be"),
        (["space.masks.sample_validation={low: 0, high: 0.5}"], "can be searched"),
        (["space.model.generator_dim={low: 8, high: 64}"], "of different sizes cannot copy each other"),
        (["space.optimiser.final_lr={low: 0, high: 0.1}"], "search optimiser.lr"),
        (["train.model.name=mdssm"], "the model mdssm has no default space"),
        (["train.max_steps=300"], "generations × generation_steps = 4000 steps; set those"),
        (["train.patience=3"], "train.patience"),
        (
            ["default_space=false", "space.optimiser.lr={low: 1e-4, high: 1e-3, start: 1e-3}"],
            "all .* the same",
        ),
        (
            ["train.model.name=foo"],
            r"train\.model\.name: no model is called 'foo'. There are: gnocchi",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(words: list[str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        settings_from(SweepSettings, words=words)


def test_random_search_takes_sizes_and_rounds_them() -> None:
    words = ["strategy=random", "space.model.generator_dim={low: 8, high: 64, scale: log}"]
    sweep = settings_from(SweepSettings, words=words)
    made = member_settings(sweep, {"model.generator_dim": 20.6}, device="cpu")
    assert made.model.model_dump()["generator_dim"] == 21


def test_values_are_checked_like_any_settings() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        with_values(TrainSettings.model_validate({"model": {"name": "lfads"}}), {"model.dropout": 1.0})
    for name, value in searchable(TrainSettings()):
        assert with_values(TrainSettings(), {name: value}) == TrainSettings()


def test_members_have_no_schedule_under_pbt_and_the_ordinary_one_in_a_random_search() -> None:
    values = {"optimiser.lr": 2e-3}
    base = {"train": {"model": {"name": "lfads"}, "validate_every": 70}}
    pbt = member_settings(SweepSettings.model_validate(base), values, device="cpu")
    assert (pbt.optimiser.lr, pbt.optimiser.final_lr) == (2e-3, 2e-3)
    assert (pbt.max_steps, pbt.validate_every) == (4000, 70)
    random = SweepSettings.model_validate({**base, "strategy": "random", "generation_steps": 50})
    one = member_settings(random, values, device="cpu")
    assert (one.optimiser.final_lr, one.max_steps, one.patience, one.validate_every) == (0.0, 2000, 2000, 50)
