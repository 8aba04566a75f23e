"""Training asks for quality: sessions that fall short are left out, and it is said why."""

from __future__ import annotations

import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.quality import QualityFilter
from nwb_latents.schemas.training import BatchSettings, TrainSettings


@pytest.fixture
def catalog(tmp_path, as_recording, make_reaches, enter_recording):
    """Return the catalog of a longer and a shorter session."""
    path = tmp_path / "catalog.yaml"
    for subject, n_trials in (("A", 30), ("B", 12)):
        enter_recording(path, as_recording(make_reaches(n_trials=n_trials)), subject=subject)
    return path


def settings(**asked):
    model = MDSSMSettings(
        latent_dim=2, rank=1, dynamics_width=8, hyper_width=8, encoder_width=8,
        read_in=ReadInSettings(hidden=8, width=4),
    )  # fmt: skip
    return TrainSettings(
        model=model,
        batch=BatchSettings(trials_per_session=4),
        max_steps=2,
        device="cpu",
        select=QualityFilter(**asked),
    )


def test_a_session_that_falls_short_is_left_out_and_reported(catalog):
    events = []
    entry = train(catalog, settings(exclude_flags=("few_trials",)), report=events.append)
    assert entry.sessions == ("sub-A_ses-CO-1",)
    (note,) = [e for e in events if e.event == "note"]
    assert (note.session, note.reason) == ("sub-B_ses-CO-1", "flagged few_trials")
    again = train(catalog, settings(), sessions=["sub-A*"])
    assert again == entry, "the same sessions and settings are the same run, however they were chosen"


def test_a_run_goes_on_with_its_sessions_whatever_is_asked(catalog):
    first = train(catalog, settings(min_trials=20), run_name="mine")
    longer = train(catalog, settings().model_copy(update={"max_steps": 3}), resume="mine")
    assert longer.sessions == first.sessions == ("sub-A_ses-CO-1",)


def test_none_good_enough_is_an_error_with_the_reasons(catalog):
    with pytest.raises(DataError, match=r"None of 2 sessions .*sub-A_ses-CO-1 is left out: 30 trials"):
        train(catalog, settings(min_trials=50))
    assert not read_catalog(catalog).runs
