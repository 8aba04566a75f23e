"""Recipes of the Neural Latents Benchmark cut its windows out of files of its layouts."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.sources.known_dandisets import known_dandisets
from nwb_latents.pipeline.stores.nlb_settings import (
    differences_from_benchmark,
    nlb_export_defaults,
    nlb_group_key,
    nlb_recipe,
)
from nwb_latents.schemas.export import NlbExport
from nwb_latents.schemas.nlb import NLB_DATASETS
from nwb_latents.schemas.registry import LAYOUTS

# key: bins of 5 ms, units in and out, test phase, val phase, lag, kernel; Pei et al. 2021 and nlb_tools.
PUBLISHED = {
    "mc_maze": (140, (137, 45), (2295, 574), (1721, 574), 100, 70),
    "mc_rtt": (120, (98, 32), (1080, 272), (810, 270), 140, None),
    "area2_bump": (120, (49, 16), (364, 98), (272, 92), -20, 40),
    "dmfc_rsg": (300, (40, 14), (989, 252), (741, 248), None, 70),
    "mc_maze_large": (140, (122, 40), (500, 100), (375, 125), 120, 50),
    "mc_maze_medium": (140, (114, 38), (250, 100), (188, 62), 120, 50),
    "mc_maze_small": (140, (107, 35), (100, 100), (75, 25), 120, 50),
}
DRAFTS = {"mc_maze": "nlb", "mc_rtt": "000129", "area2_bump": "000127", "dmfc_rsg": "000130"}


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_table_is_the_published_one(key):
    bins, units, test, val, lag, kernel = PUBLISHED[key]
    dataset = NLB_DATASETS[key]
    assert (dataset.n_bins(5), 4 * dataset.n_bins(20)) == (bins, bins)
    assert (dataset.n_forward(5), dataset.n_forward(20)) == (40, 10)
    assert (dataset.n_heldin, dataset.n_heldout) == units
    assert dataset.trials == {"test": test, "val": val}
    assert (dataset.lag_ms, dataset.psth_sigma_ms) == (lag, kernel)
    assert known_dandisets()[dataset.dandiset].title.lower().startswith(key)
    assert dataset.layout in LAYOUTS
    # All trials of the val phase are fitted in the test phase.
    assert test[0] == sum(val)


@pytest.mark.parametrize("key", NLB_DATASETS)
@pytest.mark.parametrize("width", [5, 20])
def test_a_recipe_has_the_benchmarks_bins_and_starts_where_it_does(key, width):
    dataset, recipe = NLB_DATASETS[key], nlb_recipe(key, bin_size_ms=width)
    assert recipe.n_bins == dataset.n_bins(width)
    assert tuple(1e3 * edge for edge in recipe.window_s) == dataset.window_ms
    assert recipe.window_from == "next_edge"


@pytest.mark.parametrize("key", DRAFTS)
def test_all_units_and_all_trials_of_the_benchmark_are_kept(draft, nwb_path, key):
    file = draft(DRAFTS[key])
    recipe = nlb_recipe(key, bin_size_ms=20)
    made = make_trials(read_recording(file.write(nwb_path), recipe), recipe)
    names = np.asarray(file.arrays["intervals/trials/split"]).astype(str)
    # Outliers of dmfc_rsg are among them; only what is decoded leaves them out.
    usable = names != "none"
    # The session starts 1.3 s before the first response, which has no whole window; the last piece ends it.
    usable[0] &= key != "dmfc_rsg"
    assert made.trials["trial"].tolist() == np.flatnonzero(usable)[: len(made.trials["trial"])].tolist()
    assert usable.sum() - len(made.trials["trial"]) <= (key == "mc_rtt")
    assert made.trials["heldout"].tolist() == [False, True, False, True]
    kept = names[made.trials["trial"]]
    assert ((made.trials["split"] == "test") == (kept == "val")).all()


def test_what_is_no_dataset_of_the_benchmark_is_refused():
    with pytest.raises(SettingsError, match="no dataset 'mc_mace'; it has mc_maze, mc_rtt"):
        nlb_recipe("mc_mace")
    with pytest.raises(SettingsError, match="no dataset 'mc_maze_10'"):
        nlb_group_key("mc_maze_10")
    with pytest.raises(SettingsError, match="tracks of 5 and 20 ms bins, found 10 ms"):
        nlb_recipe("mc_maze", bin_size_ms=10)


@pytest.mark.parametrize("key", NLB_DATASETS)
def test_the_settings_of_an_export_are_the_tables(key):
    settings, dataset = NlbExport.model_validate(nlb_export_defaults(key)), NLB_DATASETS[key]
    assert (settings.key, settings.forward_ms) == (key, 200)
    assert dataset.lag_ms in {None, settings.lag_ms}
    assert settings.psth == (dataset.psth_sigma_ms is not None)
    assert dataset.psth_sigma_ms in {None, settings.psth_sigma_ms}


@pytest.mark.parametrize("key", NLB_DATASETS)
def test_the_key_of_a_dataset_brings_its_settings_and_what_is_given_stays(key):
    by_key = NlbExport(key=key)
    assert by_key == NlbExport.model_validate(nlb_export_defaults(key))
    given = NlbExport(key=key, lag_ms=60, forward_ms=0)
    assert (given.lag_ms, given.forward_ms) == (60, 0)
    assert given.model_copy(update={"lag_ms": by_key.lag_ms, "forward_ms": 200.0}) == by_key
    assert NlbExport(key="mine").model_dump(exclude={"key"}) == NlbExport().model_dump(exclude={"key"})


def test_settings_other_than_the_benchmarks_are_said():
    full = {"n_train": 1721, "n_eval": 574, "n_heldin": 137, "n_heldout": 45, "n_bins": 35}
    asked = NlbExport(key="mc_maze", lag_ms=120, psth_sigma_ms=50)
    assert differences_from_benchmark("mc_maze", **full, bin_size_s=0.02, settings=asked) == [
        "mc_maze: lag_ms is 120.0; the benchmark has 100.0",
        "mc_maze: psth_sigma_ms is 50.0; the benchmark has 70.0",
    ]
    plain = NlbExport(key="mc_maze")
    assert differences_from_benchmark("mc_maze", **full, bin_size_s=0.02, settings=plain) == []


def test_a_full_export_differs_in_nothing_and_any_other_says_where():
    full = {"n_train": 1721, "n_eval": 574, "n_heldin": 137, "n_heldout": 45, "n_bins": 35}
    assert differences_from_benchmark("mc_maze", **full, bin_size_s=0.02) == []
    assert differences_from_benchmark("own", **full, bin_size_s=0.02) == []
    found = differences_from_benchmark("mc_maze", **full | {"n_train": 1700}, bin_size_s=0.005)
    assert found == [
        (
            "mc_maze: 1700 trials fitted and 574 scored; the benchmark has 2295 and 574 (test phase) or 1721 "
            "and 574 (val phase)"
        ),
        "mc_maze: 35 bins of 5 ms; the benchmark has 140",
    ]
