"""Exports as users meet them: one file per session, nothing done twice, one failure stops no other."""

import json
import shutil

import h5py
import pytest

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.export import LfadsExport, NlbExport, NwbExport


@pytest.fixture
def catalog(tmp_path, make_nwb, make_reaches):
    """Return the catalog of two ingested sessions."""
    for number, subject in enumerate("AB"):
        name = f"sub-{subject}_ses-CO-{number}"
        make_nwb(
            tmp_path / "nwb" / f"{name}.nwb",
            make_reaches(seed=number),
            subject=subject,
            session=f"CO-{number}",
        )
    path = tmp_path / "work" / "catalog.yaml"
    ingest(path, FolderSource([tmp_path / "nwb"]))
    return path


@pytest.mark.parametrize(
    ("settings", "kind", "suffix"),
    [(NlbExport(), "nlb", ".h5"), (LfadsExport(), "lfads", ".h5"), (NwbExport(), "nwb", ".nwb")],
)
def test_every_session_becomes_one_file_beside_the_catalog(catalog, settings, kind, suffix):
    recipe = next(iter(read_catalog(catalog).sessions.values())).recipe_id
    done = export(catalog, kind, settings=settings)
    folder = catalog.parent / "exports" / kind / recipe
    assert [e.path for e in done] == [folder / f"sub-{s}{suffix}" for s in ("A_ses-CO-0", "B_ses-CO-1")]
    assert sorted(p.name for p in folder.iterdir()) == [e.path.name for e in done]


def test_running_again_does_nothing_and_force_or_other_settings_do(catalog):
    export(catalog, "nlb")

    def statuses(settings, **words):
        return {made.status for made in export(catalog, "nlb", settings=settings, **words)}

    assert statuses(NlbExport()) == {"skipped"}
    assert statuses(NlbExport(), force=True) == {"done"}
    assert statuses(NlbExport(lag_ms=80)) == {"done"}


def test_sessions_are_chosen_and_the_folder_is_yours(catalog, tmp_path):
    done = export(catalog, "lfads", sessions=["sub-B*"], out=tmp_path / "mine")
    assert [e.path for e in done] == [tmp_path / "mine" / "sub-B_ses-CO-1.h5"]
    with pytest.raises(DataError, match="No session matches"):
        export(catalog, "lfads", sessions=["sub-X*"])


def test_one_session_that_cannot_be_exported_does_not_stop_the_others(catalog):
    entry = next(iter(read_catalog(catalog).sessions.values()))
    shutil.rmtree(catalog.parent / entry.store)
    events = []
    with pytest.raises(PartialFailure, match="1 of 2 sessions could not be exported") as caught:
        export(catalog, "nlb", report=events.append)
    assert caught.value.exit_code == 3
    assert [e.status for e in events if e.event == "session"] == ["failed", "done"]
    assert caught.value.results[0].path.is_file()


def test_a_damaged_store_fails_its_own_session_only(catalog):
    entry = next(iter(read_catalog(catalog).sessions.values()))
    for shard in (catalog.parent / entry.store / "trials" / "counts" / "c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(PartialFailure, match=r"1 of 2 sessions could not be exported.*: sub-A_ses") as caught:
        export(catalog, "lfads")
    assert [e.entry.session for e in caught.value.results] == ["sub-B_ses-CO-1"]
    assert not list(catalog.parent.glob("exports/*/*/*sub-A*"))


def test_a_derived_file_states_the_subject_as_the_recording_does(small_nwb, tmp_path):
    with h5py.File(small_nwb, "a") as h5:
        h5["general/subject/species"] = "Macaca mulatta"
        h5["general/subject/sex"] = "M"
        h5["general/subject/age"] = "P9Y"
    path = tmp_path / "work" / "catalog.yaml"
    ingest(path, FolderSource([small_nwb]))
    (done,) = export(path, "nwb")
    with h5py.File(done.path) as h5:
        stated = {name: h5["general/subject"][name].asstr()[()] for name in ("species", "sex", "age")}
    assert stated == {"species": "Macaca mulatta", "sex": "M", "age": "P9Y"}


def test_settings_that_fit_no_session_keep_their_exit_code(catalog):
    with pytest.raises(PartialFailure, match="the nearest that are: 80 and 100") as caught:
        export(catalog, "nlb", settings=NlbExport(lag_ms=90))
    assert caught.value.exit_code == SettingsError.exit_code


def test_the_command_writes_json_lines_and_says_where_the_files_are(pipeline_command, catalog):
    words = ("--catalog", catalog, "--session", "sub-A*")
    shown = pipeline_command("export", "nlb", *words, "--set", "key=mc_maze", "--json")
    assert shown.returncode == 0, shown.stderr
    *notes, event = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [note["event"] for note in notes] == ["note"] * 3
    assert notes[0]["text"] == "mc_maze: 9 units held in and 3 held out; the benchmark has 137 and 45"
    assert (event["event"], event["status"], event["format"]) == ("session", "done", "nlb")
    with h5py.File(event["path"]) as h5:
        assert list(h5) == ["mc_maze_20"]
    shown = pipeline_command("export", "nwb", *words)
    assert shown.returncode == 0, shown.stderr
    assert "sub-A_ses-CO-0.nwb" in shown.stdout
    assert "Files: " in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["export", "matlab"], 2, "matlab"),
        (["export", "nlb", "--set", "lag=1"], 4, "did you mean lag_ms"),
        (["export", "lfads"], 4, "holds no sessions"),
    ],
)
def test_wrong_uses_have_their_exit_code_and_one_paragraph(pipeline_command, words, code, says):
    shown = pipeline_command(*words)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
