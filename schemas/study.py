"""Settings of `pipeline study run`: a grid of models, settings, seeds, sessions and few-shot trials."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nwb_latents.schemas.align import AlignSettings
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_ITEMS, MOST_SEED
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings

ALL = "all"
"""The group of all sessions of a study."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

ELSEWHERE = {
    "seed": "train.seeds and train.first_seed",
    "model": "train.models",
    "model.name": "train.models",
}
"""Settings of a training that a study asks for in a place of their own."""


class StudyRecordings(Frozen):
    """Recordings that are ingested first: one of simulated sessions, files, and dandisets."""

    simulate: SimulateSettings | None = Field(None, description="Simulated sessions; none: no simulation.")
    paths: tuple[str, ...] = Field(
        (), description="NWB files and folders of them; relative ones lie beside the study's file."
    )
    dandisets: tuple[str, ...] = Field((), description="Dandisets, ID or ID@VERSION.")
    instance: str = Field("dandi", description="Archive of the dandisets: its URL, or a name dandi knows.")
    sessions: tuple[str, ...] = Field(("*",), min_length=1, description="Shell patterns for session ids.")
    exclude: tuple[str, ...] = Field((), description="Shell patterns for session ids to leave out.")
    task: str | None = Field(None, description="Only this task, as the recordings name it; none: all.")
    recipe: IngestRecipe = Field(default_factory=IngestRecipe, description="Recipe of the trial stores.")
    on_failed: Literal["stop", "leave_out"] = Field(
        "stop",
        description="What becomes of the study where a recording cannot be ingested: 'stop' trains nothing, "
        "for models of fewer sessions are other models; 'leave_out' goes on without it.",
    )

    @model_validator(mode="after")
    def _are_of_one_kind(self) -> Self:
        given = [name for name in ("simulate", "paths", "dandisets") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"expected one of simulate, paths and dandisets, found {' and '.join(given) or 'none'}"
            )
        return self


class SessionGroup(Frozen):
    """Some sessions of a study, chosen by what they are. Conditions are all to hold, in this order."""

    sessions: tuple[str, ...] = Field(("*",), min_length=1, description="Shell patterns for session ids.")
    subjects: tuple[str, ...] = Field(("*",), min_length=1, description="Shell patterns for subjects.")
    tasks: tuple[str, ...] = Field(("*",), min_length=1, description="Shell patterns for tasks.")
    since: date | None = Field(None, description="First day of recording; none: all.")
    until: date | None = Field(None, description="Last day of recording; none: all.")
    without: tuple[str, ...] = Field((), description="Groups whose sessions are left out.")
    last_subjects: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description="Only so many subjects, the last by name; none: all."
    )
    first: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description="Each subject's first sessions, by their start; none: all."
    )
    last: int | None = Field(
        None, ge=1, le=MOST_ITEMS, description="Each subject's last sessions, by their start; none: all."
    )

    @model_validator(mode="after")
    def _have_an_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError(f"since {self.since} is later than until {self.until}")
        return self


class StudyTraining(Frozen):
    """What is trained: every model with every setting of the grid and every seed, on every group."""

    models: dict[str, dict[str, Any]] = Field(
        min_length=1,
        description="Name in tables → settings of the training (pipeline run train) that are this model's; "
        "where none names a model, the name in tables is that of one: lfads: {}.",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of the training that all models share; those of a model win.",
    )
    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Setting, such as optimiser.lr → values; every combination is trained.",
    )
    seeds: int = Field(1, ge=1, le=MOST_ITEMS, description="Number of seeds.")
    first_seed: int = Field(0, ge=0, le=MOST_SEED, description="The first of them.")
    groups: tuple[str, ...] = Field((ALL,), min_length=1, description="Groups of sessions.")
    each: Literal["together", "subject", "session"] = Field(
        "together",
        description="One run for all sessions of a group ('together'), for those of each subject, or for "
        "each session.",
    )

    @field_validator("grid")
    @classmethod
    def _has_values(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in grid.items():
            if key in ELSEWHERE:
                raise ValueError(f"{key} is no setting of a grid: it is chosen by {ELSEWHERE[key]}")
            if not values:
                raise ValueError(f"{key} has no values")
            repeated = [value for number, value in enumerate(values) if value in values[:number]]
            if repeated:
                raise ValueError(f"{key} has {repeated[0]} twice")
            for other in grid:
                if key.startswith(f"{other}."):
                    raise ValueError(f"{other} holds {key}, and either would set it: leave one out")
        return grid

    @model_validator(mode="after")
    def _has_no_other_seed(self) -> Self:
        if not all(name.strip() for name in self.models):
            raise ValueError("train.models: a name is empty, and tables would not show it")
        places = {"settings": self.settings} | {f"models.{name}": own for name, own in self.models.items()}
        for place, given in places.items():
            if "seed" in given:
                raise ValueError(f"train.{place}: the seeds of a study are chosen by {ELSEWHERE['seed']}")
        return self


class StudyAlignment(Frozen):
    """Few-shot alignment of the runs that were trained to sessions they do not know."""

    to: tuple[str, ...] = Field(min_length=1, description="Groups of new sessions.")
    trials: tuple[int, ...] = Field(min_length=1, description="Numbers of trials; each makes runs.")
    models: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of models that are aligned; none: all."
    )
    from_scratch: bool = Field(
        default=False, description="Also train each model on the same trials without pre-training."
    )
    settings: AlignSettings = Field(
        default_factory=AlignSettings, description="Settings of the alignment; its seed is the run's."
    )

    @field_validator("trials")
    @classmethod
    def _are_numbers(cls, trials: tuple[int, ...]) -> tuple[int, ...]:
        if min(trials) < 1:
            raise ValueError(f"trials {min(trials)}: expected numbers above 0")
        return tuple(dict.fromkeys(trials))


class StudySettings(Frozen):
    """A whole study: recordings, groups of sessions, trainings, alignments, what is measured."""

    name: str = Field(description="Name of the study, and of its folder in studies/ beside the catalog.")
    title: str = Field("", description="What it asks, in a sentence; stands over its tables.")
    recordings: StudyRecordings | None = Field(
        None, description="What is ingested first; none: the sessions of the catalog."
    )
    recipe_id: str | None = Field(
        None,
        description="Recipe of the catalog's sessions, or its beginning, where nothing is ingested; none: "
        "that of the session ingested last.",
    )
    groups: dict[str, SessionGroup] = Field(
        default_factory=dict, description="Name → sessions; the group 'all' is there without being named."
    )
    train: StudyTraining = Field(description="What is trained.")
    align: StudyAlignment | None = Field(None, description="What is aligned; none: nothing.")
    evaluate: EvaluateSettings = Field(
        default_factory=EvaluateSettings, description="What is measured of every run."
    )
    tables: tuple[str, ...] = Field(
        ("velocity_r2", "velocity_r2:forecast"),
        min_length=1,
        description="Columns of the tables of factors, by their names in the leaderboard.",
    )

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r}: use letters, digits, '.', '_' and '-', 100 at most, the first a letter or digit"
            )
        return name

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = {ALL, *self.groups}
        used = [("train.groups", self.train.groups), ("align.to", self.align.to if self.align else ())]
        used += [(f"groups.{name}.without", group.without) for name, group in self.groups.items()]
        for place, names in used:
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"{place}: there is no group {name!r}; groups: {', '.join(sorted(known))}"
                    )
        if self.recordings is not None and self.recipe_id is not None:
            raise ValueError(
                "recipe_id: sessions that are ingested have recordings.recipe; leave recipe_id out"
            )
        if ALL in self.groups:
            raise ValueError(f"groups: {ALL!r} is the name of all sessions; choose another")
        for name in self.align.models or () if self.align else ():
            if name not in self.train.models:
                models = ", ".join(self.train.models)
                raise ValueError(f"align.models: there is no model {name!r} in train.models: {models}")
        self._require_no_circle()
        return self

    def _require_no_circle(self) -> None:
        for start in self.groups:
            path, following = [start], list(self.groups[start].without)
            seen = set()
            while following:
                name = following.pop()
                if name == start:
                    raise ValueError(f"groups.{start}.without: leads back to {start} by {', '.join(path)}")
                if name in seen or name == ALL:
                    continue
                seen.add(name)
                path.append(name)
                following += self.groups[name].without
