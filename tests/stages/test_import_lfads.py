"""Datasets of lfads-torch become stores: nothing changed, nothing lost, and bad files say what is wrong."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.import_lfads import import_lfads
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores import hdf5_arrays
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.group_checks import check_group
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import read_attributes, read_continuous, read_trials
from nwb_latents.pipeline.stores.value_checks import StoredArrays, disagreements
from nwb_latents.pipeline.training.feed import feed_sessions
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.training_start import training_session
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.export import LfadsExport
from nwb_latents.schemas.imports import LfadsH5Import
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.training import TrainSettings

N_TRIALS = {"train": 6, "valid": 3}
N_BINS, N_FORWARD, N_IN, N_OUT = 8, 4, 3, 2


@pytest.fixture
def content():
    """Return what a file of two held-out units and four forward bins holds."""
    rng = np.random.default_rng(0)
    arrays = {"conversion_factor": np.array(50.0)}
    ids = np.split(rng.permutation(9), [N_TRIALS["train"]])
    for (part, n), part_ids in zip(N_TRIALS.items(), ids, strict=True):
        truth = rng.gamma(2.0, 10.0, (n, N_BINS + N_FORWARD, N_IN + N_OUT))
        recon = rng.poisson(truth / 50.0).astype(np.float32)
        arrays |= {
            f"{part}_encod_data": recon[:, :N_BINS, :N_IN],
            f"{part}_recon_data": recon,
            f"{part}_truth": truth,
            f"{part}_inds": part_ids,
            f"{part}_ext_input": rng.normal(size=(n, N_BINS + N_FORWARD, 1)),
            f"{part}_behavior": rng.normal(size=(n, N_BINS, 2)),
        }
    return arrays


def write(path, arrays):
    with h5py.File(path, "w") as h5:
        for name, values in arrays.items():
            h5[name] = values
    return path


@pytest.fixture
def file(tmp_path, content):
    return write(tmp_path / "monkey.h5", content)


def opened(catalog, entry):
    store = store_path(catalog, entry.store)
    trials, continuous = read_trials(store), read_continuous(store)
    for group, dataset in (("trials", trials), ("continuous", continuous)):
        check_group(dataset, group, where="here", values=True)
    return trials.load(), continuous.load()


def test_counts_splits_and_held_out_units_are_those_of_the_file(tmp_path, file, content):
    catalog = tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [file], LfadsH5Import(bin_ms=20, velocity_key="behavior"))
    trials, continuous = opened(catalog, entry)
    assert (entry.session, entry.subject, entry.source) == ("sub-unknown_ses-monkey", "unknown", "monkey.h5")
    assert (entry.n_trials, entry.n_units, entry.n_bins) == (9, N_IN + N_OUT, N_BINS)
    assert trials["heldout"].values.tolist() == [False] * N_IN + [True] * N_OUT
    assert trials["trial"].values.tolist() == list(range(9))
    for part, split in (("train", "train"), ("valid", "val")):
        ids = content[f"{part}_inds"]
        assert set(trials["trial"].values[trials["split"].values == split]) == set(ids)
        same = trials.sel(trial=ids)
        start = same["start_bin"].values[:, None] + np.arange(N_BINS + N_FORWARD)
        assert np.array_equal(same["counts"], content[f"{part}_recon_data"][:, :N_BINS])
        assert np.array_equal(continuous["counts"].values[start], content[f"{part}_recon_data"])
        assert continuous["observed"].values[start].all()
        assert same["true_rates"].values == pytest.approx(content[f"{part}_truth"][:, :N_BINS], rel=1e-6)
        assert continuous["external"].values[start] == pytest.approx(content[f"{part}_ext_input"], rel=1e-6)
        assert same["velocity"].values == pytest.approx(content[f"{part}_behavior"], rel=1e-6)
    assert continuous["observed"].values.sum() == 9 * (N_BINS + N_FORWARD)
    assert np.isnan(trials["go_cue"]).all()
    assert np.isnan(trials["position"]).all()


def test_no_trial_reaches_into_another(tmp_path, content):
    for part in N_TRIALS:
        content[f"{part}_recon_data"] = np.zeros_like(content[f"{part}_recon_data"])
        content[f"{part}_recon_data"][:1] = 1
        content[f"{part}_encod_data"] = content[f"{part}_recon_data"][:, :N_BINS, :N_IN]
    catalog = tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [write(tmp_path / "a.h5", content)], LfadsH5Import(bin_ms=20))
    trials, continuous = opened(catalog, entry)
    full = trials["counts"].values.any(axis=(1, 2))
    assert trials["rates"].values[full] == pytest.approx(50.0)
    assert not trials["rates"].values[~full].any()
    last = trials["start_bin"].values[:-1] + N_BINS + N_FORWARD
    assert not continuous["observed"].values[last[:, None] + np.arange(25)].any()


def test_the_store_says_where_it_comes_from(tmp_path, file):
    catalog = tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [file], LfadsH5Import(bin_ms=20, task="CO"))
    attributes = read_attributes(store_path(catalog, entry.store))
    origin = attributes.provenance
    assert origin.asset_digest == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert (origin.layout, origin.source, attributes.task) == ("lfads-h5", "monkey.h5", "CO")
    assert any("without times" in warning for warning in origin.warnings)
    assert read_catalog(catalog).sessions[f"{entry.session}@{entry.recipe_id}"] == entry


def test_a_file_imported_before_is_left_alone_and_another_is_not_overwritten(tmp_path, file, content):
    catalog, events = tmp_path / "catalog.yaml", []
    done = lambda path, **words: (  # noqa: E731
        import_lfads(catalog, [path], LfadsH5Import(bin_ms=20), report=events.append, **words),
        events[-1].status,
    )[1]
    assert [done(file), done(file), done(file, force=True)] == ["done", "skipped", "done"]
    other = write(tmp_path / "sub-unknown_ses-monkey.h5", content | {"conversion_factor": np.array(20.0)})
    with pytest.raises(DataError, match=r"is taken by the store made from monkey\.h5"):
        done(other)
    assert done(other, force=True) == "done"


SMALL = LFADSSettings(
    generator_dim=6, ic_dim=3, factor_dim=3, encoder_dim=4, controller_dim=4, input_dim=1, external_inputs=1
)


def test_a_model_is_trained_on_what_is_encoded_and_scored_on_what_is_reconstructed(tmp_path, file, content):
    catalog = tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [file], LfadsH5Import(bin_ms=20))
    settings = TrainSettings(
        model=SMALL, max_steps=2, device="cpu", co_smoothing=True, standardise=False,
        forward_ms=20.0 * N_FORWARD,
    )  # fmt: skip
    ahead = training_session(store_path(catalog, entry.store), settings.forward_ms)
    feed = feed_sessions([ahead], settings)[entry.session]
    for part, split in (("train", feed.train), ("valid", feed.val)):
        # Trials lie in the store in the order of their ids.
        order = np.argsort(content[f"{part}_inds"])
        assert np.array_equal(split.y[..., :N_IN], content[f"{part}_encod_data"][order])
        assert split.y[..., N_IN:].isnan().all()
        assert np.array_equal(split.scored, content[f"{part}_recon_data"][order])
        assert split.ext.numpy() == pytest.approx(content[f"{part}_ext_input"][order], rel=1e-6)
    run = train(catalog, settings)
    trials, _ = opened(catalog, entry)
    rates = load_run(tmp_path / run.path, device="cpu").reconstruct(session_in_memory(trials))
    assert rates.shape == trials["counts"].shape
    assert np.isfinite(rates).all()


def test_units_are_held_out_only_where_some_are_marked(tmp_path, content):
    for part in N_TRIALS:
        content[f"{part}_encod_data"] = content[f"{part}_recon_data"][:, :N_BINS]
    catalog = tmp_path / "catalog.yaml"
    import_lfads(catalog, [write(tmp_path / "a.h5", content)], LfadsH5Import(bin_ms=20))
    with pytest.raises(DataError, match="co_smoothing: no unit of sub-unknown_ses-a is marked as held out"):
        train(catalog, TrainSettings(model=SMALL, max_steps=2, device="cpu", co_smoothing=True))


@pytest.mark.parametrize("forward_ms", [0, 100])
def test_an_export_comes_back_as_it_was(tmp_path, recording, enter_recording, forward_ms):
    catalog = tmp_path / "catalog.yaml"
    there = enter_recording(catalog, recording, IngestRecipe())
    settings = LfadsExport(heldout_fraction=0.25, forward_ms=forward_ms, ext_input="none", truth="rates")
    (exported,) = export(catalog, "lfads", settings=settings)
    (entry,) = import_lfads(catalog, [exported.path], LfadsH5Import())
    assert len(read_catalog(catalog).sessions) == 2
    assert (entry.session, entry.subject, entry.task) == (there.session, there.subject, there.task)
    before, _ = opened(catalog, there)
    after, _ = opened(catalog, entry)
    assert np.array_equal(after["time"], before["time"])
    same = before.sel(trial=after["trial"], unit=after["unit"])
    if not forward_ms:
        assert after.sizes["trial"] == before.sizes["trial"]
    assert np.array_equal(after["counts"], same["counts"])
    assert np.array_equal(after["split"], same["split"])
    assert after["true_rates"].values == pytest.approx(same["rates"].values, rel=1e-5)
    with h5py.File(exported.path) as h5:
        n_in = h5["train_encod_data"].shape[2]
        first = {name: h5[name][()] for name in h5 if name.endswith("_data")}
    assert after["heldout"].values.tolist() == [k >= n_in for k in range(after.sizes["unit"])]
    assert n_in < after.sizes["unit"]
    again = export(
        catalog, "lfads", settings=settings.model_copy(update={"truth": "none"}), recipe_id=entry.recipe_id
    )
    with h5py.File(again[0].path) as h5:
        for name, values in first.items():
            assert np.array_equal(h5[name][()], values), name


def spoil(key, change):
    return lambda arrays: arrays | {key: change(arrays[key].copy())}


def at(value):
    def change(values):
        values[1, 2, 0] = value
        return values

    return change


def without(key):
    return lambda arrays: {name: values for name, values in arrays.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("train_recon_data"), "train_recon_data: expected a dataset .*, found none; there are conv"),
        (without("valid_encod_data"), "valid_encod_data: expected a dataset .*, found none"),
        (without("conversion_factor"), "conversion_factor: expected a positive number"),
        (without("valid_ext_input"), "valid_ext_input: expected a dataset"),
        (
            spoil("train_encod_data", lambda v: v[0]),
            r"train_encod_data: .* \(trial, time, unit\).*found shape",
        ),
        (
            spoil("valid_recon_data", lambda v: v[..., :4]),
            "expected 12 bins and 5 units as in train_recon_data",
        ),
        (spoil("valid_encod_data", lambda v: v[:, :7]), "expected 8 bins and 3 units as in train_encod_data"),
        (spoil("train_recon_data", lambda v: v[:5]), "train_recon_data: expected 6 trials of at least"),
        (spoil("train_recon_data", at(np.nan)), r"found NaN in 1 of 360 samples, the first at \[1, 2, 0\]"),
        (spoil("train_recon_data", at(-1)), "expected spikes per bin, found negative values in 1"),
        (spoil("train_recon_data", at(np.inf)), "found infinite or huge values in 1"),
        (
            spoil("valid_recon_data", at(0.5)),
            "valid_recon_data: .* not whole numbers .*Smoothed rates are not",
        ),
        (spoil("train_recon_data", at(90)), r"others in 1 units \(columns 0\)"),
        (spoil("train_truth", lambda v: v[..., :4]), "train_truth: expected 5 units|4 columns as in"),
        (spoil("train_inds", lambda v: v[:2]), "train_inds: expected 6 whole numbers"),
        (spoil("valid_inds", lambda v: v.astype("S3")), "valid_inds: expected 3 whole numbers"),
        (spoil("conversion_factor", lambda v: -v), r"conversion_factor: .*found -50\.0"),
        (spoil("valid_behavior", lambda v: v[:, :3]), r"valid_behavior: expected the shape \(3, 8 or 12"),
    ],
)
def test_a_bad_file_says_which_dataset_what_was_expected_and_what_was_found(
    tmp_path, content, change, message
):
    path = write(tmp_path / "bad.h5", change(content))
    catalog = tmp_path / "catalog.yaml"
    with pytest.raises(DataError, match=rf"bad\.h5: .*(?:{message})"):
        import_lfads(catalog, [path], LfadsH5Import(bin_ms=20, velocity_key="behavior"))
    assert not catalog.exists()
    assert not list(tmp_path.rglob("*.zarr"))


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.int64, np.float64])
def test_counts_may_be_numbers_of_any_kind(tmp_path, content, kind):
    for part in N_TRIALS:
        for name in ("encod_data", "recon_data"):
            content[f"{part}_{name}"] = content[f"{part}_{name}"].astype(kind)
    catalog = tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [write(tmp_path / "a.h5", content)], LfadsH5Import(bin_ms=20))
    trials, _ = opened(catalog, entry)
    ids = content["train_inds"]
    assert np.array_equal(trials["counts"].sel(trial=ids), content["train_recon_data"][:, :N_BINS])
    assert trials["counts"].dtype == np.uint8


def test_a_file_that_only_says_it_is_an_export_is_refused(tmp_path, file):
    with h5py.File(file, "a") as h5:
        h5.attrs["export_key"] = "k"
    with pytest.raises(DataError, match="its recipe and time cannot be read"):
        import_lfads(tmp_path / "catalog.yaml", [file], LfadsH5Import(bin_ms=20))


def test_the_width_of_a_bin_has_to_be_said_once(tmp_path, file, recording, enter_recording):
    catalog = tmp_path / "catalog.yaml"
    with pytest.raises(DataError, match="--bin-ms 20"):
        import_lfads(catalog, [file], LfadsH5Import())
    enter_recording(catalog, recording, IngestRecipe())
    (exported,) = export(catalog, "lfads")
    with pytest.raises(DataError, match="states bins of 20 ms, --bin-ms says 10"):
        import_lfads(catalog, [exported.path], LfadsH5Import(bin_ms=10))


def with_test(content, **more):
    """Return the content with test trials of which only what is encoded is there."""
    rng = np.random.default_rng(5)
    return {**content, "test_encod_data": rng.poisson(1.0, (4, N_BINS, N_IN)), **more}


def test_bad_test_trials_can_be_left_out(tmp_path, content):
    bad = with_test(content, test_recon_data=np.full((4, N_BINS + N_FORWARD, N_IN + N_OUT), np.nan))
    bad = {name: v for name, v in bad.items() if not name.endswith("ext_input")}
    path, catalog = write(tmp_path / "a.h5", bad), tmp_path / "catalog.yaml"
    with pytest.raises(DataError, match=r"test_recon_data: .*--set test=false"):
        import_lfads(catalog, [path], LfadsH5Import(bin_ms=20))
    (entry,) = import_lfads(catalog, [path], LfadsH5Import(bin_ms=20, test=False))
    assert entry.n_trials == 9
    rest = with_test(content)
    with pytest.raises(DataError, match=r"test_ext_input: .* none; .*--set test=false"):
        import_lfads(catalog, [write(tmp_path / "b.h5", rest)], LfadsH5Import(bin_ms=20))


def test_whole_test_trials_are_test_trials(tmp_path, content):
    whole = with_test(content, test_recon_data=content["valid_recon_data"])
    whole["test_encod_data"] = content["valid_encod_data"]
    whole = {name: v for name, v in whole.items() if not name.endswith(("inds", "truth", "ext_input"))}
    path, catalog = write(tmp_path / "b.h5", whole), tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [path], LfadsH5Import(bin_ms=20))
    trials, _ = opened(catalog, entry)
    assert trials["split"].values.tolist() == ["train"] * 6 + ["val"] * 3 + ["test"] * 3


def test_test_trials_need_no_more_than_what_is_encoded(tmp_path, content):
    """The loader of lfads-torch asks for test_encod_data alone; nothing unknown is taken for silence."""
    rest = {name: v for name, v in with_test(content).items() if not name.endswith("ext_input")}
    for part in N_TRIALS:
        rest[f"{part}_encod_data"] = rest[f"{part}_recon_data"][:, :N_BINS]
    rest["test_encod_data"] = np.random.default_rng(5).poisson(1.0, (4, N_BINS, N_IN + N_OUT))
    catalog = tmp_path / "catalog.yaml"
    settings = LfadsH5Import(bin_ms=20, velocity_key="behavior")
    (entry,) = import_lfads(catalog, [write(tmp_path / "a.h5", rest)], settings)
    trials, continuous = opened(catalog, entry)
    found = trials.isel(trial=trials["split"].values == "test")
    assert found["trial"].values.tolist() == [9, 10, 11, 12]
    assert np.array_equal(found["counts"], rest["test_encod_data"])
    assert np.isnan(found["velocity"]).all()
    assert np.isnan(found["true_rates"]).all()
    start = found["start_bin"].values[:, None]
    assert continuous["observed"].values[start + np.arange(N_BINS)].all()
    assert not continuous["observed"].values[start + N_BINS + np.arange(N_FORWARD)].any()
    said = " ".join(read_attributes(store_path(catalog, entry.store)).provenance.warnings)
    assert "the 4 bins after the window of the 4 test trials count as not recorded" in said
    assert "test_inds is not in the file; test trials are numbered from 9 on" in said


def test_trials_whose_held_out_units_are_not_known_are_neither_fitted_nor_scored(tmp_path, content):
    rest = {name: v for name, v in with_test(content).items() if not name.endswith("ext_input")}
    catalog = tmp_path / "catalog.yaml"
    (entry,) = import_lfads(catalog, [write(tmp_path / "a.h5", rest)], LfadsH5Import(bin_ms=20))
    trials, _ = opened(catalog, entry)
    assert trials["split"].values.tolist().count("none") == 4
    found = trials.isel(trial=trials["split"].values == "none")
    assert np.array_equal(found["counts"].values[..., :N_IN], rest["test_encod_data"])
    known = np.concatenate([rest[f"{part}_recon_data"] for part in N_TRIALS])
    assert trials["mean_rate"].values[N_IN:] == pytest.approx(50 * known[..., N_IN:].mean((0, 1)))
    said = " ".join(read_attributes(store_path(catalog, entry.store)).provenance.warnings)
    assert "spikes of the 2 held-out units of the 4 test trials are not known" in said
    assert "valid_split=test" in said
    assert not list(disagreements(stored_arrays(catalog, entry)))
    settings = TrainSettings(
        model=SMALL.model_copy(update={"external_inputs": 0}), max_steps=2, device="cpu", co_smoothing=True,
        standardise=False, forward_ms=20.0 * N_FORWARD,
    )  # fmt: skip
    run = train(catalog, settings)
    rates = load_run(tmp_path / run.path, device="cpu").reconstruct(session_in_memory(trials))
    assert rates.shape == trials["counts"].shape


def stored_arrays(catalog, entry):
    store = store_path(catalog, entry.store)
    trials, continuous = (
        {k: v.values for k, v in group.variables.items()} for group in opened(catalog, entry)
    )
    return StoredArrays(trials, continuous, None, read_attributes(store))


@pytest.mark.parametrize("marked", [True, False])
def test_rates_of_posterior_sampling_are_scored_as_a_source(tmp_path, content, marked):
    """`run_posterior_sampling` copies the dataset and adds its outputs, expected spikes per bin."""
    rng = np.random.default_rng(2)
    for part, n in (("train", 40), ("valid", 20)):
        truth = rng.gamma(2.0, 0.6, (n, N_BINS + N_FORWARD, N_IN + N_OUT))
        counts = rng.poisson(truth)
        content |= {
            f"{part}_recon_data": counts,
            f"{part}_encod_data": counts[:, :N_BINS, : N_IN if marked else None],
            f"{part}_output_params": truth.astype(np.float32),
            f"{part}_factors": rng.normal(size=(n, N_BINS + N_FORWARD, 3)),
            f"{part}_ic_mean": rng.normal(size=(n, 4)),
        }
    kept = {name: v for name, v in content.items() if name.endswith(("data", "params", "factors", "mean"))}
    catalog, said = tmp_path / "catalog.yaml", []
    path = write(tmp_path / "a.h5", kept)
    (entry,) = import_lfads(catalog, [path], LfadsH5Import(bin_ms=20, valid_split="test"))
    assert read_catalog(catalog).sessions[f"{entry.session}@{entry.recipe_id}"].imported_rates
    asked = EvaluateSettings(
        metrics=["co_bps", "fp_bps"], baselines=["imported", "null"], heldout_fraction=0.4,
        forward_ms=20.0 * N_FORWARD, n_resamples=2,
    )  # fmt: skip
    found = {(m.source, m.name): m for m in evaluate(catalog, asked, report=said.append)}
    counts, rates = kept["valid_recon_data"], kept["valid_output_params"].astype(float)

    def bps(units, bins):
        n, r = counts[:, bins, units], rates[:, bins, units]
        flat = np.broadcast_to(n.mean((0, 1)), n.shape)
        gain = (n * np.log(r) - r).sum() - (n * np.log(flat) - flat).sum()
        return gain / n.sum() / np.log(2)

    window, ahead = slice(None, N_BINS), slice(N_BINS, None)
    assert found["imported", "fp_bps"].value == pytest.approx(bps(slice(None), ahead), rel=1e-5)
    co = found["imported", "co_bps"]
    if marked:
        assert co.value == pytest.approx(bps(slice(N_IN, None), window), rel=1e-5)
    else:
        assert co.value is None or np.isnan(co.value)


@pytest.mark.parametrize(
    ("n_ahead", "why"),
    [
        (N_FORWARD, f"reach {N_FORWARD} of the 6 bins after the window that are scored; --set forward_ms=80"),
        (0, "came with the file and end with the window"),
    ],
)
def test_imported_rates_that_end_before_what_is_scored_say_how_far_they_reach(
    tmp_path, content, n_ahead, why
):
    rng = np.random.default_rng(2)
    for part, n in (("train", 40), ("valid", 20)):
        truth = rng.gamma(2.0, 0.6, (n, N_BINS + n_ahead, N_IN))
        content |= {
            f"{part}_recon_data": rng.poisson(truth),
            f"{part}_encod_data": rng.poisson(truth[:, :N_BINS]),
            f"{part}_output_params": truth.astype(np.float32),
        }
        content[f"{part}_encod_data"] = content[f"{part}_recon_data"][:, :N_BINS]
    kept = {name: v for name, v in content.items() if name.endswith(("data", "params"))}
    catalog, said = tmp_path / "catalog.yaml", []
    import_lfads(catalog, [write(tmp_path / "a.h5", kept)], LfadsH5Import(bin_ms=20, valid_split="test"))
    asked = EvaluateSettings(metrics=["fp_bps"], baselines=["imported"], n_resamples=2, forward_ms=120.0)
    evaluate(catalog, asked, report=said.append)
    assert any(why in (getattr(event, "reason", "") or "") for event in said), said


def test_sessions_without_imported_rates_are_scored_without_them(tmp_path, file):
    catalog, said = tmp_path / "catalog.yaml", []
    import_lfads(catalog, [file], LfadsH5Import(bin_ms=20, valid_split="test"))
    asked = EvaluateSettings(metrics=["fp_bps"], baselines=["null", "imported"], n_resamples=2, forward_ms=80)
    assert {m.source for m in evaluate(catalog, asked, report=said.append)} == {"null"}
    assert any("no rates of another program came with" in (getattr(e, "reason", "") or "") for e in said)


def test_velocity_is_decoded_where_the_file_holds_it_and_trials_to_score(tmp_path, content):
    rng = np.random.default_rng(1)
    for part, n in (("train", 60), ("valid", 20)):
        counts = rng.poisson(2.0, (n, N_BINS, N_IN))
        content |= {
            f"{part}_encod_data": counts,
            f"{part}_recon_data": counts,
            f"{part}_behavior": counts[..., :2] + 0.01 * rng.normal(size=(n, N_BINS, 2)),
        }
    kept = {name: v for name, v in content.items() if name.endswith(("data", "behavior"))}
    catalog = tmp_path / "catalog.yaml"
    path = write(tmp_path / "a.h5", kept)
    settings = LfadsH5Import(bin_ms=20, velocity_key="behavior", valid_split="test", smooth_sigma_ms=0)
    import_lfads(catalog, [path], settings)
    (score,) = decode(catalog, DecodeSettings(lag_ms=0, sources=("rates",)))
    assert score.n_trials == 20
    assert score.value > 0.99


def test_a_file_larger_than_the_memory_is_refused_unless_forced(tmp_path, file, monkeypatch):
    monkeypatch.setattr(hdf5_arrays, "memory_bytes", lambda: 100)
    with pytest.raises(DataError, match=r"monkey\.h5: /\w+ has the shape .*or --force to try all the same"):
        import_lfads(tmp_path / "catalog.yaml", [file], LfadsH5Import(bin_ms=20))
    (entry,) = import_lfads(tmp_path / "catalog.yaml", [file], LfadsH5Import(bin_ms=20), force=True)
    assert entry.n_trials == sum(N_TRIALS.values())


def test_one_bad_file_does_not_stop_the_others(tmp_path, file):
    catalog, bad = tmp_path / "catalog.yaml", tmp_path / "bad.h5"
    bad.write_bytes(b"no HDF5")
    with pytest.raises(PartialFailure, match=r"1 of 2 files .*bad\.h5: cannot be read as HDF5") as caught:
        import_lfads(catalog, [bad, file], LfadsH5Import(bin_ms=20))
    assert [entry.source for entry in caught.value.results] == ["monkey.h5"]
    assert len(read_catalog(catalog).sessions) == 1
