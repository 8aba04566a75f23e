"""Workers of a dask cluster that do not have this program, or have another version of it."""

from __future__ import annotations

import pkgutil
import sys
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.strangers import ANSWER_SECONDS, VERSION, own_version, strangers

if TYPE_CHECKING:
    from distributed import Client


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
    answers = {
        worker: answer.exception() if answer.status == "error" else answer.result()
        for worker, answer in asked.items()
        if answer.status in {"error", "finished"}
    }
    found = strangers(answers, what="worker")
    if not found:
        return ""
    return (
        f"{found}. Install nwb-latents {own_version()} in the environment the workers run in, or start them "
        f"in this one, with `{sys.executable} -P -m distributed.cli.dask_worker {client.scheduler.address}`."
    )
