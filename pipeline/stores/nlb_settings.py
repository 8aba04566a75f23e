"""Recipes and export settings of the Neural Latents Benchmark, made of its table of datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.nlb import NLB_BIN_MS, NLB_DATASETS
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import (
    JitterSettings,
    OnsetSettings,
    SplitSettings,
    TrialSelection,
    UnitSelection,
)

if TYPE_CHECKING:
    from nwb_latents.schemas.export import NlbExport
    from nwb_latents.schemas.nlb import NlbDataset

ANY_DURATION_S = 3600.0
"""Trials of the benchmark are taken whatever their length."""

EVALUATED = 0.25
"""Share of the trials to test where a file does not say which; the benchmark's files do."""

STOPPING = 0.2
"""Share of the trials to fit on that decide when training stops."""


def nlb_group_key(name: str) -> tuple[NlbDataset, int]:
    """Return the dataset and the width of bins, ms, that the name of a group stands for.

    Parameters
    ----------
    name
        Name of a group, ``KEY`` at 5 ms or ``KEY_20`` at 20 ms.

    Raises
    ------
    SettingsError
        If the benchmark has no such group; the message names its datasets.

    Examples
    --------
    >>> dataset, width = nlb_group_key("mc_maze_20")
    >>> dataset.key, width
    ('mc_maze', 20)
    """
    for width in NLB_BIN_MS:
        key = name if width == NLB_BIN_MS[0] else name.removesuffix(f"_{width}")
        if key in NLB_DATASETS and (width == NLB_BIN_MS[0] or key != name):
            return NLB_DATASETS[key], width
    raise SettingsError(
        f"The Neural Latents Benchmark has no dataset {name!r}; it has {', '.join(NLB_DATASETS)}, with "
        "_20 after the name for bins of 20 ms."
    )


def nlb_recipe(key: str, *, bin_size_ms: int = 5) -> IngestRecipe:
    """Return the recipe whose stores hold a dataset's windows.

    What the toolkit of the benchmark does is done alike: windows from the first bin edge at or after their
    beginning, also where they share time; bins observed where their first millisecond was; kinematics at left
    edges; units by their ids; spikes smoothed at
    1 ms for PSTHs; training windows of ``dmfc_rsg`` moved as in its phase *val*
    (``jitter.fitted=[train,val]`` gives those of *test*). All units and all trials the file deals to a split
    are kept, outliers too, and which are scored is what the file says: its ``val`` trials become the split
    ``test``, a fifth of its ``train`` trials the split ``val``; the extra split ``file`` is the file's own.

    Parameters
    ----------
    key
        Name of the dataset.
    bin_size_ms
        Width of a bin: 5 or 20.

    Raises
    ------
    SettingsError
        If there is no such dataset or no track of such bins.

    Examples
    --------
    >>> nlb_recipe("mc_maze").window_s, nlb_recipe("mc_maze", bin_size_ms=20).window_s
    ((-0.25, 0.45), (-0.25, 0.45))
    """
    if bin_size_ms not in NLB_BIN_MS:
        raise SettingsError(f"The benchmark has tracks of 5 and 20 ms bins, found {bin_size_ms:g} ms.")
    if key not in NLB_DATASETS:
        raise SettingsError(
            f"The Neural Latents Benchmark has no dataset {key!r}; it has {', '.join(NLB_DATASETS)}."
        )
    dataset = NLB_DATASETS[key]
    rest = 1.0 - EVALUATED
    return IngestRecipe(
        bin_size_s=bin_size_ms / 1e3,
        min_rate_hz=0.0,
        observed_by="first_ms",
        align_to=dataset.align_to,
        window_s=(dataset.window_ms[0] / 1e3, dataset.window_ms[1] / 1e3),
        window_from="next_edge",
        jitter=_jitter(dataset),
        trial_columns=dataset.trial_columns,
        psth_sigma_s=None if dataset.psth_sigma_ms is None else dataset.psth_sigma_ms / 1e3,
        kinematics_at="left_edge",
        units=UnitSelection(order="id"),
        onset=OnsetSettings(method="column" if dataset.align_to == "move_onset" else "auto"),
        trials=TrialSelection(
            success_only=False,
            keep_flagged=True,
            only_split=True,
            allow_overlap=True,
            max_duration_s=ANY_DURATION_S,
            check_reaction_time=False,
            guard_s=0.0,
        ),
        split=SplitSettings(train=rest * (1 - STOPPING), val=rest * STOPPING, test=EVALUATED),
        layout=dataset.layout,
        position_series=dataset.position_series,
        velocity_series=dataset.velocity_series,
    )


def _jitter(dataset: NlbDataset) -> JitterSettings:
    if dataset.jitter_column is None:
        return JitterSettings()
    return JitterSettings(
        max_s=dataset.jitter_ms / 1e3,
        limit_s=(dataset.window_ms[1] - dataset.window_ms[0]) / 1e3,
        column=dataset.jitter_column,
    )


def cuts_as_toolkit(recipe: IngestRecipe, dataset: NlbDataset) -> bool:
    """Whether stores of a recipe hold what `nlb_tools` makes its tensors of.

    Examples
    --------
    >>> dataset = NLB_DATASETS["mc_maze"]
    >>> cuts_as_toolkit(nlb_recipe("mc_maze"), dataset), cuts_as_toolkit(IngestRecipe(), dataset)
    (True, False)
    """
    width = round(recipe.bin_size_s * 1e3)
    if width not in NLB_BIN_MS:
        return False
    made = nlb_recipe(dataset.key, bin_size_ms=width)
    names = (
        "window_from", "window_s", "align_to", "observed_by", "kinematics_at", "psth_sigma_s", "trial_columns"
    )  # fmt: skip
    same = all(getattr(recipe, name) == getattr(made, name) for name in names)
    trials = recipe.trials.keep_flagged and recipe.trials.only_split and recipe.trials.allow_overlap
    return same and trials and recipe.units.order == "id" and recipe.jitter.max_s == made.jitter.max_s


def nlb_export_defaults(key: str) -> dict[str, object]:
    """Return the settings of an export that the benchmark prescribes for a dataset.

    Parameters
    ----------
    key
        Name of a group.

    Returns
    -------
    settings
        Values of `schemas.export.NlbExport`; only the key where it is no dataset of the benchmark.

    Examples
    --------
    >>> nlb_export_defaults("area2_bump")["lag_ms"], nlb_export_defaults("mine")
    (-20.0, {'key': 'mine'})
    """
    dataset = NLB_DATASETS.get(key)
    return {"key": key} if dataset is None else dataset.export_settings


def differences_from_benchmark(
    key: str | None,
    *,
    n_train: int,
    n_eval: int,
    n_heldin: int,
    n_heldout: int,
    n_bins: int,
    bin_size_s: float,
    settings: NlbExport | None = None,
) -> list[str]:
    """Say where an export is not what the benchmark has under the same name.

    Parameters
    ----------
    key
        Name the export goes by; what is no dataset of the benchmark has nothing to differ from.
    n_train, n_eval, n_heldin, n_heldout, n_bins
        What was found: trials, units, bins.
    bin_size_s
        Width of a bin, s.
    settings
        Settings of the export; None: nothing is said of them.

    Returns
    -------
    differences
        One sentence each, expected against observed; empty where there is none.

    Examples
    --------
    >>> found = {"n_train": 75, "n_eval": 25, "n_heldin": 107, "n_heldout": 30, "n_bins": 35}
    >>> differences_from_benchmark("mc_maze_small", **found, bin_size_s=0.02)
    ['mc_maze_small: 107 units held in and 30 held out; the benchmark has 107 and 35']
    """
    dataset = NLB_DATASETS.get(key or "")
    if dataset is None:
        return []
    found = []
    if (n_heldin, n_heldout) != (dataset.n_heldin, dataset.n_heldout):
        found.append(
            f"{key}: {n_heldin} units held in and {n_heldout} held out; the benchmark has "
            f"{dataset.n_heldin} and {dataset.n_heldout}"
        )
    if (n_train, n_eval) not in dataset.trials.values():
        phases = " or ".join(f"{a} and {b} ({phase} phase)" for phase, (a, b) in dataset.trials.items())
        found.append(f"{key}: {n_train} trials fitted and {n_eval} scored; the benchmark has {phases}")
    expected = (dataset.window_ms[1] - dataset.window_ms[0]) / 1e3 / bin_size_s
    if abs(n_bins - expected) > 1e-6:
        found.append(f"{key}: {n_bins} bins of {bin_size_s * 1e3:g} ms; the benchmark has {expected:g}")
    if settings is not None:
        found += [
            f"{key}: {name} is {getattr(settings, name)}; the benchmark has {value}"
            for name, value in dataset.export_settings.items()
            if getattr(settings, name) != value
        ]
    return found
