"""Options several commands share, and help texts made from the settings' own descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict, cast, get_args

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.task_words import LAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.stages.session_tasks import Where
    from nwb_latents.schemas.training import Device

CATALOG = Path("catalog.yaml")
"""Where the catalog lies unless it is said."""

CatalogOption = Annotated[
    Path,
    typer.Option("--catalog", help="Catalog file; paths inside it are relative to it.", show_default=True),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting, key.path=value; repeatable.",
        metavar="KEY=VALUE",
        autocompletion=completion.settings,
    ),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show results and errors only.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show every event, and tracebacks.")]
SessionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--session",
        help="Session id or shell pattern, repeatable; default: all.",
        metavar="GLOB",
        autocompletion=completion.sessions,
    ),
]
RecipeIdOption = Annotated[
    str | None,
    typer.Option(
        "--recipe-id",
        help="Recipe of the stores, or its beginning; default: the one ingested last.",
        metavar="ID",
        autocompletion=completion.recipes,
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Do again what is up to date, and begin though it may not fit the memory."),
]
WhateverSizeOption = Annotated[
    bool, typer.Option("--force", help="Begin though it is estimated not to fit the memory.")
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto (a GPU if there is one), cpu or cuda.",
        metavar="auto|cpu|cuda",
        autocompletion=completion.words("auto", "cpu", "cuda"),
    ),
]
UnseenOption = Annotated[
    bool,
    typer.Option(
        "--unseen-trials",
        help="Where a store is another than the run was trained on: take only trials in neither its "
        "training nor "
        "validation, if its record of them proves which these are, and say so; default: refuse.",
    ),
]
EnsembleOption = Annotated[
    bool,
    typer.Option(
        "--ensemble",
        help="Also average each run's forecast of velocity with that of trial_factors, with weights chosen "
        "on validation trials; with other baselines or runs by --set (ensemble).",
    ),
]
RunsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        help="Run, repeatable; default: all of the recipe.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        help="serial, local, local:N processes, tcp://HOST:PORT of a dask scheduler, or a batch system: "
        "slurm, pbs, sge, lsf, oar, moab, htcondor.",
    ),
]
ClusterConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--cluster-config",
        help="YAML file: queue, cores, memory, walltime, n_jobs … of the jobs (pipeline schema cluster).",
        metavar="FILE",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Part i of n of the sessions, for one job of a job array; i counts from 0 or from 1.",
        metavar="i/n",
    ),
]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed", help="Only the sessions that failed the last time.")
]
LagOption = Annotated[
    float | None,
    typer.Option(LAG.option, help=LAG.help, metavar="MS"),
]


_TYPED: dict[str, str] = {}
"""Settings of the command that runs, and how they were typed."""


def where_of(cluster: str, config: Path | None, shard: str | None, *, retry_failed: bool) -> Where:
    """Return which sessions of a stage are worked on, and where, from the options."""
    from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
    from nwb_latents.pipeline.cluster.shard import Shard, parse_shard
    from nwb_latents.pipeline.stages.session_tasks import Where
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.cluster import ClusterSettings

    parse_cluster(cluster)
    settings = settings_from(ClusterSettings, file=config)
    return Where(cluster, settings, parse_shard(shard) if shard else Shard(), retry_failed)


class Given(TypedDict):
    """Settings that were given by options, for `pipeline.stores.settings.settings_from`."""

    values: dict[str, object]
    origin: dict[str, str]


def given(options: Mapping[str, tuple[str, object]], *, typed: Mapping[str, str] | None = None) -> Given:
    """Return the settings that were given by options.

    Parameters
    ----------
    options
        Option → key of the setting and the value of the option; None: it was not given.
    typed
        Option → its value as it was typed, where that differs from the value.

    Examples
    --------
    >>> given({"--seed": ("train.seed", 3), "--device": ("train.device", None)})
    {'values': {'train.seed': 3}, 'origin': {'train.seed': '--seed 3'}}
    """
    _TYPED.clear()
    there = {key: (option, value) for option, (key, value) in options.items() if value is not None}
    texts = {option: _typed(value) for option, value in there.values()} | dict(typed or {})
    _TYPED.update({key: f"{option} {texts[option]}".rstrip() for key, (option, _) in there.items()})
    return {"values": {key: value for key, (_, value) in there.items()}, "origin": dict(_TYPED)}


def as_typed(error: SettingsError) -> str:
    """Return what an error of a stage says, of the option that was typed where one set the setting.

    Examples
    --------
    >>> _ = given({"--lag-ms": ("lag_ms", 90.0)})
    >>> as_typed(SettingsError("lag_ms 90 is not a whole number of 20 ms bins", setting="lag_ms"))
    '--lag-ms 90: not a whole number of 20 ms bins'
    """
    text = str(error)
    for key, typed in _TYPED.items():
        if error.setting and key.rpartition(".")[2] == error.setting.rpartition(".")[2]:
            said_again = f"{error.setting} {typed.partition(' ')[2]} "
            return f"{typed}: {text.removeprefix(said_again).removeprefix('is ')}"
    return text


def listed(text: str | None) -> list[str] | None:
    """Return the words of a comma-separated list; None for none.

    Examples
    --------
    >>> listed("rates, forecast")
    ['rates', 'forecast']
    """
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _typed(value: object) -> str:
    if value is True:
        return ""
    if isinstance(value, list | tuple):
        return ",".join(_typed(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def device_of(word: str) -> Device:
    """Return the device that was asked for.

    Raises
    ------
    SettingsError
        If there is no such kind of device.
    """
    from nwb_latents.schemas.training import Device

    if word not in get_args(Device):
        hint = "; a GPU is cuda" if word.lower() in {"gpu", "mps"} else ""
        raise SettingsError(f"--device {word}: expected auto, cpu or cuda{hint}.")
    return cast("Device", word)
