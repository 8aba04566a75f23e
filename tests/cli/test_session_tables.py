"""Sessions as `pipeline catalog show` shows them."""

import pytest
import yaml

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.session_tables import show_session, show_stores
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.quality import KinematicOutliers, Percentiles, RateStability, SessionQuality
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes

KEY = "sub-T_ses-1@20ms-0"


@pytest.fixture
def entry(tmp_path):
    content = {
        "session": "sub-T_ses-1", "subject": "T", "task": "CO", "recipe_id": "20ms-0", "store": "s.zarr",
        "store_key": "k", "source": "a.nwb", "n_trials": 20, "n_units": 7, "n_bins": 36,
        "bin_size_s": 0.02, "created": "2024-01-01T00:00:00+00:00",
    }  # fmt: skip
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"sessions": {KEY: content}}))
    return read_catalog(tmp_path / "catalog.yaml").sessions[KEY]


def test_a_store_that_was_written_is_a_row(entry, monkeypatch):
    shown = []
    monkeypatch.setattr(Output, "table", lambda _, *parts: shown.append(parts))
    with Output() as out:
        show_stores(out, [entry])
        show_stores(out, [])
    head = ["session", "task", "trials", "units", "bins"]
    assert shown == [("Trial stores", head, [["sub-T_ses-1", "CO", "20", "7", "36 × 20 ms"]])]


@pytest.fixture
def shown_session(capsys, entry):
    def show(**changes):
        attributes = StoreAttributes(
            **{
                "store_key": "k", "session": "s", "subject": "T", "task": "CO", "bin_size_s": 0.02,
                "n_event_bins": 13, "recipe": {"min_rate_hz": 0.5},
                "provenance": Provenance(
                    source="a.nwb", asset_digest="sha256:0", layout="generic", warnings=("odd clock",)
                ),
                "dropped": DropCounts(units={"below_min_rate": 3}, trials={"flagged_by_file": 2}),
                **changes,
            }
        )  # fmt: skip
        with Output() as out:
            show_session(out, entry, attributes, [])
        return capsys.readouterr().out

    return show


def test_a_session_is_shown_with_what_was_left_out_and_why(shown_session):
    text = " ".join(shown_session().replace("│", " ").split())
    assert "unit below_min_rate 3" in text
    assert "trial flagged_by_file 2" in text
    assert "warning: odd clock" in text
    assert "min_rate_hz=0.5" in text


def test_what_the_file_states_of_the_subject_is_shown(shown_session):
    assert "species" not in shown_session()
    stated = Provenance(
        source="a.nwb", asset_digest="sha256:0", layout="generic", species="Macaca mulatta", sex="F"
    )
    text = " ".join(shown_session(provenance=stated).replace("│", " ").split())
    assert "species, sex, age Macaca mulatta, F" in text


def test_a_session_without_losses_says_so(shown_session):
    assert "Left out: no unit, no trial." in shown_session(dropped=DropCounts())


def test_the_quality_of_a_session_is_shown_with_meaning_and_unit(shown_session):
    quality = SessionQuality(
        n_trials=20, n_units=7, reaction_time_s=Percentiles(n=19, p5=0.2, p50=0.31, p95=0.48),
        peak_speed_cm_s=Percentiles(n=0), onset_quality={"ok": 18, "slow_rise": 2},
        rates=RateStability(drift=0.125), outliers=KinematicOutliers(share=0.01), decodability=0.71234,
        flags=("rate_drift",),
    )  # fmt: skip
    text = " ".join(shown_session(quality=quality).replace("│", " ").split())
    assert "0.31 (5th to 95th percentile 0.2 to 0.48, n = 19)" in text
    assert "decodability 0.712" in text
    assert "ok 18, slow_rise 2" in text
    assert "rates drift 0.125" in text
    assert "Flags: rate_drift." in text
    assert "Flags: none." in shown_session(quality=quality.model_copy(update={"flags": ()}))


def test_every_row_of_a_session_says_its_own_number(shown_session, monkeypatch):
    shown = []
    monkeypatch.setattr(Output, "table", lambda _, *parts: shown.append(parts))
    stated = Provenance(
        source="a.nwb", asset_digest="sha256:0", layout="perich_miller", position_series="hand_pos",
        velocity_series="hand_vel",
    )  # fmt: skip
    shown_session(provenance=stated, kinematics_unit="degrees")
    found = {what: value for _, _, rows in shown[:1] for what, value in rows}
    assert (found["subject, task"], found["store"]) == ("T, CO", "s.zarr")
    assert (found["trials"], found["units"]) == ("20 of 36 bins of 20 ms", "7")
    assert (found["layout"], found["kinematics in"]) == ("perich_miller", "degrees, degrees/s")
    assert (found["position from"], found["velocity from"]) == ("hand_pos", "hand_vel")
    shown.clear()
    shown_session()
    found = {what: value for _, _, rows in shown[:1] for what, value in rows}
    assert (found["position from"], found["velocity from"]) == ("none", "the position")
