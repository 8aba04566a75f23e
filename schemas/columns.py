"""Which columns of a file's trial table say what, by the names the file gives them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from nwb_latents.schemas.base import Frozen

AngleUnit = Literal["auto", "degrees", "radians"]
TrialSource = Literal["auto", "table", "speed"]


class ColumnSettings(Frozen):
    """Columns of the trial table; what is not named is recognised by its spelling, and said."""

    go_cue: str | None = Field(None, description="Column of go cues, s.")
    target_on: str | None = Field(None, description="Column of the times the target came on, s.")
    move_onset: str | None = Field(None, description="Column of movement onsets, s.")
    end: str | None = Field(None, description="Column of trial ends, s; default: stop_time.")
    success: str | None = Field(None, description="Column that says which trials succeeded.")
    success_values: tuple[str, ...] = Field(
        (), description="Values of it that mean success, as text; default: known words and codes."
    )
    target_dir: str | None = Field(None, description="Column of target directions, angles or words.")
    target_dir_unit: AngleUnit = Field("auto", description="Unit of the target directions.")
    target_pos: str | None = Field(None, description="Column of target positions, two or three values each.")
    condition: tuple[str, ...] = Field((), description="Columns whose values together name the condition.")
    block: str | None = Field(None, description="Column of blocks; it becomes part of the condition.")
    relative: tuple[str, ...] = Field(
        (), description="Columns whose times count from the start of the trial."
    )
    tolerance_deg: float = Field(
        2.0, ge=0, le=45, description="Target directions closer than this are of one target, degrees."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Condition → the name it is to have, e.g. dir000: right."
    )

    @field_validator("success_values", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        return listed_text(given)


def listed_text(given: Any) -> Any:
    """Take numbers and truth values as the text they are listed as: ``[1]`` is ``["1"]``.

    Examples
    --------
    >>> listed_text([1, 2.0, True, "good"])
    ('1', '2', 'True', 'good')
    """
    if not isinstance(given, list | tuple):
        return given
    return tuple(
        f"{v:g}" if isinstance(v, float) else str(v) if isinstance(v, bool | int) else v for v in given
    )
