"""What the benchmark's toolkit does, in a few lines each, against stores made by recipes ``nlb:*``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from nwb.field_readers.benchmark_files import benchmark_file

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import Trials, make_trials
from nwb_latents.pipeline.stores.nlb_settings import nlb_recipe
from nwb_latents.schemas.nlb import NLB_DATASETS
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("mc_maze", "mc_rtt", "area2_bump", "dmfc_rsg")
WIDTHS = (5, 20)


def made_of(key: str, path: Path, **changes: object) -> Trials:
    width = changes.pop("width", 5)
    recipe = nlb_recipe(key, bin_size_ms=width)
    recipe = IngestRecipe.model_validate({**recipe.model_dump(), **changes})
    return make_trials(read_recording(benchmark_file(key).write(path), recipe), recipe)


def column(key: str, name: str) -> np.ndarray:
    return np.asarray(benchmark_file(key).arrays[f"intervals/trials/{name}"])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("key", KEYS)
def test_windows_begin_at_the_first_edge_at_or_after_their_beginning(key, width, nwb_path):
    made = made_of(key, nwb_path, width=width)
    dataset = NLB_DATASETS[key]
    event = column(key, dataset.align_column)[made.trials["trial"]]
    begin_ms = np.round(1e3 * event + dataset.window_ms[0], 6)
    moved = made.trials.get("jitter_bins", 0)
    edge_ms = width * (np.ceil(begin_ms / width) + moved)
    np.testing.assert_allclose(1e3 * made.continuous["time"][made.trials["start_bin"]], edge_ms, atol=1e-6)


@pytest.mark.parametrize("key", KEYS)
def test_trials_are_all_that_the_file_deals_to_a_split_and_units_are_in_the_order_of_their_ids(key, nwb_path):
    made, split = made_of(key, nwb_path), column(key, "split").astype(str)
    assert made.trials["trial"].tolist() == np.flatnonzero(split != "none").tolist()
    assert made.trials["split_file"].tolist() == split[split != "none"].tolist()
    assert made.dropped.trials == {"in_no_split": (split == "none").sum()}
    ids = np.asarray(benchmark_file(key).arrays["units/id"])
    assert ids.tolist() != sorted(ids)
    assert made.trials["unit"].tolist() == sorted(ids)
    heldout = np.asarray(benchmark_file(key).arrays["units/heldout"])
    assert made.trials["heldout"].tolist() == heldout[np.argsort(ids)].tolist()


def test_outliers_of_dmfc_rsg_are_in_the_store_and_can_be_told(nwb_path):
    made = made_of("dmfc_rsg", nwb_path)
    outlier = column("dmfc_rsg", "is_outlier")[made.trials["trial"]]
    assert outlier.any()
    assert made.trials["column_is_outlier"].tolist() == outlier.astype(float).tolist()
    produced = column("dmfc_rsg", "tp")[made.trials["trial"]]
    assert made.trials["column_tp"].tolist() == produced.tolist()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("fitted", [("train",), ("train", "val")])
def test_windows_of_dmfc_rsg_are_moved_by_the_draw_of_the_toolkit(width, fitted, nwb_path):
    jitter = {**nlb_recipe("dmfc_rsg").jitter.model_dump(), "fitted": fitted}
    made = made_of("dmfc_rsg", nwb_path, width=width, jitter=jitter)
    split, produced = column("dmfc_rsg", "split").astype(str), column("dmfc_rsg", "tp")
    expected = np.zeros(len(split), int)
    for names in ({"train"}, {"val"}) if len(fitted) == 1 else ({"train", "val"},):
        draw = np.random.RandomState(0)
        for row in np.flatnonzero(np.isin(split, list(names))):
            most = np.floor(round(min(max(1500.0 - produced[row], 0.0), 300.0) / width, 4))
            expected[row] = round(draw.random_sample() * most)
    assert expected.any()
    assert made.trials["jitter_bins"].tolist() == expected[made.trials["trial"]].tolist()


def test_a_movement_is_read_at_the_left_edges_of_bins(nwb_path):
    """A straight line goes through the filter as it is: its values are those of the edges."""
    d = benchmark_file("area2_bump")
    d.arrays["processing/behavior/hand_vel/data"] = np.column_stack([d.time, 2 * d.time])
    recipe = nlb_recipe("area2_bump", bin_size_ms=20)
    made = make_trials(read_recording(d.write(nwb_path), recipe), recipe)
    inside = made.trials["velocity"][5]
    edges = made.continuous["time"][made.trials["start_bin"][5] + np.arange(recipe.n_bins)]
    np.testing.assert_allclose(inside, np.column_stack([edges, 2 * edges]), rtol=2e-4)
    centred = IngestRecipe.model_validate({**recipe.model_dump(), "kinematics_at": "centre"})
    other = make_trials(read_recording(nwb_path, centred), centred).trials["velocity"][5]
    np.testing.assert_allclose(other - inside, np.tile([0.01, 0.02], (len(inside), 1)), atol=6e-3)


def test_a_bin_counts_as_observed_by_its_first_millisecond_and_holds_no_spike_beyond(nwb_path):
    """The file's observed time ends within bins, and its second unit fires on."""
    path = benchmark_file("mc_maze_small").write(nwb_path)
    recipe = nlb_recipe("mc_maze_small", bin_size_ms=20)
    recording = read_recording(path, recipe)
    share = IngestRecipe.model_validate({**recipe.model_dump(), "observed_by": "share"})
    first, whole = (make_trials(recording, each).continuous for each in (recipe, share))
    cut = np.flatnonzero(first["observed"] & ~whole["observed"])
    assert len(cut)
    ends = recording.observed[:, 1]
    spikes = np.split(recording.spike_times, recording.spike_index[:-1])
    units = np.argsort(recording.units.ids)
    for at in cut:
        left = float(first["time"][at])
        end = ends[(ends > left) & (ends < left + 0.02)].item()
        assert end >= left + 0.001 - 1e-9
        within = [((spikes[u] >= left - 1e-9) & (spikes[u] < end - 1e-9)).sum() for u in units]
        assert first["counts"][at].tolist() == within
    assert not (whole["observed"] & ~first["observed"]).any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"min_observed": 0.5}, "min_observed 0.5 has no part in it where observed_by is first_ms"),
        ({"bin_size_s": 0.0125, "window_s": (-0.25, 0.45)}, "need bins of whole milliseconds"),
    ],
)
def test_what_does_not_go_with_observed_by_first_ms_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        IngestRecipe.model_validate({"observed_by": "first_ms", **changes})


def test_samples_off_the_milliseconds_are_refused_for_left_edges(nwb_path):
    d = benchmark_file("area2_bump")
    d.arrays["processing/behavior/hand_vel/timestamps"] = d.time + 0.0004
    recipe = nlb_recipe("area2_bump")
    with pytest.raises(DataError, match=r"samples on whole milliseconds; .*--set kinematics_at=centre"):
        make_trials(read_recording(d.write(nwb_path), recipe), recipe)


def test_spikes_of_psths_are_smoothed_at_1_ms_and_none_is_lost_far_from_edges(nwb_path):
    made = made_of("dmfc_rsg", nwb_path)
    smoothed, counts = made.continuous["psth_counts"], made.continuous["counts"]
    known = made.continuous["observed"]
    assert np.isfinite(smoothed[known]).all()
    assert smoothed[known].sum() == pytest.approx(counts[known].sum(), rel=0.01)
    assert "psth_counts" not in made_of("dmfc_rsg", nwb_path, psth_sigma_s=None).continuous


def test_columns_that_cannot_be_kept_are_refused_or_said(nwb_path):
    with pytest.raises(DataError, match="/intervals/trials/result holds text"):
        made_of("area2_bump", nwb_path, trial_columns=("result",))
    path = benchmark_file("area2_bump").write(nwb_path)
    recording = read_recording(path, IngestRecipe(trial_columns=("tp",)))
    assert recording.trials is not None
    assert np.isnan(recording.trials.columns["tp"]).all()
    assert any("no column tp" in text for text in recording.warnings)
    with pytest.raises(SettingsError, match=r"jitter\.column tp is not one of trial_columns"):
        made_of("area2_bump", nwb_path, jitter={"max_s": 0.3})
