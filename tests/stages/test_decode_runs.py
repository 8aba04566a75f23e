"""What is decoded of a run, before any of it is kept: of the trials, bins and lags that it is of."""

from __future__ import annotations

import numpy as np
import pytest
from stages.decodable_stores import Echo, add_store

from nwb_latents.pipeline.stages.decode_runs import decoded_run, laid_ready
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.decoding import DecodeSettings

SESSION = "sub-A_ses-1"
SETTINGS = {"decoders": ["ridge", "wiener"], "history_bins": 2, "lag_scan_ms": [60, 100], "n_permutations": 0}


class Seer(Echo):
    """A model whose forecast comes true, to the last spike."""

    def forecast(self, session, *, seen_bins, n_bins):
        return session.trials["rates"].values[:, seen_bins : seen_bins + n_bins]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    catalog = tmp_path_factory.mktemp("runs") / "catalog.yaml"
    add_store(catalog, SESSION, seed=1)
    (store,) = catalog.parent.rglob("*.zarr")
    return open_session(store).loaded()


def decoded(session, tmp_path, **changes):
    """Return what is decoded of the run by each decoder, the scores at lags, and of the recording."""
    settings = DecodeSettings.model_validate({**SETTINGS, **changes})
    work = StageWork(tmp_path / "catalog.yaml", settings, [], [], lambda _: None)
    work.trained["seer"] = Seer()
    laid = laid_ready(work, None, session, wanted=False)
    return *decoded_run(work, laid, "seer"), laid.rates


@pytest.mark.parametrize(("seen", "ahead"), [(13, 20), (20, 10)])
def test_a_forecast_is_held_against_the_bins_that_it_is_of(session, tmp_path, seen, ahead):
    made, at_lags, recorded = decoded(session, tmp_path, forecast={"seen_bins": seen, "bins": ahead})
    for (whole, foreseen), of_rates, cut in zip(made, recorded, (0, 1), strict=True):
        assert (foreseen.score.source, foreseen.score.run) == ("forecast_decoded", "seer")
        # The wiener decoder reads the bin before too, of which a forecast knows nothing.
        bins = slice(seen + cut, seen + ahead)
        assert foreseen.first_bin == bins.start
        for same in (whole, of_rates):
            expected = same.velocity[:, bins.start - same.first_bin : bins.stop - same.first_bin]
            np.testing.assert_allclose(foreseen.velocity, expected, rtol=1e-6)
        assert foreseen.score.n_samples == len(whole.velocity) * (ahead - cut)
        assert foreseen.score.value > 0.7
    at_its_lag = [score for score in at_lags if score.lag_ms == 100]
    assert all(score.value > 0.7 for score in at_its_lag)
    assert [(score.source, score.decoder) for score in at_its_lag] == [
        (source, decoder)
        for decoder in SETTINGS["decoders"]
        for source in ("reconstruction", "forecast_decoded")
    ]


@pytest.mark.parametrize("source", ["reconstruction", "forecast"])
def test_only_what_is_asked_for_is_decoded(session, tmp_path, source):
    made, _, _ = decoded(session, tmp_path, sources=[source])
    expected = {"reconstruction": "reconstruction", "forecast": "forecast_decoded"}[source]
    assert [[one.score.source for one in signals] for signals in made] == [[expected]] * 2
