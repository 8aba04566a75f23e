"""A share of `benchmarks/robustness.py`: spoiled inputs give the same result, or a word on what is wrong."""

import numpy as np
import pytest

from robustness import nwb_zarr, stores, trials
from robustness.forked import Ended
from robustness.verdict import CODE, HANG, MEMORY, SILENT, TRACEBACK, Mutation, Verdict, judge, plain_faults
from robustness.worker import Worker

COUNTS = {
    "nwb": 4, "nwb_zarr": 3, "stores": 3, "objects": 1, "runs": 2, "catalogs": 3, "measured": 1, "typed": 3,
    "answers": 2, "kills": 1, "workers": 1,
}  # fmt: skip
SEED = 16


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """Return a process that runs trials, with what they spoil."""
    folder = tmp_path_factory.mktemp("robustness")
    with Worker(folder / "base", folder / "scratch") as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_what_is_spoiled_is_refused_or_said_or_makes_no_difference(worker, kind):
    verdicts = [worker.attempt(trial) for trial in trials.drawn(kind, SEED, COUNTS[kind])]
    assert not [v for v in verdicts if v["faults"] or v["outcome"] == "not made"]


def test_a_seed_draws_the_same_trials_and_every_mutator_before_one_again():
    drawn = trials.drawn("nwb", 3, 40)
    assert drawn == trials.drawn("nwb", 3, 40)
    assert drawn != trials.drawn("nwb", 4, 40)
    for kind in trials.SHARES:
        module = trials.module_of(kind)
        names = {trial.split(".")[1] for trial in trials.drawn(kind, 0, len(module.DRAWN))}
        assert names == set(module.DRAWN)


@pytest.fixture
def zarr_files(tmp_path):
    """Return a folder with stores and recordings of Zarr, in which arrays have their like."""
    for name, kind in {"stores/one/a.zarr/trials": "zarr.json", "a.nwb.zarr": ".zarray"}.items():
        for array, data in {"units": b"1", "counts": b"1", "rates": b"2"}.items():
            folder = tmp_path / name / array
            (folder / "c").mkdir(parents=True)
            (folder / kind).write_text("{}")
            (folder / "c" / "0").write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("mutator", ["chunks_exchanged", "arrays_exchanged"])
@pytest.mark.parametrize(("module", "where"), [(stores, "."), (nwb_zarr, "a.nwb.zarr")])
def test_what_is_exchanged_is_never_exchanged_with_its_like(module, where, mutator, zarr_files):
    for seed in range(12):
        before = _held(zarr_files)
        module.MUTATORS[mutator](zarr_files / where, np.random.default_rng(seed))
        assert _held(zarr_files) != before


def _held(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TRACE = "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"


@pytest.mark.parametrize(
    ("ended", "column"),
    [
        (Ended(1, "", TRACE), TRACEBACK),
        (Ended(4, "", "error: unexpected KeyError: 'a'. This is a fault of the program, …"), TRACEBACK),
        (Ended(3, '{"event": "session", "reason": "a.nwb: unexpected KeyError: 1"}', ""), TRACEBACK),
        (Ended(0, "", "/x/numpy/y.py:3: RuntimeWarning: invalid value\n"), TRACEBACK),
        (Ended(-11, "", ""), TRACEBACK),
        (Ended(-24, "", "", cpu_s=61.0), HANG),
        (Ended(-9, "", "", is_late=True), HANG),
        (Ended(0, "", "", rss=5 << 30), MEMORY),
        (Ended(5, "", "error: there is not enough memory for this"), MEMORY),
        (Ended(1, "", "error: no"), CODE),
    ],
)
def test_what_no_command_may_do_is_noticed(ended, column):
    assert set(plain_faults(ended, {0, 3, 4})) == {column}


@pytest.mark.parametrize(
    ("code", "mutation", "new", "difference", "is_silent"),
    [
        (0, Mutation("x", ("spike",)), [], {"trials/counts"}, True),
        (0, Mutation("x", ("spike",)), ["the weather is odd"], {"trials/counts"}, True),
        (0, Mutation("x", ("spike",)), ["/units/Spike_times: 3 are NaN"], {"trials/counts"}, False),
        (0, Mutation("x", ("spike",)), [], set(), False),
        (0, Mutation("x", ("spike",), harmless="other data"), [], {"trials/counts"}, False),
        (0, Mutation("x", ("spike",), refused=True), ["/units/spike_times is odd"], set(), True),
        (4, Mutation("x", ("spike",), refused=True), ["error: a.nwb: /units/spike_times"], None, False),
        (4, Mutation("x", ("spike",)), ["error: something is wrong"], None, True),
    ],
)
def test_what_is_accepted_in_silence_is_noticed(code, mutation, new, difference, is_silent):
    verdict = judge(
        Verdict("nwb.x.1"), Ended(code, "", ""), mutation, new=new, difference=difference, allowed={0, 3, 4}
    )
    assert set(verdict.faults) == ({SILENT} if is_silent else set())
