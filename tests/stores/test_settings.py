"""Settings: errors name file, key, expected and found."""

import pytest

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.training import TrainSettings


def check_refused(match, schema=IngestRecipe, **words):
    with pytest.raises(SettingsError, match=match):
        settings_from(schema, **words)


def test_later_words_win_over_the_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("bin_size_s: 0.01\nonset: {fraction: 0.1}\n")
    recipe = settings_from(IngestRecipe, file=file, words=["bin_size_s=0.005", "onset.smooth_s=0.02"])
    assert (recipe.bin_size_s, recipe.onset.fraction, recipe.onset.smooth_s) == (0.005, 0.1, 0.02)


def test_a_misspelt_key_names_file_key_and_the_near_one(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("onset: {fractoin: 0.1}\n")
    check_refused(
        r"recipe.yaml: onset.fractoin: unknown key, found 0.1; did you mean onset.fraction\?", file=file
    )


def test_a_wrong_type_names_expected_and_found(tmp_path):
    check_refused(
        r"--set bin_size_s=fast: bin_size_s: expected .*number.*, found 'fast'", words=["bin_size_s=fast"]
    )


def test_a_value_out_of_range():
    check_refused(r"onset.fraction: expected .*less than 1, found 2", words=["onset.fraction=2"])


def test_a_window_that_is_no_whole_number_of_bins_names_the_nearest():
    check_refused(r"nearest window that is: \[-0.25, 0.45\]", words=["bin_size_s=0.05"])


def test_splits_must_add_up():
    check_refused(r"train \+ val \+ test must be 1, found 1.1", words=["split.test=0.3"])


def test_words_without_a_value():
    check_refused("expected key.path=value", words=["bin_size_s"])


def test_missing_file(tmp_path):
    check_refused("no such file", file=tmp_path / "none.yaml")


def test_broken_yaml_and_lists(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("a: [1\n")
    check_refused("not valid YAML", file=file)
    file.write_text("- 1\n")
    check_refused("expected a mapping", file=file)


def test_nested_model_settings_are_reached():
    assert settings_from(TrainSettings, words=["model.rank=3"]).model.rank == 3
    check_refused("model.rnak: unknown key", schema=TrainSettings, words=["model.rnak=3"])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("model.name=lfad", "model.name: no model is called 'lfad'; did you mean lfads"),
        (
            "model.generator_dm=3",
            "model.generator_dm: unknown key, found 3; did you mean model.generator_dim?",
        ),
        (
            "model.read_in.hidden_=3",
            "model.read_in.hidden_: unknown key, found 3; did you mean model.read_in.hidden?",
        ),
        ("model.rank=3", "model.rank: unknown key"),
        ("model.clip=-1", "model.clip: expected a number greater than 0, found -1"),
        ("masks.coordinated_dropuot=1", r"did you mean masks\.coordinated_dropout"),
    ],
)
def test_the_name_of_a_model_decides_which_keys_it_has(word, says):
    check_refused(says, schema=TrainSettings, words=["model.name=lfads", word])
    assert settings_from(TrainSettings, words=["model.name=lfads", "model.clip=3"]).model.clip == 3


@pytest.mark.parametrize(
    ("schema", "values", "origin", "says"),
    [
        (TrainSettings, {"seed": "x"}, {"seed": "--seed x"}, r"^--seed x: expected .*integer.*found 'x'$"),
        (
            TrainSettings,
            {"model.name": "lfad"},
            {"model.name": "--model lfad"},
            r"^--model lfad: no model is called 'lfad'; did you mean lfads\?",
        ),
        (
            DecodeSettings,
            {"sources": ["rates", "forcast"]},
            {"sources": "--source rates,forcast"},
            r"^--source rates,forcast: expected .*found 'forcast'; did you mean forecast\?$",
        ),
        (
            DecodeSettings,
            {"lag_msec": 3.0},
            {},
            r"^lag_msec=3\.0: unknown key, found 3\.0; did you mean lag_ms\?$",
        ),
        (DecodeSettings, {"folds": 1}, {}, r"^folds=1: expected .*greater than or equal to 2, found 1$"),
    ],
)
def test_an_error_speaks_of_the_option_that_was_given(schema, values, origin, says):
    check_refused(says, schema=schema, values=values, origin=origin)


def test_a_value_is_taken_as_it_is():
    assert settings_from(DecodeSettings, values={"lag_ms": 0.1 + 0.2}).lag_ms == 0.1 + 0.2
    chosen = settings_from(DecodeSettings, values={"sources": ("rates",)})
    assert (chosen.sources, chosen.model_fields_set) == (("rates",), {"sources"})


def test_each_fault_is_behind_the_words_it_is_in(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("max_stpes: 3\nseed: 1\n")
    with pytest.raises(SettingsError) as caught:
        settings_from(
            TrainSettings,
            file=file,
            values={"devices": -1},
            origin={"devices": "--devices -1"},
            words=["model.rank=x"],
        )
    told = sorted(str(caught.value).split("; "))
    begins = (
        "--devices -1: expected",
        "--set model.rank=x: model.rank: expected",
        f"{file}: max_stpes: unknown",
    )
    assert all(any(text.startswith(begin) for text in told) for begin in begins), told


def test_an_option_and_a_word_that_contradict_each_other_are_refused():
    words = {"values": {"seed": 1}, "origin": {"seed": "--seed 1"}}
    check_refused(
        "^--seed 1 and --set seed=2 say two things", schema=TrainSettings, words=["seed=2"], **words
    )
    assert settings_from(TrainSettings, words=["seed=1"], **words).seed == 1
    assert settings_from(DecodeSettings, values={"sources": ("rates",)}, words=["sources=[rates]"]).sources
