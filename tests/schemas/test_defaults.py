"""Defaults stay what they are until someone changes them on purpose: `data/defaults.json` holds them all.

Most numbers of a study are made with settings that nobody typed.
"""

import json
from pathlib import Path

import pytest
from single_changes import SETTINGS, default_values

WRITTEN = json.loads((Path(__file__).parent / "data/defaults.json").read_text(encoding="utf-8"))
REMEDY = (
    "If that is meant, say so in CHANGELOG.md under Schema, and run python tests/schemas/write_defaults.py."
)


@pytest.mark.parametrize("kind", SETTINGS)
def test_defaults_are_those_of_the_table(kind):
    today, before = default_values(kind), WRITTEN[kind]
    said = [
        f"{kind}.{name} is {today.get(name, 'gone')!r} by default, and was {before.get(name, 'not there')!r}."
        for name in sorted({*today, *before})
        if today.get(name, "gone") != before.get(name, "gone")
    ]
    assert not said, "\n".join([*said, REMEDY])


def test_the_table_is_of_every_class_of_settings():
    assert set(WRITTEN) == set(SETTINGS)


def test_the_numbers_everybody_quotes_are_in_the_table_as_they_are_quoted():
    recipe, training, decoding = (WRITTEN[k] for k in ("IngestRecipe", "TrainSettings", "DecodeSettings"))
    assert {
        name: recipe[name]
        for name in ("bin_size_s", "smooth_sigma_s", "min_rate_hz", "window_s", "align_to", "split.seed")
    } == {
        "bin_size_s": 0.02, "smooth_sigma_s": 0.025, "min_rate_hz": 0.1, "window_s": [-0.26, 0.46],
        "align_to": "move_onset", "split.seed": 42,
    }  # fmt: skip
    assert [recipe[f"split.{part}"] for part in ("train", "val", "test")] == [0.7, 0.1, 0.2]
    assert (decoding["lag_ms"], decoding["folds"]) == (100.0, 5)
    assert (training["optimiser.lr"], training["optimiser.weight_decay"]) == (1e-3, 1e-3)
