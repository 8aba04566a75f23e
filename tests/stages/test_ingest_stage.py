"""Ingest as users meet it: what is done, skipped, refused; and what a failure leaves alone."""

import shutil
from pathlib import Path

import h5py
import pytest

from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, UsageError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import Selection, ingest
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.trials import read_trials
from nwb_latents.schemas.recipe import IngestRecipe


@pytest.fixture
def folder(tmp_path, make_nwb, make_reaches):
    """Return a folder of three sessions of two subjects."""
    for number, (subject, task) in enumerate([("A", "CO"), ("A", "RT"), ("B", "CO")]):
        name = f"sub-{subject}_ses-{task}-{number}"
        make_nwb(
            tmp_path / "nwb" / f"{name}.nwb",
            make_reaches(seed=number),
            subject=subject,
            session=f"{task}-{number}",
        )
    return tmp_path / "nwb"


def run(folder, tmp_path, **words):
    events = []
    entries = ingest(
        tmp_path / "work" / "catalog.yaml", FolderSource([folder]), report=events.append, **words
    )
    return entries, [e for e in events if e.event == "session"]


def test_all_sessions_are_stored_and_catalogued(folder, tmp_path):
    entries, events = run(folder, tmp_path)
    assert [e.session for e in entries] == ["sub-A_ses-CO-0", "sub-A_ses-RT-1", "sub-B_ses-CO-2"]
    assert {e.status for e in events} == {"done"}
    catalog = read_catalog(tmp_path / "work" / "catalog.yaml")
    assert set(catalog.sessions.values()) == set(entries)
    for entry in entries:
        trials = read_trials(tmp_path / "work" / entry.store)
        assert dict(trials.sizes) == {"trial": entry.n_trials, "time": 36, "unit": entry.n_units, "axis": 2}


def test_running_again_does_nothing_and_force_does_it_again(folder, tmp_path):
    first, _ = run(folder, tmp_path)
    again, events = run(folder, tmp_path)
    assert again == first
    assert {e.status for e in events} == {"skipped"}
    _, events = run(folder, tmp_path, force=True)
    assert {e.status for e in events} == {"done"}


@pytest.mark.parametrize(
    "damage",
    ["a file is cut", "a file is gone", "the manifest is damaged", "the manifest is gone"],
)
def test_a_damaged_store_is_not_up_to_date_and_is_made_again(folder, tmp_path, damage):
    entries, _ = run(folder, tmp_path)
    store = tmp_path / "work" / entries[0].store
    name = "manifest.json" if "manifest" in damage else "trials/rates/c/0/0/0"
    was = (store / name).read_bytes()
    if "gone" in damage:
        (store / name).unlink()
    else:
        (store / name).write_bytes(was[:10])
    _, events = run(folder, tmp_path)
    assert [e.status for e in events] == ["done", "skipped", "skipped"]
    assert events[0].reason.startswith("made again: ")
    assert name in events[0].reason
    assert (store / "trials/rates/c/0/0/0").stat().st_size > 10


def test_a_changed_file_is_ingested_again_and_only_it(folder, tmp_path):
    run(folder, tmp_path)
    with h5py.File(folder / "sub-A_ses-CO-0.nwb", "r+") as h5:
        h5["units/spike_times"][...] += 0.001
    _, events = run(folder, tmp_path)
    assert {e.session: e.status for e in events} == {
        "sub-A_ses-CO-0": "done", "sub-A_ses-RT-1": "skipped", "sub-B_ses-CO-2": "skipped",
    }  # fmt: skip


def test_another_recipe_makes_other_stores_beside_the_first(folder, tmp_path):
    run(folder, tmp_path)
    run(folder, tmp_path, recipe=IngestRecipe(bin_size_s=0.01))
    assert len(read_catalog(tmp_path / "work" / "catalog.yaml").sessions) == 6


def test_sessions_are_chosen_by_pattern_subject_and_task(folder, tmp_path):
    chosen = lambda **words: [e.session for e in run(folder, tmp_path, selection=Selection(**words))[0]]  # noqa: E731
    assert chosen(sessions=("sub-A*",)) == ["sub-A_ses-CO-0", "sub-A_ses-RT-1"]
    assert chosen(subject="B") == ["sub-B_ses-CO-2"]
    assert chosen(task="RT") == ["sub-A_ses-RT-1"]
    assert chosen(limit=1) == ["sub-A_ses-CO-0"]
    with pytest.raises(DataError, match="None of the 3 files fits"):
        chosen(sessions=("sub-X*",))


def test_a_dry_run_writes_nothing(folder, tmp_path):
    assert run(folder, tmp_path, dry_run=True)[0] == []
    assert not (tmp_path / "work").exists()


def test_one_bad_file_does_not_stop_the_others(folder, tmp_path):
    (folder / "sub-B_ses-CO-2.nwb").write_text("not a recording")
    with pytest.raises(PartialFailure, match="1 of 3 sessions failed: sub-B_ses-CO-2") as caught:
        run(folder, tmp_path)
    assert caught.value.exit_code == 3
    assert len(read_catalog(tmp_path / "work" / "catalog.yaml").sessions) == 2
    assert "not an NWB file" in caught.value.failures[0][1]


def test_if_all_fail_for_bad_data_the_exit_code_says_so(folder, tmp_path):
    for path in folder.glob("*.nwb"):
        path.write_text("not a recording")
    with pytest.raises(PartialFailure) as caught:
        run(folder, tmp_path)
    assert caught.value.exit_code == 4


def test_an_unforeseen_fault_of_one_file_is_reported_as_such(folder, tmp_path, monkeypatch):
    from nwb_latents.pipeline.nwb import read

    def fault(content, recipe, *, name, **asked):
        if "sub-A_ses-RT-1" in name:
            raise ZeroDivisionError("a fault of ours")
        return reads(content, recipe, name=name, **asked)

    reads = read.read_recording
    monkeypatch.setattr(read, "read_recording", fault)
    with pytest.raises(PartialFailure) as caught:
        run(folder, tmp_path)
    name, reason = caught.value.failures[0]
    assert name == "sub-A_ses-RT-1"
    assert "unexpected" in reason
    assert "Please report" in reason


def test_two_files_of_one_session_id_are_not_mixed_up(folder, tmp_path, make_nwb, make_reaches):
    run(folder, tmp_path)
    make_nwb(folder / "copy" / "other.nwb", make_reaches(seed=9), subject="A", session="CO-0")
    with pytest.raises(PartialFailure) as caught:
        run(folder, tmp_path)
    assert "is taken by the store made from" in caught.value.failures[0][1]
    shutil.copy(folder / "sub-B_ses-CO-2.nwb", folder / "copy" / "same.nwb")
    (folder / "copy" / "other.nwb").unlink()
    entries, _ = run(folder, tmp_path)
    assert len({e.session for e in entries}) == 3


@pytest.mark.cluster
@pytest.mark.slow
def test_stores_are_the_same_from_two_processes(folder, tmp_path):
    run(folder, tmp_path)
    other = tmp_path / "other"
    ingest(other / "catalog.yaml", FolderSource([folder]), cluster="local:2")
    mine, theirs = (
        {p.relative_to(f): p.read_bytes() for p in f.glob("stores/*/*.zarr/**/*") if p.is_file()}
        for f in (tmp_path / "work", other)
    )
    assert mine
    assert mine == theirs


def test_an_unknown_cluster_is_a_usage_error(folder, tmp_path):
    with pytest.raises(UsageError, match="expected serial, local"):
        run(folder, tmp_path, cluster="slrum")


def test_a_folder_that_cannot_be_written_stops_before_any_work(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write trial stores"):
        ingest(tmp_path / "file" / "catalog.yaml", FolderSource([folder]))


def test_a_recording_in_zarr_form_is_ingested_like_a_file(tmp_path):
    packed = Path(__file__).parents[1] / "nwb" / "data" / "small.nwb.zarr.zip"
    folder = tmp_path / "nwb"
    shutil.unpack_archive(packed, folder / "small.nwb.zarr")
    recipe = IngestRecipe(align_to="go_cue")
    entries, events = run(folder, tmp_path, recipe=recipe)
    assert [e.status for e in events] == ["done"]
    again, events = run(folder, tmp_path, recipe=recipe)
    assert [e.status for e in events] == ["skipped"]
    assert again == entries


def test_sessions_are_in_the_order_of_their_names_whatever_their_files_are_called(
    tmp_path, make_nwb, make_reaches
):
    for number, (file, subject) in enumerate([("1.nwb", "B"), ("2.nwb", "A")]):
        make_nwb(tmp_path / "nwb" / file, make_reaches(seed=number), subject=subject, session="1")
    entries, events = run(tmp_path / "nwb", tmp_path)
    assert [entry.session for entry in entries] == ["sub-A_ses-1", "sub-B_ses-1"]
    # They are told of as they are done.
    assert [event.session for event in events] == ["sub-B_ses-1", "sub-A_ses-1"]
