"""What a caller of `nwb_latents.plot` may write, as figures take it: catalogs, sessions, runs, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nwb_latents.pipeline.api.arguments import Place
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.pictures import PlotSettings


def existing(catalog: Place) -> Path:
    """Return a catalog as a path; one that is not there is refused."""
    from nwb_latents.pipeline.api.opened_catalog import open_catalog  # noqa: PLC0415

    return open_catalog(catalog).path


def one_session(catalog: Place, session: str, recipe_id: str | None) -> tuple[Path, SessionEntry]:
    """Return the catalog, and the one session of a name or pattern."""
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.errors import DataError  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report import noted  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions  # noqa: PLC0415

    path = existing(catalog)
    found = select_sessions(read_catalog(path), [session], recipe_id, say=noted(reported_to(None)))
    if len(found) > 1:
        names = ", ".join(entry.session for entry in found)
        raise DataError(f"{session} matches {len(found)} sessions: {names}. Name one of them.")
    return path, found[0]


def any_session(catalog: Place, recipe_id: str | None) -> tuple[Path, SessionEntry]:
    """Return the catalog, and a session of a recipe."""
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report import noted  # noqa: PLC0415
    from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions  # noqa: PLC0415

    path = existing(catalog)
    return path, select_sessions(read_catalog(path), ["*"], recipe_id, say=noted(reported_to(None)))[0]


def told() -> Callable[[str], None]:
    """Return what is told of that which a figure leaves out."""
    from nwb_latents.pipeline.api.logged_events import reported_to  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report import noted  # noqa: PLC0415

    return noted(reported_to(None))


def one_run(path: Path, run: str) -> RunEntry:
    """Return the run of a name."""
    from nwb_latents.pipeline.stages.plot_figures import runs_of  # noqa: PLC0415

    return runs_of(path, [run])[0]


def plot_settings(function: str, **values: object) -> PlotSettings:
    """Return settings from keyword arguments, which errors name."""
    from nwb_latents.pipeline.errors import SettingsError  # noqa: PLC0415
    from nwb_latents.pipeline.stores.settings import settings_from  # noqa: PLC0415
    from nwb_latents.schemas.pictures import PlotSettings  # noqa: PLC0415

    said = dict(values)
    if "units" in said:
        units = said["units"]
        try:
            said["units"] = [int(unit) for unit in units]  # type: ignore[attr-defined]
        except (TypeError, ValueError) as error:
            raise SettingsError(
                f"plot.{function}(units={units!r}): expected ids of units, whole numbers, such as [3, 7]."
            ) from error
    origin = {key: f"plot.{function}({key}={value!r})" for key, value in said.items()}
    return settings_from(PlotSettings, values=said, origin=origin)
