"""What a study trains: every model × setting × seed × group of sessions, as runs of the catalog.

The runs are those of `pipeline run train`, with the names it would give them, so that what was trained before
is not trained again, whoever asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.train import Training, plan_training
from nwb_latents.pipeline.stores.settings import laid_over, settings_from
from nwb_latents.schemas.registry import MODELS
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.study import StudySettings, StudyTraining

MODEL, TRAINED_ON = "model", "trained on"
"""Factors every study has."""


@dataclass(frozen=True)
class PlannedRun:
    """A training of a study.

    Attributes
    ----------
    training
        The run.
    model
        Name of the model in the study.
    levels
        Factor → its level, as tables name it: the model, each setting of the grid, the sessions.
    seed
        Its seed.
    """

    training: Training
    model: str
    levels: Mapping[str, str]
    seed: int

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.training.name

    @property
    def sessions(self) -> frozenset[str]:
        """Ids of the sessions it is trained on."""
        return frozenset(entry.session for entry in self.training.entries)


def require_settings(settings: StudySettings) -> None:
    """Refuse settings of trainings that do not fit, before anything is ingested or trained.

    Raises
    ------
    SettingsError
        If one does not; the message names the model and the point of the grid.
    """
    for model, point in product(settings.train.models, _points(settings.train)):
        _settings(settings.train, model, point, seed=settings.train.first_seed)


def planned_runs(
    catalog_path: Path,
    settings: StudySettings,
    groups: Mapping[str, Sequence[SessionEntry]],
    *,
    recipe_id: str,
    report: Report = ignore,
) -> list[PlannedRun]:
    """Return the trainings of a study, each once: models, settings of the grid, sessions, seeds.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        The study.
    groups
        Name → its sessions.
    recipe_id
        Recipe of their stores.
    report
        Told which sessions are left out.

    Raises
    ------
    SettingsError
        If settings of a training do not fit.
    DataError
        If no session of a group is good enough, or two models of the study are the same.
    """
    train = settings.train
    runs: dict[str, PlannedRun] = {}
    for model, point, (place, entries) in product(train.models, _points(train), list(_places(train, groups))):
        for number in range(train.seeds):
            seed = train.first_seed + number
            training = plan_training(
                catalog_path,
                _settings(train, model, point, seed=seed),
                sessions=[entry.session for entry in entries],
                recipe_id=recipe_id,
                report=report if number == 0 and model == next(iter(train.models)) else ignore,
            )
            grid = {key: _text(value) for key, value in point.items()}
            levels = {MODEL: model, **grid, TRAINED_ON: place}
            run = PlannedRun(training, model, levels, seed)
            other = runs.setdefault(run.name, run)
            if other is not run:
                raise DataError(
                    f"{_words(other)} and {_words(run)} are the same training ({run.name}). Leave one out."
                )
    return list(runs.values())


def _words(run: PlannedRun) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in run.levels.items())


def _points(train: StudyTraining) -> list[dict[str, Any]]:
    """Return the combinations of the values of the grid; of an empty grid, one of nothing."""
    return [dict(zip(train.grid, values, strict=True)) for values in product(*train.grid.values())]


def _places(
    train: StudyTraining, groups: Mapping[str, Sequence[SessionEntry]]
) -> Iterator[tuple[str, list[SessionEntry]]]:
    """Yield what is trained on: the name it has in tables, and its sessions."""
    for name in train.groups:
        entries = groups[name]
        if train.each == "together":
            yield name, list(entries)
            continue
        key = "subject" if train.each == "subject" else "session"
        for part in dict.fromkeys(getattr(entry, key) for entry in entries):
            yield name, [entry for entry in entries if getattr(entry, key) == part]


def _settings(train: StudyTraining, model: str, point: Mapping[str, Any], *, seed: int) -> TrainSettings:
    origin = {key: f"train.grid {key}={_text(value)}" for key, value in point.items()}
    try:
        own = _of_model(train, model)
        try:
            found = settings_from(TrainSettings, base=own, values=dict(point), origin=origin)
        except SettingsError:
            settings_from(TrainSettings, base=own)  # a fault of these is none of the grid
            raise
    except SettingsError as error:
        raise SettingsError(f"train.models.{model}: {error}") from error
    return found.model_copy(update={"seed": seed})


def _of_model(train: StudyTraining, model: str) -> dict[str, Any]:
    """Return the settings of a model of the study; where they name none, it is the one of its name."""
    given = laid_over(train.settings, train.models[model])
    part = given.get("model", {})
    named = part if isinstance(part, str) else part.get("name") if isinstance(part, dict) else None
    if named is None and model not in MODELS:
        raise SettingsError(
            f"no model is named, and {model} is none. Say which it is: "
            f"{{{model}: {{model: {{name: {next(iter(MODELS))}}}}}}}; there are {', '.join(MODELS)}."
        )
    if named is not None and model in MODELS and named != model:
        raise SettingsError(f"trains {named} under the name of another model. Call it something else.")
    if named is None and isinstance(part, dict):
        return laid_over(given, {"model": {"name": model, **part}})
    return given


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
