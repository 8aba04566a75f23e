"""What ``pipeline run forecast`` and ``pipeline run embed`` print, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.evaluation.forecasting.curves import Curve
from nwb_latents.pipeline.stages import embed as embed_module
from nwb_latents.pipeline.stages import forecast as forecast_module
from nwb_latents.pipeline.stages.embed import Embeddings


@pytest.fixture
def tables(monkeypatch):
    """Return the tables that are shown, in place of their frames."""
    shown = []
    monkeypatch.setattr(Output, "table", lambda _, *parts: shown.append(parts))
    return shown


def numbers(session, source, values, *, n_trials, quantity="rates", run="m", **about):
    """Return the records of a curve whose last value is the pooled one."""
    curve = Curve(quantity, source, per_step=tuple(values[:-1]), pooled=values[-1])
    about = (
        {"lag_ms": 60.0, "decoder": "ridge", "fitted_on": "recorded rates"} if quantity == "velocity" else {}
    )
    return curve.measurements(
        run=run,
        session=session,
        recipe_id="r",
        split="test",
        n_trials=n_trials,
        seen_bins=13,
        bins=2,
        **about,
    )


def shown_by(monkeypatch, tables, made):
    monkeypatch.setattr(forecast_module, "forecast", lambda *_, **__: made)
    done = CliRunner().invoke(app, ["run", "forecast"])
    assert done.exit_code == 0, (done.output, done.exception)
    return tables


def test_every_step_of_a_session_stands_in_its_row(monkeypatch, tables):
    made = [
        *numbers("a", "forecast", [0.5, 0.25, 0.375], n_trials=7, quantity="velocity"),
        *numbers("a", "hold_last", [0.4, None, -0.1], n_trials=7, quantity="velocity"),
        *numbers("a", "rates", [0.9, 0.8, 0.85], n_trials=7, quantity="velocity"),
        *numbers("a", "forecast", [0.3, 0.2, 0.1], n_trials=7),
    ]
    velocity, rates = shown_by(monkeypatch, tables, made)
    title, columns, rows = velocity
    assert "R² of velocity (r2_uniform) by bins ahead, test trials, run m, a" in title
    assert "2 bins after 13 seen; model by ridge fitted on recorded rates" in title
    assert "60 ms after the activity" in title
    place = {name: columns.index(name) for name in ("bins", "model", "hold last", "recorded")}
    found = [{name: row[number] for name, number in place.items()} for row in rows]
    assert found == [
        {"bins": "1", "model": "0.500", "hold last": "0.400", "recorded": "0.900"},
        {"bins": "2", "model": "0.250", "hold last": "-", "recorded": "0.800"},
        {"bins": "all", "model": "0.375", "hold last": "−0.100", "recorded": "0.850"},
    ]
    title, columns, rows = rates
    assert "R² of rates (r2_trialmean)" in title
    assert "decoder" not in title
    assert rows == [["1", "0.300"], ["2", "0.200"], ["all", "0.100"]]


def test_a_run_is_shown_with_the_sessions_it_knows(monkeypatch, tables):
    made = [
        *numbers("a", "forecast", [0.5, 0.3, 0.4], n_trials=7),
        *numbers("b", "forecast", [0.7, 0.1, 0.2], n_trials=9),
        *numbers("a", "hold_last", [0.1, 0.1, 0.1], n_trials=7),
        *numbers("b", "hold_last", [0.3, 0.3, 0.3], n_trials=9),
        # Scored beside another run alone.
        *numbers("c", "hold_last", [0.9, 0.9, 0.9], n_trials=4),
        *numbers("c", "forecast", [0.6, 0.6, 0.6], n_trials=4, run="n"),
    ]
    (means, sessions, other) = shown_by(monkeypatch, tables, made)
    assert "run m, mean of 2 sessions" in means[0]
    assert means[2] == [["1", "0.600", "0.200"], ["2", "0.200", "0.200"], ["all", "0.300", "0.200"]]
    assert "over all 2 bins" in sessions[0]
    assert sessions[2] == [["a", "7", "0.400", "0.100"], ["b", "9", "0.200", "0.300"]]
    assert "run n, c" in other[0]
    assert other[2] == [["1", "0.600", "0.900"], ["2", "0.600", "0.900"], ["all", "0.600", "0.900"]]


def test_embeddings_are_told_with_their_standard_deviations(monkeypatch, tables, tmp_path):
    table = xr.Dataset(
        {
            "mean": (("session", "embedding"), np.array([[1.5, -0.25], [0.0, 2.0]])),
            "variance": (("session", "embedding"), np.array([[0.04, 0.09], [1.0, 4.0]])),
            "n_trials": ("session", np.array([7.0, 9.0])),
        },
        coords={
            "session": ["a", "b"], "embedding": [0, 1], "subject": ("session", ["A", "B"]),
            "task": ("session", ["CO", "RT"]),
        },
    )  # fmt: skip
    made = Embeddings(table=table, files=(tmp_path / "embedding.nc",))
    monkeypatch.setattr(embed_module, "embed", lambda *_, **__: made)
    done = CliRunner().invoke(app, ["run", "embed", "--run", "m"])
    assert done.exit_code == 0, (done.output, done.exception)
    ((title, columns, rows),) = tables
    assert title == "Embeddings of run m (posterior mean ± standard deviation)"
    assert columns == ["session", "subject", "task", "trials", "e1", "e2"]
    assert rows == [
        ["a", "A", "CO", "7", "1.500 ± 0.200", "−0.250 ± 0.300"],
        ["b", "B", "RT", "9", "0.000 ± 1.000", "2.000 ± 2.000"],
    ]
