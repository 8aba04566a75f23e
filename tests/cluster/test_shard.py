"""Shards of a job array: every session in exactly one of them, whatever else is listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nwb_latents.pipeline.cluster.shard import Shard, parse_shard
from nwb_latents.pipeline.errors import UsageError


@given(paths=st.sets(st.text(min_size=1)), n=st.integers(1, 20))
def test_every_path_is_in_exactly_one_shard(paths, n):
    for path in paths:
        assert sum(Shard(i, n).holds(path) for i in range(n)) == 1


def test_shards_are_the_same_on_every_machine():
    found = {c: next(i for i in range(7) if Shard(i, 7).holds(f"sub-{c}.nwb")) for c in "ABCDE"}
    assert found == {"A": 0, "B": 1, "C": 1, "D": 1, "E": 6}


def test_shards_are_about_equally_large():
    sizes = [sum(Shard(i, 10).holds(f"sub-A_ses-{k}.nwb") for k in range(5000)) for i in range(10)]
    assert min(sizes) > 400
    assert max(sizes) < 600


def test_arrays_that_count_from_0_and_from_1_cover_the_same():
    from_0 = {parse_shard(f"{i}/4") for i in range(4)}
    assert from_0 == {parse_shard(f"{i}/4") for i in range(1, 5)} == {Shard(i, 4) for i in range(4)}


@pytest.mark.parametrize("word", ["5/4", "1/0", "1", "a/b", "-1/4", "1/2/3", ""])
def test_what_is_no_shard_is_a_usage_error(word):
    with pytest.raises(UsageError, match="expected i/n"):
        parse_shard(word)
