"""Pictures of forecasts: what they name, and means over sessions."""

import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.forecasting import draw_forecast
from nwb_latents.pipeline.evaluation.forecasting.curves import Curve, mean_curves


def forecast_of(session, value, *, quantities=("velocity", "rates"), n_trials=8):
    """Return records of a model and of what it is compared with."""
    records = []
    for quantity in quantities:
        for source in ("forecast", "linear_forecast", "condition_mean", "hold_last"):
            curve = Curve(quantity, source, per_step=(value, None, value - 3), pooled=value)
            is_decoded = quantity == "velocity" and source == "forecast"
            fitted = {"decoder": "ridge", "fitted_on": "recorded rates"} if is_decoded else {}
            records += curve.measurements(
                run="mdssm-1", session=session, recipe_id="r", seen_bins=13, bins=3, n_trials=n_trials,
                split="test", lag_ms=100.0 if quantity == "velocity" else None, **fitted,
            )  # fmt: skip
    return records


@pytest.fixture
def words(monkeypatch):
    """All the words of the pictures that are drawn."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    found = []
    save = Figure.savefig

    def spy(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        found.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", spy)
    return found


def test_a_picture_names_run_session_sources_units_and_definitions(tmp_path, words):
    draw_forecast(tmp_path / "a.png", forecast_of("sub-A", 0.5), bin_size_s=0.02)
    text = " | ".join(words)
    for word in (
        "sub-A", "mdssm-1", "8 test trials", "13 bins seen", "hand velocity", "firing rates", "bins of 20 ms",
        "R² (r2_uniform)", "R² (r2_trialmean)", "condition mean", "hold last", "100 ms",
        "model: ridge fitted on recorded rates", "3 forecast",
    ):  # fmt: skip
        assert word in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_several_sessions_are_averaged_and_their_number_is_told(tmp_path, words):
    both = [*forecast_of("a", 0.5), *forecast_of("b", 0.7, n_trials=9)]
    draw_forecast(tmp_path / "a.png", both, bin_size_s=0.02)
    text = " | ".join(words)
    assert "mean of 2 sessions" in text
    assert "8 to 9 test trials" in text
    means = mean_curves(both, "velocity")["forecast"]
    assert means[0] == pytest.approx(0.6)
    assert means[1] is None
    assert means[3] == pytest.approx(0.6)


def test_rates_alone_have_a_picture_too(tmp_path, words):
    draw_forecast(tmp_path / "a.png", forecast_of("a", 0.5, quantities=("rates",)), bin_size_s=0.02)
    assert "hand velocity" not in words
    with pytest.raises(DataError, match="no forecasts"):
        draw_forecast(tmp_path / "a.png", [], bin_size_s=0.02)
