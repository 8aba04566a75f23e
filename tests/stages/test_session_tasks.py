"""Sessions of a stage one by one: which of them, in which order, and what of their failures is told."""

from __future__ import annotations

import pytest

from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.cluster.task_batch import Attempted
from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stages import session_tasks
from nwb_latents.pipeline.stages.session_tasks import (
    Outcome,
    SessionStage,
    Where,
    do_sessions,
    is_transient,
)
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.schemas.catalog import SessionEntry
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.events import MetricEvent

NAMES = tuple(f"sub-{letter}" for letter in "ABCDE")
WHERE = {"here": Where(), "on workers": Where("tcp://127.0.0.1:9")}


def entries(names=NAMES):
    return [
        SessionEntry(
            session=name, subject=name, task="CO", recipe_id="20ms-a", store=f"stores/{name}.zarr",
            store_key="k", source=f"{name}.nwb", n_trials=10, n_units=5, n_bins=36, bin_size_s=0.02,
            created="",
        )
        for name in names
    ]  # fmt: skip


@pytest.fixture(params=WHERE)
def where(request, monkeypatch):
    """Where the sessions are done: in this process, or as workers do them, the last one first."""

    def last_first(sent, tasks, **_):
        for task in reversed(tasks):
            yield Attempted(task, sent.do(sent.shared, task, lambda _: None), 1, True, "host", 1)

    monkeypatch.setattr(session_tasks, "run_tasks", last_first)
    monkeypatch.setattr(session_tasks, "require_seen", lambda *_: None)
    monkeypatch.setattr(session_tasks, "session_bytes", lambda *_, **__: 1)
    return WHERE[request.param]


def make(work, plan, entry):
    """Return the name of a session, as often as the plan says; some fail, and of some a part does."""
    if entry.session in plan["fails"]:
        raise plan["fails"][entry.session]
    if entry.session in plan["partly"]:
        event = MetricEvent(metric="m", session=entry.session, status="failed")
        work.failures.add(DataError(f"a part of {entry.session}"), event=event, name=f"m of {entry.session}")
    return [entry.session] * 2


def keep(work, plan, entry, made):
    work.results += made
    return {}


STAGE = SessionStage("evaluate", make, keep, runs=lambda work, plan: ())


def done(tmp_path, where, *, stage=STAGE, fails=None, partly=()):
    work = StageWork(tmp_path / "catalog.yaml", EvaluateSettings(), entries(), [], lambda _: None)
    do_sessions(work, stage, {"fails": fails or {}, "partly": partly}, where, device="cpu")
    return work


def test_results_are_in_the_order_of_the_sessions_whoever_is_done_first(tmp_path, where):
    assert done(tmp_path, where).results == [name for name in NAMES for _ in range(2)]


def test_what_fails_of_a_session_is_told_with_its_code_and_the_rest_is_kept(tmp_path, where):
    work = done(tmp_path, where, fails={"sub-B": DataError("is torn")}, partly=("sub-D",))
    assert work.results == [name for name in NAMES if name != "sub-B" for _ in range(2)]
    assert dict(work.failures.found) == {"sub-B": "is torn", "m of sub-D": "a part of sub-D"}
    assert work.failures.exit_codes == [DataError.exit_code] * 2


def test_a_stage_that_ends_with_the_machine_does_and_another_goes_on(tmp_path, where):
    full = {"sub-C": MachineError("the disk is full")}
    work = done(tmp_path, where, fails=full)
    assert (work.failures.found, len(work.results)) == ([("sub-C", "the disk is full")], 8)
    ending = SessionStage("decode", make, keep, runs=lambda work, plan: (), ends_with_the_machine=True)
    with pytest.raises(MachineError, match="the disk is full"):
        done(tmp_path, where, stage=ending, fails=full)


def test_a_session_that_failed_is_done_again_alone_until_it_is_done(tmp_path):
    done(tmp_path, Where(), fails={"sub-B": DataError("is torn")})
    again, said = Where(retry_failed=True), []
    catalog = tmp_path / "catalog.yaml"
    (left,) = again.part_of(entries(), catalog, "evaluate", said.append)
    assert left.session == "sub-B"
    assert again.part_of(entries(), catalog, "decode", said.append) == []
    done(tmp_path, Where())
    assert again.part_of(entries(), catalog, "evaluate", said.append) == []
    assert [event.text for event in said if event.event == "note"] == ["no session has failed"] * 2


def test_shards_are_all_sessions_each_in_one_and_an_empty_one_says_so(tmp_path):
    said, parts = [], []
    for index in range(8):
        where = Where(shard=Shard(index, 8))
        assert where.is_part
        parts.append(where.part_of(entries(), tmp_path / "catalog.yaml", "evaluate", said.append))
    assert sorted(entry.session for part in parts for entry in part) == list(NAMES)
    empty = [index for index, part in enumerate(parts) if not part]
    assert [event.text for event in said] == [f"no session in shard {index}/8" for index in empty]
    assert empty
    assert Where().part_of(entries(), tmp_path / "catalog.yaml", "evaluate", said.append) == entries()


def test_another_machine_is_asked_where_the_machine_failed_and_only_there():
    of_machine, of_data = (error.exit_code for error in (MachineError, DataError))
    assert is_transient(Outcome(reason="no space left", exit_code=of_machine))
    assert not is_transient(Outcome(reason="no test trials", exit_code=of_data))
    assert not is_transient(Outcome(made="numbers", failures=(("run", "no space left", of_machine),)))
