"""Studies: a grid of models, settings, seeds, sessions and few-shot trials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from nwb_latents.pipeline.api.arguments import Place
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.study import StudySettings


def study(
    catalog: Place,
    settings: StudySettings | Mapping[str, object] | Place,
    *,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | Mapping[str, object] | Place | None = None,
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> pd.DataFrame:
    """Do what is missing of a study: ingest, train, align, measure.

    Parameters
    ----------
    catalog
        Catalog file; made if missing. The study's files lie in ``studies/<name>/`` beside it.
    settings
        `StudySettings`, a mapping or a YAML file; relative paths of recordings start from the folder of that
        file, else from where the script runs.
    cluster
        ``"serial"``, ``"local:8"``, ``"tcp://HOST:PORT"`` or a batch system; one session, or one run, is one
        task. A script that uses processes of this machine needs ``if __name__ == "__main__":``.
    cluster_settings
        `ClusterSettings`, a mapping or a YAML file.
    report
        Called with every event; None: they are logged (`logging.getLogger("nwb_latents")`).
    **values
        Further settings by name, above those of `settings`.

    Returns
    -------
    numbers
        One row for each run, session and metric of the study's tables: ``setting`` (what was done),
        ``metric``, ``session``, ``run``, ``seed``, ``value`` (NaN where it is not defined), and a column for
        each factor. What the tables average.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit.
    DataError
        If there are no sessions, or a group of them is empty.
    PartialFailure
        If something failed; the rest was done first, and the same call tries it again.
    MachineError
        If the cluster cannot be reached or is lost, or the disk refuses.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.study("catalog.yaml", {"name": "one", "titlle": "", "train": {"models": {"ndt": {}}}})
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: ... did you mean title?
    """
    from nwb_latents.pipeline.api.arguments import path_of, settings_of, where_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.study import run_study  # noqa: PLC0415
    from nwb_latents.pipeline.stages.study_tables import study_numbers  # noqa: PLC0415
    from nwb_latents.schemas.study import StudySettings  # noqa: PLC0415

    done = run_study(
        path_of(catalog),
        settings_of(StudySettings, settings, values, function=study),
        base=path_of(settings).parent if isinstance(settings, str | os.PathLike) else Path(),
        where=where_of(cluster, cluster_settings, study),
        report=reported_to(report),
    )
    return study_numbers(done)
