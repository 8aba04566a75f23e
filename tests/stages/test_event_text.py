"""What a person reads of every event: each number with its own unit, under its own name."""

from __future__ import annotations

import pytest

from nwb_latents.pipeline.stages.event_text import event_text, measured_text
from nwb_latents.schemas.events import (
    DecoderEvent,
    DroppedEvent,
    Event,
    GenerationEvent,
    MetricEvent,
    NoteEvent,
    PhaseEvent,
    PictureEvent,
    PlanEvent,
    PlannedEvent,
    ProgressEvent,
    RetryEvent,
    RunEvent,
    SessionEvent,
    SourceEvent,
    StreamEvent,
    StreamTimingEvent,
    StudyPlanEvent,
)

PLAN = {
    "stage": "ingest", "n_sessions": 3, "bytes": 12_340_000, "seconds": 90.0, "memory_bytes": 2_500_000_000,
    "recipe": "20ms-a", "stores": "stores/20ms-a",
}  # fmt: skip
COSTS = "3 files, 12.3 MB, about 1.5 min of work, up to 2.5 GB of memory each"
PLACE = "recipe 20ms-a, stores in stores/20ms-a"
TEXTS = {
    "a plan of files": (
        PlanEvent(**PLAN),
        f"{COSTS}; {PLACE}",
    ),
    "a plan of a dandiset": (
        PlanEvent(**PLAN, dandiset="000070", version="0.1", version_from="pinned", archive="A"),
        f"{COSTS} of 000070@0.1 (pinned in the catalog) in A; {PLACE}",
    ),
    "a planned session": (
        PlannedEvent(session="s", source="s.nwb", bytes=1_500_000, memory_bytes=700_000_000, seconds=42.4,
                     in_catalog=False),
        "  s  1.5 MB, 42 s, 0.7 GB of memory  s.nwb",
    ),
    "a planned session that is there": (
        PlannedEvent(session="s", source="s.nwb", bytes=1_500_000, memory_bytes=700_000_000, seconds=7300,
                     in_catalog=True),
        "  s  1.5 MB, 2.0 h, 0.7 GB of memory, in the catalog  s.nwb",
    ),
    "a plan of a study": (
        StudyPlanEvent(study="m", groups={"all": 9, "new": 2}, n_runs=6, n_runs_there=1, n_alignments=4,
                       n_from_scratch=3, seconds=90.0, memory_bytes=700_000_000, gpu_hours=0.025),
        ("study m: 6 trainings, 1 of them complete; 4 alignments; 3 trainings from scratch; at most 1.5 min "
         "one after the other, by a few steps of each on this machine; up to 0.7 GB of memory each; 0.03 GPU "
         "hours. Sessions: all 9, new 2"),
    ),
    "a plan of a study that costs nothing it knows of": (
        StudyPlanEvent(study="m", groups={"all": 9}, n_runs=6, n_runs_there=6, n_alignments=0,
                       n_from_scratch=0),
        "study m: 6 trainings, 6 of them complete. Sessions: all 9",
    ),
    "a session": (
        SessionEvent(session="s", status="done", n_trials=7, n_units=5, seconds=1.26),
        "s: done (7 trials, 5 units; 1.3 s)",
    ),
    "a session that failed": (
        SessionEvent(session="s", status="failed", reason="no units"), "s: failed (no units)",
    ),
    "a run": (
        RunEvent(run="r", status="done", steps=40, metrics={"loss": 0.123456, "val_loss": None, "nll": 2.0}),
        "run r: done, 40 steps, loss 0.1235, nll 2",
    ),
    "a note": (NoteEvent(text="hear"), "note: hear"),
    "what was dropped": (
        DroppedEvent(
            n_sessions=2, n_units=9, n_trials=30, units={"below_min_rate": 1}, trials={},
            unusual=[{"session": "s", "what": "trials", "n": 8, "of": 12, "reason": "too_long"}],
        ),
        ("2 sessions: 9 units kept, left out: below_min_rate 1; 30 trials kept, none left out by a rule\n"
         "  s: 8 of 12 trials left out, most by too_long"),
    ),
    "another attempt": (
        RetryEvent(session="s", source="s.nwb", attempt=2, host="h", reason="lost"),
        "s: attempt 2 failed, again elsewhere (lost)",
    ),
    "a source": (
        SourceEvent(source="gpfa", session="s", status="failed", reason="why"), "gpfa on s: failed (why)",
    ),
    "a metric": (
        MetricEvent(metric="co_bps", source="gpfa", session="s", status="failed", reason="why"),
        "metric co_bps of gpfa on s: failed (why)",
    ),
    "a decoder": (
        DecoderEvent(decoder="wiener", session="s", status="failed", reason="why"),
        "decoder wiener on s: failed (why)",
    ),
    "a picture": (
        PictureEvent(kind="psth", name="s", status="failed", reason="why"), "psth of s: failed (why)",
    ),
    "a phase": (PhaseEvent(session="s", source="s.nwb", phase="binning"), "s: binning"),
    "a generation": (
        GenerationEvent(
            run="r", generation=3, generations=9, step=300, member=4, metric="val_nll", value=0.5,
            best_value=0.25, best_generation=2, copied=5, diverged=1, values={}, stopped=None,
        ),
        ("generation 3/9: best val_nll 0.5 (member 4), lowest so far 0.25 in generation 2, 5 copied, "
         "1 diverged"),
    ),
    "a stream": (
        StreamEvent(run="r", session="s", units=(4, 7, 9), axes=("x", "y"), bin_ms=20.0, lag_ms=60.0,
                    decoder="ridge"),
        "s through r: 3 units, bins of 20 ms, velocity 60 ms later (ridge)",
    ),
    "a stream of rates": (
        StreamEvent(run="r", session="s", units=(4,), axes=(), bin_ms=5.0),
        "s through r: 1 units, bins of 5 ms",
    ),
    "how fast a stream was": (
        StreamTimingEvent(n_bins=720, n_trials=20, median_ms=1.25, p99_ms=4.5, max_ms=31.0, bin_ms=20.0,
                          n_late=3),
        ("720 bins of 20 trials: median 1.25 ms, 99th percentile 4.5 ms, longest 31 ms; 3 of 720 bins took "
         "longer than the 20 ms they last"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_an_event_says_its_numbers_with_their_units(name):
    event, text = TEXTS[name]
    assert event_text(event) == text


def test_every_event_that_says_something_is_here():
    classes = {kind for kind in event_text.registry if isinstance(kind, type) and issubclass(kind, Event)}
    assert classes - {Event} == {type(event) for event, _ in TEXTS.values()}


def test_losses_are_shown_behind_a_bar_under_their_names():
    event = ProgressEvent(stage="train", step=1, total=9, loss=0.25, val_loss=1.5, lr=1e-3)
    assert measured_text(event) == "  loss 0.25  val_loss 1.5"
