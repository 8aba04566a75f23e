"""Settings of a batch system given to what is none."""

from __future__ import annotations

from nwb_latents.pipeline.cluster.runner import run_tasks
from nwb_latents.pipeline.cluster.task_batch import Work
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas.cluster import ClusterSettings


def said(settings):
    events = []
    work = Work(lambda _, task, report: task, None, lambda task, why: None, lambda result: False)
    assert [done.result for done in run_tasks(work, [1], report=events.append, settings=settings)] == [1]
    return [event.text for event in events]


def test_settings_that_a_cluster_does_not_heed_are_told(tmp_path):
    (text,) = said(ClusterSettings(queue="long", worker_patience_s=9))
    assert text.startswith("--cluster serial does not heed queue, worker_patience_s of the settings")
    file = tmp_path / "cluster.yaml"
    file.write_text("memory: 4GB\n")
    (text,) = said(settings_from(ClusterSettings, file=file))
    assert "does not heed memory of" in text


def test_settings_nobody_gave_are_not_told():
    assert said(None) == said(ClusterSettings()) == said(settings_from(ClusterSettings, file=None)) == []
