"""Train small models in one process of several: ``python fit_in_ranks.py JOB``, a file of JSON.

`fit_together` starts them. What is drawn and how it is split hangs on the job alone.

Adam divides a gradient by its own size: where it is zero but for rounding, one process and several would go
ways of their own. `SMALL_GRADIENT` is large beside rounding, so that all weights can be compared.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path[:0] = [str(Path(__file__).parents[1])]

from training.conftest import _dataset  # noqa: E402

from nwb_latents.models.registry import build_model  # noqa: E402
from nwb_latents.pipeline.stores.session import session_in_memory  # noqa: E402
from nwb_latents.pipeline.training.feed import feed_sessions  # noqa: E402
from nwb_latents.pipeline.training.loop import fit  # noqa: E402
from nwb_latents.pipeline.training.ranks import ALONE, Rank  # noqa: E402
from nwb_latents.schemas.training import TrainSettings  # noqa: E402

SMALL_GRADIENT = 1e-4
"""Added to the size Adam divides by; its own is 1e-8."""


def fit_together(folder: Path, trainings: dict[str, dict[str, Any]], *, n: int) -> None:
    """Train in `n` fresh processes, one training after the other: folder → settings and words of `fit`.

    One alone is a fresh process too: what other tests have left in this one is in none of them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for number in range(n):
        path = folder / f"job-{number}.json"
        rank = {"number": number, "of": n, "local": number, "on_node": n, "port": port}
        job = {"folder": str(folder), "trainings": trainings, "rank": rank if n > 1 else None}
        path.write_text(json.dumps(job))
        started.append(
            subprocess.Popen(
                [sys.executable, str(Path(__file__)), str(path)],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    said = [each.communicate(timeout=240)[0] for each in started]
    assert [each.returncode for each in started] == [0] * n, "\n".join(said)


def fit_one(folder: Path, training: dict[str, Any], rank: Any) -> None:
    """Do one training in this process."""
    settings = TrainSettings.model_validate(training["settings"])
    stores = [_dataset(f"s{k}", n_trials=15 + 3 * k, n_units=4 + k % 3, seed=k, n_bins=12) for k in range(5)]
    stores = stores[: training.get("n_sessions", 5)]
    feeds = feed_sessions(map(session_in_memory, stores), settings)
    model = build_model(settings.model, {name: one.train.n_units for name, one in feeds.items()}, seed=0)
    steady = functools.partial(torch.optim.AdamW, eps=SMALL_GRADIENT)
    with mock.patch.object(torch.optim, "AdamW", steady):
        fit(model, feeds, settings, folder, rank=rank, resume=True, stop_at=training.get("stop_at"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    job = json.loads(Path(sys.argv[1]).read_text())
    for name, each in job["trainings"].items():
        fit_one(Path(job["folder"]) / name, each, Rank(**job["rank"]) if job["rank"] else ALONE)
