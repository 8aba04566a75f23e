"""Events as a person reads them, a line each."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from nwb_latents.schemas.events import (
    DecoderEvent,
    DroppedEvent,
    GenerationEvent,
    MetricEvent,
    NoteEvent,
    PhaseEvent,
    PictureEvent,
    PlanEvent,
    PlannedEvent,
    RetryEvent,
    RunEvent,
    SessionEvent,
    SourceEvent,
    StreamEvent,
    StreamTimingEvent,
    StudyPlanEvent,
)

if TYPE_CHECKING:
    from nwb_latents.schemas.events import Event, ProgressEvent


@singledispatch
def event_text(event: Event) -> str | None:
    """Return what an event says to a person; None: nothing, unless everything is asked for.

    Examples
    --------
    >>> event_text(SessionEvent(session="sub-A_ses-1", status="skipped", reason="up to date"))
    'sub-A_ses-1: skipped (up to date)'
    >>> event_text(SourceEvent(source="oracle", status="skipped", reason="no truth"))
    'oracle: skipped (no truth)'
    """
    return None


def measured_text(event: ProgressEvent) -> str:
    """Return what was measured on the way, as a screen shows it behind a bar.

    Examples
    --------
    >>> from nwb_latents.schemas.events import ProgressEvent
    >>> measured_text(ProgressEvent(stage="train", step=1, total=9, loss=0.25, lr=1e-3))
    '  loss 0.25'
    """
    measured = event.__pydantic_extra__
    return "".join(
        f"  {name} {measured[name]:.4g}" for name in ("loss", "val_loss") if measured.get(name) is not None
    )


def duration(seconds: float) -> str:
    """Return a duration as a person says it.

    Examples
    --------
    >>> duration(42.4), duration(90), duration(7300)
    ('42 s', '1.5 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


@event_text.register
def _plan(event: PlanEvent) -> str:
    words = [f"{event.n_sessions} files"]
    if event.bytes:
        words.append(f"{event.bytes / 1e6:.1f} MB")
    if event.seconds:
        words.append(f"about {duration(event.seconds)} of work")
    if event.memory_bytes:
        words.append(f"up to {event.memory_bytes / 1e9:.1f} GB of memory each")
    return f"{', '.join(words)}{_version_words(event)}; recipe {event.recipe}, stores in {event.stores}"


@event_text.register
def _study_plan(event: StudyPlanEvent) -> str:
    groups = ", ".join(f"{name} {number}" for name, number in event.groups.items())
    runs = "1 training" if event.n_runs == 1 else f"{event.n_runs} trainings"
    words = [f"{runs}, {event.n_runs_there} of them complete"]
    if event.n_alignments:
        words.append(f"{event.n_alignments} alignments")
    if event.n_from_scratch:
        words.append(f"{event.n_from_scratch} trainings from scratch")
    if event.seconds is not None:
        words.append(
            f"at most {duration(event.seconds)} one after the other, by a few steps of each on this machine"
        )
    if event.memory_bytes:
        words.append(f"up to {event.memory_bytes / 1e9:.1f} GB of memory each")
    if event.gpu_hours is not None:
        words.append(f"{event.gpu_hours:.2f} GPU hours")
    return f"study {event.study}: {'; '.join(words)}. Sessions: {groups}"


def _version_words(event: PlanEvent) -> str:
    why = {"asked": "as asked", "pinned": "pinned in the catalog", "latest": "the latest published"}
    if event.version is None:
        return ""
    return (
        f" of {event.dandiset}@{event.version} ({why.get(event.version_from or '', '')}) in {event.archive}"
    )


@event_text.register
def _planned(event: PlannedEvent) -> str:
    cost = f"{duration(event.seconds)}, {event.memory_bytes / 1e9:.1f} GB of memory"
    known = ", in the catalog" if event.in_catalog else ""
    return f"  {event.session}  {event.bytes / 1e6:.1f} MB, {cost}{known}  {event.source}"


@event_text.register
def _session(event: SessionEvent) -> str:
    made = f"{event.n_trials} trials, {event.n_units} units" if event.n_trials else ""
    took = f"{event.seconds:.1f} s" if event.seconds else ""
    words = [word for word in (made, took, event.reason) if word]
    return f"{event.session}: {event.status}" + (f" ({'; '.join(words)})" if words else "")


@event_text.register
def _run(event: RunEvent) -> str:
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in event.metrics.items() if value is not None)
    steps = f"{event.steps} steps" if event.steps is not None else ""
    words = [event.status, steps, metrics, event.reason]
    return f"run {event.run}: " + ", ".join(word for word in words if word)


@event_text.register
def _generation(event: GenerationEvent) -> str:
    value = "none" if event.value is None else f"{event.value:.5g}"
    words = [f"best {event.metric} {value} (member {event.member})"]
    if event.best_generation != event.generation and event.best_value is not None:
        words.append(f"lowest so far {event.best_value:.5g} in generation {event.best_generation}")
    words += [f"{n} {what}" for n, what in ((event.copied, "copied"), (event.diverged, "diverged")) if n]
    if event.stopped:
        words.append(f"ends: {event.stopped}" if event.stopped != "generations" else "ends")
    return f"generation {event.generation}/{event.generations}: " + ", ".join(words)


@event_text.register
def _note(event: NoteEvent) -> str:
    return f"note: {event.text}"


@event_text.register
def _dropped(event: DroppedEvent) -> str:
    left = [_counted(event.n_units, "units", event.units), _counted(event.n_trials, "trials", event.trials)]
    lines = [f"{event.n_sessions} session{'s' * (event.n_sessions != 1)}: {'; '.join(left)}"]
    lines += [
        f"  {one.session}: {one.n} of {one.of} {one.what} left out, most by {one.reason}"
        for one in event.unusual
    ]
    return "\n".join(lines)


def _counted(kept: int, what: str, dropped: dict[str, int]) -> str:
    reasons = ", ".join(f"{reason} {n}" for reason, n in dropped.items())
    return f"{kept} {what} kept, " + (f"left out: {reasons}" if reasons else "none left out by a rule")


@event_text.register
def _retry(event: RetryEvent) -> str:
    return f"{event.session}: attempt {event.attempt} failed, again elsewhere ({event.reason})"


@event_text.register
def _source(event: SourceEvent) -> str:
    of = f"{event.source} on {event.session}" if event.session else event.source
    return f"{of}: {event.status} ({event.reason})"


@event_text.register
def _metric(event: MetricEvent) -> str:
    of = f" of {event.source} on {event.session}" if event.source else ""
    return f"metric {event.metric}{of}: {event.status} ({event.reason})"


@event_text.register
def _decoder(event: DecoderEvent) -> str:
    return f"decoder {event.decoder} on {event.session}: {event.status} ({event.reason})"


@event_text.register
def _phase(event: PhaseEvent) -> str:
    return f"{event.session}: {event.phase}"


@event_text.register
def _stream(event: StreamEvent) -> str:
    velocity = f"velocity {event.lag_ms:g} ms later ({event.decoder})" if event.lag_ms is not None else ""
    words = [f"{len(event.units)} units", f"bins of {event.bin_ms:g} ms", velocity]
    return f"{event.session} through {event.run}: " + ", ".join(word for word in words if word)


@event_text.register
def _picture(event: PictureEvent) -> str:
    reason = f" ({event.reason})" if event.reason else ""
    return f"{event.kind} of {event.name}: {event.status}{reason}"


@event_text.register
def _stream_timing(event: StreamTimingEvent) -> str:
    late = f"{event.n_late} of {event.n_bins} bins took longer than the {event.bin_ms:g} ms they last"
    return (
        f"{event.n_bins} bins of {event.n_trials} trials: median {event.median_ms:.3g} ms, 99th percentile "
        f"{event.p99_ms:.3g} ms, longest {event.max_ms:.3g} ms; {late}"
    )
