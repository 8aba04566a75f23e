"""Train one small model in one process of several: ``python fit_in_ranks.py JOB``, a file of JSON.

`fit_together` starts them. What is drawn and how it is split hangs on the job alone.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
N_SESSIONS = 5


def fit_together(run_dir: Path, settings: dict[str, Any], *, n: int, **job: Any) -> list[subprocess.Popen[str]]:
    """Start the `n` processes of a training; `job` holds words of `fit`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for number in range(n):
        path = run_dir.parent / f"{run_dir.name}-{number}.json"
        told = {"settings": settings, "run_dir": str(run_dir), "number": number, "of": n, "port": port}
        path.write_text(json.dumps(told | job))
        started.append(
            subprocess.Popen(
                [sys.executable, str(Path(__file__)), str(path)],
                env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    return started


def finished(started: list[subprocess.Popen[str]], *, timeout: float = 240) -> None:
    """Wait for processes that are all to end well."""
    said = [each.communicate(timeout=timeout)[0] for each in started]
    assert [each.returncode for each in started] == [0] * len(started), "\n".join(said)


def main(job: dict[str, Any]) -> None:
    import torch

    sys.path.insert(0, str(HERE))
    from conftest import _dataset

    from nwb_latents.models.registry import build_model
    from nwb_latents.pipeline.stores.session import session_in_memory
    from nwb_latents.pipeline.training.feed import feed_sessions
    from nwb_latents.pipeline.training.loop import fit
    from nwb_latents.pipeline.training.ranks import Rank
    from nwb_latents.schemas.training import TrainSettings

    torch.set_num_threads(1)
    settings = TrainSettings.model_validate(job["settings"])
    n = job.get("n_sessions", N_SESSIONS)
    stores = [_dataset(f"s{k}", n_trials=15 + 3 * k, n_units=4 + k % 3, seed=k, n_bins=12) for k in range(n)]
    feeds = feed_sessions(map(session_in_memory, stores), settings)
    model = build_model(settings.model, {name: one.train.n_units for name, one in feeds.items()}, seed=0)
    number, of = job["number"], job["of"]
    rank = Rank(number=number, of=of, local=number, on_node=of, port=job["port"])
    fit(
        model, feeds, settings, Path(job["run_dir"]),
        rank=rank, resume=True, stop_at=job.get("stop_at"),
    )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
