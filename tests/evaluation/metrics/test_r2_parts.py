"""R² of time bins and conditions: each part is a data set of its own."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.parts import parts_table
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.metrics.r2 import r2, r2_per_output
from nwb_latents.pipeline.evaluation.metrics.r2_parts import r2_of_conditions, r2_of_parts, r2_over_time
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    true = rng.normal(size=(30, 12, 2)) * [1.0, 20.0] + 1e4
    predicted = true + rng.normal(size=true.shape)
    mask = rng.random((30, 12)) < 0.8
    condition = np.array(["b", "a", "c"], dtype=object)[rng.integers(3, size=30)]
    return true, predicted, mask, condition


def test_each_time_bin_is_scored_as_if_it_were_alone(data):
    true, predicted, mask, _ = data
    found = r2_over_time(true, predicted, mask=mask)
    for t in range(12):
        one = (true[:, t], predicted[:, t])
        assert found.per_output[t] == pytest.approx(r2_per_output(*one, mask=mask[:, t]), abs=1e-9)
        assert found.pooled[t] == pytest.approx(r2(*one, definition="r2_pooled", mask=mask[:, t]), abs=1e-9)


def test_each_condition_is_scored_as_if_it_were_alone(data):
    true, predicted, mask, condition = data
    names, found = r2_of_conditions(true, predicted, condition, mask=mask)
    assert names == ["a", "b", "c"]
    for number, name in enumerate(names):
        mine = condition == name
        one = (true[mine], predicted[mine])
        assert found.per_output[number] == pytest.approx(r2_per_output(*one, mask=mask[mine]), abs=1e-9)
        assert found.pooled[number] == pytest.approx(
            r2(*one, definition="r2_pooled", mask=mask[mine]), abs=1e-9
        )


def test_what_parts_differ_in_counts_in_none_of_them():
    levels = np.repeat([[0.0], [100.0]], 10, axis=0)[:, None] + np.random.default_rng(0).normal(
        size=(20, 5, 1)
    )
    predicted = np.repeat([[[0.0]], [[100.0]]], 10, axis=0) + np.zeros((20, 5, 1))
    condition = np.repeat(["low", "high"], 10)
    _, found = r2_of_conditions(levels, predicted, condition)
    assert r2(levels, predicted, definition="r2_pooled") > 0.999
    assert (found.pooled < 0.01).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_part_without_variance_or_samples_is_undefined(constant):
    true = np.full((6, 2), constant)
    true[:3, 1] = [0.0, 1.0, 2.0]
    found = r2_of_parts(true, true + 0.5, [0, 0, 0, 1, 1, 1], n_parts=3)
    assert np.isnan(found.per_output).tolist() == [[True, False], [True, True], [True, True]]
    assert np.isnan(found.pooled).tolist() == [False, True, True]


def test_what_does_not_fit_is_refused(data):
    true, predicted, mask, _ = data
    with pytest.raises(DataError, match="parts run from 0 to 11; expected 0 to 10"):
        r2_of_parts(true, predicted, np.broadcast_to(np.arange(12), (30, 12)), n_parts=11)
    with pytest.raises(DataError, match=r"predicted \(30, 11, 2\)"):
        r2_over_time(true, predicted[:, 1:], mask=mask)
    with pytest.raises(DataError, match="1 of 720 values are not finite"):
        r2_over_time(true, np.where(np.arange(720).reshape(true.shape) == 5, np.nan, predicted))


def test_the_table_has_every_signal_over_time_and_by_condition(make_session, tmp_path):
    trials, continuous = make_session()
    rates = trials["rates"].values[trials["split"].values == "test"]
    session, of_model = session_in_memory(trials, continuous), {"reconstruction": rates, "run": "m"}
    decoded = [
        decode_session(session, DecodeSettings(), **of_model, forecast=rates[:, 13:33], decoder=decoder)
        for decoder in ("ridge", "wiener")
    ]
    table = parts_table(decoded)
    assert table["decoder"].values.tolist() == ["ridge"] * 3 + ["wiener"] * 3
    assert table["source"].values.tolist() == ["rates", "reconstruction", "forecast_decoded"] * 2
    assert table["run"].values.tolist() == ["", "m", "m"] * 2
    known = np.isfinite(table["r2_over_time"].values)
    assert [row.nonzero()[0][[0, -1]].tolist() for row in known] == [
        [0, 35], [0, 35], [13, 32], [0, 35], [4, 35], [17, 32]
    ]  # fmt: skip
    decoder, signal = decoded[0].decoder, decoded[0].signals[0]
    assert table["r2_over_time_per_axis"].values[0] == pytest.approx(
        r2_over_time(decoder.velocity, signal.velocity).per_output, abs=1e-12
    )
    assert table["r2"].values.tolist() == [s.value for one in decoded for s in one.scores]
    assert table["n_trials_of_conditions"].values.sum(axis=1).tolist() == [8] * 6
    assert table.attrs["lag_ms"] == 100.0
    assert "its trials and bins" in table.attrs["definition"]


def test_the_table_counts_the_trials_that_were_scored(make_session):
    trials, continuous = (dataset.copy(deep=True) for dataset in make_session())
    test = np.flatnonzero(trials["split"].values == "test")
    start = trials["start_bin"].values[test]
    # The lag is of 5 bins: one trial without any velocity, one without that of its bins 10 to 12.
    continuous["velocity"].values[start[0] + 5 : start[0] + 41] = np.nan
    continuous["velocity"].values[start[1] + 15 : start[1] + 18, 0] = np.nan
    session = session_in_memory(trials, continuous)
    ahead = trials["rates"].values[test][:, 13:33]
    decoded = decode_session(session, DecodeSettings(), forecast=ahead, run="m")
    table = parts_table([decoded])
    condition = trials["condition"].values[test].astype(str)
    expected = {name: int((condition[1:] == name).sum()) for name in set(condition)}
    for row in range(2):
        found = dict(
            zip(table["condition"].values, table["n_trials_of_conditions"].values[row].tolist(), strict=True)
        )
        assert found == {name: expected[name] for name in found}
        assert sum(found.values()) == len(test) - 1
    counts = np.full(36, len(test) - 1)
    counts[10:13] -= 1
    assert table["n_trials_over_time"].values[0].tolist() == counts.tolist()
    counts[:13], counts[33:] = 0, 0
    assert table["n_trials_over_time"].values[1].tolist() == counts.tolist()
    decoder, signal = decoded.decoder, decoded.signals[1]
    known = np.isfinite(decoder.velocity[:, 13:33]).all(axis=-1)
    ahead_r2 = r2_over_time(decoder.velocity[:, 13:33], signal.velocity, mask=known)
    assert table["r2_over_time_per_axis"].values[1, 13:33] == pytest.approx(ahead_r2.per_output, nan_ok=True)
    assert table["r2_over_time"].values[1, 13:33] == pytest.approx(ahead_r2.pooled, nan_ok=True)


def test_no_signal_has_no_table():
    with pytest.raises(DataError, match="no signal"):
        parts_table([])
