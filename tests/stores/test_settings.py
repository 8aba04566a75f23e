"""Settings: errors name file, key, expected and found."""

import pytest

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.settings import load
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.training import TrainSettings


def check_refused(match, schema=IngestRecipe, **words):
    with pytest.raises(SettingsError, match=match):
        load(schema, **words)


def test_later_words_win_over_the_file(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("bin_size_s: 0.01\nonset: {fraction: 0.1}\n")
    recipe = load(IngestRecipe, file=file, overrides=["bin_size_s=0.005", "onset.smooth_s=0.02"])
    assert (recipe.bin_size_s, recipe.onset.fraction, recipe.onset.smooth_s) == (0.005, 0.1, 0.02)


def test_a_misspelt_key_names_file_key_and_the_near_one(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("onset: {fractoin: 0.1}\n")
    check_refused(
        r"recipe.yaml: onset.fractoin: unknown key, found 0.1; did you mean onset.fraction\?", file=file
    )


def test_a_wrong_type_names_expected_and_found(tmp_path):
    check_refused(
        r"--set bin_size_s=fast: bin_size_s: expected .*number.*, found 'fast'", overrides=["bin_size_s=fast"]
    )


def test_a_value_out_of_range():
    check_refused(r"onset.fraction: expected .*less than 1, found 2", overrides=["onset.fraction=2"])


def test_a_window_that_is_no_whole_number_of_bins_names_the_nearest():
    check_refused(r"nearest window that is: \[-0.25, 0.45\]", overrides=["bin_size_s=0.05"])


def test_splits_must_add_up():
    check_refused(r"train \+ val \+ test must be 1, found 1.1", overrides=["split.test=0.3"])


def test_words_without_a_value():
    check_refused("expected key.path=value", overrides=["bin_size_s"])


def test_missing_file(tmp_path):
    check_refused("no such file", file=tmp_path / "none.yaml")


def test_broken_yaml_and_lists(tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text("a: [1\n")
    check_refused("not valid YAML", file=file)
    file.write_text("- 1\n")
    check_refused("expected a mapping", file=file)


def test_nested_model_settings_are_reached():
    assert load(TrainSettings, overrides=["model.rank=3"]).model.rank == 3
    check_refused("model.rnak: unknown key", schema=TrainSettings, overrides=["model.rnak=3"])


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("model.name=lfad", "model.name: expected one of 'mdssm', 'lfads', .*found 'lfad'"),
        (
            "model.generator_dm=3",
            "model.generator_dm: unknown key, found 3; did you mean model.generator_dim?",
        ),
        (
            "model.read_in.hidden_=3",
            "model.read_in.hidden_: unknown key, found 3; did you mean model.read_in.hidden?",
        ),
        ("model.rank=3", "model.rank: unknown key"),
        ("model.clip=-1", "model.clip: expected input should be greater than 0, found -1"),
        ("masks.coordinated_dropuot=1", r"did you mean masks\.coordinated_dropout"),
    ],
)
def test_the_name_of_a_model_decides_which_keys_it_has(word, says):
    check_refused(says, schema=TrainSettings, overrides=["model.name=lfads", word])
    assert load(TrainSettings, overrides=["model.name=lfads", "model.clip=3"]).model.clip == 3
