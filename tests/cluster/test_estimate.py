"""How many sessions run at once."""

import sys
from types import SimpleNamespace

import pytest

from nwb_latents.pipeline.cluster import dask_client, estimate
from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
from nwb_latents.pipeline.cluster.estimate import (
    BASE_BYTES,
    GIB,
    MOST_BYTES,
    estimate_memory,
    estimate_session,
)
from nwb_latents.pipeline.errors import UsageError
from nwb_latents.pipeline.nwb.recording_size import RecordingSize


@pytest.mark.parametrize(
    ("megabytes", "bin_size_s", "measured_mb"),
    [(2.2, 0.02, 205), (30.1, 0.02, 333), (114.9, 0.02, 791), (144.0, 0.005, 694)],
)
def test_memory_is_estimated_as_it_was_measured(megabytes, bin_size_s, measured_mb):
    estimated = estimate_session(int(megabytes * 1e6), bin_size_s=bin_size_s).memory_bytes / 1e6
    assert measured_mb <= estimated <= 1.5 * measured_mb


def test_a_worker_that_keeps_its_memory_from_session_to_session_fits_in():
    assert estimate_session(114_900_000).memory_bytes >= 996e6


def test_files_that_are_mostly_broadband_recordings_are_not_taken_for_spikes():
    assert estimate_session(46 * 10**9).memory_bytes == BASE_BYTES + MOST_BYTES


def test_finer_bins_need_more_and_fetching_takes_longer():
    coarse, fine = (estimate_session(10**7, bin_size_s=s).memory_bytes - BASE_BYTES for s in (0.02, 0.01))
    assert fine == pytest.approx(2 * coarse)
    assert estimate_session(10**9, bin_size_s=0.001).memory_bytes == BASE_BYTES + MOST_BYTES
    assert estimate_session(10**8, is_remote=True).seconds > estimate_session(10**8).seconds


def test_no_more_sessions_run_at_once_than_fit_into_memory(monkeypatch):
    monkeypatch.setattr(dask_client, "memory_share", lambda: 8 * GIB)
    assert dask_client.local_workers(16, [GIB] * 100) == 8
    assert dask_client.local_workers(16, [GIB] * 3) == 3
    assert dask_client.local_workers(4, [GIB] * 100) == 4
    assert dask_client.local_workers(4, [5 * GIB, GIB, GIB, GIB, GIB]) == 4
    assert dask_client.local_workers(4, [5 * GIB, 5 * GIB, GIB]) == 1
    assert dask_client.local_workers(4, [100 * GIB]) == 1


@pytest.mark.parametrize("word", ["slrum", "local:0", "local:", "tcp://", "tcp://host", "", "local:-1"])
def test_an_unknown_cluster_is_a_usage_error(word):
    with pytest.raises(UsageError, match="expected serial, local"):
        parse_cluster(word)


MEASURED = (
    # units, minutes, spikes per second of each, bin in s, measured peak in MB (benchmarks/long_recordings.py)
    (50, 10, 2, 0.02, 274), (50, 10, 2, 0.005, 328), (50, 120, 10, 0.02, 538),
    (200, 10, 10, 0.005, 558), (200, 60, 2, 0.005, 421), (200, 120, 10, 0.02, 535),
    (200, 120, 125 / 3, 0.02, 382), (200, 120, 125 / 3, 0.001, 686),
    (1000, 10, 2, 0.02, 387), (1000, 10, 10, 0.005, 486), (1000, 120, 2, 0.02, 570),
    (1000, 120, 2, 0.005, 694), (1000, 720, 3, 0.005, 944),
)  # fmt: skip


@pytest.mark.parametrize(("units", "minutes", "rate_hz", "bin_size_s", "measured_mb"), MEASURED)
def test_memory_follows_units_bins_and_spikes_as_measured(units, minutes, rate_hz, bin_size_s, measured_mb):
    size = RecordingSize(units, int(units * minutes * 60 * rate_hz), minutes * 60.0)
    estimated = estimate_memory(size, bin_size_s=bin_size_s) / 1e6
    assert 0.99 * measured_mb <= estimated <= 1.5 * measured_mb


def test_what_a_recording_holds_counts_and_not_the_size_of_its_file():
    silent = RecordingSize(n_units=1000, n_spikes=10_000, duration_s=7200.0)
    by_size = estimate_session(10**6, bin_size_s=0.005)
    known = estimate_session(10**6, bin_size_s=0.005, recording=silent)
    assert known.memory_bytes > 2 * by_size.memory_bytes
    assert known.seconds == by_size.seconds


def test_what_is_told_to_take_less_is_estimated_to_take_less():
    size = RecordingSize(n_units=50, n_spikes=3_600_000, duration_s=7200.0)
    whole, less = (estimate_memory(size, bin_size_s=0.02, memory_bytes=m) for m in (10**9, 3 * 10**8))
    assert less < whole


def test_the_memory_of_a_dask_worker_counts(monkeypatch):
    limit = SimpleNamespace(memory_manager=SimpleNamespace(memory_limit=GIB))
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=lambda: limit))
    assert estimate.memory_share() == int(0.8 * GIB)

    def nowhere():
        raise ValueError("No worker found")

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=nowhere))
    assert estimate.memory_share() == int(0.8 * estimate.memory_bytes())
