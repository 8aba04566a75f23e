"""What a report says of sessions and numbers: lights, funnel, maps, methods, what to cite."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from evaluation.report.pages import HOSTILE, make_page

from nwb_latents.pipeline.evaluation.report.bibliography import bibtex, escaped
from nwb_latents.pipeline.evaluation.report.flat_settings import flat_settings, unlike_default
from nwb_latents.pipeline.evaluation.report.funnel import funnel
from nwb_latents.pipeline.evaluation.report.heat_maps import heat_maps
from nwb_latents.pipeline.evaluation.report.lights import CHECKS, SYMBOLS, lights_of
from nwb_latents.pipeline.evaluation.report.methods import Described, session_sentences
from nwb_latents.pipeline.evaluation.report.number_table import NOT_KNOWN, number_table
from nwb_latents.pipeline.stores.measurements import measurements_as_table
from nwb_latents.schemas.catalog import DandisetEntry
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.quality import KinematicOutliers, Percentiles, RateStability, SessionQuality
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes
from nwb_latents.schemas.training import TrainSettings

ROOT = Path(__file__).parents[3]


def attributes(*, flags=(), onsets=None, decodability=0.8, warnings=(), verification="digest", n_trials=100):
    quality = SessionQuality(
        n_trials=n_trials,
        n_units=40,
        dropped_trials={"no_onset": 25},
        reaction_time_s=Percentiles(n=0),
        peak_speed_cm_s=Percentiles(n=0),
        onset_quality=onsets or {"ok": n_trials},
        rates=RateStability(drift=-0.1, cv=0.2),
        outliers=KinematicOutliers(share=0.01),
        decodability=decodability,
        flags=flags,
    )
    return StoreAttributes(
        store_key="k",
        session="s",
        subject="A",
        task="CO",
        bin_size_s=0.02,
        n_event_bins=13,
        recipe=IngestRecipe(),
        provenance=Provenance(
            source="a.nwb",
            asset_digest="sha256:0",
            layout="generic",
            warnings=warnings,
            verification=verification,
        ),
        dropped={"units": {}, "trials": {"no_onset": 25}},
        quality=quality,
    )


def lights(made=None, *, fault="", n_numbers=0, stale=None, unknown=0, **also):
    found = lights_of(made, fault=fault, n_numbers=n_numbers, stale=stale or {}, unknown=unknown, **also)
    return {light.check: light for light in found}


def test_files_that_were_not_looked_at_are_not_called_whole():
    assert lights()["store"].shown == "whole"
    light = lights(unlooked="the storage cannot be reached")["store"]
    assert (light.state, light.why) == ("unknown", "the storage cannot be reached")
    assert lights(unlooked="…", fault="it is cut short")["store"].state == "bad"


def test_every_check_has_a_light_with_a_word_and_a_sign():
    for made in (attributes(), None):
        found = lights(made)
        assert list(found) == list(CHECKS)
        assert all(
            light.shown and light.why and light.symbol == SYMBOLS[light.state] for light in found.values()
        )
    assert len(set(SYMBOLS.values())) == len(SYMBOLS)


@pytest.mark.parametrize(
    ("flag", "check", "state"),
    [
        ("few_trials", "trials", "look"),
        ("few_units", "units", "look"),
        ("low_decodability", "decodability", "look"),
        ("no_decodability", "decodability", "bad"),
        ("doubtful_onsets", "onsets", "look"),
        ("rate_drift", "rates", "look"),
        ("variable_rates", "rates", "look"),
        ("many_outliers", "outliers", "look"),
        ("many_dropped", "dropped", "look"),
    ],
)
def test_each_flag_shows_in_its_light_and_no_other(flag, check, state):
    found = lights(attributes(flags=(flag,)))
    assert found[check].state == state
    assert flag in found[check].why
    assert [light.check for light in found.values() if light.state in {"look", "bad"}] == [check]


def test_lights_say_the_numbers_of_the_session():
    found = lights(attributes(onsets={"ok": 70, "slow_rise": 20, "column": 10}, decodability=0.756))
    assert found["onsets"].shown == "20% doubtful"
    assert found["decodability"].shown == "R² 0.76"
    assert found["dropped"].shown == "20% dropped"
    assert found["rates"].shown == "drift −10%"


def test_stale_numbers_and_damage_are_never_in_order():
    found = lights(attributes(), n_numbers=9, stale={"its store was made anew": 2})
    assert found["numbers"].state == "bad"
    assert found["numbers"].shown == "2 of 9 stale"
    assert "2: its store was made anew" in found["numbers"].why
    assert lights(attributes(), fault="an array is gone")["store"].state == "bad"
    assert lights(attributes(), n_numbers=9, unknown=1)["numbers"].state == "look"
    assert lights(attributes(), n_numbers=9)["numbers"].state == "ok"


def test_the_funnel_adds_up():
    page = make_page(n_sessions=3, arrays=False)
    units, trials = funnel(page.sessions)
    assert (units.kept, units.dropped, units.found) == (50 + 51 + 52, {"low_rate": 3}, 156)
    assert (trials.kept, trials.found) == (303, 303 + 6 + 9)
    assert list(trials.dropped) == ["no_success", "no_onset"]


def measured(**changed):
    shared = {
        "name": "velocity_r2",
        "session": "a",
        "recipe_id": "r",
        "split": "test",
        "n_trials": 9,
        "stage": "evaluate",
        "source": "reconstruction",
        "run": "m",
        "unit": "1",
    }
    return Measurement(**{**shared, **changed})


def test_a_map_has_the_numbers_as_they_were_measured():
    table = measurements_as_table(
        [
            measured(value=0.123456, low=0.1, high=0.2, fitted_on="recorded rates"),
            measured(session="b", value=0.5),
            measured(session="b", run="n", value=0.9),
            measured(run=None, source="condition_mean", is_baseline=True, value=0.3),
            measured(name="k", step=3, value=0.1),
        ]
    )
    (found,), left_out = heat_maps(table, pd.Series([""] * 5))
    assert left_out == ""
    assert found.owners == ("m", "n", "condition mean")
    rows = dict(found.rows)
    assert rows["a"][0].value == 0.123456
    assert rows["a"][0].text == "0.123"
    assert "fitted on recorded rates" in rows["a"][0].why
    assert rows["a"][1] is None
    assert (found.low, found.high, rows["b"][1].level) == (0.123456, 0.9, 1.0)


def test_a_map_shows_no_value_of_what_is_stale():
    table = measurements_as_table([measured(value=0.9), measured(session="b", value=0.2)])
    (found,), _ = heat_maps(table, pd.Series(["its run was trained anew", None]))
    rows = dict(found.rows)
    assert (rows["a"][0].text, rows["a"][0].value, rows["a"][0].is_stale) == ("stale", None, True)
    assert "its run was trained anew" in rows["a"][0].why
    assert rows["b"][0].text == "0.200?"
    assert NOT_KNOWN in rows["b"][0].why
    assert found.high == 0.2


def test_what_was_measured_in_another_way_is_on_another_map():
    table = measurements_as_table(
        [measured(value=0.9), measured(value=0.8, lag_ms=60.0), measured(value=0.7, bins=20)]
    )
    found, _ = heat_maps(table, pd.Series(["", "", ""]))
    assert len(found) == 3


def test_the_table_of_numbers_keeps_every_digit_and_the_latest():
    table = measurements_as_table(
        [measured(value=1 / 3), measured(session="b", value=None, reason="too few")]
    )
    made = number_table(table, pd.Series(["", "its run is gone"]), most=9)
    assert made["value"] == [1 / 3, None]
    assert made["stale"] == ["", "its run is gone"]
    assert made["reason"] == ["", "too few"]
    assert number_table(table, pd.Series(["", ""]), most=1)["session"] == ["b"]


def test_settings_again_are_the_settings():
    settings = TrainSettings(max_steps=7, seed=3, model={"name": "lfads", "ic_dim": 5})
    said = unlike_default(settings)
    assert said == {"model": {"name": "lfads", "ic_dim": 5}, "max_steps": 7, "seed": 3}
    assert TrainSettings.model_validate(said) == settings
    assert flat_settings(settings)["model.ic_dim"] == "5"


def test_methods_say_the_recipe():
    recipe = IngestRecipe(bin_size_s=0.01, smooth_sigma_s=0.05, window_s=(-0.2, 0.4))
    said = session_sentences(Described(recipe, "10ms-0", ("000688@0.1", None), ("C", "M"), 100, 50, 20))
    for words in (
        "2 sessions of 2 subjects",
        "dandiset 000688, version 0.1",
        "bins of 10 ms",
        "50 ms standard deviation",
        "−200 to 400 ms around movement onset",
        "20 candidates",
        "70%, 10%, 20%",
    ):
        assert words in said, words


def test_the_program_is_cited_as_its_citation_file_says():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    text = bibtex({}, {})
    assert f"title = {{{cited['title']}}}" in text
    assert f"version = {{{cited['version']}}}" in text


def test_models_and_dandisets_are_cited():
    entry = DandisetEntry(
        title="Reaching",
        version="0.1",
        layout="000688",
        tasks=("CO",),
        citation="https://doi.org/10.48324/dandi.000688/0.1",
    )
    text = bibtex({"mdssm": "x", "lfads": "y", "own": "A lab 2026"}, {"000688@0.1": entry, "1@2": None})
    for words in (
        "Vermani, Ayesha and",
        "Pandarinath, Chethan",
        "The model own: A lab 2026",
        "doi = {10.48324/dandi.000688/0.1}",
        "@misc{dandi_000688,",
    ):
        assert words in text, words
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_break_no_entry(name):
    text = bibtex({name: name}, {f"{name}@1": None})
    assert len(re.findall(r"^@", text, re.MULTILINE)) == 3
    inside = re.sub(r"\\[{}]|\\text\w+\{\}", "", text)
    assert inside.count("{") == inside.count("}")
    assert "\n" not in escaped(f"{name}\n@misc")
