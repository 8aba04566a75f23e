"""A laboratory's layout, dandiset, model, metric, decoder and exporter, from recordings to a leaderboard.

They are installed from a distribution of their own; nothing of the program knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from archive import LoopbackArchive
from sklearn.kernel_ridge import KernelRidge

from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.stores.session import Session, open_session

if TYPE_CHECKING:
    from plugins.conftest import Laboratory

pytestmark = pytest.mark.slow

VERSION = "0.240101.0000"
SESSIONS = ["sub-A_ses-CO-0", "sub-B_ses-CO-1"]
DECODERS = ["ridge", "kernel_ridge"]
LAGS = [60.0, 100.0, 140.0]


@pytest.fixture(scope="module")
def worked(laboratory: Laboratory, recordings: dict[str, bytes]) -> Laboratory:
    """Return the laboratory once its sessions are ingested and its model is trained."""
    with LoopbackArchive({"999001": {VERSION: recordings}}) as archive:
        told = laboratory.events("run", "ingest", "--dandiset", "999001", "--instance", archive.url)
    assert {e["session"]: e["status"] for e in told if e["event"] == "session"} == dict.fromkeys(
        SESSIONS, "done"
    )
    laboratory.events(
        "run", "train", "--model", "toy_lds", "--run-name", "toy", "--max-steps", 60, "--device", "cpu",
        "--set", "model.latent_dim=3", "--set", "batch.trials_per_session=8",
    )  # fmt: skip
    return laboratory


@pytest.fixture(scope="module")
def scores(worked: Laboratory) -> list[dict[str, Any]]:
    """Return everything decode measures with both decoders."""
    told = worked.events(
        "run", "decode", "--run", "toy", "--set", f"decoders={DECODERS}", "--set", f"lag_scan_ms={LAGS}",
        "--transfer", "--set", "decoder_settings.kernel_ridge.gamma=0.002",
    )  # fmt: skip
    return [event for event in told if event["event"] == "measurement"]


@pytest.fixture(scope="module")
def evaluated(worked: Laboratory) -> list[dict[str, Any]]:
    """Return everything evaluate measures."""
    told = worked.events("run", "evaluate", "--run", "toy", "--set", "n_resamples=50")
    return [event for event in told if event["event"] == "measurement"]


def session_of(laboratory: Laboratory, name: str) -> Session:
    (store,) = laboratory.folder.glob(f"stores/*/{name}.zarr")
    return open_session(store)


def test_the_layout_reads_the_rig_and_the_dandiset_is_known(worked: Laboratory) -> None:
    for name in SESSIONS:
        session = session_of(worked, name)
        origin = session.attributes.provenance
        assert (origin.layout, origin.dandiset, origin.dandiset_version) == ("toy_rig", "999001", VERSION)
        assert session.attributes.dropped.trials["flagged_by_file"] == 2
        assert "beep" not in session.trials
        assert np.isfinite(session.trials["go_cue"].values).all()
        speed = np.linalg.norm(session.continuous["velocity"].values, axis=1)
        assert 20 < np.nanpercentile(speed, 99) < 60, "cm/s, not mm/s"
    known = worked.events("dandisets")
    assert [e["layout"] for e in known if e["dandiset"] == "999001"] == ["toy_rig"]


def test_the_model_is_listed_with_its_settings_and_learns(worked: Laboratory) -> None:
    assert "toy_lds" in worked.pipeline("models").stdout
    assert "latent_dim [4]" in worked.pipeline("models", "toy_lds").stdout
    wrong = worked.pipeline("run", "train", "--model", "toy_lds", "--set", "model.latent_dims=2", code=4)
    assert "did you mean model.latent_dim?" in wrong.stderr
    wrong = worked.pipeline("run", "train", "--model", "toy_ldss", code=4)
    assert "did you mean toy_lds?" in wrong.stderr


def direct(session: Session, signals: dict[str, np.ndarray], *, lag_ms: float) -> dict[str, float]:
    """Return what scikit-learn makes of the same bins: fitted on recorded rates of training trials."""
    velocity = session.velocity(lag_ms).velocity
    train, test = session.rows("train"), session.rows("test")
    rates = session.trials["rates"].values.astype(np.float64)
    known = np.isfinite(velocity[train]).all(axis=-1)
    x, y = rates[train][known], velocity[train][known]
    fitted = KernelRidge(alpha=1.0, kernel="rbf", gamma=0.002).fit(x, y - y.mean(axis=0))
    out = {}
    for name, signal in signals.items():
        features, true = signal.astype(np.float64), velocity[test]
        predicted = fitted.predict(features.reshape(-1, features.shape[-1])) + y.mean(axis=0)
        mask = np.isfinite(true).all(axis=-1)
        out[name] = r2(true, predicted.reshape(true.shape), definition="r2_uniform", mask=mask)
    return out


def measured(scores: list[dict[str, Any]], name: str, **facts: object) -> dict[str, float]:
    """Return the values of a metric by decoder, where everything else is as said."""
    found = [s for s in scores if s["name"] == name and all(s.get(k) == v for k, v in facts.items())]
    assert len({s["decoder"] for s in found}) == len(found), found
    return {s["decoder"]: s["value"] for s in found}


@pytest.mark.parametrize("name", SESSIONS)
def test_its_decoders_numbers_are_its_own_and_those_of_scikit_learn(
    worked: Laboratory, scores: list[dict[str, Any]], name: str
) -> None:
    session = session_of(worked, name)
    recorded = session.trials["rates"].values[session.rows("test")]
    expected = direct(session, {"rates": recorded}, lag_ms=100.0)
    found = measured(scores, "velocity_r2", session=name, source="rates")
    assert set(found) == set(DECODERS)
    assert found["kernel_ridge"] == pytest.approx(expected["rates"], abs=1e-8)
    assert abs(found["ridge"] - found["kernel_ridge"]) > 1e-3
    of_run = measured(scores, "velocity_r2", session=name, source="reconstruction", run="toy")
    assert set(of_run) == set(DECODERS)
    assert abs(of_run["ridge"] - of_run["kernel_ridge"]) > 1e-3
    facts = {"name": "velocity_r2", "session": name, "source": "rates", "decoder": "kernel_ridge"}
    (one,) = [score for score in scores if facts.items() <= score.items()]
    assert one["decoder_settings"]["gamma"] == 0.002
    assert one["decoder_settings"]["n_support"] > 0


def test_every_lag_of_a_scan_has_its_own_decoders_numbers(
    worked: Laboratory, scores: list[dict[str, Any]]
) -> None:
    session = session_of(worked, SESSIONS[0])
    train, test = session.rows("train"), session.rows("test")
    velocities = {lag: session.velocity(lag).velocity for lag in LAGS}
    known = np.isfinite(np.stack(list(velocities.values()))).all(axis=(0, -1))
    rates = session.trials["rates"].values.astype(np.float64)
    for lag, velocity in velocities.items():
        found = measured(scores, "lag_scan_velocity_r2", session=SESSIONS[0], source="rates", lag_ms=lag)
        x, y = rates[train][known[train]], velocity[train][known[train]]
        fitted = KernelRidge(alpha=1.0, kernel="rbf", gamma=0.002).fit(x, y - y.mean(axis=0))
        predicted = fitted.predict(rates[test].reshape(-1, rates.shape[-1])) + y.mean(axis=0)
        true = velocity[test]
        expected = r2(true, predicted.reshape(true.shape), definition="r2_uniform", mask=known[test])
        assert set(found) == set(DECODERS)
        assert found["kernel_ridge"] == pytest.approx(expected, abs=1e-8)
        assert abs(found["ridge"] - found["kernel_ridge"]) > 1e-3
    chosen = measured(scores, "lag_scan_cv_velocity_r2", session=SESSIONS[0], lag_ms=100.0)
    assert set(chosen) == set(DECODERS)
    assert abs(chosen["ridge"] - chosen["kernel_ridge"]) > 1e-3


def test_carried_to_the_other_session_it_is_still_the_laboratorys_decoder(
    scores: list[dict[str, Any]],
) -> None:
    for decoded in SESSIONS:
        for fitted in SESSIONS:
            found = measured(
                scores, "transfer_velocity_r2", session=decoded, fitted_sessions=[fitted], source="latents"
            )
            assert set(found) == set(DECODERS)
            assert found["ridge"] != found["kernel_ridge"]


def test_the_metric_is_measured_and_in_the_leaderboard(
    worked: Laboratory, evaluated: list[dict[str, Any]]
) -> None:
    found = [e for e in evaluated if e["name"] == "count_error"]
    of_run = {e["session"]: e for e in found if e.get("run") == "toy"}
    assert set(of_run) == set(SESSIONS)
    assert all(e["unit"] == "spikes/bin" and e["low"] <= e["value"] <= e["high"] for e in of_run.values())
    board = worked.pipeline("leaderboard")
    assert "count error" in board.stdout
    rows = worked.events("leaderboard")
    assert any("count_error" in str(row) for row in rows)


def test_the_exporters_files_load_and_are_left_alone_while_nothing_changes(worked: Laboratory) -> None:
    assert "numpy archives" in worked.pipeline("export", "--help").stdout
    told = {e["session"]: e for e in worked.events("export", "npz") if e["event"] == "session"}
    assert {e["status"] for e in told.values()} == {"done"}
    for name in SESSIONS:
        session = session_of(worked, name)
        assert told[name]["path"].endswith(f"exports/npz/{session.recipe_id}/{name}.npz")
        with np.load(worked.folder / told[name]["path"]) as archive:
            assert np.array_equal(archive["counts"], session.trials["counts"].values)
            velocity = session.velocity(100.0).velocity
            assert np.array_equal(archive["velocity"], velocity, equal_nan=True)
            assert list(archive["split"]) == list(session.split)
    again = [e for e in worked.events("export", "npz") if e["event"] == "session"]
    assert [(e["status"], e["reason"]) for e in again] == [("skipped", "up to date")] * 2
    other = [e for e in worked.events("export", "npz", "--set", "rates=false") if e["event"] == "session"]
    assert {e["status"] for e in other} == {"done"}


def test_its_model_decodes_bin_by_bin_because_it_says_it_can(worked: Laboratory) -> None:
    session = session_of(worked, SESSIONS[0])
    words = ("--session", SESSIONS[0], "--split", "test", "--decoder", "kernel_ridge")
    told = worked.events("run", "stream", "toy", *words)
    bins = [e for e in told if e["event"] == "bin"]
    assert len(bins) == len(session.rows("test")) * session.n_bins
    assert np.isfinite([e["velocity"] for e in bins]).all()
    assert told[-1]["event"] == "stream_timing"


def test_without_the_distribution_what_was_made_stays_readable_and_unknown_names_are_said(
    worked: Laboratory, scores: list[dict[str, Any]], evaluated: list[dict[str, Any]]
) -> None:
    assert scores
    assert evaluated
    worked.uninstall()
    listed = worked.pipeline("catalog", "list")
    assert all(name in listed.stdout for name in (*SESSIONS, "toy"))
    assert "toy_rig" in worked.pipeline("catalog", "show", SESSIONS[0]).stdout
    worked.pipeline("catalog", "scores")
    numbers = [e for e in worked.events("catalog", "scores") if e["event"] == "measurement"]
    assert "kernel_ridge" in {e.get("decoder") for e in numbers}
    assert "count_error" in {e["name"] for e in numbers}
    board = worked.pipeline("leaderboard")
    assert "toy" in board.stdout
    assert "velocity" in board.stdout
    verified = {e.get("run"): e for e in worked.events("catalog", "verify") if e["event"] == "run"}
    assert verified["toy"]["status"] == "ok"
    assert "files alone were looked at" in verified["toy"]["reason"]
    assert "toylab 0.1.0: install that" in verified["toy"]["reason"]
    worked.pipeline("export", "lfads")
    told = worked.events("run", "decode", "--session", SESSIONS[0], "--set", "lag_ms=120", code=3)
    assert [e["source"] for e in told if e["event"] == "measurement"] == ["rates"]
    (failed,) = [e for e in told if e.get("status") == "failed"]
    assert (failed["event"], failed["run"]) == ("run", "toy")
    assert "the model 'toy_lds' of this run is not installed. It came from toylab 0.1.0" in failed["reason"]
    for words, says in (
        (("run", "decode", "--set", 'decoders=["kernel_ridge"]'), "no decoder is called 'kernel_ridge'"),
        (("run", "evaluate", "--set", 'metrics=["count_error"]'), "no metric is called 'count_error'"),
        (("run", "train", "--model", "toy_lds"), "no model is called 'toy_lds'"),
        (("run", "ingest", "--path", ".", "--set", "layout=toy_rig"), "toy_rig"),
    ):
        assert says in worked.pipeline(*words, code=4).stderr
    assert "no exporter is called 'npz'" in worked.pipeline("export", "npz", code=2).stderr
    assert "999001" not in worked.pipeline("dandisets").stdout
