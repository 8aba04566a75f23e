"""What is known of dandisets, for people and for machines."""

import json

import yaml

from nwb_latents.pipeline.sources.known_dandisets import known_dandisets


def test_dandisets_are_listed_with_files_size_licence_and_citation(pipeline_command):
    shown = pipeline_command("dandisets", "--json")
    entries = {e["dandiset"]: e for e in map(json.loads, shown.stdout.splitlines())}
    draft, pins = entries["000070"], known_dandisets()["000070"].pins
    assert (draft["n_pins"], draft["n_files"]) == (9, 9)
    assert draft["n_bytes"] == sum(pin.size for pin in pins)
    assert draft["license"] == "CC-BY-4.0"
    published = entries["000121"]
    assert (published["n_pins"], published["n_files"], published["n_bytes"]) == (0, 15, 187_534_957_634)
    assert entries["000688"]["citation"] == known_dandisets()["000688"].citation
    assert all({"version", "layout", "tasks", "notes"} <= set(entry) for entry in entries.values())
    table = pipeline_command("dandisets").stdout
    assert "45.9 GB" in table
    assert "188 GB" in table
    assert "29.9 MB" in table
    assert "0.250122.1735" in table


def test_one_dandiset_is_shown_with_its_notes(pipeline_command):
    shown = pipeline_command("dandisets", "000070")
    assert shown.returncode == 0
    for note in known_dandisets()["000070"].notes:
        assert note in shown.stdout
    assert "sub-Nitschke_ses-20090812" in shown.stdout
    assert pipeline_command("dandisets", "000688").returncode == 0
    unknown = pipeline_command("dandisets", "000001")
    assert unknown.returncode == 4
    assert "000688" in unknown.stderr


def test_a_dandiset_of_the_catalog_is_listed_with_the_size_it_states(pipeline_command, tmp_path):
    entry = {"title": "mine", "version": "0.240101.0000", "layout": "generic", "tasks": ["CO"]}
    entry |= {"n_files": 3, "n_bytes": 2_000_000_000}
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"dandisets": {"000999": entry}}))
    (event,) = map(json.loads, pipeline_command("dandisets", "000999", "--json").stdout.splitlines())
    assert (event["n_files"], event["n_bytes"], event["n_pins"]) == (3, 2_000_000_000, 0)
    assert "2 GB" in pipeline_command("dandisets", "000999").stdout
