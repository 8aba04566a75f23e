"""What a job of a batch system asks for, in the words of dask-jobqueue."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.cluster.estimate import GIB
from nwb_latents.pipeline.cluster.safe_path import SAFE_PATH
from nwb_latents.pipeline.cluster.task_batch import GPU, TRAINING, Needs
from nwb_latents.pipeline.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.pipeline.cluster.cluster_option import ClusterKind
    from nwb_latents.schemas.cluster import ClusterSettings

_ACCOUNT = {"slurm": "account", "pbs": "account", "moab": "account"}
_NO_QUEUE = {"htcondor"}


def processes_of(settings: ClusterSettings, needs: Needs | None) -> int:
    """Return the worker processes of a job: one per core, or one where each takes all its threads.

    Examples
    --------
    >>> from nwb_latents.schemas.cluster import ClusterSettings
    >>> processes_of(ClusterSettings(cores=4), None), processes_of(ClusterSettings(cores=4), Needs())
    (4, 1)
    """
    return settings.processes or (settings.cores if needs is None else 1)


def job_words(
    kind: ClusterKind, settings: ClusterSettings, *, memory_bytes: Sequence[int], needs: Needs | None = None
) -> dict[str, Any]:
    """Return the keywords of the dask-jobqueue class.

    Examples
    --------
    >>> from nwb_latents.schemas.cluster import ClusterSettings
    >>> from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
    >>> settings = ClusterSettings(queue="short", account="lab", cores=2)
    >>> words = job_words(parse_cluster("slurm"), settings, memory_bytes=[3 * 2**30])
    >>> words["memory"], words["processes"], words["queue"], words["account"]
    ('8GiB', 2, 'short', 'lab')
    >>> words["job_script_prologue"]
    ['export PYTHONSAFEPATH=1']
    >>> settings = ClusterSettings(cores=8, gpus=1)
    >>> words = job_words(parse_cluster("slurm"), settings, memory_bytes=[2**30], needs=Needs(gpus=1))
    >>> words["processes"], words["worker_extra_args"], words["job_extra_directives"]
    (1, ['--resources', 'training=1,GPU=1'], ['--gres=gpu:1'])
    """
    if kind.name != "queue":
        raise UsageError(f"--cluster {kind.word} submits no jobs.")
    processes = processes_of(settings, needs)
    # Dask restarts a worker at 95 % of its memory and lets it rest at 80 %.
    needed = math.ceil(max(memory_bytes, default=GIB) / 0.8 / GIB) * processes
    words: dict[str, Any] = {
        "cores": settings.cores,
        "processes": processes,
        "memory": settings.memory or f"{needed}GiB",
        "python": sys.executable,
        "job_script_prologue": settings.prologue,
        "job_extra_directives": [*_gpu_directives(kind, settings), *settings.directives],
        "interface": settings.interface,
        "local_directory": settings.local_directory,
        "log_directory": settings.log_directory,
    }
    if kind.word not in _NO_QUEUE:
        words |= {"queue": settings.queue, "walltime": settings.walltime}
        words[_ACCOUNT.get(kind.word, "project")] = settings.account
    _require_said_once(settings, words)
    options = dict(settings.options)
    if needs is not None:
        each = {TRAINING: 1} | ({GPU: settings.gpus // processes} if settings.gpus else {})
        words["worker_extra_args"] = ["--resources", ",".join(f"{name}={n}" for name, n in each.items())]
    for key in ("job_extra_directives", "job_script_prologue", "worker_extra_args"):
        own = words.get(key) or ()
        further = options.pop(key, None)
        words[key] = [*own, *(further if isinstance(further, list) else [further] if further else [])]
    words = {key: value for key, value in words.items() if value is not None} | options
    # `python -m` would look for modules in the folder the job was submitted from before anywhere else.
    words["job_script_prologue"] = [f"export {SAFE_PATH}=1", *(words["job_script_prologue"] or ())]
    return words


def _gpu_directives(kind: ClusterKind, settings: ClusterSettings) -> list[str]:
    """Ask for the GPUs where there is one way to; elsewhere that is for `directives`."""
    return [f"--gres=gpu:{settings.gpus}"] if settings.gpus and kind.word == "slurm" else []


def _require_said_once(settings: ClusterSettings, words: Mapping[str, Any]) -> None:
    """Refuse an option that says something else than the setting of the same meaning."""
    for key, value in settings.options.items():
        setting = "account" if key == "project" else key
        if setting in settings.model_fields_set and words.get(key, value) != value:
            own = getattr(settings, setting)
            raise SettingsError(
                f"--cluster-config: {setting} is {own!r} and options.{key} is {value!r}. Leave one out."
            )
