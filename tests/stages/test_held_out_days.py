"""Days held out: decoders of earlier days, with and without alignment, on a study whose units drift."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.known import baseline_called
from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of
from nwb_latents.pipeline.evaluation.early_days import EarlyDays, of_units, shared_units
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.evaluation.scored_session import prepare_session
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.align import align
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.leaderboard import leaderboard
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.training import TrainSettings

TINY = {
    "model": {
        "latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8,
        "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 2, "validate_every": 2,
    "checkpoint_every": 2,
}  # fmt: skip
DAYS = ("held_out_day_r2", "held_out_day_latent_r2")


def study(folder, **changes):
    chosen = {
        "n_subjects": 1, "n_sessions": 3, "n_units": (16, 16), "n_trials": 50, "waveforms": False, **changes,
    }  # fmt: skip
    simulate_dandiset(folder / "nwb", SimulateSettings.model_validate(chosen))
    # All units are kept, so that an id is the same place of the array on every day.
    recipe = IngestRecipe(min_rate_hz=0.0)
    path = folder / "catalog.yaml"
    ingest(path, FolderSource([folder / "nwb"]), recipe)
    return path


def settings(**changes):
    return EvaluateSettings.model_validate({
        "metrics": ["velocity_r2", *DAYS], "baselines": ["smoothing", "hold_last"], "n_resamples": 20,
        "held_out_days": 1, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    path = study(tmp_path_factory.mktemp("days"))
    early = sorted(read_catalog(path).sessions.values(), key=lambda entry: entry.session)[:2]
    train(path, TrainSettings.model_validate(TINY), run_name="early", sessions=[e.session for e in early])
    return path


def days_of(path):
    return sorted(entry.session for entry in read_catalog(path).sessions.values())


def opened(path, session):
    [entry] = [e for e in read_catalog(path).sessions.values() if e.session == session]
    return open_session(store_path(path, entry.store)).loaded()


def by_source(done):
    return {(each.run or each.source, each.name): each for each in done if not each.bins}


def test_only_the_last_day_is_measured_by_decoders_of_the_days_before(catalog):
    first, second, last = days_of(catalog)
    aligned = align(
        catalog, AlignSettings.model_validate({"max_steps": 2, "scratch": {"max_steps": 2}}), run="early",
        sessions=[last], trials=[8], from_scratch=True,
    )  # fmt: skip
    done = evaluate(catalog, settings())
    assert {each.session for each in done} == {last}
    found = by_source(done)
    of_rates = found["smoothing", "held_out_day_r2"]
    assert of_rates.value is not None
    assert of_rates.fitted_sessions == (first, second)
    assert of_rates.fitted_on == "recorded rates of earlier days"
    assert of_rates.details["day_known_by"] == "ids of 16 of its 16 units"
    few, scratch = (run.run for run in aligned)
    for run, how in ((few, "aligned to 8 of its trials"), ("early", f"read in as {second}")):
        one = found[run, "held_out_day_latent_r2"]
        assert one.low <= one.value <= one.high
        assert one.details["day_known_by"] == how
        assert one.fitted_sessions == (first, second)
    assert "from scratch" in found[scratch, "held_out_day_latent_r2"].reason
    assert found[scratch, "held_out_day_r2"].value is not None
    # Of the run that was never given the day, nothing else can be had.
    assert {name for run, name in found if run == "early"} == {"held_out_day_latent_r2"}
    assert found["smoothing", "held_out_day_latent_r2"].reason == "it has no states"
    [board] = leaderboard(catalog)
    assert {"velocity_r2", *DAYS} <= {column.key for column in board.columns}
    # What is there is not measured again, and it is another board than that of all days.
    events = []
    assert evaluate(catalog, settings(), report=events.append) == done
    assert {e.status for e in events if e.event == "measurement"} == {"skipped"}


def test_it_is_the_decoder_fitted_on_all_training_trials_of_the_days_before(catalog):
    *early, last = days_of(catalog)
    parts = []
    for name in early:
        session = opened(catalog, name)
        rows = session.rows("train")
        parts.append((session.trials["rates"].values[rows], session.velocity(100.0).velocity[rows]))
    rates, velocity = (np.concatenate(each) for each in zip(*parts, strict=True))
    decoder = decoder_of(ForecastSettings()).fit(rates.astype(float), velocity)
    scored = prepare_session(opened(catalog, last), settings(), forward=False)
    made = baseline_called("smoothing").made_of(scored, settings().baseline, parts={"reconstruction"})
    true = scored.velocity[1]
    known = np.isfinite(true).all(axis=2)
    expected = r2(true, decoder.predict(made.rates_hz), definition="r2_uniform", mask=known)
    done = evaluate(catalog, settings(baselines=["smoothing"]))
    assert by_source(done)["smoothing", "held_out_day_r2"].value == pytest.approx(expected, abs=1e-12)


def test_units_and_tuning_that_drift_cost_a_decoder_of_earlier_days(tmp_path):
    found = {}
    for name, drift in (("same", 0.0), ("drift", 3.0)):
        path = study(tmp_path / name, drift=drift)
        one = settings(baselines=["smoothing"], metrics=["velocity_r2", "held_out_day_r2"])
        done = by_source(evaluate(path, one))
        own, early = (done["smoothing", metric].value for metric in ("velocity_r2", "held_out_day_r2"))
        found[name] = own - early
    assert found["same"] < 0.1
    assert found["drift"] > found["same"] + 0.1


def test_other_units_are_told_and_not_decoded(tmp_path):
    path = study(tmp_path, preset="classic", n_units=(12, 17), n_trials=30, seed=3)
    train(path, TrainSettings.model_validate(TINY), run_name="early", sessions=days_of(path)[:2])
    done = by_source(evaluate(path, settings(baselines=["smoothing"])))
    for source, metric in (("smoothing", DAYS[0]), ("early", DAYS[1])):
        assert done[source, metric].value is None
        assert "has other units than" in done[source, metric].reason
        assert "align" in done[source, metric].reason


def with_units(session, ids):
    """Return a session of units of these ids alone."""
    return session.with_trials(session.trials.isel(unit=np.flatnonzero(np.isin(session.trials["unit"], ids))))


def test_a_decoder_of_rates_is_of_the_units_found_on_all_days(catalog):
    first, second, last = (opened(catalog, name) for name in days_of(catalog))
    days = EarlyDays((with_units(first, range(1, 14)), with_units(second, range(16))))
    assert shared_units(days, with_units(last, range(4, 16))).tolist() == list(range(4, 14))
    values = np.arange(12.0)
    assert of_units(values, with_units(last, range(4, 16)), np.array([5, 4])).tolist() == [1.0, 0.0]
    with pytest.raises(CannotBeHadError, match="2 of its 5 are found"):
        shared_units(days, with_units(last, [0, 1, 2, 14, 15]))
    rows = EarlyDays((with_units(first, range(14)), second))
    with pytest.raises(CannotBeHadError, match="numbered from 0 on in each, and there are 14, 16 of them"):
        shared_units(rows, last)


def test_days_that_are_not_there_or_not_known_are_refused(catalog, tmp_path, make_reaches, as_recording,
                                                          enter_recording):  # fmt: skip
    with pytest.raises(DataError, match="more than 3 days"):
        evaluate(catalog, settings(held_out_days=3))
    path = tmp_path / "catalog.yaml"
    enter_recording(path, as_recording(make_reaches(n_trials=20, n_units=4)), subject="A")
    with pytest.raises(DataError, match="does not say when it was recorded"):
        evaluate(path, settings())
