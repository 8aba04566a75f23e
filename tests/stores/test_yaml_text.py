"""YAML of catalogs, recipes and settings: nothing is there twice, nothing grows beyond measure."""

import json

import pytest
import yaml

from nwb_latents.pipeline.errors import CatalogWarning, SettingsError
from nwb_latents.pipeline.stores import lenient
from nwb_latents.pipeline.stores.catalog import read_catalog, update_catalog
from nwb_latents.pipeline.stores.catalog_file import dump_catalog, parse_catalog
from nwb_latents.pipeline.stores.settings import read_yaml, settings_from
from nwb_latents.pipeline.stores.yaml_text import load_yaml
from nwb_latents.schemas.recipe import IngestRecipe

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "twice at the top": ("bin_size_s: 1\nmin_rate_hz: 1\nbin_size_s: 2\n", "'bin_size_s' is there twice", 3),
    "twice within": ("onset:\n  fraction: 0.1\n  fraction: 0.2\n", "'fraction' is there twice", 3),
    "twice in one line": ("onset: {fraction: 0.1, fraction: 0.2}\n", "'fraction' is there twice", 1),
    "twice, once in quotes": ("bin_size_s: 1\n'bin_size_s': 2\n", "is there twice", 2),
    "twice as a number": ("1: a\n0x1: b\n", "is there twice", 2),
    "references without end": (BOMB, "references repeat themselves", 5),
    "a reference to itself": ("a: &a\n  b: *a\n", "reference to itself", 1),
    "too many digits": (f"a: 1\nseed: {'9' * 5000}\n", "cannot be read", 2),
    "no such day": ("a: 1\nb: 2001-02-31\n", "cannot be read", 2),
    "a number in base 8": ("a: 1\nseed: 010\n", "010 is a number in base 8", 2),
    "a number in base 60": ("lag_ms: 1:30\n", "1:30 is a number in base 60", 1),
    "a dandiset without quotes": ("dandisets:\n  000070: {}\n", "in quotes if it is text", 2),
    "too deep": ("a: " + "[" * 5000, "nesting", 1),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_its_line(tmp_path, case):
    text, said, line = REFUSED[case]
    with pytest.raises(yaml.YAMLError) as error:
        load_yaml(text)
    assert said in str(error.value)
    assert f"line {line}," in str(error.value)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"recipe\.yaml: is not valid YAML"):
        read_yaml(path)
    with pytest.raises(SettingsError, match=r"recipe\.yaml: is not valid YAML"):
        read_catalog(path)


def test_words_are_read_alike():
    for value in ("{fraction: 0.1, fraction: 0.2}", "9" * 5000, "&a [*a]"):
        with pytest.raises(SettingsError, match="--set onset="):
            settings_from(IngestRecipe, words=[f"onset={value}"])


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {x: 1}\nc:\n  <<: *b\n  x: 2\nd: *b\n",
        "a: &a [1, 2]\nb: *a\nc: *a\n",
        "yes: 1\n'yes': 2\n",
        "",
    ],
)
def test_what_yaml_has_for_saying_a_thing_once_is_kept(text):
    assert load_yaml(text) == yaml.safe_load(text)


def entry(session, **values):
    return {"session": session, "n_units": 3, **values}


@pytest.mark.parametrize(
    "lines",
    [
        ["sessions:", '  "a@r": {"session": "a"}', "sessions:", '  "b@r": {"session": "b"}'],
        ["sessions:", '  "a@r": {"session": "a"}', '  "a@r": {"session": "b"}'],
        ["sessions:", '  "a@r": {"session": "a"}', "  b@r:", "    session: b", '  "a@r": {"session": "c"}'],
        ["sessions:", '  "a@r": {"session": "a", "session": "b"}'],
        ["sessions:", '  "a@r": {"session": "a", "x": {"y": 1, "y": 2}}'],
        ["runs: {}", "sessions:", '  "a@r": {"session": "a"}', "runs: {}"],
        ["sessions: {}", "sessions:", '  "a@r": {"session": "a"}'],
    ],
)
def test_a_catalog_with_anything_twice_is_refused_and_not_halved(tmp_path, lines):
    path = tmp_path / "catalog.yaml"
    path.write_text("\n".join(["schema_version: 2", *lines]) + "\n")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"there twice: first in line \d+"):
        read_catalog(path)
    with pytest.raises(SettingsError, match="there twice"):
        update_catalog(path, lambda catalog: catalog)
    assert path.read_bytes() == before


def test_what_the_program_writes_is_read_as_it_was():
    content = {"schema_version": 2, "sessions": {f"s{k}@r": entry(f"s{k}") for k in range(5)}, "runs": {}}
    assert json.dumps(parse_catalog(dump_catalog(content)), sort_keys=True) == json.dumps(
        content, sort_keys=True
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# only a remark\n", "{}\n", "---\n"])
def test_a_catalog_that_is_there_and_empty_is_said_and_can_be_filled(tmp_path, monkeypatch, text):
    monkeypatch.setattr(lenient, "_said", set())
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    with pytest.warns(CatalogWarning, match=r"catalog\.yaml: the file is there and empty .* put back a copy"):
        assert not read_catalog(path).sessions
    update_catalog(path, lambda catalog: catalog.model_copy(update={"runs": {}, "dandisets": {}}))
    assert not list(tmp_path.glob("*.v1*")), "it is no catalog of the first version"


def test_where_there_is_no_catalog_nothing_is_said(tmp_path):
    assert not read_catalog(tmp_path / "catalog.yaml").sessions
