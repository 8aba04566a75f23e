"""What an evaluation is to measure of each source on each session, and what of it is up to date."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.evaluate_records import circumstances, parts_of, recorded_part
from nwb_latents.pipeline.stages.forecast_sources import EnsembleMembers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.metrics.metric import Metric, Part
    from nwb_latents.pipeline.stages.evaluate_records import Known, Place
    from nwb_latents.pipeline.stages.evaluate_sources import Source
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.evaluation import EvaluateSettings
    from nwb_latents.schemas.measurement import Measurement

    Wanted = tuple[Metric, Part]
    """A metric, and the part of a source it is of."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What is asked for.

    Attributes
    ----------
    settings
        Settings of the evaluation.
    metrics, baselines
        Those asked for, in order of tables.
    truth
        Session → file of its truth, where there is one.
    known
        What was measured before; nothing where all is to be measured again.
    members
        What runs are averaged with.
    early
        Session held out → sessions of earlier days.
    """

    settings: EvaluateSettings
    metrics: Sequence[Metric]
    baselines: Sequence[Baseline]
    truth: Mapping[str, Path]
    known: Mapping[Place, Known]
    members: EnsembleMembers = field(default_factory=EnsembleMembers)
    early: Mapping[str, tuple[SessionEntry, ...]] = field(default_factory=dict)

    def of_session(self, entry: SessionEntry) -> EvaluationPlan:
        """Return what of the plan one session needs."""
        return replace(
            self,
            truth={name: path.absolute() for name, path in self.truth.items() if name == entry.session},
            known={place: known for place, known in self.known.items() if place[2] == entry.session},
            early={name: days for name, days in self.early.items() if name == entry.session},
        )

    def baselines_of(self, entry: SessionEntry) -> list[Baseline]:
        """Return the baselines that a session has: but those made of a truth or of rates it is without."""
        return [
            each
            for each in self.baselines
            if (entry.session in self.truth or not each.is_truth)
            and (entry.imported_rates or each.of_store is None)
        ]

    def asked(self, source: Source, entry: SessionEntry) -> list[Wanted]:
        """Return the metrics that can be had of a session, whatever the source."""
        has_truth = entry.session in self.truth
        fits = self.settings.forecast.end <= entry.n_bins
        return [
            (metric, part)
            for metric in self.metrics
            if (has_truth or not metric.needs_truth)
            and (entry.session in self.early or not metric.needs_early_days)
            and (source.only is None or metric.name in source.only)
            for part in parts_of(metric, source)
            if fits or part != "forecast"
        ]

    def up_to_date(self, source: Source, entry: SessionEntry) -> dict[Wanted, Measurement]:
        """Return what is asked for and was measured of the same run, store and settings."""
        known = self.known.get((source.place, source.is_baseline, entry.session))
        if known is None or known.circumstances != circumstances(source, entry, self.settings):
            return {}
        keys = {
            (metric, part): (metric.name, recorded_part(source, part))
            for metric, part in self.asked(source, entry)
        }
        days = {each.session: each.store_key for each in self.early.get(entry.session, ())}
        return {
            wanted: known.records[key]
            for wanted, key in keys.items()
            if key in known.records
            # A number of earlier days is of these stores of them.
            and (not wanted[0].needs_early_days or known.records[key].details.get("early_days") == days)
        }

    def lacking(self, source: Source, entry: SessionEntry) -> list[Wanted]:
        """Return what is asked for and has to be measured."""
        known = self.up_to_date(source, entry)
        return [wanted for wanted in self.asked(source, entry) if wanted not in known]


def truth_files(folder: Path, entries: Sequence[SessionEntry]) -> dict[str, Path]:
    """Return the truth beside the simulated file of each session that has one."""
    from pathlib import Path  # noqa: PLC0415

    from nwb_latents.pipeline.sources.simulator.truth import TRUTH_SUFFIX, truth_path  # noqa: PLC0415

    there = {path.name: path for path in sorted(folder.rglob(f"*{TRUTH_SUFFIX}"), reverse=True)}
    names = {entry.session: truth_path(Path(Path(entry.source).name)).name for entry in entries}
    return {session: there[name] for session, name in names.items() if name in there}
