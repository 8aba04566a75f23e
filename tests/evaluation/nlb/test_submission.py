"""Submissions: every fault has its name, a clean one has none, and a file scores what memory scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.nlb.files import read_submission, submission_arrays, write_submission
from nwb_latents.pipeline.evaluation.nlb.group_sizes import identity_of, trials_digest
from nwb_latents.pipeline.evaluation.nlb.scores import score_rates, score_submission
from nwb_latents.pipeline.evaluation.nlb.submission import check_submission
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.stores.exporters.hdf5 import write_groups
from nwb_latents.schemas.export import NlbExport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Arrays = dict[str, np.ndarray]

N_TRAIN, N_EVAL, N_BINS, N_FORWARD, N_IN, N_OUT = 9, 5, 35, 10, 7, 3
GROUP = "mine_20"


@pytest.fixture
def prediction() -> RatePrediction:
    """Return rates of a small session, spikes per bin."""
    rng = np.random.default_rng(0)
    n = N_IN + N_OUT
    return RatePrediction(
        train=rng.gamma(2.0, 0.1, (N_TRAIN, N_BINS, n)),
        eval=rng.gamma(2.0, 0.1, (N_EVAL, N_BINS, n)),
        eval_forward=rng.gamma(2.0, 0.1, (N_EVAL, N_FORWARD, n)),
    )


@pytest.fixture
def spikes(prediction: RatePrediction) -> Arrays:
    """Return spikes of these rates, with the velocity and PSTHs a file of targets has."""
    rng = np.random.default_rng(1)
    ahead = {
        "train": rng.gamma(2.0, 0.1, (N_TRAIN, N_FORWARD, N_IN + N_OUT)),
        "eval": prediction.eval_forward,
    }
    found: Arrays = {}
    for part, rates in (("train", prediction.train), ("eval", prediction.eval)):
        for kind, mine in (("heldin", slice(None, N_IN)), ("heldout", slice(N_IN, None))):
            found[f"{part}_spikes_{kind}"] = rng.poisson(rates[..., mine]).astype(np.float32)
            found[f"{part}_spikes_{kind}_forward"] = rng.poisson(ahead[part][..., mine]).astype(np.float32)
        found[f"{part}_behavior"] = 40 * rates[..., :2] + rng.normal(0, 1, (*rates.shape[:2], 2))
        found[f"{part}_trial"] = np.arange(len(rates)) + 100 * (part == "eval")
    found["eval_spikes_heldin_forward"][0] = np.nan
    found["train_behavior"][0, :4] = np.nan
    return found


@pytest.fixture
def targets(spikes: Arrays, tmp_path: Path) -> Path:
    """Return the file of targets."""
    path = tmp_path / "targets.h5"
    about = {"bin_size_s": 0.02, "export_settings": NlbExport(phase="val").model_dump_json()}
    write_groups(path, [(GROUP, spikes, {})], attributes=about)
    return path


@pytest.fixture
def write(tmp_path: Path, prediction: RatePrediction, spikes: Arrays) -> Callable[..., Path]:
    """Return the function that writes the rates, changed, as a submission."""

    def written(
        change: Callable[[Arrays], object] = len, *, group: str = GROUP, **attributes: str | float
    ) -> Path:
        arrays = submission_arrays(prediction, n_heldin=N_IN)
        change(arrays)
        path = tmp_path / "rates.h5"
        write_submission(path, [(group, arrays, {**identity_of(spikes), **attributes})])
        return path

    return written


def test_a_submission_without_fault_has_no_problems(write: Callable[..., Path], targets: Path) -> None:
    assert check_submission(write(), targets) == []
    assert check_submission(write()) == []


def test_shapes_that_fit_do_not_show_that_trials_and_units_are_those_of_the_targets(
    prediction: RatePrediction, spikes: Arrays, targets: Path, tmp_path: Path
) -> None:
    rates, toolkit = tmp_path / "rates.h5", tmp_path / "toolkit.h5"
    arrays = submission_arrays(prediction, n_heldin=N_IN)

    def kinds(file: Path, about: dict[str, str], **words: bool) -> list[str]:
        write_submission(rates, [(GROUP, arrays, about)])
        return [problem.kind for problem in check_submission(rates, file, **words)]

    assert kinds(targets, {}) == ["identity"]
    assert kinds(targets, {}, trust_order=True) == []
    # Targets of the benchmark's toolkit name no ids: the counts that are scored show whose they are.
    write_groups(
        toolkit, [(GROUP, {name: a for name, a in spikes.items() if "_trial" not in name}, {})], attributes={}
    )
    assert kinds(toolkit, identity_of(spikes)) == []
    for axis in (0, 2):
        order = np.arange(spikes["eval_spikes_heldout"].shape[axis])[::-1]
        others = {**spikes, "eval_spikes_heldout": spikes["eval_spikes_heldout"].take(order, axis)}
        assert kinds(toolkit, identity_of(others)) == ["identity"]
        assert kinds(toolkit, identity_of(others), trust_order=True) == ["identity"]
    named = {**spikes, "heldin_unit": np.arange(N_IN), "heldout_unit": N_IN + np.arange(N_OUT)}
    write_groups(toolkit, [(GROUP, named, {})], attributes={})
    swapped = {**named, "heldin_unit": named["heldin_unit"][::-1]}
    assert kinds(toolkit, identity_of(swapped)) == ["units"]


def permuted(arrays: Arrays, part: str, axis: int) -> Arrays:
    """Return arrays whose datasets with a name of `part` are in another order along an axis."""
    return {
        name: a.take(np.roll(np.arange(a.shape[axis]), 1), axis) if part in name and a.ndim == 3 else a
        for name, a in arrays.items()
    }


@pytest.mark.parametrize(
    ("part", "axis"),
    [("train_", 0), ("eval_", 0), ("heldin", 2), ("heldout", 2)],
    ids=["trials fitted", "trials scored", "units held in", "units held out"],
)
def test_no_order_but_its_own_is_scored_against_the_toolkits_targets(
    part: str, axis: int, write: Callable[..., Path], spikes: Arrays, tmp_path: Path
) -> None:
    toolkit = tmp_path / "toolkit.h5"
    plain = {name: a.astype(np.float32) for name, a in spikes.items() if "_trial" not in name}
    write_groups(toolkit, [(GROUP, plain, {})], attributes={})
    assert check_submission(write(), toolkit) == []
    write_groups(toolkit, [(GROUP, permuted(plain, part, axis), {})], attributes={})
    (problem,) = check_submission(write(), toolkit)
    assert (problem.kind, problem.where) == ("identity", GROUP)


@pytest.mark.parametrize("has_ids", [True, False])
@pytest.mark.parametrize(("part", "axis"), [("eval_", 0), ("train_", 0), ("held", 2)])
def test_rates_permuted_in_the_file_are_no_longer_those_its_attributes_speak_of(
    part: str, axis: int, has_ids: bool, write: Callable[..., Path], spikes: Arrays, tmp_path: Path
) -> None:
    targets = tmp_path / "targets.h5"
    kept = {name: a for name, a in spikes.items() if has_ids or "_trial" not in name}
    write_groups(targets, [(GROUP, kept, {})], attributes={})
    path = write()
    with h5py.File(path, "r+") as h5:
        arrays = {name: h5[GROUP][name][()] for name in h5[GROUP]}
        for name, rates in permuted(arrays, part, axis).items():
            h5[GROUP][name][...] = rates
    (problem,) = check_submission(path, targets)
    assert problem.kind == "identity"
    assert "changed after they were written" in problem.text
    assert check_submission(path, targets, trust_order=True) == []
    assert check_submission(path) == []


def test_the_same_trials_at_another_lag_can_be_vouched_for(
    write: Callable[..., Path], spikes: Arrays, tmp_path: Path
) -> None:
    toolkit = tmp_path / "toolkit.h5"
    plain = {name: a for name, a in spikes.items() if "_trial" not in name}
    later = {**plain, "train_behavior": np.roll(plain["train_behavior"], 5, axis=1) * [1.0, 1.1]}
    write_groups(toolkit, [(GROUP, later, {})], attributes={})
    (problem,) = check_submission(write(), toolkit)
    assert "another lag" in problem.text
    assert check_submission(write(), toolkit, trust_order=True) == []


def replaced(name: str, new: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.update({name: new(arrays[name])})


FAULTS = {
    "missing": (lambda a: a.pop("eval_rates_heldout"), "eval_rates_heldout", "no such dataset"),
    "half a forward": (
        lambda a: a.pop("eval_rates_heldout_forward"),
        "eval_rates_heldout_forward",
        "no such dataset",
    ),
    "extra": (
        lambda a: a.update(eval_rate_heldin=a["eval_rates_heldin"]),
        "eval_rate_heldin",
        "did you mean eval_rates_heldin",
    ),
    "shape": (
        replaced("train_rates_heldin", lambda r: r[..., :-1]),
        "train_rates_heldin",
        "shape (9, 35, 6); expected (trial, time, unit) = (9, 35, 7)",
    ),
    "flattened": (
        replaced("train_rates_heldin", lambda r: r.reshape(-1, N_IN)),
        "train_rates_heldin",
        "shape (315, 7); expected (trial, time, unit) = (9, 35, 7)",
    ),
    "transposed": (
        replaced("eval_rates_heldin", lambda r: r.transpose(0, 2, 1)),
        "eval_rates_heldin",
        "axes seem to be in the order (trial, unit, time)",
    ),
    "bin_width": (
        replaced("eval_rates_heldin", lambda r: r.repeat(4, axis=1) / 4),
        "eval_rates_heldin",
        "as many bins as there are of 5 ms",
    ),
    "phase": (
        replaced("train_rates_heldin", lambda r: r[:N_EVAL]),
        "train_rates_heldin",
        "as many trials as the eval part has",
    ),
    "dtype": (
        replaced("eval_rates_heldout", lambda r: (1 + 0 * r).astype(np.int64)),
        "eval_rates_heldout",
        "dtype int64; expected float32 or float64",
    ),
    "nan": (
        replaced("eval_rates_heldin", lambda r: np.where(r == r.max(), np.nan, r)),
        "eval_rates_heldin",
        "1 of 1225 rates are NaN or infinite",
    ),
    "negative": (replaced("eval_rates_heldin", np.log), "eval_rates_heldin", "logarithms of rates"),
    "zero": (
        replaced("eval_rates_heldin", lambda r: np.where(r == r.max(), 0, r)),
        "eval_rates_heldin",
        "1 of 1225 rates are 0; expected above 0",
    ),
    "hertz": (
        replaced("eval_rates_heldout", lambda r: r / 0.02),
        "eval_rates_heldout",
        "they look like Hz, multiply them by 0.02 s",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_one_problem_and_named(fault: str, write: Callable[..., Path], targets: Path) -> None:
    change, dataset, says = FAULTS[fault]
    (problem,) = check_submission(write(change), targets)
    assert problem.where == f"{GROUP}/{dataset}"
    assert says in problem.text
    kinds = {"half a forward": "missing", "flattened": "shape"}
    assert problem.kind == kinds.get(fault, fault)
    assert str(problem) == f"{problem.where}: {problem.text}"


@pytest.mark.parametrize("factor", [0.2, 1.5, 8.0, 20.0, 400.0])
def test_rates_per_bin_of_a_poor_model_are_not_said_to_be_hz(
    write: Callable[..., Path], targets: Path, factor: float
) -> None:
    fault = replaced("eval_rates_heldout", lambda rates: rates * factor)
    assert check_submission(write(fault), targets) == []


def test_all_faults_are_named_at_once(write: Callable[..., Path], targets: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays.pop("train_rates_heldin")
        arrays["eval_rates_heldin"] = -arrays["eval_rates_heldin"].transpose(1, 0, 2)
        arrays["eval_rates_heldout"] = arrays["eval_rates_heldout"] * 50

    problems = check_submission(write(change), targets)
    assert [problem.kind for problem in problems] == ["missing", "transposed", "negative", "hertz"]


@pytest.mark.parametrize(
    ("group", "kind", "says"),
    [
        ("mine", "bin_width", "the name stands for bins of 5.0 ms; expected mine_20, of bins of 20.0 ms"),
        ("mime_20", "extra", "did you mean mine_20"),
    ],
)
def test_groups_of_another_name_are_named(
    write: Callable[..., Path], targets: Path, group: str, kind: str, says: str
) -> None:
    problems = check_submission(write(group=group), targets)
    (named,) = [problem for problem in problems if problem.kind == kind]
    assert (named.where, says in named.text) == (group, True)
    others = [problem.kind for problem in problems if problem is not named]
    assert others == ([] if kind == "bin_width" else ["missing"])


def test_another_phase_and_other_trials_than_the_targets_are_named(
    write: Callable[..., Path], targets: Path
) -> None:
    test_phase = NlbExport(phase="test").model_dump_json()
    (problem,) = check_submission(write(export_settings=test_phase), targets)
    assert (problem.kind, problem.text) == ("phase", "is of the test phase, the targets are of the val phase")
    same, other = (
        trials_digest(np.arange(N_EVAL)[order] + 100) for order in (slice(None), slice(None, None, -1))
    )
    assert check_submission(write(eval_trials=same), targets) == []
    (problem,) = check_submission(write(eval_trials=other), targets)
    assert (problem.kind, problem.where) == ("trials", GROUP)


def test_without_targets_the_benchmarks_own_sizes_are_expected(tmp_path: Path) -> None:
    def submission(n_train: int, n_eval: int, n_bins: int) -> Path:
        arrays = {
            "train_rates_heldin": np.ones((n_train, n_bins, 107)),
            "train_rates_heldout": np.ones((n_train, n_bins, 35)),
            "eval_rates_heldin": np.ones((n_eval, n_bins, 107)),
            "eval_rates_heldout": np.ones((n_eval, n_bins, 35)),
        }
        path = tmp_path / "maze.h5"
        write_submission(path, [("mc_maze_small_20", arrays, {})])
        return path

    for phase, trials in {"test": (100, 100), "val": (75, 25)}.items():
        assert check_submission(submission(*trials, 35)) == []
        assert check_submission(submission(*trials, 35), phase=phase) == []
    (problem,) = check_submission(submission(75, 25, 35), phase="test")
    assert problem.kind == "phase"
    assert "75 and 25 trials are those of the val phase; the test phase has 100 and 100" in problem.text
    assert {problem.kind for problem in check_submission(submission(75, 25, 140))} == {"bin_width"}
    wrong = check_submission(submission(80, 25, 35))
    assert "shape (80, 35, 107); expected (trial, time, unit) = (100, 35, 107)" in wrong[0].text


def test_without_any_reference_datasets_are_held_against_each_other(write: Callable[..., Path]) -> None:
    fault = replaced("eval_rates_heldin", lambda r: r[:, :-1])
    (problem,) = check_submission(write(fault, group="own"))
    assert (problem.kind, problem.where) == ("shape", "own/eval_rates_heldin")
    loud = replaced("eval_rates_heldin", lambda r: r / 0.005)
    (problem,) = check_submission(write(loud, group="own"))
    assert (problem.kind, "would be" in problem.text) == ("hertz", True)


def test_files_that_are_no_submission_are_named(tmp_path: Path, targets: Path) -> None:
    text = tmp_path / "text.h5"
    text.write_text("no HDF5")
    assert [problem.kind for problem in check_submission(text, targets)] == ["unreadable"]
    flat = tmp_path / "flat.h5"
    with h5py.File(flat, "w") as h5:
        h5["eval_rates_heldin"] = np.ones((2, 3, 4))
    assert [problem.kind for problem in check_submission(flat)] == ["extra", "missing"]
    for read in (lambda: check_submission(flat, text), lambda: read_submission(flat)):
        with pytest.raises(DataError, match="of the Neural Latents Benchmark"):
            read()


def test_a_file_scores_what_memory_scores(
    write: Callable[..., Path], targets: Path, spikes: Arrays, prediction: RatePrediction
) -> None:
    found = score_submission(write(), targets)
    expected = score_rates(prediction, spikes)
    assert list(found) == [GROUP]
    assert found[GROUP] == pytest.approx(expected, rel=0, abs=1e-9)
    assert set(expected) == {"co_bps", "fp_bps", "nlb_velocity_r2"}
    assert expected["nlb_velocity_r2"] > 0.5
    assert expected["co_bps"] > 0


def test_the_null_scores_0_and_the_true_rates_more(spikes: Arrays, prediction: RatePrediction) -> None:
    null = prediction.eval.copy()
    null[..., N_IN:] = spikes["eval_spikes_heldout"].mean((0, 1), dtype=np.float64)
    assert score_rates(RatePrediction(prediction.train, null), spikes)["co_bps"] == pytest.approx(
        0, abs=1e-12
    )
    assert score_rates(prediction, spikes)["co_bps"] > 0.05


def test_groups_of_trials_have_a_decoder_each(spikes: Arrays, prediction: RatePrediction) -> None:
    masks = {part: np.arange(n) % 2 == 0 for part, n in (("train", N_TRAIN), ("eval", N_EVAL))}
    turned = {
        f"{part}_behavior": np.where(mask[:, None, None], 1, -1) * spikes[f"{part}_behavior"]
        for part, mask in masks.items()
    }
    apart = {f"{part}_decode_mask": np.stack([mask, ~mask], 1) for part, mask in masks.items()}
    joint = score_rates(prediction, spikes | turned)["nlb_velocity_r2"]
    assert joint < 0.5 < score_rates(prediction, spikes | turned | apart)["nlb_velocity_r2"]


def test_scores_need_targets_of_a_group(write: Callable[..., Path], targets: Path) -> None:
    with pytest.raises(DataError, match="no group has targets; there are targets of mine_20"):
        score_submission(write(group="other"), targets)
