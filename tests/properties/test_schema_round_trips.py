"""What is written down is read back equal, whichever notation it took on the way."""

import json
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nwb_latents.pipeline.stores.catalog import read_catalog, update_catalog
from nwb_latents.pipeline.stores.measurements import (
    add_measurements,
    measurement_records,
    read_measurements,
)
from nwb_latents.pipeline.stores.settings import settings_from, validate
from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
from nwb_latents.schemas.export import LfadsExport, NlbExport, NwbExport
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import OnsetSettings, SplitSettings, TrialSelection

# Words that YAML takes for something other than text, beside any text at all.
words = st.one_of(
    st.sampled_from(["000070", "1e3", "null", "yes", "2020-01-06", "0x10", "1:30", "- a", "a: b", "#", "~"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
)
shares = st.floats(0, 1, allow_nan=False)
positive = st.floats(1e-6, 1e6, allow_nan=False)


@st.composite
def recipes(draw):
    """Return a recipe with a whole number of bins on either side of the event."""
    bin_ms = draw(st.sampled_from([1, 2, 5, 10, 20, 25, 50, 100]))
    first, last = draw(st.integers(-200, 100)), draw(st.integers(1, 300))
    test = draw(st.integers(0, 40)) / 100
    val = draw(st.integers(0, 40)) / 100
    return IngestRecipe(
        bin_size_s=bin_ms / 1e3,
        window_s=(first * bin_ms / 1e3, (first + last) * bin_ms / 1e3),
        smooth_sigma_s=draw(st.floats(0, 1)),
        min_rate_hz=draw(st.floats(0, 50)),
        align_to=draw(st.sampled_from(["move_onset", "go_cue", "target_on", "peak_speed", "trial_start"])),
        onset=OnsetSettings(
            method=draw(st.sampled_from(["auto", "threshold"])), threshold_cm_s=draw(positive)
        ),
        trials=TrialSelection(success_only=draw(st.booleans()), guard_s=draw(st.floats(0, 5))),
        split=SplitSettings(name=draw(words), train=1 - test - val, val=val, test=test),
        position_series=draw(st.none() | words),
    )


@st.composite
def catalogs(draw):
    """Return a catalog with sessions and runs of any names."""
    sessions = draw(
        st.lists(
            st.builds(
                SessionEntry, session=words, subject=words, task=words, recipe_id=words, store=words,
                store_key=words, dandiset=st.none() | words, source=words, n_trials=st.integers(0, 999),
                n_units=st.integers(0, 999), n_bins=st.integers(1, 99), bin_size_s=positive, created=words,
            ),
            max_size=3, unique_by=_name_of,
        )
    )  # fmt: skip
    runs = draw(
        st.lists(
            st.builds(
                RunEntry, run=words, model=words, path=words, run_key=words, recipe_id=words,
                sessions=st.lists(words, max_size=3).map(tuple), steps=st.integers(0, 9),
                metrics=st.dictionaries(words, st.floats(allow_nan=False), max_size=2), created=words,
            ),
            max_size=2, unique_by=lambda entry: entry.run,
        )
    )  # fmt: skip
    return Catalog(
        sessions={_name_of(entry): entry for entry in sessions}, runs={entry.run: entry for entry in runs}
    )


def _name_of(entry):
    return f"{entry.session}@{entry.recipe_id}"


numbers = st.none() | st.floats(allow_nan=False)
measurements = st.builds(
    Measurement, name=words, value=numbers, low=numbers, high=numbers, run=st.none() | words, session=words,
    recipe_id=words, source=words, split=words, decoder=st.none() | words, fitted_on=words, reason=words,
    fitted_sessions=st.lists(words, max_size=2).map(tuple), p_value=st.none() | st.floats(0.001, 1),
    lag_ms=numbers, seed=st.none() | st.integers(0, 2**62), n_trials=st.integers(0, 9),
    n_samples=st.none() | st.integers(0, 2**53), per_axis=st.lists(numbers, max_size=2).map(tuple),
    details=st.dictionaries(words, st.none() | words | st.integers() | st.lists(words), max_size=2),
    step=st.none() | st.integers(1, 9), is_baseline=st.booleans(), time=words, program=words,
)  # fmt: skip


exports = st.one_of(
    st.builds(NlbExport, lag_ms=st.floats(-500, 500), key=st.none() | st.just("mc_maze"), psth=st.booleans()),
    st.builds(LfadsExport, heldout_fraction=st.floats(0, 0.99), truth=st.sampled_from(["none", "rates"])),
    st.builds(NwbExport, session_start=st.none() | st.datetimes(timezones=st.just(UTC))),
)


def copies(settings_object):
    """Return what an object becomes through JSON and through YAML, whole and without its defaults."""
    kind = type(settings_object)
    yield kind.model_validate_json(settings_object.model_dump_json())
    for only_set in (False, True):
        plain = settings_object.model_dump(mode="json", exclude_defaults=only_set)
        of_yaml = yaml.safe_load(yaml.safe_dump(plain, allow_unicode=True))
        for content in (of_yaml, json.loads(json.dumps(plain))):
            yield validate(kind, content, where="text")


@settings(deadline=None, max_examples=60)
@given(recipes())
def test_recipes(recipe):
    for copy in copies(recipe):
        assert copy == recipe
        assert copy.digest() == recipe.digest()
    assert recipe.window_bins[1] - recipe.window_bins[0] == recipe.n_bins


@settings(deadline=None, max_examples=40)
@given(exports)
def test_export_settings(chosen):
    for copy in copies(chosen):
        assert copy == chosen
        assert copy.digest() == chosen.digest()


@settings(deadline=None, max_examples=30)
@given(recipes())
def test_a_recipe_given_word_by_word_is_that_recipe(recipe):
    plain = recipe.model_dump(mode="json")
    given_words = [
        f"{key}={json.dumps(plain[key])}"
        for key in ("bin_size_s", "window_s", "smooth_sigma_s", "min_rate_hz", "align_to", "onset", "trials")
    ]
    expected = recipe.model_copy(update={"split": SplitSettings(), "position_series": None})
    assert settings_from(IngestRecipe, words=given_words) == expected


@settings(deadline=None, max_examples=40)
@given(catalogs())
def test_catalogs_on_disk(catalog):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.yaml"
        update_catalog(path, lambda _: catalog)
        assert read_catalog(path) == catalog
        before = path.read_bytes()
        update_catalog(path, lambda found: found)
        assert path.read_bytes() == before


def text_of(measurement):
    return json.dumps(measurement.model_dump(), sort_keys=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(measurements, max_size=4))
def test_measurements_on_disk(written):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.yaml"
        assert add_measurements(path, written) == written
        found = measurement_records(read_measurements(path, latest=False))
        assert sorted(map(text_of, found)) == sorted(map(text_of, written))
        assert {each.key for each in measurement_records(read_measurements(path))} == {w.key for w in written}
