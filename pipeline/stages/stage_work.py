"""What a stage that works on sessions and runs of a catalog was asked to do, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from nwb_latents.pipeline.stages.run_facts import facts_of_baseline, facts_of_runs
from nwb_latents.pipeline.stages.trained_runs import Failures
from nwb_latents.pipeline.stages.unseen import known_by, of_unseen
from nwb_latents.pipeline.stores.location import path_name, store_path
from nwb_latents.pipeline.stores.measurement_lines import check_appendable, measurement_folder
from nwb_latents.pipeline.stores.measurements import add_measurements
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.events import MeasurementEvent
from nwb_latents.schemas.pictures import PictureSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stages.run_facts import Facts
    from nwb_latents.pipeline.stores.current_keys import CurrentKeys
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.measurement import Measurement

Settings = TypeVar("Settings", bound=Frozen)
Result = TypeVar("Result")


@dataclass
class StageWork(Generic[Settings, Result]):
    """The work of one call of a stage.

    There is one such record for all stages: what a stage decides besides is handed on beside it.

    Attributes
    ----------
    catalog_path
        Catalog file.
    settings
        Settings of the stage, as they are carried out.
    sessions
        Sessions worked on, all of one recipe.
    runs
        Runs worked on.
    report
        Told of everything.
    trained
        Run → the run, loaded.
    results
        What was made so far.
    failures
        What failed while the rest went on.
    unseen_trials
        Whether sessions whose stores are others than the runs were trained on are given all the same, split
        as the runs know their trials.
    pictures
        Formats and resolution of what is drawn.
    pictures_folder
        Folder of the pictures, within that of the recipe or run (`picture_folder.settings_folder`).
    unseen
        Session → split that numbers of such a session say (`pipeline.training.unseen_trials`).
    """

    catalog_path: Path
    settings: Settings
    sessions: list[SessionEntry]
    runs: list[RunEntry]
    report: Report
    trained: dict[str, TrainedRun] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    failures: Failures = field(init=False)
    unseen_trials: bool = False
    pictures: PictureSettings = field(default_factory=PictureSettings)
    pictures_folder: str = ""
    unseen: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.failures = Failures(self.report)

    @property
    def recipe_id(self) -> str:
        """Recipe of the sessions."""
        return self.sessions[0].recipe_id

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What measurements say of each run, by its name."""
        return facts_of_runs(self.catalog_path, self.runs)

    @property
    def run(self) -> RunEntry:
        """The run, of a stage that works on one."""
        [run] = self.runs
        return run

    def session(self, entry: SessionEntry) -> Session:
        """Open a session; its trials are in memory.

        Raises
        ------
        DataError
            If only unseen trials are wanted, and it cannot be proven which these are (`known_by`).
        """
        opened = open_session(store_path(self.catalog_path, entry.store), entry=entry).loaded()
        if not self.unseen_trials:
            return opened
        runs = [self.trained[run.run] for run in self.runs if run.run in self.trained]
        view = known_by(runs, opened, said=self.unseen, report=self.report)
        return opened if view is None else view.session

    def folder(self, stage: str) -> Path:
        """Return where a stage puts what belongs to no single run, made with these settings."""
        of_recipe = self.catalog_path.parent / "results" / stage / path_name(self.recipe_id)
        return of_recipe / self.pictures_folder

    def check_keeping(self) -> None:
        """Raise `MachineError`, before anything is computed, where measurements could not be kept."""
        check_appendable(measurement_folder(self.catalog_path))

    def keep(self: StageWork[Settings, Measurement], found: Iterable[Measurement]) -> None:
        """Add measurements to the catalog and to the results, and report them."""
        labelled = [of_unseen(each, self.unseen) for each in found]
        self.results += keep_measurements(self.catalog_path, labelled, facts=self.facts, report=self.report)

    def run_folder(self, run: RunEntry, name: str) -> Path:
        """Return where a stage puts what belongs to a run, made with these settings."""
        return self.catalog_path.parent / run.path / name / self.pictures_folder


def keep_measurements(
    catalog_path: Path,
    found: Iterable[Measurement],
    *,
    facts: Mapping[str, Facts],
    report: Report,
    keys: CurrentKeys | None = None,
) -> list[Measurement]:
    """Add measurements to a catalog, with what there is to say of their sources, and report them.

    Parameters
    ----------
    catalog_path
        Catalog file.
    found
        What was measured.
    facts
        Of the runs these numbers are of, by name.
    report
        Told of every one.
    keys
        Of the catalog's stores and runs, where numbers may be of others; None: they are of these.

    Returns
    -------
    kept
        As they were written.
    """
    kept = add_measurements(catalog_path, [_with_facts(each, facts) for each in found])
    for each in kept:
        known = {"is_current": True} if keys is None else keys.kept(each)
        report(MeasurementEvent.model_validate({**each.model_dump(), **known}))
    return kept


def _with_facts(found: Measurement, facts: Mapping[str, Facts]) -> Measurement:
    mine = facts_of_baseline(found.source) if found.is_baseline else facts.get(found.run or "")
    return found if mine is None else found.model_copy(update=asdict(mine))
