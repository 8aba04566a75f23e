"""A catalog that another version or a person wrote: what is not known is kept and said, the rest is read."""

import warnings
from pathlib import Path

import pytest
import yaml

from nwb_latents.pipeline.errors import CatalogWarning, SettingsError
from nwb_latents.pipeline.stores.catalog import add_run, add_session, read_catalog
from nwb_latents.schemas.catalog import RunEntry, SessionEntry

SESSION = {
    "session": "sub-A", "subject": "A", "task": "CO", "recipe_id": "r", "store": "s.zarr", "store_key": "k",
    "source": "a.nwb", "n_trials": 1, "n_units": 1, "n_bins": 1, "bin_size_s": 0.02, "created": "2026",
}  # fmt: skip
RUN = {
    "run": "first", "model": "mdssm", "path": "runs/first", "run_key": "k", "recipe_id": "r",
    "sessions": ["sub-A"], "steps": 1, "created": "2026",
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalog.yaml"


def write(path: Path, **content: object) -> None:
    path.write_text(yaml.safe_dump({"schema_version": 2, **content}))


def read_again(path: Path) -> dict:
    """Return what the file holds after this program has written it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CatalogWarning)
        add_run(path, RunEntry.model_validate({**RUN, "run": "later"}))
    return yaml.safe_load(path.read_text())


def test_keys_that_are_not_known_are_kept_and_said_once(path):
    newer_run = {
        **RUN, "model": "their_model", "energy_kwh": 3.5,
        "alignment": {"parent": "p", "parent_key": "k", "n_trials": 5, "seed": 0, "drift": [1, 2]},
    }  # fmt: skip
    sessions = {f"sub-{n}@r": {**SESSION, "session": f"sub-{n}", "area": "M1"} for n in "ABC"}
    write(path, sessions=sessions, runs={"first": newer_run}, probes={"P1": {"depth": 3}})
    with pytest.warns(CatalogWarning) as said:
        catalog = read_catalog(path)
    assert [str(w.message).removeprefix(f"{path}: ") for w in said] == [
        "sessions: the key area of sub-A@r and 2 more is not known here; it is kept, without effect.",
        "runs: the key energy_kwh of first is not known here; it is kept, without effect.",
        "runs: the key alignment.drift of first is not known here; it is kept, without effect.",
        "the key probes of the file is not known here; it is kept, without effect.",
    ]
    assert catalog.runs["first"].model == "their_model"
    read_catalog(path)  # says nothing a second time: own warnings are errors here
    after = read_again(path)
    assert after["runs"].pop("later")
    assert after["probes"] == {"P1": {"depth": 3}}
    assert after["runs"] == {"first": {"schema_version": 1, **newer_run}}
    assert after["sessions"] == {name: {"schema_version": 1, **one} for name, one in sessions.items()}


def test_a_misspelt_key_is_kept_and_the_near_one_named(path):
    write(path, sessions={"sub-A@r": {**SESSION, "dandisett": "000070"}}, sesions={})
    with pytest.warns(CatalogWarning) as said:
        read_catalog(path)
    assert "Did you mean dandiset?" in str(said[0].message)
    assert "Did you mean sessions?" in str(said[1].message)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({**SESSION, "n_trials": "many"}, "n_trials: input should be a valid integer.* found 'many'"),
        ({"session": "sub-B"}, "subject: field required"),
        ("gone", "session: field required"),
        ({**SESSION, "schema_version": 9, "n_bins": None}, "written as version 9 of SessionEntry"),
    ],
)
def test_an_entry_that_cannot_be_read_does_not_keep_the_others_out(path, broken, says):
    write(path, sessions={"sub-A@r": SESSION, "sub-B@r": broken}, runs={"first": RUN})
    with pytest.warns(CatalogWarning, match=f"sub-B@r cannot be read and is left as it is: .*{says}"):
        catalog = read_catalog(path)
    assert list(catalog.sessions) == ["sub-A@r"]
    assert list(catalog.runs) == ["first"]
    assert read_again(path)["sessions"]["sub-B@r"] == broken


@pytest.mark.parametrize(
    ("section", "name", "inside"),
    [("sessions", "sub-B@r", "sub-A@r"), ("sessions", "sub-A@other", "sub-A@r"), ("runs", "second", "first")],
)
def test_an_entry_under_another_name_than_its_own_is_not_read(path, section, name, inside):
    entry = {"sessions": SESSION, "runs": RUN}[section]
    write(path, **{section: {name: entry}})
    with pytest.warns(CatalogWarning, match=f"{name} cannot be read .*: inside it is called {inside}"):
        catalog = read_catalog(path)
    assert not getattr(catalog, section)
    assert catalog.unread == {section: {name: entry}}


def test_an_entry_that_could_not_be_read_is_replaced_when_it_is_made_again(path):
    write(path, sessions={"sub-A@r": {"session": "sub-A"}})
    entry = SessionEntry.model_validate(SESSION)
    with pytest.warns(CatalogWarning):
        add_session(path, entry)
    assert read_catalog(path).sessions == {"sub-A@r": entry}
    assert not read_catalog(path).unread


def test_every_entry_says_its_version(path):
    add_session(path, SessionEntry.model_validate(SESSION))
    add_run(path, RunEntry.model_validate(RUN))
    content = yaml.safe_load(path.read_text())
    assert content["schema_version"] == 2
    assert {e["schema_version"] for s in ("sessions", "runs") for e in content[s].values()} == {1}


def test_a_catalog_of_a_newer_version_is_read_but_not_written(path):
    write(path, schema_version=3, sessions={"sub-A@r": SESSION})
    before = path.read_text()
    assert list(read_catalog(path).sessions) == ["sub-A@r"]
    with pytest.raises(SettingsError, match=r"schema_version 3, this program writes 2\. Update the program"):
        add_run(path, RunEntry.model_validate(RUN))
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [("sessions: [\n", "is not valid YAML"), ("- a\n", "expected a mapping"),
     ("sessions: 3\n", "sessions: expected a mapping of names to entries, found int"),
     ("schema_version: soon\n", "schema_version: input should be a valid integer")],
)  # fmt: skip
def test_what_is_no_catalog_is_refused(path, text, says):
    path.write_text(text)
    with pytest.raises(SettingsError, match=says):
        read_catalog(path)
