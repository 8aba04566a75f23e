"""NLB tensors: keys, shapes and dtypes of the benchmark; values those of the store; nothing in two splits."""

import dataclasses

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stores.exporters.exporter import exporter_named, write_export
from nwb_latents.pipeline.stores.exporters.hdf5 import is_up_to_date
from nwb_latents.schemas.export import NlbExport


def export(store, tmp_path, **settings):
    path = tmp_path / "session.h5"
    write_export(exporter_named("nlb"), store.session, path, settings=NlbExport(**settings))
    with h5py.File(path, "r") as h5:
        (name,) = h5
        return name, {key: value[()] for key, value in h5[name].items()}, dict(h5.attrs)


def test_the_group_holds_the_keys_of_the_benchmark_with_their_shapes(store, tmp_path):
    name, found, attributes = export(store, tmp_path)
    n_train, n_eval = len(store.rows("train", "val")), len(store.rows("test"))
    assert name == "sub-T_ses-CO-1_20"
    assert {key: value.shape for key, value in found.items() if "spikes" in key or "behavior" in key} == {
        "train_spikes_heldin": (n_train, 36, 9),
        "train_spikes_heldout": (n_train, 36, 3),
        "train_spikes_heldin_forward": (n_train, 10, 9),
        "train_spikes_heldout_forward": (n_train, 10, 3),
        "train_behavior": (n_train, 36, 2),
        "eval_spikes_heldin": (n_eval, 36, 9),
        "eval_spikes_heldout": (n_eval, 36, 3),
        "eval_spikes_heldin_forward": (n_eval, 10, 9),
        "eval_spikes_heldout_forward": (n_eval, 10, 3),
        "eval_behavior": (n_eval, 36, 2),
    }
    assert {v.dtype for k, v in found.items() if "spikes" in k or "behavior" in k} == {np.dtype("float32")}
    assert attributes["source_digest"] == "sha256:00"
    assert attributes["store_key"] == "k" * 64


def test_spikes_are_the_counts_of_the_store_and_can_be_traced_to_it(store, tmp_path):
    _, found, _ = export(store, tmp_path)
    counts = store.trials["counts"]
    for part in ("train", "eval"):
        for kind in ("heldin", "heldout"):
            same = counts.sel(trial=found[f"{part}_trial"], unit=found[f"{kind}_unit"])
            assert np.array_equal(found[f"{part}_spikes_{kind}"], same.values)
    units = np.concatenate([found["heldin_unit"], found["heldout_unit"]])
    assert sorted(units) == sorted(store.trials["unit"].values)
    assert not set(found["train_trial"]) & set(found["eval_trial"])


def test_behaviour_is_the_recorded_sample_a_lag_later(store, tmp_path):
    _, found, _ = export(store, tmp_path, lag_ms=100)
    velocity = store.continuous["velocity"].values
    start = found["eval_start_bin"]
    assert np.array_equal(found["eval_behavior"], velocity[start[:, None] + np.arange(5, 41)])


def test_forward_bins_are_those_that_follow_the_window(store, tmp_path):
    _, found, _ = export(store, tmp_path)
    counts = store.continuous["counts"].sel(unit=found["heldin_unit"]).values
    after = found["eval_start_bin"][:, None] + np.arange(36, 46)
    assert np.array_equal(found["eval_spikes_heldin_forward"], counts[after])
    assert "eval_spikes_heldin_forward" not in export(store, tmp_path, forward_ms=0)[1]


def test_forward_bins_in_another_splits_window_or_unobserved_are_nan(store, tmp_path):
    start = store.trials["start_bin"].values.copy()
    test, train = store.rows("test")[0], store.rows("train")[0]
    start[test] = start[train] + 40
    trials = store.trials.assign_coords(start_bin=("trial", start))
    continuous = store.continuous.copy(deep=True)
    continuous["observed"][start[train] + 37] = False
    moved = dataclasses.replace(store, trials=trials, continuous=continuous)
    _, found, _ = export(moved, tmp_path)
    row = list(found["train_start_bin"]).index(start[train])
    is_nan = np.isnan(found["train_spikes_heldin_forward"][row]).all(axis=1)
    assert is_nan.tolist() == [False, True, False, False, True, True, True, True, True, True]


def test_units_a_recording_marks_as_held_out_are(store, tmp_path):
    heldout = np.arange(12) % 4 == 1
    marked = dataclasses.replace(store, trials=store.trials.assign_coords(heldout=("unit", heldout)))
    _, found, _ = export(marked, tmp_path, heldout_fraction=0.75)
    assert np.array_equal(found["heldout_unit"], store.trials["unit"].values[heldout])


def test_the_draw_of_held_out_units_depends_on_the_seed_alone(store, tmp_path):
    first, again, other = (export(store, tmp_path, seed=s)[1]["heldout_unit"] for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert export(store, tmp_path, heldout_fraction=0.0)[1]["train_spikes_heldout"].shape[2] == 0
    assert export(store, tmp_path, heldout_fraction=0.99)[1]["train_spikes_heldin"].shape[2] == 1


def test_the_validation_phase_holds_no_test_trial(store, tmp_path):
    _, found, _ = export(store, tmp_path, phase="val")
    test = store.trials["trial"].values[store.rows("test")]
    assert not (set(found["train_trial"]) | set(found["eval_trial"])) & set(test)
    assert len(found["eval_trial"]) == len(store.rows("val"))


def test_an_extra_split_of_the_recipe_takes_the_place_of_its_own(store, tmp_path):
    split = np.where(np.arange(store.trials.sizes["trial"]) < 18, "train", "test").astype(object)
    chronological = store.trials.assign_coords(split_late=("trial", split))
    _, found, _ = export(dataclasses.replace(store, trials=chronological), tmp_path, split="late")
    assert np.array_equal(found["eval_trial"], store.trials["trial"].values[18:])
    with pytest.raises(SettingsError, match="no extra split 'early'; it has: late"):
        export(dataclasses.replace(store, trials=chronological), tmp_path, split="early")


def test_psths_are_means_per_bin_of_the_conditions_trials(store_of, make_reaches, as_recording, tmp_path):
    store = store_of(as_recording(make_reaches(n_trials=60)))
    _, found, _ = export(store, tmp_path, psth_sigma_ms=0.0)
    names = [name.decode() for name in found["psth_condition"]]
    condition = store.trials["condition"].values.astype(str)
    units = np.concatenate([found["heldin_unit"], found["heldout_unit"]])
    assert found["psth"].shape == (len(names), 36, 12)
    for row, name in enumerate(names):
        mean = store.trials["counts"].sel(unit=units).values[condition == name].mean(axis=0)
        assert found["psth"][row] == pytest.approx(mean, abs=1e-5)
        mine = condition[
            np.isin(store.trials["trial"].values, found["eval_trial"][found["eval_cond_idx"][row]])
        ]
        assert set(mine) == {name}
    everyone = np.concatenate([*found["eval_cond_idx"]])
    assert sorted(everyone) == list(range(len(found["eval_trial"])))


def test_bins_of_5_ms_and_a_key_give_the_benchmarks_own_group(store_of, recording, tmp_path):
    fine = store_of(recording, bin_size_s=0.005, window_s=(-0.25, 0.45))
    assert export(fine, tmp_path, key="mc_maze")[0] == "mc_maze"


def test_active_and_passive_trials_of_the_benchmark_have_a_decoder_each(store, tmp_path):
    kind = np.where(np.arange(store.trials.sizes["trial"]) % 3 == 0, "passive-90", "active-0")
    kind[1] = "unknown"
    named = dataclasses.replace(
        store, trials=store.trials.assign_coords(condition=("trial", kind.astype(object)))
    )
    _, found, _ = export(named, tmp_path, key="area2_bump")
    for part, rows in (("train", store.rows("train", "val")), ("eval", store.rows("test"))):
        expected = [[name == "active-0", name == "passive-90"] for name in kind[rows]]
        assert found[f"{part}_decode_mask"].tolist() == expected
    assert "eval_decode_mask" not in export(named, tmp_path, key="mc_maze")[1]


def test_a_file_with_other_settings_or_another_store_is_not_up_to_date(store, tmp_path):
    _, _, attributes = export(store, tmp_path)
    assert is_up_to_date(tmp_path / "session.h5", attributes["export_key"])
    assert export(store, tmp_path, seed=1)[2]["export_key"] != attributes["export_key"]
    assert not is_up_to_date(tmp_path / "session.h5", attributes["export_key"])
    (tmp_path / "session.h5").write_bytes(b"half")
    assert not is_up_to_date(tmp_path / "session.h5", attributes["export_key"])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"forward_ms": 30}, "nearest that are: 20 and 40"),
        ({"forward_ms": 740}, "longer than the trial window"),
    ],
)
def test_forward_times_that_do_not_fit_are_refused(store, tmp_path, settings, says):
    with pytest.raises(SettingsError, match=says):
        export(store, tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_a_session_without_trials_to_evaluate_is_refused(store, tmp_path):
    split = np.full(store.trials.sizes["trial"], "train", object)
    with pytest.raises(DataError, match="no trial is in the split test"):
        export(
            dataclasses.replace(store, trials=store.trials.assign_coords(split=("trial", split))), tmp_path
        )


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(store, tmp_path, monkeypatch):
    export(store, tmp_path)
    before = (tmp_path / "session.h5").read_bytes()

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["session.h5"]
    assert (tmp_path / "session.h5").read_bytes() == before


def test_the_lag_of_the_behaviour_is_that_of_the_settings(store, tmp_path):
    velocity = store.continuous["velocity"].values
    for lag_ms, bins in ((0, 0), (140, 7)):
        _, found, _ = export(store, tmp_path, lag_ms=lag_ms)
        for part in ("train", "eval"):
            read = found[f"{part}_start_bin"][:, None] + np.arange(36) + bins
            assert np.array_equal(found[f"{part}_behavior"], velocity[read])


def test_the_test_phase_trains_on_training_and_validation_trials(store, tmp_path):
    _, found, _ = export(store, tmp_path)
    ids = store.trials["trial"].values
    assert found["train_trial"].tolist() == ids[store.rows("train", "val")].tolist()
    assert found["eval_trial"].tolist() == ids[store.rows("test")].tolist()
    assert found["time"] == pytest.approx(store.trials["time"].values)
