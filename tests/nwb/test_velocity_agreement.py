"""A velocity beside its position: nothing is said of a true one, and a person chooses where they disagree."""

from __future__ import annotations

import numpy as np
import pytest
from nwb.odd_files import RATE_HZ, SERIES, SESSION, attribute, both, of_series
from nwb.test_odd_files import changed, read
from nwb.test_odd_kinematics import of
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.schemas.recipe import IngestRecipe

POSITION, VELOCITY = SERIES


def _dropped(v):
    return np.random.default_rng(1).random(len(v)) > 0.4


TRUE = {
    "as it is": lambda h5: None,
    "white noise of 10 cm/s": of(VELOCITY, lambda v: v + np.random.default_rng(0).normal(0, 10, v.shape)),
    "white noise of the position of 2 mm": of(
        POSITION, lambda v: v + np.random.default_rng(0).normal(0, 0.2, v.shape)
    ),
    "a filter of 50 ms": of(VELOCITY, lambda v: gaussian_filter1d(v, 5, axis=0)),
    "a causal filter of 100 ms": of(VELOCITY, lambda v: uniform_filter1d(v, 10, axis=0, origin=4)),
    "a fifth of the rate": both(of(VELOCITY, lambda v: v[::5]), of(VELOCITY, lambda v: v[::5], "timestamps")),
    "a tenth of the rate of the position": both(
        of(POSITION, lambda v: v[::10]), of(POSITION, lambda v: v[::10], "timestamps")
    ),
    "samples lost": both(
        of(VELOCITY, lambda v: v[_dropped(v)]), of(VELOCITY, lambda v: v[_dropped(v)], "timestamps")
    ),
    "samples missing": of(VELOCITY, lambda v: np.where(_dropped(v)[:, None], v, np.nan)),
    "a backward difference": of(POSITION, lambda v: v[np.maximum(np.arange(len(v)) - 1, 0)]),
    "steps of half a centimetre": of(POSITION, lambda v: np.round(2 * v) / 2),
    "16 bits": both(of_series(lambda v: np.round(900 * v).astype("i2")), attribute("conversion", 1 / 900)),
    "movement along x alone": of_series(lambda v: v * [1, 0.01]),
    "movement along a diagonal": of_series(lambda v: v[:, :1] * [1, 1]),
    "half precision": of_series(lambda v: v.astype("f2")),
}


@pytest.mark.parametrize("name", TRUE)
def test_nothing_is_said_of_a_velocity_that_is_noisy_filtered_or_of_another_rate(name, tmp_path):
    recording = read_recording(changed(tmp_path, TRUE[name]), IngestRecipe())
    assert recording.warnings == ()
    assert recording.velocity_series == VELOCITY


def test_a_person_can_choose_between_a_position_and_a_velocity_that_disagree(tmp_path):
    path = changed(tmp_path, of(VELOCITY, lambda v: -v))
    with pytest.raises(DataError, match=r"velocity_from=position .* velocity_from=series"):
        read(path)
    stored, _ = read(path, "velocity_from=series")
    np.testing.assert_allclose(stored.velocity.values, -SESSION.velocity)
    assert any("opposite sign" in text and "used as it is stored" in text for text in stored.warnings)
    derived, _ = read(path, "velocity_from=position")
    assert derived.velocity is None
    assert not any("opposite" in text for text in derived.warnings)
    named, _ = read(path, f"velocity_series={VELOCITY}")
    assert named.position is None


def named(unit, factor):
    """Return the change of the velocity into values times a factor, of a unit that says something else."""
    return both(
        of(VELOCITY, lambda v: v * factor),
        lambda h5: h5[f"{VELOCITY}/data"].attrs.__setitem__("unit", unit),
    )


MENDED = {
    "m/s stated as cm/s": named("cm/s", 0.01),
    "cm/s stated as m/s": named("m/s", 1.0),
    "cm/s stated as mm/s": named("mm/s", 1.0),
    "mm/s stated as cm/s": named("cm/s", 10.0),
    "m/s stated as mm/s": named("mm/s", 0.01),
    "mm/s stated as m/s": named("m/s", 10.0),
    "cm per sample": named("cm/s", 1 / RATE_HZ),
    "m per sample stated as cm/s": named("cm/s", 0.01 / RATE_HZ),
}


@pytest.mark.parametrize("name", MENDED)
def test_a_velocity_of_another_unit_is_said_and_comes_out_in_cm_per_second(name, tmp_path):
    recording = read_recording(changed(tmp_path, MENDED[name]), IngestRecipe())
    (said,) = recording.warnings
    assert name in said
    assert "values are taken times" in said
    np.testing.assert_allclose(recording.velocity.values, SESSION.velocity, rtol=1e-9, atol=1e-9)


def test_a_velocity_beside_a_position_in_pixels_stays_as_it_is_stored(tmp_path):
    change = both(
        of(POSITION, lambda v: 20 * v),
        lambda h5: h5[f"{POSITION}/data"].attrs.__setitem__("unit", "pixels"),
        lambda h5: h5[f"{VELOCITY}/data"].attrs.__setitem__("unit", "pixels/s"),
    )
    recording = read_recording(changed(tmp_path, change), IngestRecipe())
    assert any("values are taken as they are" in text for text in recording.warnings)
    np.testing.assert_allclose(recording.velocity.values, SESSION.velocity, rtol=1e-9)
