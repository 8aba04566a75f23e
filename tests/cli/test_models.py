"""What can be trained, as `pipeline models` lists it."""

import json

from nwb_latents.schemas.models import known_models


def test_models_are_listed_with_what_one_looks_at_first(pipeline_command):
    result = pipeline_command("models", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["model"] for event in events] == list(known_models())
    for event in events:
        assert event["summary"]
        assert event["paper"]
        defaults = known_models()[event["model"]].model_fields
        assert event["main_settings"] == {name: defaults[name].default for name in event["main_settings"]}


def test_a_model_is_shown_with_all_its_settings(pipeline_command):
    result = pipeline_command("models", "hnet")
    assert result.returncode == 0
    assert "recurrent_dim [64]" in result.stdout
    assert "generator_dim" not in result.stdout


def test_a_model_that_is_not_there_is_a_wrong_use(pipeline_command):
    result = pipeline_command("models", "gpfa")
    assert result.returncode == 2
    assert "models: no model is called 'gpfa'. There are: gnocchi, hnet, lfads" in result.stderr
