"""A recipe that says every choice of a reading, so that the same comes of it whatever the program guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.nwb.read_choices import DERIVATIVE, SPEED, STORED
from nwb_latents.pipeline.nwb.trial_table_search import USUAL
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.schemas.store import ReadChoice

EVENT_ROLES = ("go_cue", "target_on", "move_onset")
COLUMN_ROLES = (*EVENT_ROLES, "success", "target_dir", "target_pos")
"""Choices that are a column of the trial table each, by the name of their setting."""

PLAIN = "generic"
"""The layout that reads the table by its columns alone. Others make outcomes, targets and conditions in ways
of their own, which naming the layout says, and naming a column would undo."""


def explicit_recipe(recipe: IngestRecipe, choices: Iterable[ReadChoice]) -> IngestRecipe:
    """Return a recipe with the choices of a reading made settings.

    Parameters
    ----------
    recipe
        The recipe of the reading.
    choices
        What it chose.

    Examples
    --------
    >>> from nwb_latents.schemas.store import ReadChoice
    >>> go = ReadChoice(what="go_cue", value="/intervals/trials/GoCue", why="a spelling")
    >>> explicit_recipe(IngestRecipe(), [go]).columns.go_cue
    'GoCue'
    """
    found = {choice.what: choice.value for choice in choices}
    content: dict[str, Any] = recipe.model_dump()
    if "layout" in found:
        content["layout"] = found["layout"]
    columns = content["columns"]
    is_plain = found.get("layout", PLAIN) == PLAIN
    for role in COLUMN_ROLES if is_plain else EVENT_ROLES:
        # A direction from places is not a column of directions.
        if role in found and not (role == "target_dir" and found[role] == found.get("target_pos")):
            columns[role] = _name(found[role])
    if is_plain and "/" in found.get("condition", ""):
        columns["condition"] = tuple(_name(path) for path in found["condition"].split(", "))
    if is_plain and found.get("success values", "none") != "none":
        columns["success_values"] = tuple(found["success values"].split(", "))
    for what in ("position", "velocity"):
        if found.get(what, DERIVATIVE) != DERIVATIVE:
            content[f"{what}_series"] = "+".join(path.strip("/") for path in found[what].split(" + "))
    if "velocity" in found:
        content["velocity_from"] = "position" if found["velocity"] == DERIVATIVE else "series"
    if found.get("trials", "").startswith("/"):
        content["trials"]["source"] = "table"
        if found["trials"].strip("/") != USUAL:
            content["trials"]["table"] = found["trials"].strip("/")
        if recipe.onset.method == "auto" and "onset" in found:
            content["onset"]["method"] = "column" if found["onset"] == STORED else "profile"
    elif found.get("trials") == SPEED:
        content["trials"]["source"] = "speed"
    return IngestRecipe.model_validate(content)


def recipe_yaml(recipe: IngestRecipe) -> str:
    r"""Return what of a recipe is not as by default, in YAML.

    Examples
    --------
    >>> print(recipe_yaml(IngestRecipe(bin_size_s=0.01)), end="")
    bin_size_s: 0.01
    """
    import yaml  # noqa: PLC0415

    content = recipe.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True) if content else ""
    return text


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
