"""Workers of a dask cluster that do not have this program, or have another version of it."""

from __future__ import annotations

import pkgutil
import sys
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS = 10.0
"""Workers that are busy for so long are taken to be in order."""

MOST_NAMED = 3
VERSION = "nwb_latents:__version__"


def remedy_for_strangers(client: Client) -> str:
    """Ask every worker for its version of this program; return what is wrong and what to do, or nothing.

    What is asked needs nothing but Python on the worker.
    """
    from distributed import wait  # noqa: PLC0415

    asked = {
        worker: client.submit(
            pkgutil.resolve_name, VERSION,
            workers=[worker], key=f"version-{uuid.uuid4().hex}", pure=False, priority=1,
        )
        for worker in client.nthreads()
    }  # fmt: skip
    with suppress(TimeoutError):
        wait(list(asked.values()), timeout=ANSWER_SECONDS)
    mine = pkgutil.resolve_name(VERSION)
    strangers: dict[str, list[str]] = {}
    for worker, answer in asked.items():
        if answer.status == "error":
            strangers.setdefault(f"did not find this program: {answer.exception()}", []).append(worker)
        elif answer.status == "finished" and answer.result() != mine:
            strangers.setdefault(f"with nwb-latents {answer.result()}", []).append(worker)
    if not strangers:
        return ""
    found = "; ".join(f"{_some(workers)} {what}" for what, workers in strangers.items())
    return (
        f"{found}. Install nwb-latents {mine} in the environment the workers run in, or start them in "
        f"this one, with `{sys.executable} -P -m distributed.cli.dask_worker {client.scheduler.address}`."
    )


def _some(workers: list[str]) -> str:
    if len(workers) == 1:
        return f"the worker {workers[0]}"
    more = f" and {len(workers) - MOST_NAMED} more" if len(workers) > MOST_NAMED else ""
    return f"the workers {', '.join(workers[:MOST_NAMED])}{more}"
