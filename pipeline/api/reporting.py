"""Reports: a page of what a catalog holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nwb_latents.pipeline.api.arguments import Names, Place
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.report import ReportSettings
    from nwb_latents.schemas.training import Device


def report(
    catalog: Place,
    settings: ReportSettings | Mapping[str, object] | Place | None = None,
    *,
    out: Place | None = None,
    sessions: Names = "*",
    runs: Names = (),
    device: Device = "auto",
    report: Callable[[Event], object] | None = None,
    **values: object,
) -> Path:
    """Write one page of HTML of what a catalog holds; it needs no network and no other file.

    Parameters
    ----------
    catalog
        Catalog file.
    settings
        `ReportSettings`, a mapping or a YAML file: how much is drawn.
    out
        The page; default: ``report.html`` beside the catalog.
    sessions
        Session ids or shell patterns, one or several, of all recipes.
    runs
        Names of runs or shell patterns; default: all that were trained on a session shown.
    device
        Where models run; ``"auto"``: a GPU if there is one.
    report
        Called with every event: how far it is, what is missing, where the page is; None: they are logged
        (`logging.getLogger("nwb_latents")`).
    **values
        Single settings, as ``max_mb=20``.

    Returns
    -------
    path
        The page.

    Raises
    ------
    DataError
        If there is no catalog, or nothing in it matches.
    SettingsError
        If a setting is not known or does not fit.
    MachineError
        If the page cannot be written.

    Examples
    --------
    >>> import nwb_latents as nl
    >>> nl.report("nowhere/catalog.yaml", out="report.html")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.api.arguments import names_of, path_of, settings_of  # noqa: PLC0415
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report_page import report_page as stage  # noqa: PLC0415
    from nwb_latents.schemas.report import ReportSettings  # noqa: PLC0415

    written = stage(
        path_of(catalog),
        settings_of(ReportSettings, settings, values, function=globals()["report"]),
        sessions=names_of(sessions),
        runs=names_of(runs),
        out=None if out is None else path_of(out),
        device=device,
        report=reported_to(report),
    )
    return written.path
