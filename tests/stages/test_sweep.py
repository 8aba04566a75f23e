"""``pipeline run sweep`` as a function, its members trained in this process one after the other."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import nwb_latents.pipeline.stages.sweep as stage
import nwb_latents.pipeline.training.search_member as member_module
from nwb_latents.pipeline import machine
from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages import stage_memory
from nwb_latents.pipeline.stages.sweep import sweep
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.loop import DivergedError
from nwb_latents.pipeline.training.run_files import read_config
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import SplitSettings
from nwb_latents.schemas.sweep import SweepSettings, SweepState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TINY: dict[str, Any] = {
    "population": 4,
    "generations": 3,
    "generation_steps": 6,
    "burn_in_steps": 0,
    "train": {
        "model": {
            "name": "lfads", "generator_dim": 6, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 5,
            "controller_dim": 4, "read_in": {"hidden": 4, "width": 4}, "kl_warmup_steps": 3,
            "l2_warmup_steps": 3,
        },
        "batch": {"trials_per_session": 4},
        "validate_every": 3,
        "device": "cpu",
    },
}  # fmt: skip


def tiny(**changes: Any) -> SweepSettings:
    return SweepSettings.model_validate({**TINY, **changes})


class Serial:
    """Workers that do the tasks here, in an order of their own."""

    gpu_share = 0.0

    def __init__(self, *, backwards: bool = False, stop_after: int | None = None) -> None:
        self.backwards, self.left = backwards, stop_after
        self.done: list[tuple[int, int]] = []

    def run(self, work: Callable[[Any], Any], search: Any, *, folder: Path) -> None:
        del folder
        while tasks := list(iter(search.next_task, None)):
            for task in reversed(tasks) if self.backwards else tasks:
                if self.left == 0:
                    raise KeyboardInterrupt
                self.left = None if self.left is None else self.left - 1
                self.done.append((task.stop_at, task.member))
                search.done(task, work(task))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Serial], Serial]:
    """Return the function that puts other workers in the place of Ray's."""
    monkeypatch.setattr(stage, "require_ray", lambda: None)

    def put(workers: Serial) -> Serial:
        @contextmanager
        def opened(*_: Any, **__: Any) -> Iterator[Serial]:
            yield workers

        monkeypatch.setattr(stage, "ray_workers", opened)
        return workers

    put(Serial())
    return put


@pytest.fixture
def catalog(tmp_path: Path, enter_recording: Any, recording: Any) -> Path:
    """A catalog of one session."""
    enter_recording(tmp_path / "catalog.yaml", recording)
    return tmp_path / "catalog.yaml"


def state_of(catalog: Path, run: str) -> SweepState:
    text = (catalog.parent / "runs" / run / "sweep.json").read_text()
    return SweepState.model_validate_json(text)


def test_the_best_member_is_entered_with_its_weights_and_the_history(catalog: Path, use: Any) -> None:
    del use
    events: list[Any] = []
    entry = sweep(catalog, tiny(), report=events.append)
    assert entry.run == f"lfads-pbt-{entry.run_key[:8]}"
    assert read_catalog(catalog).runs == {entry.run: entry}
    state = state_of(catalog, entry.run)
    assert state.stopped == "generations"
    assert len(state.history) == 12
    best = min(state.history, key=lambda record: record.metric or 0)
    assert (entry.steps, entry.metrics["val_nll"]) == (best.step, best.last)
    run_dir = catalog.parent / entry.path
    config = read_config(run_dir, run_key=None)
    assert config is not None
    assert config.sweep == "pbt"
    assert config.settings.model.model_dump()["dropout"] == best.values["model.dropout"]
    assert config.settings.optimiser.lr == config.settings.optimiser.final_lr == best.values["optimiser.lr"]
    session = open_session(store_path(catalog, next(iter(read_catalog(catalog).sessions.values())).store))
    rates = load_run(run_dir, device="cpu").reconstruct(session)
    assert rates.shape == session.trials["rates"].shape

    rows = list(csv.DictReader((run_dir / "sweep.csv").open()))
    assert [float(row["metric"]) for row in rows] == [record.metric for record in state.history]
    assert {int(row["generation"]) for row in rows if row["in_best_lineage"] == "1"} == set(
        range(best.generation + 1)
    )
    # The metrics of the run are those of the weights it has, from the first step on.
    steps = [json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").open()]
    assert steps == [step for step in range(3, best.step + 1) if step % 3 == 0 or step == 10]
    assert not (run_dir / "members").exists()
    told = [event for event in events if event.event == "generation"]
    assert [event.generation for event in told] == [1, 2, 3]
    assert told[-1].best_value == best.metric
    copied = [(int(row["generation"]) + 1) for row in rows if row["parent"] not in {"", row["member"]}]
    assert [event.copied for event in told] == [copied.count(event.generation) for event in told]
    assert sum(event.copied for event in told) > 0
    assert sweep(catalog, tiny(workers=7)) == entry


def test_a_search_that_does_not_fit_is_refused_before_it_begins_unless_forced(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = use(Serial(stop_after=1))
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10_000)
    with pytest.raises(SettingsError, match=r"the model lfads has .* --force to try all the same"):
        sweep(catalog, tiny(), run_name="large")
    monkeypatch.setattr(stage_memory, "memory_share", lambda: 10_000)
    with pytest.raises(MachineError, match=r"4 processes hold them.* --force to try all the same"):
        sweep(catalog, tiny(workers=8), run_name="large")
    assert not workers.done
    # What the members are refused for is lifted for them too.
    with pytest.raises(KeyboardInterrupt):
        sweep(catalog, tiny(), run_name="large", force=True)
    assert workers.done


def test_models_that_fit_one_by_one_but_not_together_are_refused(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = use(Serial(stop_after=1))
    monkeypatch.setattr(stage_memory, "memory_share", lambda: 10**12)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 800_000)
    with pytest.raises(SettingsError, match=r"by each of 4 processes\. .*fewer processes \(--workers\)"):
        sweep(catalog, tiny(workers=4), run_name="together")
    with pytest.raises(KeyboardInterrupt):
        sweep(catalog, tiny(workers=1), run_name="alone")
    assert workers.done


@pytest.mark.slow
def test_who_finishes_first_does_not_matter(catalog: Path, use: Any) -> None:
    sweep(catalog, tiny(), run_name="one")
    use(Serial(backwards=True))
    sweep(catalog, tiny(), run_name="other")
    assert state_of(catalog, "one").history == state_of(catalog, "other").history
    folders = [catalog.parent / "runs" / name for name in ("one", "other")]
    assert len({(folder / "best.safetensors").read_bytes() for folder in folders}) == 1
    assert len({(folder / "sweep.csv").read_text() for folder in folders}) == 1


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_and_trains_no_member_twice(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = use(Serial())
    sweep(catalog, tiny(), run_name="whole")
    cut = use(Serial(stop_after=6))
    with pytest.raises(KeyboardInterrupt):
        sweep(catalog, tiny(), run_name="cut")
    assert len(state_of(catalog, "cut").history) == 4
    assert set(read_catalog(catalog).runs) == {"whole"}
    with pytest.raises(SettingsError, match="a sweep that is not complete"):
        train(catalog, tiny().train, resume="cut")

    trained: list[str] = []
    fit = member_module.fit
    monkeypatch.setattr(
        member_module,
        "fit",
        lambda *args, **words: trained.append(args[3].as_posix()) or fit(*args, **words),
    )
    use(Serial())
    sweep(catalog, tiny(), run_name="cut")
    assert len(trained) == 12 - 6
    assert whole.done[:6] == cut.done
    assert state_of(catalog, "cut").history == state_of(catalog, "whole").history
    cut_weights, weights = (
        (catalog.parent / "runs" / name / "last.safetensors").read_bytes() for name in ("cut", "whole")
    )
    assert cut_weights == weights


@pytest.mark.slow
def test_only_what_is_needed_stays_on_the_disk(catalog: Path, use: Any) -> None:
    del use
    kept: list[int] = []

    def count(event: Any) -> None:
        if event.event == "generation":
            kept.append(len(list(catalog.parent.glob("runs/*/members/*/member-*"))))

    sweep(catalog, tiny(generations=5, min_improvement=0.0, improve_within=9), report=count)
    assert len(kept) == 5
    assert max(kept) <= 4 + 4 + 1


def _diverging(monkeypatch: pytest.MonkeyPatch, *, members: set[str], generation: str) -> None:
    fit = member_module.fit

    def diverges(*args: Any, **words: Any) -> Any:
        folder = args[3]
        if folder.name in members and folder.parent.name == generation:
            raise DivergedError("the loss is nan at step 3")
        return fit(*args, **words)

    monkeypatch.setattr(member_module, "fit", diverges)


def test_a_member_that_diverges_goes_on_as_a_copy(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del use
    _diverging(monkeypatch, members={"member-001"}, generation="generation-0000")
    events: list[Any] = []
    sweep(catalog, tiny(burn_in_steps=100), run_name="mine", report=events.append)
    history = state_of(catalog, "mine").history
    assert [r.metric is None for r in history[:4]] == [False, True, False, False]
    assert "loss is nan" in history[1].reason
    assert [r.parent for r in history[4:8]][0::2] == [0, 2]
    assert history[5].parent in {0, 2, 3}
    assert history[5].metric is not None
    told = [event for event in events if event.event == "generation"]
    assert [event.diverged for event in told] == [1, 0, 0]
    row = (catalog.parent / "runs/mine/sweep.csv").read_text().splitlines()[2]
    assert row.startswith("0,1,,6,,,0,")


def test_a_random_search_goes_on_without_what_diverged(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del use
    _diverging(monkeypatch, members={"member-002"}, generation="generation-0001")
    entry = sweep(catalog, tiny(strategy="random"))
    assert entry.run.startswith("lfads-random-")
    history = state_of(catalog, entry.run).history
    assert [r.member for r in history if r.generation == 2] == [0, 1, 3]
    assert len({tuple(r.values.items()) for r in history}) == 4
    config = read_config(catalog.parent / entry.path, run_key=None)
    assert config is not None
    assert (config.settings.optimiser.final_lr, config.settings.max_steps) == (0.0, 18)


def test_a_sweep_in_which_all_diverge_says_so(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del use
    everyone = {f"member-{k:03d}" for k in range(4)}
    _diverging(monkeypatch, members=everyone, generation="generation-0000")
    with pytest.raises(DataError, match=r"every member diverged in generation 0.*lr\.high"):
        sweep(catalog, tiny(), run_name="mine")
    assert not read_catalog(catalog).runs


def test_it_ends_early_where_nothing_improves(catalog: Path, use: Any) -> None:
    del use
    entry = sweep(catalog, tiny(generations=9, min_improvement=1.0, improve_within=2))
    state = state_of(catalog, entry.run)
    assert state.stopped == "no improvement"
    assert state.history[-1].generation == 2


def test_held_back_samples_decide_where_there_are_some(catalog: Path, use: Any) -> None:
    del use
    with_held = {**TINY["train"], "masks": {"sample_validation": 0.2}}
    entry = sweep(catalog, tiny(train=with_held, generations=1))
    state = state_of(catalog, entry.run)
    assert state.metric == "val_held_nll"
    assert entry.metrics["val_held_nll"] == min(state.history, key=lambda r: r.metric or 0).last


def test_a_complete_sweep_is_trained_on_like_any_run(catalog: Path, use: Any) -> None:
    del use
    entry = sweep(catalog, tiny(), run_name="mine")
    config = read_config(catalog.parent / entry.path, run_key=None)
    assert config is not None
    longer = config.settings.model_copy(update={"max_steps": entry.steps + 6})
    assert train(catalog, longer, resume="mine").steps == entry.steps + 6
    again = read_config(catalog.parent / entry.path, run_key=None)
    assert again is not None
    assert again.sweep == "pbt"


def test_a_kill_after_the_last_file_leaves_a_complete_run(
    catalog: Path, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del use

    rmtree = stage.shutil.rmtree

    def killed(folder: Path, **words: Any) -> None:
        if folder.name == "members":
            raise KeyboardInterrupt
        rmtree(folder, **words)

    with monkeypatch.context() as patch:
        patch.setattr(stage.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(catalog, tiny(), run_name="mine")
    events: list[Any] = []
    sweep(catalog, tiny(), run_name="mine", report=events.append)
    assert set(read_catalog(catalog).runs) == {"mine"}
    assert not (catalog.parent / "runs" / "mine" / "members").exists()


def test_a_name_belongs_to_one_sweep_and_force_takes_it(catalog: Path, use: Any) -> None:
    del use
    sweep(catalog, tiny(generations=1), run_name="mine")
    with pytest.raises(SettingsError, match=r"taken.*--force"):
        sweep(catalog, tiny(generations=2), run_name="mine")
    assert sweep(catalog, tiny(generations=2), run_name="mine", force=True).steps <= 12
    with pytest.raises(SettingsError, match="run name"):
        sweep(catalog, tiny(), run_name="../mine")


def test_without_validation_trials_members_cannot_be_compared(
    tmp_path: Path, use: Any, enter_recording: Any, recording: Any
) -> None:
    del use
    recipe = IngestRecipe(split=SplitSettings(train=0.8, val=0.0, test=0.2))
    enter_recording(tmp_path / "catalog.yaml", recording, recipe)
    with pytest.raises(DataError, match=r"No session has validation trials.*split\.val"):
        sweep(tmp_path / "catalog.yaml", tiny())


def test_without_ray_it_says_what_to_install(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwb_latents.pipeline.cluster.ray_tune.find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"pip install 'nwb-latents\[sweep\]'"):
        sweep(catalog, tiny())
    assert not (catalog.parent / "runs").exists()


def test_a_damaged_state_says_what_to_do(catalog: Path, use: Any) -> None:
    use(Serial(stop_after=5))
    with pytest.raises(KeyboardInterrupt):
        sweep(catalog, tiny(), run_name="mine")
    (catalog.parent / "runs/mine/sweep.json").write_text("{}")
    with pytest.raises(DataError, match=r"sweep\.json: run: expected a value, found none.*--force"):
        sweep(catalog, tiny(), run_name="mine")
    (catalog.parent / "runs/mine/sweep.json").write_text("{")
    with pytest.raises(DataError, match=r"sweep\.json: cannot be read as JSON.*--force"):
        sweep(catalog, tiny(), run_name="mine")
