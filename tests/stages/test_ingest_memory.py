"""What does not fit the memory is refused before it begins: by what a file holds, wherever it lies."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import MachineError, PipelineError
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.nwb.recording_size import RecordingSize, size_of, stated_size
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import ingest_memory
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.ingest_plan import stated_sizes
from nwb_latents.schemas.recipe import IngestRecipe


@pytest.fixture
def many_silent_units(make_nwb, make_reaches, tmp_path):
    """Return a file of 3,000 units that are rarely active: small, and large when it is binned."""
    path = make_nwb(tmp_path / "nwb" / "sub-T_ses-CO-1.nwb", make_reaches(n_trials=20))
    with h5py.File(path, "r+") as file:
        index = file["units/spike_times_index"][()]
        n = 3000
        for name in ("id", "spike_times_index"):
            del file[f"units/{name}"]
        file["units/id"] = np.arange(n)
        file["units/spike_times_index"] = np.concatenate([index, np.full(n - len(index), index[-1])])
    return path


class Elsewhere:
    """A source whose files cannot be looked into before they are opened."""

    def __init__(self, path):
        self._folder = FolderSource([path])
        self.n_opened = 0

    def assets(self):
        return self._folder.assets()

    @contextmanager
    def open(self, asset, **about):
        self.n_opened += 1
        with self._folder.open(asset, **about) as found:
            yield found


def test_a_file_states_its_size_without_being_read(many_silent_units, make_nwb, make_reaches, tmp_path):
    reaches = make_reaches(n_trials=20)
    path = make_nwb(tmp_path / "b.nwb", reaches)
    stated = stated_size(path)
    assert (stated.n_units, stated.n_spikes) == (reaches.n_units, sum(map(len, reaches.spikes)))
    assert stated.duration_s == pytest.approx(
        size_of(read_recording(path, IngestRecipe())).duration_s, rel=0.15
    )
    assert stated_size(many_silent_units).n_units == 3000
    text = tmp_path / "c.nwb"
    text.write_text("no recording")
    assert stated_size(text) is None


@pytest.mark.parametrize("kind", ["complex128", "S8"])
def test_times_that_are_no_numbers_state_no_length(make_nwb, make_reaches, tmp_path, kind):
    """By the spikes alone; nothing is said of it, since reading says it."""
    path = make_nwb(tmp_path / "b.nwb", make_reaches(n_trials=20))
    whole = stated_size(path)
    with h5py.File(path, "r+") as h5:
        times = h5["intervals/trials/stop_time"][()]
        del h5["intervals/trials/stop_time"]
        h5["intervals/trials/stop_time"] = times.astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated = stated_size(path)
    assert (stated.n_units, stated.n_spikes) == (whole.n_units, whole.n_spikes)


@pytest.mark.parametrize("clock", ["trials", "spikes"])
def test_a_clock_that_is_wrong_is_not_taken_for_a_long_session(make_nwb, make_reaches, tmp_path, clock):
    path = make_nwb(tmp_path / "b.nwb", make_reaches(n_trials=20))
    right = stated_size(path).duration_s
    with h5py.File(path, "r+") as file:
        for name in ("intervals/trials/stop_time",) if clock == "trials" else ("units/spike_times",):
            file[name][...] = file[name][()] * 1000
    assert stated_size(path).duration_s == pytest.approx(right, rel=0.15)


def test_the_plan_follows_what_a_file_holds(many_silent_units, tmp_path, monkeypatch):
    catalog, source = tmp_path / "catalog.yaml", FolderSource([many_silent_units])
    planned = []
    ingest(catalog, source, dry_run=True, report=planned.append)
    (needed,) = [event.memory_bytes for event in planned if event.event == "planned"]
    monkeypatch.setattr(ingest_memory, "memory_share", lambda: needed - 1)
    with pytest.raises(MachineError, match=r"3000 units, .* spikes, 1 minutes, bins of 20 ms.* --force"):
        ingest(catalog, source)
    assert not catalog.exists()
    monkeypatch.setattr(ingest_memory, "memory_share", lambda: needed)
    assert stated_sizes(source, source.assets())["sub-T_ses-CO-1.nwb"].n_units == 3000


def test_a_file_from_elsewhere_is_refused_once_it_is_open_and_before_it_is_read(
    many_silent_units, tmp_path, monkeypatch
):
    from nwb_latents.pipeline.nwb import read

    def never(*_, **__):
        raise AssertionError("its data were read")

    catalog, source = tmp_path / "catalog.yaml", Elsewhere(many_silent_units)
    by_size = []
    ingest(catalog, source, dry_run=True, report=by_size.append)
    (planned,) = [event.memory_bytes for event in by_size if event.event == "planned"]
    monkeypatch.setattr(ingest_memory, "memory_share", lambda: planned + 1)
    monkeypatch.setattr(read, "read_recording", never)
    with pytest.raises(PipelineError, match=r"1 of 1 sessions failed") as caught:
        ingest(catalog, source)
    assert source.n_opened == 1
    assert "3000 units" in caught.value.failures[0][1]
    assert "--force" in caught.value.failures[0][1]
    assert caught.value.exit_code == MachineError.exit_code


def test_what_a_file_did_not_state_is_known_before_binning(small_nwb, tmp_path, monkeypatch):
    from nwb_latents.pipeline.nwb import recording_size
    from nwb_latents.pipeline.signals import trials

    def never(*_, **__):
        raise AssertionError("it was binned")

    monkeypatch.setattr(recording_size, "stated_size", lambda *_, **__: None)
    monkeypatch.setattr(recording_size, "size_of", lambda _: RecordingSize(10**6, 10**6, 7200.0))
    monkeypatch.setattr(trials, "make_trials", never)
    with pytest.raises(PipelineError) as caught:
        ingest(tmp_path / "catalog.yaml", FolderSource([small_nwb]))
    assert "1000000 units" in caught.value.failures[0][1]


def test_with_force_it_is_begun_all_the_same(small_nwb, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_memory, "memory_share", lambda: 1)
    assert len(ingest(tmp_path / "catalog.yaml", Elsewhere(small_nwb), force=True)) == 1
