"""How many sessions run at once."""

import pytest

from nwb_latents.pipeline.cluster import dask_client
from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
from nwb_latents.pipeline.cluster.estimate import BASE_BYTES, GIB, MOST_BYTES, estimate_session
from nwb_latents.pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("megabytes", "bin_size_s", "measured_mb"),
    [(2.2, 0.02, 205), (30.1, 0.02, 333), (114.9, 0.02, 791), (321.9, 0.02, 1830), (114.9, 0.005, 2458)],
)
def test_memory_is_estimated_as_it_was_measured(megabytes, bin_size_s, measured_mb):
    estimated = estimate_session(int(megabytes * 1e6), bin_size_s=bin_size_s).memory_bytes / 1e6
    assert measured_mb <= estimated <= 1.5 * measured_mb


def test_a_worker_that_keeps_its_memory_from_session_to_session_fits_in():
    assert estimate_session(114_900_000).memory_bytes >= 996e6


def test_files_that_are_mostly_broadband_recordings_are_not_taken_for_spikes():
    assert estimate_session(46 * 10**9).memory_bytes == BASE_BYTES + MOST_BYTES


def test_finer_bins_need_more_and_fetching_takes_longer():
    coarse, fine = (estimate_session(10**8, bin_size_s=s).memory_bytes - BASE_BYTES for s in (0.02, 0.01))
    assert fine == pytest.approx(2 * coarse)
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
