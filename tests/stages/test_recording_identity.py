"""A store gives way to the same recording only, and a session has one id, in any language."""

from __future__ import annotations

import shutil

import h5py
import pytest
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.errors import PartialFailure, UsageError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import path_name, store_path
from nwb_latents.pipeline.stores.trials import read_attributes


@pytest.fixture
def catalog(tmp_path):
    return tmp_path / "work" / "catalog.yaml"


@pytest.fixture
def days(tmp_path, make_nwb, make_reaches):
    """Return the files of two days, as an acquisition program names them: one name, and no ids inside."""
    paths = []
    for number, day in enumerate(("2015-03-01", "2015-03-02")):
        path = tmp_path / "days" / day / "recording.nwb"
        make_nwb(path, make_reaches(seed=number), start=f"{day}T10:00:00+00:00")
        put(path, "identifier", f"recording of {day}")
        put(path, "general/session_id", None)
        paths.append(path)
    return paths


def put(path, dataset, value):
    with h5py.File(path, "r+") as file:
        if dataset in file:
            del file[dataset]
        if value is not None:
            file[dataset] = value
    return path


def run(catalog, *paths, **words):
    events = []
    entries = ingest(catalog, FolderSource(list(paths)), report=events.append, **words)
    return entries, {e.session: e for e in events if e.event == "session"}


def failure_of(catalog, *paths, **words):
    with pytest.raises(PartialFailure) as caught:
        run(catalog, *paths, **words)
    [(session, reason)] = caught.value.failures
    return session, reason


def of_store(catalog, session):
    [entry] = [one for one in read_catalog(catalog).sessions.values() if one.session == session]
    return read_attributes(store_path(catalog, entry.store))


def test_another_recording_of_the_same_name_does_not_replace_a_store(catalog, days):
    [first], _ = run(catalog, days[0])
    before = of_store(catalog, first.session)
    assert before.provenance.identifier == "recording of 2015-03-01"
    assert before.provenance.session_start == "2015-03-01T10:00:00+00:00"
    session, reason = failure_of(catalog, days[1])
    assert session == first.session == "sub-T_ses-recording"
    assert "recording of 2015-03-01" in reason
    assert "recording of 2015-03-02" in reason
    assert of_store(catalog, first.session) == before
    free = reason.partition("--session-id ")[2].split()[0].rstrip(",")
    [second], _ = run(catalog, days[1], session_id=free)
    assert second.session == free == "sub-T_ses-recording-20150302"
    assert of_store(catalog, first.session) == before
    _, events = run(catalog, days[0])
    assert events[first.session].status == "skipped"


def test_forced_it_replaces_the_store_and_says_so(catalog, days):
    run(catalog, days[0])
    _, events = run(catalog, days[1], force=True)
    assert "replaces the store of another recording" in events["sub-T_ses-recording"].reason


def test_sessions_are_named_after_their_folders(catalog, days):
    entries, _ = run(catalog, days[0].parent.parent, session_id="sub-{subject}_ses-{folder}")
    assert [one.session for one in entries] == ["sub-T_ses-2015-03-01", "sub-T_ses-2015-03-02"]
    alone, events = run(catalog, days[0], session_id="sub-{subject}_ses-{folder}")
    assert events[alone[0].session].status == "skipped"


def test_a_name_with_an_unknown_placeholder_is_refused_before_anything_is_read(catalog, days):
    with pytest.raises(UsageError, match=r"there is no \{day\}; there are \{session\}, .*\{date\}"):
        run(catalog, days[0], session_id="{day}")
    assert not catalog.exists()


def test_the_same_recording_changed_replaces_its_store_and_says_so(catalog, days):
    run(catalog, days[0])
    put(days[0], "session_description", "mended")
    _, events = run(catalog, days[0])
    [event] = events.values()
    assert event.status == "done"
    assert "the file has changed since its store was made (sha256:" in event.reason


def test_the_same_recording_changed_may_have_another_file_name(catalog, days, tmp_path):
    put(days[0], "general/session_id", "1")
    run(catalog, days[0])
    other = tmp_path / "mended.nwb"
    shutil.copy(days[0], other)
    put(other, "session_description", "mended")
    _, events = run(catalog, other)
    assert events["sub-T_ses-1"].status == "done"


@pytest.mark.parametrize("missing", ["identifier", "session_start_time"])
def test_what_is_not_known_to_be_the_same_recording_does_not_replace_a_store(catalog, days, missing):
    run(catalog, days[0])
    put(put(days[0], "session_description", "mended"), missing, None)
    if missing == "session_start_time":
        _, events = run(catalog, days[0])
        assert events["sub-T_ses-recording"].status == "done"
    else:
        assert "without an identifier" in failure_of(catalog, days[0])[1]


def test_copied_identifiers_of_two_days_are_two_recordings(catalog, days):
    run(catalog, days[0])
    put(days[1], "identifier", "recording of 2015-03-01")
    assert "another recording" in failure_of(catalog, days[1])[1]


@pytest.mark.parametrize(
    ("subject", "session", "expected"),
    [
        ("Zoë", "été", "sub-Zoë_ses-été"),
        ("Zoe\u0308", "e\u0301te\u0301", "sub-Zoë_ses-été"),
        ("猴一", "第2天", "sub-猴一_ses-第2天"),
        ("Обезьяна", "1", "sub-Обезьяна_ses-1"),
        ("T", "a/../../b", "sub-T_ses-a-b"),
        ("T", "..", "sub-T_ses-recording"),
    ],
)
def test_ids_keep_letters_of_any_language(catalog, days, subject, session, expected):
    put(put(days[0], "general/subject/subject_id", subject), "general/session_id", session)
    [entry], _ = run(catalog, days[0])
    assert entry.session == expected
    assert entry.store.isascii()
    assert of_store(catalog, expected).session == expected
    _, events = run(catalog, days[0])
    assert events[expected].status == "skipped"


def test_ids_that_differ_in_a_letter_have_stores_of_their_own(catalog, days):
    names = ["ses-猴", "ses-鹿", "ses-A", "ses-a", "ses-=E7"]
    assert len({path_name(name).lower() for name in names if name not in ("ses-A", "ses-a")}) == 3
    assert len({path_name(name) for name in names}) == len(names)


def test_over_long_ids_are_cut_and_told_apart(catalog, days):
    for path, last in zip(days, "ab", strict=True):
        put(path, "general/session_id", 300 * "猴" + last)
    entries, _ = run(catalog, *days)
    assert len({one.session for one in entries}) == 2
    assert all(len(one.session) < 110 for one in entries)
    assert all(len(path_name(one.session)) <= 200 for one in entries)


def test_a_session_is_called_the_same_whether_it_fails_or_not(catalog, days):
    put(days[0], "general/session_id", "7")
    trials = "intervals/trials/go_cue_time"
    with h5py.File(days[0]) as file:
        whole = file[trials][()]
    put(days[0], trials, whole[:-1])
    failed, _ = failure_of(catalog, days[0])
    put(days[0], trials, whole)
    [entry], _ = run(catalog, days[0])
    assert failed == entry.session == "sub-T_ses-7"


def test_a_file_that_cannot_be_opened_is_called_as_one_without_metadata(catalog, tmp_path, days):
    put(put(days[0], "general/session_id", None), "general/subject/subject_id", None)
    [entry], _ = run(catalog, days[0])
    broken = tmp_path / "broken" / "recording.nwb"
    broken.parent.mkdir()
    broken.write_bytes(b"nothing")
    assert failure_of(catalog, broken)[0] == entry.session == "sub-unknown_ses-recording"


def test_the_command_line_gives_ids_and_shows_what_was_replaced(catalog, days):
    words = ["run", "ingest", "--catalog", str(catalog), "--path", str(days[0])]
    assert CliRunner().invoke(app, words).exit_code == 0
    put(days[0], "session_description", "mended")
    done = CliRunner().invoke(app, words)
    assert "the file has changed since its store was made" in " ".join(done.output.split())
    words[-1] = str(days[1])
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, PartialFailure)
    assert refused.exception.exit_code == 4
    assert "--session-id" in refused.output
    done = CliRunner().invoke(app, [*words, "--session-id", "sub-{subject}_ses-{date}"])
    assert done.exit_code == 0
    assert "sub-T_ses-20150302" in done.output
