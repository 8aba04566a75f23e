"""A metric of another distribution is measured, compared and shown like those of this project."""

from __future__ import annotations

import csv
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import PartialFailure, SettingsError
from nwb_latents.pipeline.evaluation.leaderboard_files import legend
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.metrics.resampling import MeanOf
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.leaderboard import leaderboard
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas import registry
from nwb_latents.schemas.evaluation import EvaluateSettings

GROUP = registry.METRICS.group


class TrialMeans:
    """Mean over trials of one number each."""

    def __init__(self, values):
        self.values = np.asarray(values, dtype=float)

    @property
    def n_trials(self):
        return len(self.values)

    def value(self, weights):
        return weights @ self.values / weights.sum(axis=1)


def squared_error(session, made):
    """Mean square of rates minus spikes of the held-in units: less is better."""
    error = made.rates.eval[..., : session.n_heldin] - session.answers.eval_heldin
    return MeanOf((TrialMeans(np.square(error).mean(axis=(1, 2))),))


def not_of_conditions(session, made):
    raise CannotBeHadError("no trial was rewarded")


def fails(session, made):
    return 1 / 0


def metric(name, compute, **more):
    return Metric(
        name=name, title=name.replace("_", " "), meaning=f"What {name} is.", unit="spikes²",
        compute={"reconstruction": compute}, **more,
    )  # fmt: skip


PARTS = SimpleNamespace(
    spike_error=metric("spike_error", squared_error, better="less", order=5, source="Somebody 2026"),
    rewarded_bps=metric("rewarded_bps", not_of_conditions),
    broken_bps=metric("broken_bps", fails),
    misnamed=metric("another_name", fails),
)


@pytest.fixture
def installed(monkeypatch):
    """Have metrics of a distribution beside those of this project, of these names."""
    found = registry._by_name
    own = dict(found(GROUP))
    monkeypatch.setitem(sys.modules, "toy_metrics", PARTS)

    def install(*names):
        more = {name: (EntryPoint(name, f"toy_metrics:{name}", GROUP),) for name in names}
        monkeypatch.setattr(
            registry, "_by_name", lambda group: own | more if group == GROUP else found(group)
        )

    monkeypatch.setattr(registry.METRICS, "_loaded", {})
    return install


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    enter_recording(path, as_recording(make_reaches(n_trials=40, n_units=8, seed=0)), subject="A")
    return path


def settings(*names):
    """Settings as `--set` gives them."""
    words = [f"metrics=[{','.join(names)}]", "baselines=[null,condition_mean,pca]", "n_resamples=20"]
    return settings_from(EvaluateSettings, words=words)


def test_a_metric_where_less_is_better_is_ordered_and_shown_so(installed, catalog, tmp_path):
    installed("spike_error")
    done = evaluate(catalog, settings("spike_error", "psth_r2"))
    mine = {one.source: one for one in done if one.name == "spike_error"}
    assert all(one.low <= one.value <= one.high for one in mine.values())
    assert {one.unit for one in mine.values()} == {"spikes²"}
    (board,) = leaderboard(catalog)
    assert board.ranked_by == "spike_error"
    values = [row.cells["spike_error"].value for row in board.rows]
    assert values == sorted(values)
    assert "less is better in spike error" in legend(board)[0]
    for name in ("board.csv", "board.md", "board.html"):
        leaderboard(catalog, output=tmp_path / name)
    with (tmp_path / "board.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "spike_error"]
    assert {row["source"]: float(row["value"]) for row in rows} == {
        source: one.value for source, one in mine.items()
    }
    for name in ("board.md", "board.html"):
        text = (tmp_path / name).read_text()
        assert "spike error (spikes²)" in text
        assert "What spike_error is." in text


def test_without_its_distribution_its_numbers_are_still_shown(installed, catalog):
    installed("spike_error")
    evaluate(catalog, settings("spike_error"))
    installed()
    registry.METRICS._loaded.clear()
    (board,) = leaderboard(catalog)
    assert [column.key for column in board.columns] == ["spike_error"]
    assert "not installed" in " ".join(legend(board))


def test_what_a_metric_cannot_have_is_written_down_and_not_asked_again(installed, catalog):
    installed("rewarded_bps")
    done = evaluate(catalog, settings("rewarded_bps"))
    assert {(one.value, one.reason) for one in done} == {(None, "no trial was rewarded")}
    assert evaluate(catalog, settings("rewarded_bps")) == done
    assert len(read_measurements(catalog, latest=False)) == len(done)


def test_a_metric_that_fails_fails_alone_and_is_tried_again(installed, catalog):
    installed("broken_bps")
    events = []
    with pytest.raises(PartialFailure, match="broken_bps of null on") as caught:
        evaluate(catalog, settings("broken_bps", "psth_r2"), report=events.append)
    assert {one.name for one in caught.value.results} == {"psth_r2"}
    assert set(read_measurements(catalog)["name"]) == {"psth_r2"}
    told = [event.model_dump() for event in events]
    failed = [event for event in told if event["event"] == "metric"]
    assert len(failed) == 3
    with pytest.raises(PartialFailure, match="ZeroDivisionError"):
        evaluate(catalog, settings("broken_bps", "psth_r2"))


def test_a_metric_that_does_not_load_is_said_and_the_others_are_measured(installed, catalog):
    installed("missing_bps", "misnamed")
    with pytest.raises(PartialFailure, match="missing_bps") as caught:
        evaluate(catalog, settings("psth_r2").model_copy(update={"metrics": None}))
    said = str(caught.value)
    assert "cannot be loaded" in said
    assert "is a metric called another_name" in said
    assert {"psth_r2", "nlb_velocity_r2"} <= {one.name for one in caught.value.results}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "My metric"}, "lower case"),
        ({"meaning": ""}, "meaning is empty"),
        ({"compute": {}}, "compute is empty"),
        ({"compute": {"rates": fails}}, "no part 'rates'"),
        ({"needs": ("truth",)}, "no need 'truth'"),
        ({"better": "higher"}, "better is 'higher'"),
    ],
)
def test_a_metric_that_is_not_described_well_enough_is_refused(changes, fault):
    whole = {"name": "a", "title": "a", "meaning": "A.", "compute": {"reconstruction": fails}}
    with pytest.raises(SettingsError, match=fault):
        Metric(**{**whole, **changes})
