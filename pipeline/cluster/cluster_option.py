"""The words after ``--cluster``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from nwb_latents.pipeline.errors import UsageError

JOB_QUEUES: dict[str, str] = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}
"""Batch systems by name, and the dask-jobqueue class of each."""

_LOCAL = re.compile(r"local(?::([1-9]\d*))?")
_ADDRESS = re.compile(r"(?:tcp|tls)://[^\s/]+:\d+")


@dataclass(frozen=True)
class ClusterKind:
    """A way to run.

    Attributes
    ----------
    word
        As it was given.
    name
        ``serial``, ``local``, ``address`` or ``queue``.
    n_workers
        Number of processes asked for (`local:N`), else None.
    """

    word: str
    name: Literal["serial", "local", "address", "queue"]
    n_workers: int | None = None


def parse_cluster(word: str) -> ClusterKind:
    """Read the name of a cluster.

    Raises
    ------
    UsageError
        If there is no such way to run.

    Examples
    --------
    >>> parse_cluster("local:2").n_workers
    2
    >>> parse_cluster("slurm").name
    'queue'
    >>> parse_cluster("locla")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.UsageError: --cluster locla: expected serial, local, local:N, tcp://HOST:PORT,
    slurm, pbs, sge, lsf, oar, moab or htcondor.
    """
    if word == "serial":
        return ClusterKind(word, "serial")
    if local := _LOCAL.fullmatch(word):
        return ClusterKind(word, "local", int(local[1]) if local[1] else None)
    if _ADDRESS.fullmatch(word):
        return ClusterKind(word, "address")
    if word in JOB_QUEUES:
        return ClusterKind(word, "queue")
    *most, last = JOB_QUEUES
    raise UsageError(
        f"--cluster {word}: expected serial, local, local:N, tcp://HOST:PORT, {', '.join(most)} or {last}."
    )
