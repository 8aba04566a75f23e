"""What ``pipeline run decode`` prints, and how the catalog shows its scores."""

from __future__ import annotations

import pytest

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.decode import lags_of, show_decoded
from nwb_latents.pipeline.cli.session_tables import show_run
from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.catalog import add_session
from nwb_latents.schemas.catalog import RunEntry, SessionEntry
from nwb_latents.schemas.events import KeptMeasurement
from nwb_latents.schemas.measurement import Measurement


def score(**changes):
    fields = {
        "session": "sub-A_1", "recipe_id": "r", "name": "velocity_r2", "source": "rates", "lag_ms": 100.0,
        "value": 0.5, "definition": "r2_uniform", "split": "test", "n_trials": 30, "n_samples": 900,
        "decoder": "ridge", "fitted_on": "recorded rates",
    }  # fmt: skip
    return Measurement.model_validate(fields | changes)


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "catalog.yaml"
    for session, subject in [("sub-A_1", "A"), ("sub-A_2", "A"), ("sub-B_1", "B")]:
        add_session(
            path,
            SessionEntry(
                session=session, subject=subject, task="CO", recipe_id="r", store="s", store_key="k",
                source="f", n_trials=9, n_units=9, n_bins=9, bin_size_s=0.02, created="2026-01-01T00:00:00",
            ),
        )  # fmt: skip
    return path


def printed(scores, catalog, capsys):
    """Return the lines printed, each cut into its cells."""
    show_decoded(Output(), scores, catalog, folder="lag100ms-0")
    lines = capsys.readouterr().out.splitlines()
    return lines, [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in lines if "│" in line]


def test_each_decoder_has_columns_of_its_own(catalog, capsys):
    scores = [
        score(p_value=0.005),
        score(decoder="wiener", value=0.6, p_value=0.02),
        score(run="m", source="forecast", value=None),
    ]
    lines, rows = printed(scores, catalog, capsys)
    assert rows == [["sub-A_1", "0.500", "0.600", "undefined", "30"]]
    assert "test trials, run m (" in lines[0]
    assert "lag 100 ms; p at most 0.02" in " ".join(" ".join(lines[:2]).split())
    assert any("rates, wiener" in line for line in lines)
    told = " ".join(" ".join(lines).split())
    assert "rates, forecast: ridge, fitted on recorded rates" in told
    assert "rates: wiener, fitted on recorded rates" in told


def test_two_protocols_are_two_columns(catalog, capsys):
    """A number of another lag, window or fit never takes the place of one under the same word."""
    scores = [
        score(run="m", source="forecast", seen_bins=13, bins=20, value=0.3),
        score(run="m", source="forecast", seen_bins=13, bins=10, value=0.4),
        score(run="m", source="reconstruction", value=0.6),
        score(run="m", source="reconstruction", fitted_on="own rates", value=0.7),
    ]
    lines, rows = printed(scores, catalog, capsys)
    assert rows == [["sub-A_1", "0.600", "0.700", "0.300", "0.400", "30"]]
    heads = " ".join(" ".join(lines).replace("┃", " ").split())
    for word in ("own", "rates,", "20", "10"):
        assert word in heads


def test_several_runs_have_a_column_that_says_which(catalog, capsys):
    scores = [
        score(),
        *(score(run=run, source="forecast", value=value) for run, value in (("m", 0.1), ("n", 0.2))),
    ]
    _, rows = printed(scores, catalog, capsys)
    assert rows == [["sub-A_1", "m", "0.500", "0.100", "30"], ["sub-A_1", "n", "0.500", "0.200", "30"]]


def test_a_read_out_is_named_where_a_source_has_several(catalog, capsys):
    alone = [score(run="m", source="forecast", decoder="all_states")]
    lines, _ = printed(alone, catalog, capsys)
    heads = [line for line in lines if "┃" in line]
    assert "forecast" in heads[0]
    assert "all states" not in heads[0]
    both = [*alone, score(run="m", source="forecast", decoder="per_bin")]
    assert any("per bin" in line for line in printed(both, catalog, capsys)[0])


def test_the_best_lag_is_that_of_the_training_trials(catalog, capsys):
    curve = {60.0: (0.7, 0.4), 100.0: (0.8, 0.5), 140.0: (0.6, 0.9)}
    scores = []
    for lag, (training, test) in curve.items():
        scores.append(score(name="lag_scan_cv_velocity_r2", split="train", lag_ms=lag, value=training))
        scores.append(score(name="lag_scan_velocity_r2", lag_ms=lag, value=test))
        scores.append(
            score(
                name="lag_scan_velocity_r2",
                run="m",
                source="forecast_decoded",
                lag_ms=lag,
                value=test - 0.1,
            )
        )
    lines, rows = printed(scores, catalog, capsys)
    assert rows == [["sub-A_1", "ridge", "100", "0.800", "m", "0.500", "-", "0.400"]]
    assert "3 lags from 60 to 140 ms" in lines[0]


def test_transfer_is_summed_up_by_subject(catalog, capsys):
    values = {("sub-A_1",): 0.9, ("sub-A_2",): 0.6, ("sub-B_1",): -0.2, ("sub-A_2", "sub-B_1"): 0.4}
    scores = [
        score(name="transfer_velocity_r2", run="m", source="latents", fitted_sessions=fitted, value=value)
        for fitted, value in values.items()
    ]
    _, rows = printed(scores, catalog, capsys)
    assert rows == [["m", "ridge", "0.900 (1)", "0.600 (1)", "-0.200 (1)", "0.400 (1)"]]
    run = RunEntry(
        run="m", model="mdssm", path="runs/m", run_key="k", recipe_id="r", sessions=("sub-A_1",), steps=1,
        created="x",
    )  # fmt: skip
    kept = [KeptMeasurement.model_validate(one.model_dump()) for one in scores]
    show_run(Output(), run, stale="", scores=kept)
    shown = capsys.readouterr().out
    for text in ("fitted_sessions", "sub-A_2", "2 sessions", "latents"):
        assert text in shown


@pytest.mark.parametrize(
    "text", ["0:200", "a,b", "0:200:0", "0:200:-20", "200:0:20", "0:inf:20", "", "1:2:3:4"]
)
def test_lags_that_are_no_list_are_refused(text):
    with pytest.raises(SettingsError, match="FIRST:LAST:STEP"):
        lags_of(text)


def test_more_lags_than_can_be_compared_are_refused_before_they_are_listed():
    with pytest.raises(SettingsError, match=r"1,000,000,001 lags.*at most 10,001.*larger STEP"):
        lags_of("0:1e9:1")


def test_the_last_lag_is_included():
    assert lags_of("0:200:20")[-1] == 200.0
    assert lags_of("0:1:0.1") == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert lags_of("0:50:20") == [0.0, 20.0, 40.0]
