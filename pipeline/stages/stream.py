"""``pipeline run stream``: rates and hand velocity bin by bin, as they would come while a trial runs.

A session of the catalog is replayed, or counts are read line by line from whoever records them. A bin is
answered before the next one is looked at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, UsageError
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.stream_counts import parse_counts
from nwb_latents.pipeline.stages.trained_runs import choose
from nwb_latents.pipeline.stages.unseen import known_by
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.events import BinEvent, NoteEvent, StreamEvent, StreamTimingEvent
from nwb_latents.schemas.online_decoding import StreamSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.online_decoding import StreamingDecoder

_NAMED_IN_MESSAGE = 5


@dataclass(frozen=True)
class StreamTiming:
    """How long bins took, from their counts to their numbers, given out.

    Attributes
    ----------
    seconds
        Time of each bin, s. Shape ``(bin,)``.
    n_trials
        Trials.
    bin_size_s
        Width of a bin, s: the time there is.
    """

    seconds: NDArray[np.float64]
    n_trials: int
    bin_size_s: float

    @property
    def n_late(self) -> int:
        """Bins that took longer than a bin lasts."""
        return int((self.seconds > self.bin_size_s).sum())

    def event(self) -> StreamTimingEvent:
        """Return it as an event.

        Examples
        --------
        >>> StreamTiming(np.array([0.001, 0.03]), n_trials=1, bin_size_s=0.02).event().n_late
        1
        """
        ms = self.seconds * 1e3
        return StreamTimingEvent(
            n_bins=len(ms),
            n_trials=self.n_trials,
            median_ms=round(float(np.median(ms)), 4),
            p99_ms=round(float(np.percentile(ms, 99)), 4),
            max_ms=round(float(ms.max()), 4),
            bin_ms=round(self.bin_size_s * 1e3, 6),
            n_late=self.n_late,
        )


def stream(
    catalog_path: Path,
    run: str,
    *,
    session: str,
    settings: StreamSettings | None = None,
    trials: Sequence[int] = (),
    split: str | None = None,
    lines: Iterable[str] | None = None,
    unseen_trials: bool = False,
    force: bool = False,
    report: Report = ignore,
) -> StreamTiming | None:
    """Decode a session bin by bin.

    Parameters
    ----------
    catalog_path
        Catalog file.
    run
        Name of a run whose model can take one bin at a time.
    session
        One session the run was trained on: its id, or a shell pattern only it matches.
    settings
        What is given for every bin, and the decoder of velocity.
    trials
        Trials to replay, as the store numbers them, in this order; none: all.
    split
        Replay the trials of this split alone: train, val or test.
    lines
        Counts of one bin each (`pipeline.stages.stream_counts.parse_counts`), taken one by one, in place of
        the session's; an empty line begins a trial.
    unseen_trials
        Where the session's store is another than the run was trained on: replay only trials the run was
        neither trained nor validated on, if its record of them proves which these are, instead of refusing
        the session.
    force
        Begin whatever the size of store and weights.
    report
        Receives a `StreamEvent`, one `BinEvent` for each bin, a `StreamTimingEvent`, and notes.

    Returns
    -------
    timing
        How long bins took; None if there was no bin.

    Raises
    ------
    DataError
        If the run or the session is not there, they do not belong together, the model cannot take one bin at
        a time, there is no such trial, or a line cannot be used. Bins before it have been answered.
    MachineError
        If the session is larger than the memory.
    UsageError
        If trials are chosen and lines are given.

    Examples
    --------
    >>> from pathlib import Path
    >>> stream(Path("nowhere/catalog.yaml"), "ndt-0", session="sub-A_ses-1")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: No run is called ndt-0. ...
    """
    settings = settings or StreamSettings()
    if lines is not None and (trials or split):
        raise UsageError("--trial and --split choose trials to replay; leave them out where counts are read.")
    if not (settings.rates or settings.velocity):
        raise UsageError("neither rates nor velocity is asked for; leave out --no-rates or --no-velocity.")
    if unseen_trials and split not in {None, "test"}:
        raise UsageError(
            f"--unseen-trials replays trials in neither training nor validation; leave --split {split} out."
        )
    opened, decoder, is_known = _begin(
        catalog_path,
        run,
        session,
        settings=settings,
        unseen_trials=unseen_trials,
        force=force,
        report=report,
    )
    if unseen_trials and not is_known and lines is None:
        split = "test"
    bins = _read(lines, opened.n_units) if lines is not None else _replayed(opened, trials, split, report)
    if settings.velocity:
        say_negative([settings.lag_ms], report)
    report(_opening(run, opened, settings=settings))
    # What torch sets up at its first bin of all is not counted to that of the first trial.
    decoder.step(np.zeros(opened.n_units))
    remedy = "" if lines is None else ". An empty line begins a trial"
    done = _Answers(decoder, settings, report, remedy)
    timing = None
    try:
        for one in bins:
            done.give(one)
    finally:
        if done.seconds:
            timing = StreamTiming(
                np.array(done.seconds), n_trials=done.n_trials, bin_size_s=opened.bin_size_s
            )
            report(timing.event())
    return timing


@dataclass(frozen=True)
class _Bin:
    """Counts of one bin: of which trial, where they come from, and when they came."""

    trial: int
    where: str
    counts: ArrayLike
    came: float


@dataclass
class _Answers:
    """Gives the numbers of bins, and remembers how long each took."""

    decoder: StreamingDecoder
    settings: StreamSettings
    report: Report
    remedy: str
    seconds: list[float] = field(default_factory=list)
    n_trials: int = 0
    _trial: int | None = None
    _bin: int = 0

    def give(self, one: _Bin) -> None:
        if one.trial != self._trial:
            self.decoder.reset()
            self._trial, self._bin, self.n_trials = one.trial, 0, self.n_trials + 1
        try:
            found = self.decoder.step(one.counts)
        except ValueError as error:
            raise DataError(f"{one.where}, bin {self._bin} of its trial: {error}{self.remedy}.") from error
        said: dict[str, object] = {"trial": one.trial, "bin": self._bin}
        if self.settings.rates:
            said["rates"] = found.rates.tolist()
        if self.settings.velocity and found.velocity is not None:
            said["velocity"] = found.velocity.tolist()
        self.report(BinEvent.model_validate(said))
        self.seconds.append(time.perf_counter() - one.came)
        self._bin += 1


def _begin(
    catalog_path: Path,
    run: str,
    session: str,
    *,
    settings: StreamSettings,
    unseen_trials: bool,
    force: bool,
    report: Report,
) -> tuple[Session, StreamingDecoder, bool]:
    """Return the session, its decoder, and whether its store is the one the run was trained on."""
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415 - imports torch
    from nwb_latents.pipeline.training.online_decoding import fit_streaming_decoder  # noqa: PLC0415

    entries, (chosen,) = choose(read_catalog(catalog_path), [run], [session], None, report=ignore)
    if len(entries) > 1:
        names = ", ".join(entry.session for entry in entries[:_NAMED_IN_MESSAGE])
        more = "" if len(entries) <= _NAMED_IN_MESSAGE else f" and {len(entries) - _NAMED_IN_MESSAGE} more"
        raise UsageError(f"--session {session} matches {names}{more}; a stream is of one session.")
    require_stores_fit(catalog_path, entries, runs=[chosen], recordings=False, force=force)
    trained = load_run(catalog_path.parent / chosen.path, run_key=chosen.run_key, device="cpu")
    opened = open_session(store_path(catalog_path, entries[0].store), entry=entries[0]).loaded()
    view = known_by([trained], opened, said={}, report=report) if unseen_trials else None
    if view is not None:
        opened = view.session
    return opened, fit_streaming_decoder(trained, opened, settings), view is None


def _opening(run: str, session: Session, *, settings: StreamSettings) -> StreamEvent:
    said: dict[str, object] = {
        "run": run,
        "session": session.name,
        "units": tuple(int(unit) for unit in session.trials["unit"].values),
        "axes": session.axes if settings.velocity else (),
        "bin_ms": round(session.bin_size_s * 1e3, 6),
    }
    if settings.velocity:
        said |= {"lag_ms": settings.lag_ms, "decoder": settings.decoder}
    return StreamEvent.model_validate(said)


def _replayed(session: Session, trials: Sequence[int], split: str | None, report: Report) -> Iterator[_Bin]:
    rows = _rows(session, trials, split)
    ids, splits = session.trials["trial"].values, session.split
    n_fitted = int((splits[rows] == "train").sum())
    if n_fitted:
        report(
            NoteEvent(
                session=session.name,
                text=f"{n_fitted} of {len(rows)} trials are training trials, which model and decoder were "
                "fitted to. --split test replays those they have not seen",
            )
        )
    counts = session.trials["counts"].values

    def each() -> Iterator[_Bin]:
        for row in rows:
            for one in counts[row]:
                yield _Bin(int(ids[row]), f"trial {ids[row]}", one, time.perf_counter())

    return each()


def _rows(session: Session, trials: Sequence[int], split: str | None) -> list[int]:
    ids = [int(one) for one in session.trials["trial"].values]
    unknown = [str(one) for one in trials if one not in ids]
    if unknown:
        raise DataError(
            f"{session.name}: there is no trial {', '.join(unknown[:_NAMED_IN_MESSAGE])}; its {len(ids)} "
            f"trials are numbered from {min(ids)} to {max(ids)}, with gaps where one was dropped."
        )
    wanted = [ids.index(one) for one in dict.fromkeys(trials)] if trials else list(range(len(ids)))
    if split is None:
        return wanted
    kept = [row for row in wanted if session.split[row] == split]
    if not kept:
        found = ", ".join(sorted({str(session.split[row]) for row in wanted}))
        raise DataError(f"{session.name}: none of the trials is of the split {split}, they are of {found}.")
    return kept


def _read(lines: Iterable[str], n_units: int) -> Iterator[_Bin]:
    trial, is_begun = 0, False
    for number, line in enumerate(lines, start=1):
        came = time.perf_counter()
        counts = parse_counts(line, n_units=n_units, where=f"line {number}")
        if counts is None:
            trial, is_begun = trial + is_begun, False
            continue
        is_begun = True
        yield _Bin(trial, f"line {number}", counts, came)
