"""The decode stage: catalog → scores in the catalog, pictures beside it."""

from __future__ import annotations

import shutil
import sys
import types

import pytest
import xarray as xr
from stages.decodable_stores import RECIPE, Echo, add_store, enter_run

from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, SettingsError
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements
from nwb_latents.schemas.decoding import DecodeSettings

DRAWING = {
    "figures.velocity": ("draw_velocity", "draw_trajectories", "draw_summary"),
    "figures.decoding": ("draw_parts", "draw_lag_scan", "draw_transfer"),
    "figures.reaches": ("draw_reaches",),
}
SIGNALS = (("rates", None), ("reconstruction", "echo"), ("forecast_decoded", "echo"))
BESIDE = ("linear_forecast", "condition_mean")


def by_key(measurements):
    """Return what is left of measurements that replace each other."""
    return {each.key: each for each in measurements}


def kept(catalog):
    """Return the measurements of a catalog, by what they are of."""
    return by_key(measurement_records(read_measurements(catalog)))


def unstamped(measurement):
    """Return a measurement without the time it was made at."""
    return measurement.model_copy(update={"time": ""})


def into(events):
    """Return a report that collects events as what they say."""
    return lambda event: events.append(event.model_dump())


@pytest.fixture(scope="module")
def two_sessions(tmp_path_factory):
    path = tmp_path_factory.mktemp("decode") / "catalog.yaml"
    add_store(path, "sub-A_ses-1", seed=1)
    add_store(path, "sub-A_ses-2", seed=2)
    return path.parent


@pytest.fixture
def catalog(two_sessions, tmp_path):
    return shutil.copytree(two_sessions, tmp_path / "work") / "catalog.yaml"


@pytest.fixture
def models(monkeypatch):
    """Run name → model that `load_run` hands out; an exception is raised instead."""
    known = {}

    def load_run(path, *, run_key=None, device="auto"):
        found = known[path.name]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setitem(
        sys.modules, "nwb_latents.pipeline.training.inference", types.SimpleNamespace(load_run=load_run)
    )
    return known


@pytest.fixture
def pictures():
    """Names of the pictures of a catalog; tests that do not ask for them draw none, to be fast."""
    return lambda catalog: sorted(
        p.name for p in (catalog.parent / "results" / "decode" / RECIPE.recipe_id).glob("lag*/*")
    )


@pytest.fixture
def drawn():
    """Names of the pictures that tests without `pictures` would have drawn."""
    return set()


@pytest.fixture(autouse=True)
def _draw_only_if_looked_at(request, drawn, monkeypatch):
    if "pictures" not in request.fixturenames:
        for module, names in DRAWING.items():
            for name in names:
                monkeypatch.setattr(
                    f"nwb_latents.pipeline.evaluation.{module}.{name}",
                    lambda path, *args, **named: drawn.add(path.name),
                )


def test_without_runs_the_rates_of_every_session_are_scored(catalog, pictures):
    events = []
    scores = decode(catalog, DecodeSettings(), report=into(events))
    assert [(s.session, s.source, s.run) for s in scores] == [
        ("sub-A_ses-1", "rates", None),
        ("sub-A_ses-2", "rates", None),
    ]
    assert all(s.value > 0.7 for s in scores)
    assert kept(catalog) == by_key(scores)
    assert [e["value"] for e in events if e["event"] == "measurement"] == [s.value for s in scores]
    assert [e["status"] for e in events if e["event"] == "session"] == ["done", "done"]
    assert pictures(catalog) == [
        "r2_summary.png",
        "settings.yaml",
        "sub-A_ses-1_parts.nc",
        "sub-A_ses-1_parts.png",
        "sub-A_ses-1_trajectories.png",
        "sub-A_ses-1_velocity.png",
        "sub-A_ses-2_parts.nc",
        "sub-A_ses-2_parts.png",
        "sub-A_ses-2_trajectories.png",
        "sub-A_ses-2_velocity.png",
    ]


def test_measurement_event_has_what_the_command_line_promises(catalog):
    events = []
    decode(catalog, DecodeSettings(), sessions=["*ses-1"], report=into(events))
    [event] = [e for e in events if e["event"] == "measurement"]
    promised = {
        "run",
        "session",
        "name",
        "source",
        "decoder",
        "fitted_on",
        "store_key",
        "lag_ms",
        "value",
        "definition",
        "split",
        "n_trials",
    }
    assert promised <= set(event)
    assert (event["name"], event["definition"], event["n_trials"]) == ("velocity_r2", "r2_uniform", 6)


def test_runs_of_the_recipe_are_decoded_where_they_were_trained(catalog, models, pictures):
    enter_run(catalog, "echo", ("sub-A_ses-2",))
    enter_run(catalog, "elsewhere", ("sub-Z_ses-1",))
    enter_run(catalog, "other-recipe", ("sub-A_ses-1",), recipe_id="50ms-0")
    models["echo"] = Echo()
    scores = decode(catalog, DecodeSettings())
    assert [(s.session, s.source, s.run) for s in scores] == [
        ("sub-A_ses-1", "rates", None),
        ("sub-A_ses-2", "rates", None),
        *(("sub-A_ses-2", name, None) for name in BESIDE),
        ("sub-A_ses-2", "reconstruction", "echo"),
        ("sub-A_ses-2", "forecast_decoded", "echo"),
        ("sub-A_ses-2", "forecast", "echo"),
    ]
    of_rates, *beside, of_echo, of_hold, read_out = scores[1:]
    assert of_echo.value == of_rates.value
    assert all(one.is_baseline and one.bins == 20 and one.run_key is None for one in beside)
    assert (read_out.decoder, read_out.fitted_on) == ("all_states", "forecasts of training trials")
    assert (of_hold.decoder, of_hold.fitted_on) == ("ridge", "recorded rates")
    assert read_out.value > of_hold.value
    assert read_out.n_samples == 6 * 20
    assert of_hold.value < of_rates.value
    assert of_hold.n_samples == 6 * 20
    assert models["echo"].asked == [("sub-A_ses-2", 6, {"test"})]
    assert {"sub-A_ses-2_echo_velocity.png", "sub-A_ses-2_echo_forecast.png"} <= set(pictures(catalog))


def test_a_run_is_averaged_with_what_is_asked_for(catalog, models):
    for run in ("echo", "other"):
        enter_run(catalog, run, ("sub-A_ses-1",))
    models.update(echo=Echo(), other=Echo())
    settings = DecodeSettings(forecast={"ensemble": ["linear_forecast", "other"]}, n_permutations=0)
    scores = decode(catalog, settings, runs=["echo"], sessions=["*ses-1"])
    [mean] = [one for one in scores if one.source == "ensemble"]
    assert (mean.run, mean.is_baseline) == ("echo", False)
    weights = mean.details["weights"]
    assert list(weights) == ["echo", "linear_forecast", "other"]
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-5)
    assert weights["echo"] == pytest.approx(weights["other"], abs=1e-3)
    assert kept(catalog) == by_key(scores)
    with pytest.raises(SettingsError, match="no forecast called 'linear'"):
        decode(catalog, DecodeSettings(forecast={"ensemble": ["linear"]}), runs=["echo"])


def test_without_validation_trials_there_is_no_ensemble_and_it_is_said(catalog, models, monkeypatch):
    from nwb_latents.pipeline.stores.session import Session

    rows = Session.rows
    monkeypatch.setattr(
        Session, "rows", lambda self, name, **k: rows(self, name, **k)[: 0 if name == "val" else None]
    )
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    models["echo"] = Echo()
    events = []
    with pytest.raises(PartialFailure, match=r"weights from validation trials .*split\.val") as caught:
        decode(
            catalog,
            DecodeSettings(forecast={"ensemble": ["linear_forecast"]}),
            sessions=["*ses-1"],
            report=into(events),
        )
    assert {one.source for one in caught.value.results} >= {"forecast", "linear_forecast"}
    assert any("no validation trials to take a band from" in e.get("text", "") for e in events)


def test_decoding_again_replaces_scores(catalog):
    decode(catalog, DecodeSettings())
    scores = decode(catalog, DecodeSettings(seed=3))
    assert kept(catalog) == by_key(scores)


def test_a_session_that_fails_does_not_stop_the_others(catalog):
    add_store(catalog, "sub-A_ses-0", velocity_known=False)
    events = []
    with pytest.raises(PartialFailure, match=r"1 decodings failed, 2 scores .*ses-0: none") as caught:
        decode(catalog, DecodeSettings(), report=into(events))
    assert caught.value.exit_code == 3
    assert [name for name, _ in caught.value.failures] == ["sub-A_ses-0"]
    assert by_key(caught.value.results) == kept(catalog)
    assert len(caught.value.results) == 2
    [event] = [e for e in events if e.get("status") == "failed"]
    assert (event["event"], event["session"]) == ("session", "sub-A_ses-0")
    assert "no recorded" in event["reason"] or "recorded hand velocity" in event["reason"]


def test_if_nothing_was_done_the_exit_code_is_that_of_the_failures(catalog):
    add_store(catalog, "sub-B_ses-0", velocity_known=False)
    with pytest.raises(PartialFailure) as caught:
        decode(catalog, DecodeSettings(), sessions=["sub-B*"])
    assert caught.value.exit_code == DataError.exit_code


def test_a_store_that_is_gone_fails_its_session_only(catalog):
    entry = read_catalog(catalog).sessions[f"sub-A_ses-1@{RECIPE.recipe_id}"]
    (catalog.parent / entry.store).rename(catalog.parent / "gone")
    with pytest.raises(PartialFailure, match="sub-A_ses-1") as caught:
        decode(catalog, DecodeSettings())
    assert [s.session for s in caught.value.results] == ["sub-A_ses-2"]


def test_a_run_that_fails_does_not_stop_the_others(catalog, models):
    both = ("sub-A_ses-1", "sub-A_ses-2")
    for run in ("broken", "half", "whole"):
        enter_run(catalog, run, both)
    models.update(broken=DataError("no checkpoint"), half=Echo(broken=["sub-A_ses-1"]), whole=Echo())
    events = []
    with pytest.raises(PartialFailure) as caught:
        decode(catalog, DecodeSettings(), report=into(events))
    assert caught.value.failures == (
        ("broken", "no checkpoint"),
        ("half on sub-A_ses-1", "RuntimeError: weights are broken"),
    )
    done = {(s.run, s.session) for s in caught.value.results}
    assert done == {
        (None, both[0]),
        (None, both[1]),
        ("half", both[1]),
        ("whole", both[0]),
        ("whole", both[1]),
    }
    failed = [e for e in events if e.get("status") == "failed"]
    assert [(e["event"], e["run"]) for e in failed] == [("run", "broken"), ("run", "half")]


def test_a_missing_device_stops_the_stage(catalog, models, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    with pytest.raises(MachineError, match="torch finds no CUDA device"):
        decode(catalog, DecodeSettings(), device="cuda")


def test_unknown_run_is_refused_with_the_known(catalog):
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    with pytest.raises(DataError, match=r"No run is called ecko.*: echo\."):
        decode(catalog, DecodeSettings(), runs=["ecko"])


def test_named_run_that_does_not_fit_is_refused(catalog, models):
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    with pytest.raises(DataError, match="none of the chosen sessions; it knows sub-A_ses-1"):
        decode(catalog, DecodeSettings(), runs=["echo"], sessions=["*ses-2"])
    enter_run(catalog, "coarse", ("sub-A_ses-1",), recipe_id="50ms-0")
    with pytest.raises(DataError, match="50ms-0"):
        decode(catalog, DecodeSettings(), runs=["echo", "coarse"])


def test_named_runs_leave_out_the_others(catalog, models):
    for run in ("a", "b"):
        enter_run(catalog, run, ("sub-A_ses-1",))
    models["b"] = Echo()
    scores = decode(catalog, DecodeSettings(sources=("reconstruction",)), runs=["b"], sessions=["*ses-1"])
    assert [(s.run, s.source) for s in scores] == [("b", "reconstruction")]


def test_forecast_beyond_the_window_is_skipped_by_default_and_refused_on_request(catalog, models):
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    models["echo"] = Echo()
    events = []
    scores = decode(catalog, DecodeSettings(forecast={"bins": 24}), sessions=["*ses-1"], report=into(events))
    assert [s.source for s in scores] == ["rates", "reconstruction"]
    [event] = [e for e in events if e.get("status") == "skipped"]
    assert event["source"] == "forecast"
    assert "13 bins seen and 24 forecast are more than the 36 bins" in event["reason"]
    asked = DecodeSettings(forecast={"bins": 24}, sources=("rates", "forecast"))
    with pytest.raises(SettingsError, match="at most 36"):
        decode(catalog, asked)


def test_model_sources_without_a_run_are_refused_or_skipped(catalog):
    with pytest.raises(DataError, match="Nothing to decode: no complete run"):
        decode(catalog, DecodeSettings(sources=("forecast",)))
    events = []
    decode(catalog, DecodeSettings(sources=("rates", "forecast")), sessions=["*ses-1"], report=into(events))
    assert [e["source"] for e in events if e.get("status") == "skipped"] == ["forecast"]


def test_lag_is_checked_before_anything_is_done(catalog):
    with pytest.raises(SettingsError, match="80 and 100"):
        decode(catalog, DecodeSettings(lag_ms=90.0))
    assert not (catalog.parent / "results").exists()


def test_names_cannot_lead_pictures_out_of_the_folder(catalog, models, pictures):
    add_store(catalog, "sub-A_ses-3")
    enter_run(catalog, "../../evil", ("sub-A_ses-3",))
    models["evil"] = Echo()
    decode(catalog, DecodeSettings(), sessions=["*ses-3"])
    assert "sub-A_ses-3_=2E.=2F..=2Fevil_velocity.png" in pictures(catalog)


def test_both_decoders_are_scored_beside_each_other(catalog, models, drawn):
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    models["echo"] = Echo()
    alone = decode(catalog, DecodeSettings(), sessions=["*ses-1"])
    scores = decode(catalog, DecodeSettings(decoders=("ridge", "wiener")), sessions=["*ses-1"])
    assert [unstamped(s) for s in scores if s.decoder != "wiener"] == [unstamped(s) for s in alone]
    assert [(s.source, s.n_samples) for s in scores if s.decoder == "wiener"] == [
        ("rates", 6 * 36),
        ("reconstruction", 6 * 32),
        ("forecast_decoded", 6 * 16),
    ]
    assert kept(catalog) == by_key(scores)
    assert {"sub-A_ses-1_echo_velocity.png", "sub-A_ses-1_echo_wiener_velocity.png"} <= drawn
    folder = catalog.parent / "results/decode" / RECIPE.recipe_id
    (parts,) = [
        path
        for path in folder.rglob("sub-A_ses-1_echo_parts.nc")
        if xr.open_dataset(path).sizes["signal"] == 7
    ]
    with xr.open_dataset(parts) as table:
        assert table["decoder"].values.tolist() == ["ridge"] * 3 + ["all_states"] + ["wiener"] * 3
        assert table["r2"].values[0] == alone[0].value


def test_a_history_that_does_not_fit_is_refused_before_anything_is_done(catalog):
    with pytest.raises(SettingsError, match=r"reads 40 bins, more than the 36 there are.*at most 36"):
        decode(catalog, DecodeSettings(decoders=("wiener",), history_bins=40, sources=("rates",)))
    with pytest.raises(
        SettingsError, match=r"a forecast of 20 bins: the Wiener decoder of 21 bins.*at most 20"
    ):
        decode(catalog, DecodeSettings(decoders=("wiener",), history_bins=21))
    assert not (catalog.parent / "results").exists()


def test_lags_are_compared_for_every_signal(catalog, models, drawn):
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    models["echo"] = Echo()
    lags, events = (0.0, 60.0, 100.0, 140.0), []
    scores = decode(catalog, DecodeSettings(lag_scan_ms=lags), sessions=["*ses-1"], report=into(events))
    by_metric = {}
    for score in scores:
        by_metric.setdefault((score.name, score.source, score.run), []).append(score)
    assert set(by_metric) == {
        *(("velocity_r2", source, run) for source, run in (*SIGNALS, ("forecast", "echo"))),
        *(("velocity_r2", source, None) for source in BESIDE),
        *(("lag_scan_velocity_r2", source, run) for source, run in SIGNALS),
        ("lag_scan_cv_velocity_r2", "rates", None),
    }
    for (metric, _, _), found in by_metric.items():
        if metric != "velocity_r2":
            assert [s.lag_ms for s in found] == list(lags)
            assert max(found, key=lambda s: s.value).lag_ms == 100.0 or found[0].source == "forecast_decoded"
    assert kept(catalog) == by_key(scores)
    [event] = [e for e in events if e["event"] == "lag"]
    assert (event["session"], event["lag_ms"], event["decoder"]) == ("sub-A_ses-1", 100.0, "ridge")
    assert "sub-A_ses-1_lags.png" in drawn


def test_every_lag_is_checked_before_anything_is_done(catalog):
    with pytest.raises(SettingsError, match=r"lag_scan_ms 90 .*80 and 100"):
        decode(catalog, DecodeSettings(lag_scan_ms=(0.0, 90.0)))
    assert not (catalog.parent / "results").exists()


def test_decoders_are_carried_between_the_sessions_of_a_run(catalog, models, drawn, monkeypatch):
    pictured = []

    def draw(path, found, subjects, **named):
        drawn.add(path.name)
        pictured.append(subjects)

    monkeypatch.setattr("nwb_latents.pipeline.evaluation.figures.decoding.draw_transfer", draw)
    add_store(catalog, "sub-B_ses-1", seed=3, subject="B")
    known = ("sub-A_ses-1", "sub-A_ses-2", "sub-B_ses-1")
    enter_run(catalog, "echo", known)
    models["echo"] = Echo()
    settings = DecodeSettings(sources=("rates",), transfer=True, n_permutations=19)
    scores = decode(catalog, settings)
    carried = [s for s in scores if s.name == "transfer_velocity_r2"]
    assert len(carried) == 9 + 3
    assert {(s.fitted_sessions, s.session) for s in carried} >= {((a,), b) for a in known for b in known}
    assert all(s.value > 0.6 and s.p_value == 1 / 20 and s.run == "echo" for s in carried)
    assert [asked[1:] for asked in models["echo"].asked] == [("states", {"train"}), ("states", {"test"})] * 3
    assert kept(catalog) == by_key(scores)
    assert "echo_transfer.png" in drawn
    assert pictured == [{"sub-A_ses-1": "A", "sub-A_ses-2": "A", "sub-B_ses-1": "B"}]


def test_sessions_of_other_axes_fail_their_run_only(catalog, models):
    add_store(catalog, "sub-B_ses-1", seed=3, axes=("x", "z"))
    enter_run(catalog, "echo", ("sub-A_ses-1", "sub-B_ses-1"))
    enter_run(catalog, "whole", ("sub-A_ses-1", "sub-A_ses-2"))
    models.update(echo=Echo(), whole=Echo())
    with pytest.raises(
        PartialFailure, match=r"transfer of echo: .*x \(cm/s\), z \(cm/s\) in sub-B_ses-1"
    ) as caught:
        decode(catalog, DecodeSettings(sources=("rates",), transfer=True))
    assert len([s for s in caught.value.results if s.name == "transfer_velocity_r2"]) == 4


def test_transfer_without_a_run_of_two_sessions_is_refused(catalog, models):
    with pytest.raises(DataError, match="there is no run"):
        decode(catalog, DecodeSettings(transfer=True))
    enter_run(catalog, "echo", ("sub-A_ses-1",))
    with pytest.raises(DataError, match=r"echo knows sub-A_ses-1.*leave --transfer out"):
        decode(catalog, DecodeSettings(transfer=True))
    assert not (catalog.parent / "results").exists()
