"""How many sessions run at once."""

import pytest

from pipeline.cluster import dask_client
from pipeline.cluster.estimate import BASE_BYTES, GIB, MOST_BYTES, estimate_session
from pipeline.cluster.kinds import parse_cluster
from pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("megabytes", "measured_mb"), [(2.2, 208), (30.1, 618), (114.9, 2183), (321.4, 4822)]
)
def test_memory_is_estimated_as_it_was_measured(megabytes, measured_mb):
    estimated = estimate_session(int(megabytes * 1e6)).memory_bytes / 1e6
    assert measured_mb <= estimated <= 1.6 * measured_mb


def test_files_that_are_mostly_broadband_recordings_are_not_taken_for_spikes():
    assert estimate_session(46 * 10**9).memory_bytes == BASE_BYTES + MOST_BYTES


def test_finer_bins_need_more_and_fetching_takes_longer():
    assert estimate_session(10**8, bin_size_s=0.01).memory_bytes > 1.8 * estimate_session(10**8).memory_bytes
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
