"""Pictures around embeddings: where sessions lie, reaches decoded between them, flow fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.figures.style import MARKERS, STYLE, colours_of, new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

MOST_NAMED = 12
MOST_SESSIONS_NAMED = 40
TALLEST_INCHES = 11.0


def draw_embedding(path: Path, table: xr.Dataset, *, colour_by: Sequence[str] = ("subject", "task")) -> None:
    """Draw where sessions lie in the embedding, a panel for each way to colour them.

    Points are posterior means, thin lines a posterior standard deviation to either side. With one dimension,
    sessions stand in rows; with more than two, the first two are drawn.

    Parameters
    ----------
    path
        PNG to write.
    table
        Made by `pipeline.evaluation.embedding.embedding_table`.
    colour_by
        ``subject``, ``task``, or names of numbers in `table`.

    Raises
    ------
    SettingsError
        If `table` has no column of such a name.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    columns = [key for key in table.variables if table[key].dims == ("session",) and key != "session"]
    unknown = [key for key in colour_by if key not in columns]
    if unknown:
        raise SettingsError(
            f"colour_by {unknown[0]}: the table of sessions has {', '.join(sorted(map(str, columns)))}"
        )
    mean, deviation = table["mean"].values, np.sqrt(table["variance"].values)
    n_sessions = len(mean)
    lines = mean.shape[1] == 1
    height = min(max(1.6 + 0.16 * n_sessions, 2.4), TALLEST_INCHES) if lines else 3.3
    with mpl.rc_context(STYLE):
        width = 3.3 * len(colour_by) + (1.2 if lines and n_sessions <= MOST_SESSIONS_NAMED else 0.4)
        figure, grid = new_figure(
            rows=1, columns=len(colour_by), size=(width, height), sharey=True, sharex=True
        )
        y = np.arange(float(n_sessions))[::-1] if lines else mean[:, 1]
        for panel, key in zip(grid[0], colour_by, strict=True):
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
            panel.set_xlabel("embedding $e_1$")
        if lines:
            grid[0, 0].set_yticks(
                y if n_sessions <= 40 else [], table["session"].values if n_sessions <= 40 else []
            )
        else:
            grid[0, 0].set_ylabel("embedding $e_2$")
        told = "posterior mean, lines: ± 1 posterior standard deviation; the prior has mean 0 and deviation 1"
        figure.suptitle(
            f"{n_sessions} sessions, run {table.attrs['run']}\n{told}", x=0.01, ha="left", fontsize=8
        )
        save_figure(figure, path)


def draw_interpolation(path: Path, interpolated: xr.Dataset) -> None:
    """Draw the reaches decoded from the rollouts, a panel for each embedding.

    Parameters
    ----------
    path
        PNG to write.
    interpolated
        Made by `pipeline.evaluation.embedding.interpolate`, with velocity.

    Raises
    ------
    DataError
        If there is no velocity in it.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    if "position" not in interpolated:
        raise DataError(
            f"{interpolated.attrs['session']}: no velocity was decoded, so there are no reaches to draw"
        )
    position = interpolated["position"].values
    rows, columns = position.shape[:2]
    # A line lies along the page, a grid with its first dimension to the right and its second upwards.
    across, up = rows, columns
    names = [str(name) for name in interpolated["condition"].values]
    colours = colours_of(names)
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(
            rows=up, columns=across, size=(1.9 * across + 1.3, 1.9 * up + 1.0), sharex=True, sharey=True
        )
        for i in range(across):
            for j in range(up):
                panel = grid[up - 1 - j, i]
                for row, name in enumerate(names):
                    x, y = _path(position[i, j, row], float(interpolated.attrs["bin_size_s"]))
                    panel.plot(x, y, color=colours[name])
                panel.set_title(_at(interpolated["embedding_value"].values[i, j]), fontsize=7)
                if position.shape[-1] > 1:
                    panel.set_aspect("equal", adjustable="box")
        words = [str(axis) for axis in interpolated["axis"].values]
        one = len(words) == 1
        unit = interpolated["position"].attrs.get("units", "cm")
        figure.supxlabel("time from start (s)" if one else f"{words[0]} displacement ({unit})", fontsize=8)
        figure.supylabel(f"{words[0 if one else 1]} displacement ({unit})", fontsize=8)
        _legend(figure, colours)
        figure.suptitle(_interpolation_title(interpolated), x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


def draw_flow(path: Path, fields: Sequence[xr.Dataset], *, conditions: Sequence[str], title: str) -> None:
    """Draw flow fields side by side with the generated trajectories over them.

    Streamlines follow the projected change of state; shading is the size of the whole change. Trajectories
    begin at their dot.

    Parameters
    ----------
    path
        PNG to write.
    fields
        Made by `pipeline.evaluation.flow.flow_field`.
    conditions
        Name of each trajectory.
    title
        Of the picture.

    Raises
    ------
    DataError
        If there is no field.
    MachineError
        If the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415

    if not fields:
        raise DataError(f"{path}: no flow field to draw")
    colours = colours_of(list(conditions))
    top = max(float(field["speed"].max()) for field in fields)
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(rows=1, columns=len(fields), size=(2.6 * len(fields) + 1.7, 3.3))
        shading = None
        for panel, field in zip(grid[0], fields, strict=True):
            shading = _draw_field(panel, field, [colours[name] for name in conditions], top=top)
        x_name, y_name = (str(name) for name in fields[0]["component"].values)
        for panel in grid[0]:
            panel.set_xlabel(x_name)
        grid[0, 0].set_ylabel(y_name)
        figure.colorbar(shading, ax=list(grid[0]), label="change of state per bin", shrink=0.8, pad=0.02)
        _legend(figure, colours)
        figure.suptitle(title, x=0.01, ha="left", fontsize=8)
        save_figure(figure, path)


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
        figure.colorbar(dots, ax=panel, shrink=0.8, pad=0.02)
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
        panel.legend(loc="best", handletextpad=0.2, frameon=True, framealpha=0.8, edgecolor="none")


def _draw_field(panel: Any, field: xr.Dataset, colours: Sequence[Any], *, top: float) -> Any:
    x, y = field["x"].values, field["y"].values
    vector = field["vector"].values
    shading = panel.pcolormesh(
        x,
        y,
        field["speed"].values,
        cmap="Greys",
        vmin=0.0,
        vmax=1.6 * top,
        shading="gouraud",
        rasterized=True,
    )
    panel.streamplot(
        x, y, vector[..., 0], vector[..., 1], color="0.45", linewidth=0.5, arrowsize=0.6, density=0.9
    )
    for line, colour in zip(field["trajectory"].values, colours, strict=True):
        panel.plot(line[:, 0], line[:, 1], color="white", linewidth=2.4, zorder=3)
        panel.plot(line[:, 0], line[:, 1], color=colour, linewidth=1.2, zorder=4)
        panel.plot(
            line[0, 0], line[0, 1], "o", color=colour, markersize=3.5, markeredgecolor="white", zorder=5
        )
    panel.set_xlim(x[0], x[-1])
    panel.set_ylim(y[0], y[-1])
    panel.set_title(_at(field["embedding_value"].values), fontsize=7)
    return shading


def _path(position: FloatArray, bin_size_s: float) -> tuple[Any, Any]:
    """Displacement from the start, in two dimensions or against time."""
    line = np.concatenate([np.zeros_like(position[:1]), position])
    if line.shape[1] == 1:
        return bin_size_s * np.arange(len(line)), line[:, 0]
    return line[:, 0], line[:, 1]


def _at(embedding: FloatArray) -> str:
    digits = 2 if np.abs(embedding).max(initial=0.0) >= 0.1 else 3
    # Adding 0 takes the sign from a rounded zero.
    words = ", ".join(f"{round(float(value), digits) + 0.0:.{digits}f}" for value in embedding)
    return f"e = ({words})".replace("-", "−")


def _interpolation_title(interpolated: xr.Dataset) -> str:
    attrs = interpolated.attrs
    time = interpolated["time"].values
    span = f"{time[0]:.2f} to {time[-1] + attrs['bin_size_s']:.2f} s".replace("-", "−")
    numbers = interpolated["n_trials"].values
    trials = " to ".join(str(n) for n in dict.fromkeys((int(numbers.min()), int(numbers.max()))))
    return (
        f"{attrs['session']}, run {attrs['run']}\nreaches decoded from rollouts of {span}, velocity "
        f"{attrs['lag_ms']:g} ms after the activity,\neach from the mean state of its condition "
        f"({trials} trials)"
    )


def _legend(figure: Any, colours: dict[str, Any]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    if set(colours) == {""}:
        return
    if len(colours) > MOST_NAMED:
        nameless = Line2D([], [], color="none", label=f"{len(colours)} conditions")
        figure.legend(handles=[nameless], handlelength=0, loc="outside right upper")
        return
    handles = [Line2D([], [], color=colour, label=name or "none") for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside right upper", title="condition")
