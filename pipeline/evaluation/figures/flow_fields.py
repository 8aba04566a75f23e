"""Flow fields of a model's dynamics, with the trajectories it generates over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.condition_colours import condition_colours, condition_handles
from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

MOST_COLUMNS = 5


def flow_figure(fields: Sequence[xr.Dataset], *, conditions: Sequence[str], title: str) -> Any:
    """Draw flow fields side by side with the generated trajectories over them, all on the same scale.

    Streamlines follow the projected change of state; shading is the size of the whole change. Trajectories
    begin at their dot. What lies outside the grid of a field is white.

    Parameters
    ----------
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
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, legend_below, page, settled  # noqa: PLC0415

    if not fields:
        raise DataError("There is no flow field to draw: the latent state has to have two dimensions.")
    names = [str(name) for name in conditions]
    palette, colours = condition_colours(names, np.full(len(names), np.nan))
    top = max(float(field["speed"].max()) for field in fields)
    columns = min(len(fields), MOST_COLUMNS)
    rows = -(-len(fields) // columns)
    with mpl.rc_context(STYLE):
        figure, grid = page(
            width="one" if columns == 1 else "two",
            rows=rows,
            columns=columns,
            row_mm=min(150.0 / columns + 14.0, 75.0),
            sharex=True,
            sharey=True,
        )
        panels = grid.ravel()
        shading = None
        for panel, field in zip(panels, fields, strict=False):
            shading = _draw_field(panel, field, colours, top=top)
        _same_limits(panels[: len(fields)], fields)
        for panel in panels[len(fields) :]:
            panel.set_visible(False)
        x_name, y_name = (str(name) for name in fields[0]["component"].values)
        for number, panel in enumerate(panels[: len(fields)]):
            if number + columns >= len(fields):
                panel.set_xlabel(f"{x_name} (a.u.)")
                panel.tick_params(labelbottom=True)
        for row in grid:
            row[0].set_ylabel(f"{y_name} (a.u.)")
        label = "change of state per bin (a.u.)"
        figure.colorbar(shading, ax=list(panels[: len(fields)]), label=label, shrink=0.8, pad=0.01)
        handles = condition_handles(palette, names, many="by name")
        legend_below(figure, handles, title="condition" if len(handles) > 1 else "")
        caption(figure, *title.split("\n"))
        return settled(figure)


def embedding_words(embedding: FloatArray) -> str:
    """Return an embedding as text.

    Examples
    --------
    >>> embedding_words(np.array([-0.001, 0.5]))
    'e = (0.00, 0.50)'
    """
    digits = 2 if np.abs(embedding).max(initial=0.0) >= 0.1 else 3
    # Adding 0 takes the sign from a rounded zero.
    words = ", ".join(f"{round(float(value), digits) + 0.0:.{digits}f}" for value in embedding)
    return f"e = ({words})".replace("-", "−")


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
    panel.set_title(embedding_words(field["embedding_value"].values), fontsize=6)
    return shading


def _same_limits(panels: Sequence[Any], fields: Sequence[xr.Dataset]) -> None:
    x, y = (np.concatenate([field[name].values for field in fields]) for name in ("x", "y"))
    for panel in panels:
        panel.set_xlim(x.min(), x.max())
        panel.set_ylim(y.min(), y.max())
