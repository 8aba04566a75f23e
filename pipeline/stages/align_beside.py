"""What stands beside alignments: methods that are given the same trials, and the mean of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stages.forecast_sources import baseline_forecasts, foresight
from nwb_latents.pipeline.stages.given_trials import Given
from nwb_latents.pipeline.stages.trained_runs import FAILURES, Failures
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.trial_record import given_alone
from nwb_latents.schemas.events import RunEvent, SourceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.baselines.shared_factors import KnownSession
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.decoding import DecodeSettings
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.training import Device, RunConfig

STAGE = "align"
"""Stage of the numbers of alignments."""

SINGLE = ("linear_forecast", "trial_factors")
"""Methods of a single session, by the names of baselines."""

SHARED = "shared_factors"
"""Factors of trials that the new session shares with those the run was trained on."""


@dataclass
class Beside:
    """Forecasts beside those of alignments, of every choice of trials once.

    Attributes
    ----------
    catalog_path
        Catalog file.
    settings
        Of the decoding.
    report
        Told of what cannot be fitted to so few trials; that is no failure of the runs.
    """

    catalog_path: Path
    settings: DecodeSettings
    report: Report
    _tasks: dict[tuple[str, tuple[int, ...]], tuple[Given, ForecastTask]] = field(default_factory=dict)
    _made: dict[tuple[str, tuple[int, ...]], dict[str, SourceForecast]] = field(default_factory=dict)
    _others: dict[str, KnownSession] = field(default_factory=dict)

    def measure(self, entries: Sequence[RunEntry]) -> list[Measurement]:
        """Return what methods beside alignments make of the trials these were given.

        Parameters
        ----------
        entries
            Runs that `align` made, of which velocity can be read out.
        """
        found: dict[tuple[str, tuple[int, ...]], list[Measurement]] = {}
        # What sessions share is known to an alignment, not to its baseline.
        for entry in sorted(entries, key=lambda each: each.alignment is None or each.alignment.from_scratch):
            key = self._laid(entry)
            if key is None or key in found or entry.alignment is None:
                continue
            about = f"{entry.alignment.n_trials} trials, chosen by seed {entry.alignment.seed}"
            found[key] = self._scores(key, self._forecasts(key, entry), about)
        return [score for scores in found.values() for score in scores]

    def means(self, entries: Sequence[RunEntry], device: Device) -> list[Measurement]:
        """Return the means of the runs' forecasts with those of factors, of equal weights.

        Factors are those that sessions share, or the session's own where those are not to be had.

        Parameters
        ----------
        entries
            As in `measure`, which comes first.
        device
            Where the models run.
        """
        scores, failures = [], Failures(self.report)
        for entry in entries:
            try:
                scores += self._mean(entry, device)
            except MachineError:
                raise
            except FAILURES as error:
                event = RunEvent(run=entry.run, session=entry.sessions[0], status="failed")
                failures.add(error, event=event, name=f"the mean of {entry.run} and factors")
        return scores

    def _mean(self, entry: RunEntry, device: Device) -> list[Measurement]:
        """Return the mean of one run's forecast with that of factors; none where there are no factors."""
        from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

        key = self._laid(entry)
        if key is None or entry.alignment is None:
            return []
        given, task = self._tasks[key]
        made = self._made[key]
        known = (SINGLE[1],) if entry.alignment.from_scratch else (SHARED, SINGLE[1])
        member = next((made[name] for name in known if name in made), None)
        if member is None:
            return []
        run = load_run(self.catalog_path.parent / entry.path, run_key=entry.run_key, device=device)
        own = task.of_run(foresight(run, given.session, task), run=entry.run)
        about = f"{entry.alignment.n_trials} trials, chosen by seed {entry.alignment.seed}"
        return self._scores(key, [task.ensemble([own, member])], about)

    def _laid(self, entry: RunEntry) -> tuple[str, tuple[int, ...]] | None:
        """Lay ready the session of a run as the run was given it; return what it is kept under."""
        from nwb_latents.pipeline.evaluation.decoding.forecast_signal import forecast_settings  # noqa: PLC0415
        from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast  # noqa: PLC0415

        config, (name,) = self._config(entry), entry.sessions
        source = None if config is None else config.sessions[name]
        if source is None or source.trials is None:
            return None
        key = name, source.trials
        if key not in self._tasks:
            session = stored_session(self.catalog_path, entry, name)
            few = given_alone(session, source)
            if few is None or self.settings.forecast.end > session.n_bins:
                return None
            given = Given(few.loaded(), source.trials)
            settings = given.fewer_folds(forecast_settings(self.settings))
            self._tasks[key] = given, prepare_forecast(given.session, settings, given_few=True)
        return key

    def _forecasts(self, key: tuple[str, tuple[int, ...]], entry: RunEntry) -> list[SourceForecast]:
        from nwb_latents.pipeline.evaluation.baselines.known import known_baselines  # noqa: PLC0415
        from nwb_latents.schemas.baselines import BaselineSettings  # noqa: PLC0415

        given, task = self._tasks[key]
        settings, failures = given.fewer_folds(BaselineSettings()), Failures(self.report)
        made = baseline_forecasts(task, known_baselines(SINGLE)[0], settings, failures=failures)
        config = self._config(entry)
        names = config.pretrained_on if config is not None else ()
        try:
            shared = _by_shared_factors(task, [self._known(entry, name) for name in names], settings)
        except MachineError:
            raise
        except Exception as error:
            event = SourceEvent(source=SHARED, session=task.session, status="failed")
            failures.add(error, event=event, name=f"shared factors of {task.session}")
        else:
            made |= {} if shared is None else {shared.source: shared}
        self._made[key] = made
        return list(made.values())

    def _known(self, entry: RunEntry, name: str) -> KnownSession:
        """Return the training trials of a session the run was trained on before it was aligned."""
        import numpy as np  # noqa: PLC0415

        from nwb_latents.pipeline.evaluation.baselines.shared_factors import KnownSession  # noqa: PLC0415

        if name not in self._others:
            session = stored_session(self.catalog_path, entry, name)
            rows = session.rows("train")
            velocity = session.velocity(self.settings.lag_ms).velocity[rows]
            counts = np.asarray(session.trials["counts"].values[rows], dtype=np.float64)
            self._others[name] = KnownSession.of(counts, velocity)
        return self._others[name]

    def _scores(
        self, key: tuple[str, tuple[int, ...]], made: Sequence[SourceForecast], fitted_on: str
    ) -> list[Measurement]:
        from nwb_latents.pipeline.evaluation.decoding.forecast_signal import as_signal  # noqa: PLC0415

        given, task = self._tasks[key]
        signals = [as_signal(task, each, self.settings) for each in made]
        about = {"stage": STAGE, "fitted_on": fitted_on}
        return [given.told(one.score).model_copy(update=about) for one in signals if one is not None]

    def _config(self, entry: RunEntry) -> RunConfig | None:
        from nwb_latents.pipeline.training.run_files import read_config  # noqa: PLC0415

        return read_config(self.catalog_path.parent / entry.path, run_key=entry.run_key)


def _by_shared_factors(
    task: ForecastTask, others: Sequence[KnownSession], settings: BaselineSettings
) -> SourceForecast | None:
    """Return the forecast of factors that sessions share; None where the run shares none."""
    from nwb_latents.pipeline.evaluation.baselines.shared_factors import (  # noqa: PLC0415
        forecast_by_shared_factors,
    )
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast  # noqa: PLC0415
    from nwb_latents.pipeline.machine import one_blas_thread  # noqa: PLC0415

    if not others:
        return None
    with one_blas_thread():
        made = forecast_by_shared_factors(task.everyone, others, settings)
    return SourceForecast(SHARED, rates=made.rates, velocity=made.velocity, details=made.details)


def stored_session(catalog_path: Path, entry: RunEntry, name: str) -> Session:
    """Open a session of the recipe of a run.

    Raises
    ------
    DataError
        If the catalog has none of this name.
    """
    held = read_catalog(catalog_path).sessions.values()
    stores = [each for each in held if (each.session, each.recipe_id) == (name, entry.recipe_id)]
    if not stores:
        raise DataError(
            f"{catalog_path}: session {name} of recipe {entry.recipe_id} is not in the catalog any more, and "
            f"run {entry.run} was made with it. Ingest it again."
        )
    return open_session(store_path(catalog_path, stores[0].store), entry=stores[0])
