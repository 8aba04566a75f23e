"""Models of lfads-torch give here the rates they give there, by equations restated in plain torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import torch
from published.lfads_torch import IC, F, Reference, T
from scipy import stats
from torch import nn

from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.import_checkpoint import import_checkpoint
from nwb_latents.pipeline.stages.import_lfads import import_lfads
from nwb_latents.pipeline.stages.report import ignore
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session, session_in_memory
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.pipeline.training import lfads_torch_file
from nwb_latents.pipeline.training.feed import with_forward_bins
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.lfads_torch_file import read_lfads_torch
from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.imports import LfadsCheckpointImport, LfadsH5Import
from nwb_latents.schemas.training import TrainSettings

BIN_S, AHEAD = 0.02, 3


class Place:
    """A catalog with stores that fit a reference."""

    def __init__(self, folder, reference, *, n_trials=9, n_ahead=0):
        self.folder, self.catalog, self.reference = folder, folder / "catalog.yaml", reference
        rng = np.random.default_rng(3)
        self.names = []
        for number, (n_in, n_out) in enumerate(zip(reference.n_in, reference.n_out, strict=True)):
            with h5py.File(folder / f"data{number}.h5", "w") as h5:
                for part in ("train", "valid"):
                    counts = rng.poisson(1.5, (n_trials, T + n_ahead, n_out))
                    h5[f"{part}_recon_data"], h5[f"{part}_encod_data"] = counts, counts[:, :T, :n_in]
                    if reference.U:
                        h5[f"{part}_ext_input"] = rng.normal(size=(n_trials, T, reference.U))
            (entry,) = import_lfads(
                self.catalog, [folder / f"data{number}.h5"], LfadsH5Import(bin_ms=BIN_S * 1e3)
            )
            self.names.append(entry.session)

    def store(self, session):
        entries = read_catalog(self.catalog).sessions.values()
        (entry,) = [e for e in entries if e.session == session]
        return store_path(self.catalog, entry.store)

    def trials(self, session):
        return read_trials(self.store(session)).load()

    def bring(self, path, *, sessions=None, run_name=None, report=ignore, force=False, **settings):
        return import_checkpoint(
            self.catalog,
            path,
            LfadsCheckpointImport(**settings),
            sessions=self.names if sessions is None else sessions,
            run_name=run_name,
            force=force,
            report=report,
        )


VARIANTS = {
    "controller": {},
    "autonomous": {"n_inferred": 0},
    "read-in": {"width": 4},
    "held-out units": {"n_in": (4,), "n_out": (7,)},
    "held-out units behind a read-in": {"n_in": (4,), "n_out": (7,), "width": 3},
    "stitched": {"n_in": (5, 3), "n_out": (5, 6), "width": 4},
    "external inputs": {"n_external": 2},
    "external inputs alone": {"n_inferred": 0, "n_external": 1},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_rates_are_those_of_lfads_torch(tmp_path, variant):
    reference = Reference(**variant)
    place = Place(tmp_path, reference)
    entry = place.bring(reference.save(tmp_path / "best.ckpt"))
    run = load_run(tmp_path / entry.path, device="cpu")
    assert run.settings.co_smoothing == (reference.n_in != reference.n_out)
    for number, session in enumerate(place.names):
        trials = place.trials(session)
        external = torch.tensor(trials["external"].values) if reference.U else None
        y = torch.from_numpy(trials["counts"].values.astype(np.float32))
        expected = reference.params(y, number, external).exp()[..., 0, :].numpy() / BIN_S
        assert expected.std() > 1.0
        assert run.reconstruct(session_in_memory(trials), n_samples=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_bins_after_the_window_are_those_of_lfads_torch(tmp_path, variant):
    """The model goes on as it was trained to (recon_seq_len above encod_seq_len), it does not forecast."""
    reference = Reference(**variant)
    place = Place(tmp_path, reference, n_ahead=AHEAD)
    entry = place.bring(reference.save(tmp_path / "best.ckpt", recon_seq_len=T + AHEAD))
    run = load_run(tmp_path / entry.path, device="cpu")
    assert run.settings.forward_ms == AHEAD * 20.0
    for number, name in enumerate(place.names):
        session = open_session(place.store(name))
        ready = with_forward_bins(session, AHEAD)
        external = torch.tensor(session.trials["external"].values) if reference.U else None
        y = torch.from_numpy(session.trials["counts"].values.astype(np.float32))
        found = reference.params(y, number, external, AHEAD).exp()[..., 0, :].numpy() / BIN_S
        ahead = run.forward(ready, n_bins=AHEAD, n_samples=0)
        assert ahead == pytest.approx(found[:, T:], rel=1e-5)
        assert run.reconstruct(session, n_samples=0) == pytest.approx(found[:, :T], rel=1e-5)
        forecast = run.forecast(ready, seen_bins=T, n_bins=AHEAD)
        if reference.C:
            assert np.abs(forecast / ahead - 1).max() > 1e-3


def test_fewer_bins_out_than_in_are_refused(tmp_path):
    reference = Reference()
    place = Place(tmp_path, reference)
    with pytest.raises(DataError, match=r"reconstructs 5 bins \(recon_seq_len\) of the 7 it is shown"):
        place.bring(reference.save(tmp_path / "best.ckpt", recon_seq_len=5))


def test_the_columns_of_an_export_find_their_units_in_the_store_it_was_made_of(
    tmp_path, recording, enter_recording
):
    catalog = tmp_path / "catalog.yaml"
    n_units = len(recording.units.ids)
    heldout = np.arange(n_units) % 3 == 1
    marked = replace(recording, units=replace(recording.units, heldout=heldout))
    entry = enter_recording(catalog, marked)
    (exported,) = export(catalog, "lfads")
    trials = read_trials(store_path(catalog, entry.store)).load()
    with h5py.File(exported.path) as h5:
        column = [trials["unit"].values.tolist().index(u) for u in h5["recon_unit"][()]]
        n_in, first = h5["train_encod_data"].shape[2], torch.from_numpy(h5["train_encod_data"][()])
        row = trials["trial"].values.tolist().index(h5["train_trial"][0])
    assert column != sorted(column)
    reference = Reference(n_in=(n_in,), n_out=(len(column),), width=4)
    bins = {"encod_seq_len": entry.n_bins, "recon_seq_len": entry.n_bins}
    path = reference.save(tmp_path / "best.ckpt", **bins)
    made = import_checkpoint(catalog, path, LfadsCheckpointImport(), sessions=[entry.session])
    rates = load_run(tmp_path / made.path, device="cpu").reconstruct(session_in_memory(trials), n_samples=0)
    expected = reference.params(first[:1]).exp()[0, :, 0] / BIN_S
    assert rates[row][:, column] == pytest.approx(expected.numpy(), rel=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "n_params", "mean"),
    [
        ("mse", 1, lambda p: p[..., 0, :]),
        ("gaussian", 2, lambda p: p[..., 0, :]),
        ("gamma", 2, lambda p: (p[..., 0, :] - p[..., 1, :]).exp()),
    ],
)
def test_other_likelihoods(tmp_path, likelihood, n_params, mean):
    reference = Reference(n_params=n_params)
    place = Place(tmp_path, reference)
    entry = place.bring(reference.save(tmp_path / "best.ckpt"), likelihood=likelihood)
    run, trials = load_run(tmp_path / entry.path, device="cpu"), place.trials(place.names[0])
    expected = mean(reference.params(torch.from_numpy(trials["counts"].values.astype(np.float32))))
    # Shapes and rates of a gamma distribution here are at least 1e-5.
    tolerance = 1e-3 if likelihood == "gamma" else 1e-5
    rates = run.reconstruct(session_in_memory(trials), n_samples=0)
    assert rates == pytest.approx(expected / BIN_S, rel=tolerance, abs=1e-4)


@pytest.mark.parametrize("prior", ["normal", "student_t", "none"])
def test_the_prior_of_the_inputs_is_told_by_its_weights(tmp_path, prior):
    reference = Reference()
    place = Place(tmp_path, reference)
    weights = {name: value for name, value in reference.w.items() if not name.startswith("co_prior")}
    two = torch.tensor([0.3, -0.2])
    if prior == "normal":
        weights |= {"co_prior.mean": two, "co_prior.logvar": two}
    if prior == "student_t":
        weights |= {"co_prior.loc": two, "co_prior.logscale": two}
    if prior == "none":
        weights = {name: value for name, value in weights.items() if not name.startswith("ic_prior")}
    path = reference.save(tmp_path / "best.ckpt", weights=weights)
    if prior == "student_t":
        with pytest.raises(DataError, match=r"Student-t prior, whose degrees of freedom .* input_prior_df=5"):
            place.bring(path)
    entry = place.bring(path, **({"input_prior_df": 4.0} if prior == "student_t" else {}))
    model = load_run(tmp_path / entry.path, device="cpu").model
    assert model.settings.input_prior == prior
    if prior != "none":
        assert torch.allclose(model.input_prior.prior.mean, two)
    if prior == "normal":
        assert torch.allclose(model.input_prior.prior.distribution().var, two.exp())


@pytest.mark.parametrize("which", ["co_prior", "ic_prior"])
def test_what_has_a_student_t_prior_has_a_student_t_posterior(tmp_path, which):
    """Penalty and draws of the posterior are those of torch's distribution, as lfads-torch has them."""
    reference, df = Reference(), 4.0
    place = Place(tmp_path, reference)
    dim = reference.C if which == "co_prior" else IC
    loc, log_scale = torch.linspace(-0.3, 0.2, dim), torch.linspace(-0.5, 0.1, dim)
    weights = {name: value for name, value in reference.w.items() if not name.startswith(which)}
    weights |= {f"{which}.loc": loc, f"{which}.logscale": log_scale}
    path = reference.save(tmp_path / "best.ckpt", weights=weights)
    asked = {"co_prior": "input_prior_df", "ic_prior": "ic_prior_df"}[which]
    with pytest.raises(DataError, match=rf"Student-t prior, .* not in the file. .*--set {asked}=5"):
        place.bring(path)
    run = load_run(tmp_path / place.bring(path, **{asked: df}).path, device="cpu")
    model, trials = run.model.double(), place.trials(place.names[0])
    batch = pack([TrialTensors(place.names[0], torch.from_numpy(trials["counts"].values.astype(float)))])
    drawn = torch.Generator().manual_seed(0)
    noise = model.decoder.draw(torch.zeros(1, 40_000, IC, dtype=torch.float64), 1, drawn)
    sampled = (noise.inputs if which == "co_prior" else noise.initial).flatten()
    other = (noise.initial if which == "co_prior" else noise.inputs).flatten()
    assert stats.kstest(sampled.numpy(), stats.t(df).cdf).pvalue > 1e-3
    assert stats.kstest(other.numpy(), stats.norm.cdf).pvalue > 1e-3

    output = model.eval()(batch, observe(batch), 0, torch.Generator().manual_seed(1))
    terms = {term.name: float(term.value.detach()) for term in output.terms}
    noise = model.decoder.draw(output.aux["ic_mean"], T, torch.Generator().manual_seed(1))
    of, seen = model._encode(batch.y, torch.tensor([0]))
    sample = of.mean + of.var.sqrt() * noise.initial
    if which == "co_prior":
        made = model.decoder(sample, T, seen=seen, noise=noise)
        of, sample = made.posterior, made.inputs
    posterior = torch.distributions.StudentT(df, of.mean, of.var.sqrt())
    prior = torch.distributions.StudentT(df, loc.double(), log_scale.double().exp())
    kl = posterior.log_prob(sample) - prior.log_prob(sample)
    name = {"co_prior": "kl_input", "ic_prior": "kl_initial"}[which]
    assert terms[name] == pytest.approx(float(kl.detach().sum() / len(trials["trial"])), rel=1e-6)


def test_a_variance_that_is_fixed_there_is_fixed_here(tmp_path):
    reference = Reference()
    place = Place(tmp_path, reference)
    weights = {name: value for name, value in reference.w.items() if not name.startswith("co_prior")}
    weights |= {"co_prior.mean": torch.zeros(2), "co_prior.logvar": torch.full((2,), -2.0)}
    fixed = place.bring(reference.save(tmp_path / "a.ckpt", weights=weights))
    prior = load_run(tmp_path / fixed.path, device="cpu").model.input_prior.prior
    assert prior.mean.requires_grad
    assert not prior.raw_variance.requires_grad
    learned = place.bring(reference.save(tmp_path / "b.ckpt"))
    assert load_run(tmp_path / learned.path, device="cpu").model.input_prior.log_variance.requires_grad


def test_what_the_file_does_not_say_is_said(tmp_path):
    reference = Reference()
    place = Place(tmp_path, reference)
    path, said = reference.save(tmp_path / "best.ckpt"), []
    place.bring(path, report=said.append)
    assert any("Poisson is taken" in getattr(event, "text", "") for event in said)
    said.clear()
    place.bring(path, report=said.append, likelihood="poisson")
    assert not any("Poisson is taken" in getattr(event, "text", "") for event in said)
    with pytest.raises(
        DataError, match="ic_prior_df=3 was given, and its initial condition has no Student-t"
    ):
        place.bring(path, ic_prior_df=3.0)


def test_priors_and_penalties_are_carried_over(tmp_path):
    reference = Reference(n_in=(4,), n_out=(6,))
    place = Place(tmp_path, reference)
    entry = place.bring(reference.save(tmp_path / "best.ckpt", l2_gen_scale=0.5))
    model = load_run(tmp_path / entry.path, device="cpu").model
    assert torch.equal(model.input_prior.log_tau, reference.w["co_prior.logtaus"])
    assert torch.equal(model.input_prior.log_variance, reference.w["co_prior.lognvars"])
    assert torch.equal(model.ic_prior.mean, reference.w["ic_prior.mean"])
    assert model.ic_prior.distribution().var.tolist() == pytest.approx([0.1] * IC)
    # A mean over 7 bins and 6 units there is a sum here.
    assert model.settings.kl_initial_weight == pytest.approx(42 * 1e-3)
    assert model.settings.kl_input_weight == pytest.approx(42 * 2e-3)
    assert (model.settings.l2_generator, model.settings.l2_controller) == (pytest.approx(21.0), 0)


def test_the_run_is_in_the_catalog_and_is_imported_once(tmp_path):
    reference = Reference()
    place = Place(tmp_path, reference)
    path = reference.save(tmp_path / "best.ckpt")
    entry = place.bring(path)
    assert read_catalog(place.catalog).runs[entry.run] == entry
    assert (entry.steps, entry.sessions, entry.imported.source) == (70, tuple(place.names), "best.ckpt")
    assert place.bring(path) == entry
    with pytest.raises(SettingsError, match=r"The name mine is taken"):
        [
            place.bring(p, run_name="mine")
            for p in (path, reference.save(tmp_path / "b.ckpt", dropout_rate=0.2))
        ]
    with pytest.raises(SettingsError, match=r"was imported from best\.ckpt.*pipeline run align"):
        train(place.catalog, TrainSettings(), resume=entry.run)


def test_a_run_that_was_imported_can_be_aligned_to_a_new_session(tmp_path):
    reference = Reference(n_in=(5, 4), n_out=(5, 4), width=3)
    place = Place(tmp_path, reference)
    old, new = place.names
    alone = {name: value for name, value in reference.w.items() if ".1." not in name}
    entry = place.bring(reference.save(tmp_path / "best.ckpt", weights=alone), sessions=[old])
    few = AlignSettings(max_steps=2, device="cpu")
    (aligned,) = align(place.catalog, few, run=entry.run, sessions=[new], trials=[4])
    model = load_run(tmp_path / aligned.path, device="cpu").model
    assert torch.equal(model.decoder.read, reference.w["decoder.rnn.cell.fac_linear.weight"])


def without(name):
    return lambda w: {key: value for key, value in w.items() if key != name}


BAD = {
    "unknown weight": (
        lambda w: w | {"decoder.rnn.cell.gate.weight": torch.zeros(2, 3)}, {},
        r"no place for decoder\.rnn\.cell\.gate\.weight of shape \(2, 3\)",
    ),
    "weight missing": (without("decoder.ic_to_g0.bias"), {}, r"state_dict has no 'decoder\.ic_to_g0\.bias'"),
    "other shape": (
        lambda w: w | {"decoder.con_h0": torch.zeros(1, 9)}, {},
        r"decoder\.con_h0 of shape \(1, 9\): does not fit decoder\.controller_start of shape \(5,\)",
    ),
    "not finite": (lambda w: w | {"ic_prior.mean": torch.full((3,), np.nan)}, {}, "ic_prior.mean: holds NaN"),
    "own segment": (lambda w: w, {"ic_enc_seq_len": 2}, r"first 2 bins \(ic_enc_seq_len\) are shown"),
    "other bins": (lambda w: w, {"encod_seq_len": 35}, "was trained on 35 bins .* have 7"),
    "no clip": (lambda w: w, {"cell_clip": "5"}, "hyper_parameters has no number 'cell_clip'"),
    "calcium": (lambda w: w | {"recon.0.scale": torch.ones(2, 5)}, {}, "zero-inflated gamma"),
    "counter": (
        lambda w: w | {"steps": torch.tensor([3])}, {}, r"no place for steps of shape \(1,\)"
    ),
    "two parameters": (
        lambda w: w | {"readout.0.weight": torch.zeros(10, F), "readout.0.bias": torch.zeros(10)}, {},
        r"has 10 outputs; .* which needs 5 outputs with the likelihood poisson\. .* gaussian or gamma: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "hyper", "message"), BAD.values(), ids=BAD)
def test_what_there_is_no_place_for_is_an_error_and_nothing_is_left(tmp_path, change, hyper, message):
    reference = Reference()
    place = Place(tmp_path, reference)
    path = reference.save(tmp_path / "bad.ckpt", weights=change(dict(reference.w)), **hyper)
    with pytest.raises(DataError, match=rf"bad\.ckpt: .*{message}"):
        place.bring(path)
    assert not (tmp_path / "runs").exists()
    assert not read_catalog(place.catalog).runs


def test_the_sessions_are_those_of_the_checkpoint(tmp_path):
    reference = Reference(n_in=(5, 4), n_out=(5, 4), width=3)
    place = Place(tmp_path, reference)
    path = reference.save(tmp_path / "best.ckpt")
    with pytest.raises(DataError, match=r"holds 2 sessions .*, 1 were named"):
        place.bring(path, sessions=place.names[:1])
    with pytest.raises(DataError, match=r"session 0 encodes 5 units .* has 4 held-in of 4 units"):
        place.bring(path, sessions=place.names[::-1])
    with pytest.raises(SettingsError, match="named twice"):
        place.bring(path, sessions=place.names[:1] * 2)
    with pytest.raises(DataError, match="No session matches"):
        place.bring(path, sessions=["sub-X", place.names[1]])


@pytest.fixture
def lfads_torch(monkeypatch):
    """Return a module that pretends to be lfads-torch, as long as it is there."""
    module = ModuleType("lfads_torch_stand_in")

    class StudentPrior(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.zeros(2))
            self.df = 7

    class Stack:
        def __init__(self):
            self.transforms = [torch.distributions.Bernoulli(0.7), {1, 2}]

    for kind in (StudentPrior, Stack):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_objects_of_lfads_torch_in_the_file_are_not_needed(tmp_path, lfads_torch, monkeypatch):
    reference = Reference()
    place = Place(tmp_path, reference)
    weights = {name: value for name, value in reference.w.items() if not name.startswith("co_prior")}
    weights |= {"co_prior.loc": torch.zeros(2), "co_prior.logscale": torch.zeros(2)}
    objects = {"train_aug_stack": lfads_torch.Stack(), "co_prior": lfads_torch.StudentPrior()}
    path = reference.save(tmp_path / "best.ckpt", weights=weights, **objects)
    monkeypatch.delitem(sys.modules, lfads_torch.__name__)
    entry = place.bring(path)
    assert load_run(tmp_path / entry.path, device="cpu").model.settings.input_prior_df == 7


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *words):
        self.call = (function, words)

    def __reduce__(self):
        return self.call


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    reference = Reference()
    place = Place(tmp_path, reference)
    mark = tmp_path / "was-run"
    for function, words in ((os.system, (f"touch {mark}",)), (subprocess.getoutput, (f"touch {mark}",))):
        path = reference.save(tmp_path / "bad.ckpt", augmentation=Hostile(function, *words))
        try:
            place.bring(path)
        except DataError as error:
            assert "cannot be loaded as weights alone" in str(error)  # noqa: PT017
        assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_what_the_manual_shows_saves_a_file_that_can_be_imported(tmp_path, monkeypatch, lfads_torch):
    reference = Reference()
    place = Place(tmp_path, reference)
    reference.save(tmp_path / "model.ckpt", train_aug_stack=lfads_torch.Stack())
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "imports.md"
    (shown,) = re.findall(r"^```py\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(compile(shown, str(page), "exec"), {})
    plain = torch.load(tmp_path / "plain.ckpt", weights_only=True)
    assert plain["hyper_parameters"].keys() == reference.hyper().keys()
    assert place.bring(tmp_path / "plain.ckpt").steps == 70


def test_weights_larger_than_the_memory_are_refused_unless_forced(tmp_path, monkeypatch):
    reference = Reference()
    place = Place(tmp_path, reference)
    path = reference.save(tmp_path / "last.ckpt")
    monkeypatch.setattr(lfads_torch_file, "memory_bytes", lambda: 10_000)
    with pytest.raises(DataError, match=r"take 0\.0 GB.*largest is .* of the shape .*or --force to try all"):
        place.bring(path)
    assert not read_catalog(place.catalog).runs
    assert place.bring(path, force=True).run in read_catalog(place.catalog).runs


def test_a_weight_of_a_stated_shape_no_machine_can_hold_is_refused_before_it_is_looked_at(tmp_path):
    reference = Reference()
    path = reference.save(tmp_path / "last.ckpt")
    content = torch.load(path, weights_only=False)
    content["state_dict"]["readout.0.weight"] = torch.zeros(1).expand(10**7, 10**6)
    torch.save(content, path)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"readout\.0\.weight of the shape \(10000000, 1000000\)"):
        read_lfads_torch(path)


def test_a_file_that_is_no_checkpoint_says_so(tmp_path):
    place = Place(tmp_path, Reference())
    path = tmp_path / "bad.ckpt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"bad\.ckpt: cannot be loaded as weights alone"):
        place.bring(path)
    torch.save({"model": 1}, path)
    with pytest.raises(DataError, match="expected state_dict and hyper_parameters, found model"):
        place.bring(path)
