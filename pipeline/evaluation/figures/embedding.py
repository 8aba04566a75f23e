"""Pictures around embeddings: where sessions lie, and reaches decoded between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.figures.condition_colours import condition_colours, condition_handles
from nwb_latents.pipeline.evaluation.figures.flow_fields import embedding_words, flow_figure
from nwb_latents.pipeline.evaluation.figures.marks import from_to
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.style import MARKERS, MOST_NAMED, STYLE, colours_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.schemas.pictures import PictureSettings

    FloatArray = NDArray[np.float64]

MOST_SESSIONS_NAMED = 40


def draw_embedding(
    path: Path,
    table: xr.Dataset,
    *,
    colour_by: Sequence[str] = ("subject", "task"),
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `embedding_figure`, as `saving.save_figure` does."""
    save_figure(embedding_figure(table, colour_by=colour_by), path, pictures)


def draw_interpolation(
    path: Path, interpolated: xr.Dataset, *, pictures: PictureSettings | None = None
) -> None:
    """Write the picture of `interpolation_figure`, as `saving.save_figure` does."""
    save_figure(interpolation_figure(interpolated), path, pictures)


def draw_flow(
    path: Path,
    fields: Sequence[xr.Dataset],
    *,
    conditions: Sequence[str],
    title: str,
    pictures: PictureSettings | None = None,
) -> None:
    """Write the picture of `flow_fields.flow_figure`, as `saving.save_figure` does."""
    save_figure(flow_figure(fields, conditions=conditions, title=title), path, pictures)


def embedding_figure(table: xr.Dataset, *, colour_by: Sequence[str] = ("subject", "task")) -> Any:
    """Draw where sessions lie in the embedding, a panel for each way to colour them.

    Points are posterior means, thin lines a posterior standard deviation to either side. With one dimension,
    sessions stand in rows; with more than two, the first two are drawn, which the picture says.

    Parameters
    ----------
    table
        Made by `pipeline.evaluation.embedding.embedding_table`.
    colour_by
        ``subject``, ``task``, or names of numbers in `table`.

    Raises
    ------
    SettingsError
        If `table` has no column of such a name.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, page, settled  # noqa: PLC0415

    columns = [key for key in table.variables if table[key].dims == ("session",) and key != "session"]
    unknown = [key for key in colour_by if key not in columns]
    if unknown:
        raise SettingsError(
            f"colour_by {unknown[0]}: the table of sessions has {', '.join(sorted(map(str, columns)))}"
        )
    mean, deviation = table["mean"].values, np.sqrt(table["variance"].values)
    n_sessions, lines = len(mean), mean.shape[1] == 1
    n_columns = min(len(colour_by), 3)
    rows = -(-len(colour_by) // n_columns)
    height = min(30.0 + 4.0 * n_sessions, 180.0) if lines else 64.0
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="one" if n_columns == 1 else "two",
            rows=rows,
            columns=n_columns,
            row_mm=height,
            sharey=True,
            sharex=True,
        )
        y = np.arange(float(n_sessions))[::-1] if lines else mean[:, 1]
        panels = grid.ravel()
        for panel, key in zip(panels, colour_by, strict=False):
            panel.errorbar(
                mean[:, 0],
                y,
                xerr=deviation[:, 0],
                yerr=None if lines else deviation[:, 1],
                fmt="none",
                ecolor="0.8",
                elinewidth=0.5,
                zorder=1,
            )
            _scatter(figure, panel, mean[:, 0], y, table[key])
            panel.set_title(f"by {key}", loc="left")
            panel.set_xlabel("embedding e₁ (standard deviations of the prior)")
        for panel in panels[len(colour_by) :]:
            panel.set_visible(False)
        for row in grid:
            if not lines:
                row[0].set_ylabel("embedding e₂ (s.d. of the prior)")
            elif n_sessions <= MOST_SESSIONS_NAMED:
                row[0].set_yticks(y, table["session"].values)
            else:
                row[0].set_yticks([])
                row[0].set_ylabel(f"{n_sessions} sessions, by name")
        more = f"; of {mean.shape[1]} dimensions the first two" if mean.shape[1] > 2 else ""
        caption(
            figure,
            f"{n_sessions} sessions, run {table.attrs['run']}{more}",
            "Points: posterior means, lines: ± 1 posterior standard deviation; the prior has mean 0 and "
            "standard deviation 1",
        )
        return settled(figure)


def interpolation_figure(interpolated: xr.Dataset) -> Any:
    """Draw the reaches decoded from the rollouts, a panel for each embedding, all on the same scale.

    Parameters
    ----------
    interpolated
        Made by `pipeline.evaluation.embedding.interpolate`, with velocity.

    Raises
    ------
    DataError
        If there is no velocity in it.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, legend_below, page, settled  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.figures.paths import square  # noqa: PLC0415

    if "position" not in interpolated:
        raise DataError(
            f"{interpolated.attrs['session']}: no velocity was decoded, so there are no reaches to draw"
        )
    position = interpolated["position"].values
    # A line lies along the page, a grid with its first dimension to the right and its second upwards.
    across, up = position.shape[:2]
    names = [str(name) for name in interpolated["condition"].values]
    palette, colours = condition_colours(names, np.full(len(names), np.nan))
    is_plane = position.shape[-1] > 1
    width_mm = 178.0 if across > 2 else 88.0
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="two" if across > 2 else "one",
            rows=up,
            columns=across,
            row_mm=min(width_mm / across, 60.0) + 4.0,
            sharex=True,
            sharey=True,
        )
        for i in range(across):
            for j in range(up):
                panel = grid[up - 1 - j, i]
                for row, colour in enumerate(colours):
                    x, y = _path(position[i, j, row], float(interpolated.attrs["bin_size_s"]))
                    panel.plot(x, y, color=colour)
                panel.set_title(embedding_words(interpolated["embedding_value"].values[i, j]), fontsize=6)
                if is_plane:
                    panel.set_aspect("equal", adjustable="box")
        if is_plane:
            square(grid.ravel())
        words = [str(axis) for axis in interpolated["axis"].values]
        unit = interpolated["position"].attrs.get("units", "cm")
        for panel in grid[-1]:
            panel.set_xlabel(f"{words[0]} displacement ({unit})" if is_plane else "time from start (s)")
        for panel in grid[:, 0]:
            panel.set_ylabel(f"{words[1 if is_plane else 0]} displacement ({unit})")
        handles = condition_handles(palette, names, many="by name")
        legend_below(figure, handles, title="condition" if len(handles) > 1 else "")
        caption(figure, *_interpolation_title(interpolated))
        return settled(figure)


def _scatter(figure: Any, panel: Any, x: FloatArray, y: FloatArray, values: xr.DataArray) -> None:
    if values.dtype.kind == "f":
        known = np.isfinite(values.values)
        panel.scatter(
            x[~known], y[~known], s=18, facecolors="none", edgecolors="0.5", linewidths=0.6, zorder=2
        )
        dots = panel.scatter(
            x[known], y[known], c=values.values[known], s=18, cmap="viridis", edgecolors="white",
            linewidths=0.4, zorder=3,
        )  # fmt: skip
        units = values.attrs.get("units", "")
        label = f"{values.name} ({units})" if units else str(values.name)
        figure.colorbar(dots, ax=panel, shrink=0.8, pad=0.02, label=label)
        return
    words = [str(value) or "unknown" for value in values.values]
    names = sorted(set(words))
    colours = colours_of(names)
    for number, name in enumerate(names):
        mine = np.array([word == name for word in words])
        panel.scatter(
            x[mine], y[mine], s=18, color=colours[name], marker=MARKERS[number % len(MARKERS)],
            edgecolors="white", linewidths=0.4, zorder=3, label=name if len(names) <= MOST_NAMED else None,
        )  # fmt: skip
    if len(names) <= MOST_NAMED:
        panel.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.24), handletextpad=0.2, ncols=min(len(names), 4)
        )
    else:
        panel.set_title(f"by {values.name} ({len(names)} of them, in order of name)", loc="left")


def _path(position: FloatArray, bin_size_s: float) -> tuple[Any, Any]:
    """Displacement from the start, in two dimensions or against time."""
    line = np.concatenate([np.zeros_like(position[:1]), position])
    if line.shape[1] == 1:
        return bin_size_s * np.arange(len(line)), line[:, 0]
    return line[:, 0], line[:, 1]


def _interpolation_title(interpolated: xr.Dataset) -> tuple[str, ...]:
    attrs = interpolated.attrs
    time = interpolated["time"].values
    span = f"{time[0]:.2f} to {time[-1] + attrs['bin_size_s']:.2f} s".replace("-", "−")
    also = f"; of {interpolated.sizes['axis']} axes the first two" if interpolated.sizes["axis"] > 2 else ""
    trials = from_to(interpolated["n_trials"].values)
    return (
        f"{attrs['session']}, run {attrs['run']}",
        (
            f"Reaches decoded from rollouts of {span}, velocity {attrs['lag_ms']:g} ms after the activity, "
            f"each from the mean state of its condition ({trials} trials){also}"
        ),
    )
