"""``pipeline catalog scores``: what was measured, filtered, for people and for machines."""

import json

import pytest
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.stores.measurements import add_measurements
from nwb_latents.schemas.measurement import Measurement


@pytest.fixture
def measured(tmp_path):
    plain = {"recipe_id": "20ms-a", "split": "test", "n_trials": 9}
    of_run = {
        **plain, "name": "velocity_r2", "run": "lfads-1", "source": "forecast", "decoder": "kernel_ridge",
        "fitted_on": "recorded rates", "seen_bins": 13, "bins": 20, "lag_ms": 100.0,
        "details": {"shown": "spikes of the bins seen alone"},
    }  # fmt: skip
    add_measurements(
        tmp_path / "catalog.yaml",
        [
            Measurement(**of_run, session="sub-A", value=0.25, low=0.125, high=0.5),
            Measurement(**of_run, session="sub-A", value=0.75, step=1),
            Measurement(**of_run, session="sub-B", value=None, reason="no velocity"),
            Measurement(**plain, name="co_bps", unit="bits/spike", session="sub-A", value=0.1, source="gpfa",
                        is_baseline=True),
        ],
    )  # fmt: skip


def test_a_table_says_what_each_number_means(pipeline_command, measured):
    shown = pipeline_command("catalog", "scores", "--metric", "velocity*", "--session", "sub-A")
    assert shown.returncode == 0
    for word in ("0.25", "0.125 to 0.5", "kernel_ridge", "recorded rates", "bins 20 after 13", "100 ms"):
        assert word in shown.stdout
    assert "0.75" not in shown.stdout
    assert "0.75" in pipeline_command("catalog", "scores", "--steps").stdout


def test_json_has_every_field(pipeline_command, measured):
    shown = pipeline_command("catalog", "scores", "--json")
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(one["event"], one["session"], one["name"], one["value"]) for one in found] == [
        ("measurement", "sub-A", "velocity_r2", 0.25),
        ("measurement", "sub-B", "velocity_r2", None),
        ("measurement", "sub-A", "co_bps", 0.1),
    ]
    assert found[1]["reason"] == "no velocity"
    assert set(Measurement.model_fields) <= found[0].keys()


def test_nothing_that_matches_says_what_to_do(pipeline_command, measured):
    shown = pipeline_command("catalog", "scores", "--run", "nobody")
    assert shown.returncode == 4
    assert "leave out a condition" in shown.stderr


def test_long_tables_are_written_without_a_frame(pipeline_command, tmp_path):
    many = [
        Measurement(
            name="co_bps", value=k, session=f"sub-{k:04}", recipe_id="r", split="test", n_trials=1,
            source="gpfa",
        )
        for k in range(600)
    ]  # fmt: skip  # fmt: skip
    add_measurements(tmp_path / "catalog.yaml", many)
    lines = pipeline_command("catalog", "scores").stdout.splitlines()
    assert len(lines) == 602
    assert lines[-1].split()[:4] == ["sub-0599", "gpfa", "co_bps", "599"]


@pytest.fixture
def tables(monkeypatch):
    """Return the tables that are shown, in place of their frames."""
    shown = []
    monkeypatch.setattr(Output, "table", lambda _, *parts: shown.append(parts))
    return shown


def test_every_cell_says_its_own_field(tmp_path, tables):
    full = Measurement(
        name="transfer_velocity_r2", session="sub-A", recipe_id="r", source="forecast", run="m", split="val",
        value=0.123456, low=-0.25, high=0.75, p_value=0.0123, decoder="wiener", lag_ms=60.0, seen_bins=13,
        bins=20, fitted_sessions=("sub-B", "sub-C"), fitted_on="latents", n_trials=7, n_units=5, n_samples=99,
        details={"shown": "spikes of the bins seen alone"},
    )  # fmt: skip
    bits = full.model_copy(
        update={
            "name": "co_bps", "unit": "bits/spike", "source": "gpfa", "run": None, "value": None,
            "bins": None, "seen_bins": None, "reason": "no unit is held out", "p_value": None, "low": None,
            "high": None, "decoder": None, "lag_ms": None, "fitted_sessions": (), "fitted_on": "",
        }
    )  # fmt: skip
    catalog = tmp_path / "catalog.yaml"
    add_measurements(catalog, [full, bits])
    done = CliRunner().invoke(app, ["catalog", "scores", "--catalog", str(catalog)])
    assert done.exit_code == 0, done.output
    ((title, columns, rows),) = tables
    assert "transfer_velocity_r2: decoder fitted on latents" in title
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    for row in found:
        # The stores of these numbers were never there.
        assert row.pop("stale", "") or "stale" not in columns
    assert found == [
        {
            "session": "sub-A", "run": "m", "source": "forecast", "metric": "transfer_velocity_r2",
            "value": "0.1235", "interval": "-0.25 to 0.75", "decoder": "wiener, 60 ms",
            "fitted sessions": "sub-B, sub-C", "ahead": "bins 20 after 13", "trials": "7 val", "p": "0.0123",
            "why not": "",
        },
        {
            "session": "sub-A", "run": "", "source": "gpfa", "metric": "co_bps", "value": "", "interval": "",
            "decoder": "", "fitted sessions": "", "ahead": "", "trials": "7 val", "p": "",
            "why not": "no unit is held out",
        },
    ]  # fmt: skip


def test_only_the_latest_is_shown_unless_the_history_is_asked_for(tmp_path, tables):
    catalog = tmp_path / "catalog.yaml"
    about = {"name": "velocity_r2", "session": "s", "recipe_id": "r", "split": "test", "source": "rates"}
    for value in (0.25, 0.5):
        add_measurements(catalog, [Measurement(**about, n_trials=9, value=value)])
    for words, expected in (([], ["0.5"]), (["--history"], ["0.25", "0.5"])):
        done = CliRunner().invoke(app, ["catalog", "scores", "--catalog", str(catalog), *words])
        assert done.exit_code == 0, done.output
        _, columns, rows = tables.pop()
        assert [row[columns.index("value")] for row in rows] == expected


def test_forecasts_measured_as_is_done_no_more_are_stale(tmp_path, tables):
    about = {"recipe_id": "r", "split": "test", "n_trials": 9, "session": "sub-A", "run": "m", "value": 0.5}
    former = Measurement(name="velocity_r2", source="forecast", seen_bins=13, bins=20, **about)
    of_today = former.model_copy(update={"bins": 10, "details": {"shown": "spikes of the bins seen alone"}})
    whole = former.model_copy(update={"source": "reconstruction", "bins": None, "seen_bins": None})
    catalog = tmp_path / "catalog.yaml"
    add_measurements(catalog, [former, of_today, whole])
    done = CliRunner().invoke(app, ["catalog", "scores", "--catalog", str(catalog)])
    assert done.exit_code == 0, done.output
    ((_, columns, rows),) = tables
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert ["otherwise since" in row["stale"] for row in found] == [True, False, False]
