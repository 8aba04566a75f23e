"""What is wrong with a submission to the Neural Latents Benchmark, fault by fault.

Sizes come from the targets it is scored against, else from the benchmark's table, else the datasets of a
group are held against each other. All faults are found before anything is scored.
"""

from __future__ import annotations

import difflib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.nlb.files import FORWARD_RATES, RATES, RATES_DIGEST
from nwb_latents.pipeline.evaluation.nlb.fingerprints import rates_digest
from nwb_latents.pipeline.evaluation.nlb.group_sizes import (
    AXES,
    GroupSizes,
    plain_name,
    sizes_of_group,
    stated_ms,
    stated_phase,
    target_sizes,
)
from nwb_latents.pipeline.evaluation.nlb.identity import CHANGED, identity_problems
from nwb_latents.pipeline.evaluation.nlb.problem import Problem
from nwb_latents.pipeline.stores.hdf5_arrays import require_room
from nwb_latents.pipeline.stores.nlb_settings import nlb_group_key
from nwb_latents.schemas.nlb import NLB_BIN_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import h5py

    from nwb_latents.schemas.nlb import NlbPhase

HIGHEST_MEAN_HZ = 300.0
"""No population of neurons fires at this rate on average: such numbers are no spikes per bin."""

MOST_OFF = 2.0
"""Factor by which the mean of rates of a trained model may differ from that of the spikes."""

_ROWS = 128


def check_submission(
    path: Path,
    targets: Path | Sequence[Path] = (),
    *,
    sizes: Mapping[str, GroupSizes] | None = None,
    phase: NlbPhase | None = None,
    trust_order: bool = False,
) -> list[Problem]:
    """Return every fault of a submission.

    Parameters
    ----------
    path
        The submission.
    targets
        Files of targets, as `pipeline export nlb` and the benchmark's toolkit write them.
    sizes
        What to expect instead, by the name of the group.
    phase
        Phase of the benchmark whose numbers of trials are expected where there are no targets; None: either.
    trust_order
        Whoever asks knows that trials and units are those of the targets, in their order: it is no fault then
        that nothing shows it.

    Returns
    -------
    problems
        Empty where nothing is wrong. Group by group, in the order of the file.

    Raises
    ------
    DataError
        If a file of targets cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> print(*check_submission(Path("nowhere.h5")))
    nowhere.h5: cannot be read as HDF5: ...
    """
    import h5py  # noqa: PLC0415

    expected = dict(sizes) if sizes is not None else target_sizes(targets)
    try:
        with h5py.File(path, "r") as h5:
            return list(_problems(h5, expected, phase, trust_order=trust_order))
    except OSError as error:
        return [Problem("unreadable", "", f"{path}: cannot be read as HDF5: {error}")]


def _problems(
    h5: h5py.File, expected: dict[str, GroupSizes], phase: NlbPhase | None, *, trust_order: bool
) -> Iterable[Problem]:
    import h5py  # noqa: PLC0415

    groups = [name for name in h5 if isinstance(h5[name], h5py.Group)]
    for name in h5:
        if name not in groups:
            yield Problem(
                "extra", name, "lies at the root of the file; datasets belong into the group of their key"
            )
    yield from _group_names(groups, expected)
    if not groups:
        yield Problem("missing", "", "the file has no group; expected one per dataset, such as mc_maze_20")
    phases = {"submission": stated_phase(h5.attrs)}
    for name in groups:
        if expected and name not in expected:
            continue
        group, sizes = h5[name], expected.get(name)
        stated = stated_phase(group.attrs) or phases["submission"]
        if sizes is not None and None not in {sizes.phase, stated} and sizes.phase != stated:
            yield Problem(
                "phase", name, f"is of the {stated} phase, the targets are of the {sizes.phase} phase"
            )
        if sizes is None:
            sizes, fault = _sizes_of_table(name, group, phase)
            yield from fault
        faults = list(_check_group(name, group, sizes))
        yield from faults
        if sizes.identity:
            # Faults of the rates say enough of how they were changed.
            about = {**group.attrs, CHANGED: not faults and _is_changed(group)}
            yield from identity_problems(name, about, sizes.identity, trust_order=trust_order)


def _is_changed(group: h5py.Group) -> bool:
    """Whether the rates of a group are not those its attributes were written with."""
    import h5py  # noqa: PLC0415

    if RATES_DIGEST not in group.attrs:
        return False
    named = (name for name in (*RATES, *FORWARD_RATES) if name in group)
    rates = {name: group[name] for name in named if isinstance(group[name], h5py.Dataset)}
    if any(each.dtype.kind not in "iuf" for each in rates.values()):
        return True
    return rates_digest(rates) != str(group.attrs[RATES_DIGEST])


def _group_names(groups: list[str], expected: Mapping[str, GroupSizes]) -> Iterable[Problem]:
    if not expected:
        return
    strangers = [name for name in groups if name not in expected]
    for name in (name for name in expected if name not in groups):
        twin = next((other for other in strangers if plain_name(other) == plain_name(name)), None)
        if twin is not None:
            strangers.remove(twin)
            yield Problem(
                "bin_width",
                twin,
                f"the name stands for bins of {stated_ms(twin)} ms; expected {name}, of bins of "
                f"{stated_ms(name)} ms",
            )
        else:
            yield Problem("missing", name, "there is no such group; nothing of it would be scored")
    for name in strangers:
        near = difflib.get_close_matches(name, list(expected), n=1)
        hint = f"did you mean {near[0]}" if near else f"expected {', '.join(expected)}"
        yield Problem("extra", name, f"no group of this name is scored; {hint}")


def _sizes_of_table(name: str, group: h5py.Group, phase: NlbPhase | None) -> tuple[GroupSizes, list[Problem]]:
    """Sizes of the benchmark's own dataset, in the phase that is meant; else those the group itself shows."""
    own = sizes_of_group(group)
    try:
        dataset, width = nlb_group_key(name)
    except SettingsError:
        width_s = group.attrs.get("bin_size_s")
        return replace(own, bin_size_s=None if width_s is None else float(width_s)), []
    found = (own.n_train, own.n_eval)
    by_trials = next((p for p, numbers in dataset.trials.items() if numbers == found), None)
    meant = phase or by_trials or "test"
    n_train, n_eval = dataset.trials[meant]
    sizes = GroupSizes(
        n_train=n_train,
        n_eval=n_eval,
        n_bins=dataset.n_bins(width),
        n_forward=dataset.n_forward(width),
        n_heldin=dataset.n_heldin,
        n_heldout=dataset.n_heldout,
        bin_size_s=width / 1e3,
    )
    if by_trials is not None and by_trials != meant:
        text = f"{found[0]} and {found[1]} trials are those of the {by_trials} phase; the {meant} phase has "
        fault = Problem("phase", name, f"{text}{n_train} and {n_eval}")
        return replace(sizes, n_train=found[0], n_eval=found[1]), [fault]
    return sizes, []


def _check_group(name: str, group: h5py.Group, sizes: GroupSizes) -> Iterable[Problem]:
    import h5py  # noqa: PLC0415

    has_forward = any(dataset in group for dataset in FORWARD_RATES)
    wanted = (*RATES, *(FORWARD_RATES if has_forward else ()))
    for dataset in wanted:
        if dataset not in group:
            yield Problem("missing", f"{name}/{dataset}", "there is no such dataset")
    for dataset in group:
        if dataset not in wanted:
            near = difflib.get_close_matches(dataset, (*RATES, *FORWARD_RATES), n=1)
            hint = f"; did you mean {near[0]}" if near else ""
            yield Problem("extra", f"{name}/{dataset}", f"no dataset of this name is scored{hint}")
    for dataset in wanted:
        if dataset not in group:
            continue
        where, found = f"{name}/{dataset}", group[dataset]
        if not isinstance(found, h5py.Dataset):
            yield Problem("shape", where, "is a group; expected a dataset (trial, time, unit)")
            continue
        fault = _shape_problem(where, dataset, found.shape, sizes)
        if fault is not None:
            yield fault
        try:
            require_room(found)
        except DataError as error:
            yield Problem("shape", where, str(error))
            continue
        yield from _values(where, dataset, found, sizes)


def _shape_problem(where: str, dataset: str, found: tuple[int, ...], sizes: GroupSizes) -> Problem | None:
    expected = sizes.shape(dataset)
    if len(found) == len(AXES) and all(e in {None, f} for e, f in zip(expected, found, strict=True)):
        return None
    shown = "(" + ", ".join("?" if e is None else str(e) for e in expected) + ")"
    text = f"shape {found}; expected (trial, time, unit) = {shown}"
    if len(found) != len(AXES):
        return Problem("shape", where, text)
    orders = (
        order
        for order in itertools.permutations(range(3))
        if None not in expected and tuple(expected[axis] for axis in order) == found
    )
    order = next(orders, None)
    if order is not None:
        axes = ", ".join(AXES[axis] for axis in order)
        return Problem("transposed", where, f"{text}; the axes seem to be in the order ({axes})")
    wrong = [axis for axis in range(3) if expected[axis] not in {None, found[axis]}]
    other = "eval" if dataset.startswith("train_") else "train"
    if wrong == [0] and found[0] == (sizes.n_eval if other == "eval" else sizes.n_train):
        return Problem("phase", where, f"{text}; these are as many trials as the {other} part has")
    bins = expected[1]
    ratio = NLB_BIN_MS[1] // NLB_BIN_MS[0]
    if wrong == [1] and bins is not None and (found[1] * ratio == bins or bins * ratio == found[1]):
        widths = NLB_BIN_MS if bins * ratio == found[1] else NLB_BIN_MS[::-1]
        return Problem("bin_width", where, f"{text}; these are as many bins as there are of {widths[0]} ms")
    return Problem("shape", where, text)


def _values(where: str, dataset: str, found: h5py.Dataset, sizes: GroupSizes) -> Iterable[Problem]:
    if found.dtype.kind != "f" or found.dtype.itemsize < 4:
        yield Problem("dtype", where, f"dtype {found.dtype}; expected float32 or float64")
        if found.dtype.kind not in "iuf":
            return
    if not found.size or not found.ndim:
        return
    n = {"nan": 0, "negative": 0, "zero": 0}
    least, total, finite = 0.0, 0.0, 0
    for first in range(0, found.shape[0], _ROWS):
        rates = found[first : first + _ROWS].astype(np.float64)
        is_finite = np.isfinite(rates)
        n["nan"] += int((~is_finite).sum())
        n["negative"] += int((rates < 0).sum())
        n["zero"] += int((rates == 0).sum())
        kept = rates[is_finite]
        least = min(least, float(kept.min(initial=0.0)))
        total, finite = total + float(kept.sum()), finite + kept.size
    of = f"of {found.size} rates"
    if n["nan"]:
        yield Problem("nan", where, f"{n['nan']} {of} are NaN or infinite; expected spikes per bin, above 0")
    if n["negative"]:
        hint = "; are they logarithms of rates" if n["negative"] > 0.05 * found.size else ""
        yield Problem("negative", where, f"{n['negative']} {of} are negative, the least {least:.3g}{hint}")
    if n["zero"]:
        yield Problem("zero", where, f"{n['zero']} {of} are 0; expected above 0, raise them to 1e-9")
    yield from _hertz(where, total / max(finite, 1), sizes.mean_counts.get(dataset), sizes)


def _hertz(where: str, mean: float, spikes: float | None, sizes: GroupSizes) -> Iterable[Problem]:
    """Rates whose mean is that of the spikes in Hz, within a factor of two.

    A model that is merely poor has rates per bin of another mean than the spikes, and is not told otherwise.
    """
    group = where.partition("/")[0]
    width = sizes.bin_size_s or stated_ms(group) / 1e3
    remedy = f"they look like Hz, multiply them by {width:g} s"
    if spikes:
        if 1 / MOST_OFF < mean * width / spikes < MOST_OFF:
            yield Problem(
                "hertz",
                where,
                f"the mean rate is {mean:.3g} where {spikes:.3g} spikes per bin were recorded; {remedy}",
            )
    elif mean / width > HIGHEST_MEAN_HZ:
        text = f"the mean rate of {mean:.3g} spikes per bin would be {mean / width:.0f} Hz"
        yield Problem("hertz", where, f"{text}; {remedy}")
