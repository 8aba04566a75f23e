"""LFADS tensors: read as lfads-torch reads them; encoded data within reconstructed data; nothing missing."""

import dataclasses

import h5py
import numpy as np
import pytest
import torch

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.exporters.exporter import exporter_named, write_export
from nwb_latents.schemas.export import LfadsExport


def export(store, tmp_path, **settings):
    path = tmp_path / "session.h5"
    write_export(exporter_named("lfads"), store.session, path, settings=LfadsExport(**settings))
    with h5py.File(path, "r") as h5:
        return {key: value[()] for key, value in h5.items()}


def test_the_loader_of_lfads_torch_finds_what_it_needs(store, tmp_path):
    found = export(store, tmp_path, ext_input="velocity", truth="rates")
    for part, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        n = len(store.rows(split))
        for key, width in (("encod_data", 12), ("recon_data", 12), ("ext_input", 2), ("truth", 12)):
            array = found[f"{part}_{key}"]
            assert array.shape == (n, 36, width)
            assert array.dtype == np.float32
            assert np.isfinite(array).all()
    per_part = {key.removeprefix("train_") for key in found if key.startswith("train_")}
    for part in ("valid", "test"):
        assert per_part == {key.removeprefix(f"{part}_") for key in found if key.startswith(f"{part}_")}
        # The loader may pool and reshuffle train and valid: every pair must stack along the trials.
        for key in per_part:
            assert found[f"{part}_{key}"].shape[1:] == found[f"train_{key}"].shape[1:]
            assert len(found[f"{part}_{key}"]) == len(found[f"{part}_encod_data"])


class DataModule:
    """What the data module of lfads-torch does with the files of a pattern, told by its contract.

    Every file is read whole, as arrays at its root. Of ``train`` and ``valid`` it needs what is encoded and
    what is reconstructed, of ``test`` what is encoded; the rest it fills in. All tensors of a split have one
    row for each trial. Reshuffled, every dataset of ``train`` is stacked on its twin of ``valid``.
    """

    def __init__(self, folder, *, ic_enc_seq_len=0, extra=(), reshuffle=False):
        self.sessions = []
        for path in sorted(folder.glob("*.h5")):
            with h5py.File(path, "r") as h5:
                arrays = {key: item[()] for key, item in h5.items()}
            if reshuffle:
                arrays |= self.reshuffled(arrays)
            parts = [part for part in ("train", "valid", "test") if f"{part}_encod_data" in arrays]
            self.sessions.append(
                {
                    part: self.batch(arrays, part, ic_enc_seq_len, () if part == "test" else extra)
                    for part in parts
                }
            )

    @staticmethod
    def batch(arrays, part, n_ic, extra):
        encoded = torch.tensor(arrays[f"{part}_encod_data"], dtype=torch.float)
        n, n_bins, _ = encoded.shape
        recon = arrays.get(f"{part}_recon_data", np.zeros((n, 0, 0)) if part == "test" else None)
        external = torch.tensor(arrays.get(f"{part}_ext_input", np.zeros((n, n_bins, 0))), dtype=torch.float)
        truth = torch.full((n, 0, 0), float("nan"))
        if f"{part}_truth" in arrays:
            scale = arrays["conversion_factor"]
            truth = torch.tensor(arrays[f"{part}_truth"], dtype=torch.float) / scale
        found = {
            "encod": encoded, "recon": torch.tensor(recon, dtype=torch.float), "ext": external[:, n_ic:],
            "truth": truth[:, n_ic:],
            **{key: torch.tensor(arrays[f"{part}_{key}"], dtype=torch.float) for key in extra},
        }  # fmt: skip
        assert {len(tensor) for tensor in found.values()} == {n}
        return found

    @staticmethod
    def reshuffled(arrays):
        keys = [key.removeprefix("train_") for key in arrays if key.startswith("train_")]
        n_train = len(arrays["train_encod_data"])
        order, made = None, {}
        for key in keys:
            both = np.concatenate([arrays[f"train_{key}"], arrays[f"valid_{key}"]])
            order = np.random.default_rng(0).permutation(len(both)) if order is None else order
            made[f"train_{key}"], made[f"valid_{key}"] = both[order[:n_train]], both[order[n_train:]]
        return made


@pytest.mark.parametrize("reshuffle", [False, True])
def test_a_data_module_as_that_of_lfads_torch_reads_it(store, tmp_path, reshuffle):
    settings = {"forward_ms": 100, "heldout_fraction": 0.25, "ext_input": "velocity", "truth": "rates"}
    export(store, tmp_path, **settings)
    (session,) = DataModule(tmp_path, extra=("trial", "start_bin"), reshuffle=reshuffle).sessions
    assert set(session) == {"train", "valid", "test"}
    trials = []
    for part in session.values():
        assert part["encod"].shape[1:] == (36, 9)
        assert part["recon"].shape[1:] == part["truth"].shape[1:] == (41, 12)
        assert part["ext"].shape[1:] == (41, 2)
        assert all(tensor.isfinite().all() for tensor in part.values())
        assert torch.equal(part["encod"], part["recon"][:, :36, :9])
        # Truth over the conversion factor is expected spikes per bin.
        assert float(part["truth"].mean() / part["recon"].mean()) == pytest.approx(1, rel=0.1)
        trials += part["trial"].tolist() if "trial" in part else []
    assert len(set(trials)) == len(trials)
    plain = DataModule(tmp_path).sessions[0]["train"]["encod"]
    assert torch.equal(session["train"]["encod"], plain) != reshuffle


def test_the_optional_arrays_are_left_out_unless_asked_for(store, tmp_path):
    assert not [key for key in export(store, tmp_path) if "ext" in key or "truth" in key or "conv" in key]


def test_values_are_those_of_the_store(store, tmp_path):
    found = export(store, tmp_path, truth="rates", ext_input="velocity")
    same = store.trials.sel(trial=found["valid_trial"])
    assert np.array_equal(found["valid_recon_data"], same["counts"].sel(unit=found["recon_unit"]).values)
    assert np.array_equal(found["valid_truth"], same["rates"].sel(unit=found["recon_unit"]).values)
    assert np.array_equal(found["valid_ext_input"], same["velocity"].values)
    assert found["time"] == pytest.approx(store.trials["time"].values)


def test_truth_over_the_conversion_factor_is_spikes_per_bin(store, tmp_path):
    found = export(store, tmp_path, truth="rates")
    assert found["conversion_factor"] == pytest.approx(50.0)
    per_bin = found["train_truth"] / found["conversion_factor"]
    assert per_bin.mean() == pytest.approx(found["train_recon_data"].mean(), rel=0.05)


def test_encoded_data_are_the_first_bins_and_units_of_reconstructed_data(store, tmp_path):
    found = export(store, tmp_path, forward_ms=200, heldout_fraction=0.25)
    assert found["train_encod_data"].shape[1:] == (36, 9)
    assert found["train_recon_data"].shape[1:] == (46, 12)
    assert np.array_equal(found["train_recon_data"][:, :36, :9], found["train_encod_data"])
    bins = found["train_start_bin"][:, None] + np.arange(46)
    counts = store.continuous["counts"].sel(unit=found["recon_unit"]).values
    assert np.array_equal(found["train_recon_data"], counts[bins])
    assert found["time"][-1] == pytest.approx(0.64)


def test_trials_whose_forward_bins_are_not_theirs_are_left_out_and_counted(store, tmp_path):
    continuous = store.continuous.copy(deep=True)
    row = store.rows("train")[2]
    continuous["observed"][int(store.trials["start_bin"][row]) + 40] = False
    found = export(dataclasses.replace(store, continuous=continuous), tmp_path, forward_ms=200)
    assert int(store.trials["trial"][row]) not in found["train_trial"]
    assert found["n_incomplete"] == 1


def test_without_validation_trials_it_says_what_to_do(store, tmp_path):
    split = np.where(store.trials["split"].values == "val", "test", store.trials["split"].values)
    without = dataclasses.replace(store, trials=store.trials.assign_coords(split=("trial", split)))
    with pytest.raises(DataError, match=r"no trial is in the split val.*split.val"):
        export(without, tmp_path)


def test_without_test_trials_the_file_has_no_test_part(store, tmp_path):
    split = np.where(store.trials["split"].values == "test", "train", store.trials["split"].values)
    without = dataclasses.replace(store, trials=store.trials.assign_coords(split=("trial", split)))
    assert not [key for key in export(without, tmp_path) if key.startswith("test_")]


def test_an_external_input_that_is_not_known_everywhere_is_refused(store, tmp_path):
    continuous = store.continuous.copy(deep=True)
    continuous["velocity"][int(store.trials["start_bin"][store.rows("train")[0]]) + 3] = np.nan
    broken = dataclasses.replace(store, continuous=continuous)
    with pytest.raises(DataError, match=r"the velocity of 1 of \d+ trials is not known"):
        export(broken, tmp_path, ext_input="velocity")


@pytest.mark.parametrize(("bin_size_s", "per_second"), [(0.01, 100.0), (0.05, 20.0)])
def test_the_conversion_factor_is_of_the_bins(store_of, recording, tmp_path, bin_size_s, per_second):
    store = store_of(recording, bin_size_s=bin_size_s, window_s=(-0.25, 0.45))
    found = export(store, tmp_path, truth="rates")
    assert found["conversion_factor"] == pytest.approx(per_second)
    assert found["time"] == pytest.approx(store.trials["time"].values)


def test_each_part_holds_the_trials_of_its_split_and_units_in_the_order_it_says(store, tmp_path):
    found = export(store, tmp_path, heldout_fraction=0.25, truth="rates", forward_ms=200)
    order = found["recon_unit"]
    assert order.tolist() != sorted(order), "held-out units stand last, so that the order is not that of ids"
    for part, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        mine = store.trials["trial"].values[store.rows(split)]
        assert set(found[f"{part}_trial"]) <= set(mine)
        bins = found[f"{part}_start_bin"][:, None] + np.arange(46)
        truth = store.continuous["rates"].sel(unit=order).values[bins]
        assert np.array_equal(found[f"{part}_truth"], truth.astype(np.float32))
        same = store.trials.sel(trial=found[f"{part}_trial"])
        assert np.array_equal(found[f"{part}_start_bin"], same["start_bin"].values)
