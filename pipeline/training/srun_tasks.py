"""A training whose processes ``srun`` has started: which of them this one is, and how they meet.

``srun --ntasks-per-node=4 pipeline run train --devices 8`` starts the same command eight times on two
machines. Its variables are looked at for several devices alone. The first task plans the run, holds its
folder and enters it in the catalog; the others wait for what it tells them, train their share, and end as it
ends.
"""

from __future__ import annotations

import json
import os
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from torch import distributed

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.training.ranks import LONGEST_WAIT, Rank

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_PORT, N_PORTS = 15_000, 10_000
FAREWELL_S = 15.0
"""How long the first task waits for the others to hear how it ended."""

_POLL_S = 0.1


def srun_rank(devices: int, environment: Mapping[str, str] | None = None) -> Rank | None:
    """Return the place of this process among the tasks of ``srun``; None where it was not started so.

    Parameters
    ----------
    devices
        Devices asked for. For one the environment is not looked at.
    environment
        Variables; None: those of this process.

    Raises
    ------
    SettingsError
        If there are more or fewer tasks than devices, or not as many on each machine.

    Examples
    --------
    >>> told = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    ...         "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "n[07-08]",
    ...         "SLURM_JOB_ID": "5"}
    >>> srun_rank(1, told)
    >>> srun_rank(4, told)
    Rank(number=3, of=4, local=1, on_node=2, address='n07', port=15005)
    """
    if devices == 1:
        return None
    told = os.environ if environment is None else environment
    n = int(told.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_STEP_ID" not in told or n == 1:
        return None
    if n != devices:
        raise SettingsError(
            f"devices: {devices} were asked for, and srun has started {n} tasks, of which each would be one "
            f"device. Use --devices {n}, or srun --ntasks={devices}; outside srun, one command starts the "
            "processes of its machine by itself.",
            setting="devices",
        )
    shape = told.get("SLURM_STEP_TASKS_PER_NODE", str(n))
    on_node = re.fullmatch(r"(\d+)(\(x\d+\))?", shape)
    if on_node is None:
        raise SettingsError(
            f"devices: srun has started {shape} tasks on its machines (SLURM_STEP_TASKS_PER_NODE), and a "
            "training needs as many on each. Use srun --ntasks-per-node.",
            setting="devices",
        )
    from lightning_fabric.plugins.environments import SLURMEnvironment  # noqa: PLC0415

    nodes = told.get("SLURM_STEP_NODELIST", told.get("SLURM_JOB_NODELIST", "127.0.0.1"))
    job = int(told.get("SLURM_JOB_ID", "0")) + 17 * int(told["SLURM_STEP_ID"])
    return Rank(
        number=int(told.get("SLURM_PROCID", "0")),
        of=n,
        local=int(told.get("SLURM_LOCALID", "0")),
        on_node=int(on_node.group(1)),
        address=SLURMEnvironment.resolve_root_node_address(nodes),
        port=FIRST_PORT + job % N_PORTS,
    )


class Meeting:
    """Where the tasks of a training tell each other what to do and how it ended.

    Parameters
    ----------
    rank
        The place of this task; the first one keeps the place.

    Raises
    ------
    MachineError
        If the first task is not met.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        try:
            self._store = distributed.TCPStore(  # type: ignore[attr-defined]
                rank.address,
                rank.port,
                is_master=rank.is_first,
                timeout=LONGEST_WAIT if rank.is_first else timedelta(minutes=5),
                wait_for_workers=False,
            )
        except RuntimeError as error:
            raise MachineError(
                f"task {rank.number + 1} of {rank.of}: the first task is not met at {rank.address}:"
                f"{rank.port} ({_first_line(error)}). See whether it runs, and whether its machine can be "
                "reached from here."
            ) from error

    def tell(self, kind: str, content: object) -> None:
        """Tell the other tasks; the first one does."""
        self._store.set(kind, json.dumps(content))

    def hear(self, *kinds: str) -> tuple[str, Any]:
        """Wait for the first of several things to be told.

        Raises
        ------
        MachineError
            If the first task is gone.
        """
        try:
            while True:
                for kind in kinds:
                    if self._store.check([kind]):
                        return kind, json.loads(self._store.get(kind))
                time.sleep(_POLL_S)
        except RuntimeError as error:
            raise MachineError(
                f"task {self.rank.number + 1} of {self.rank.of}: the first task of this training is gone "
                f"({_first_line(error)}). Run the same command again: it goes on from the last checkpoint."
            ) from error

    def part(self) -> None:
        """Say that this task has heard how it ended; the first waits a while for all others to say so."""
        heard = self._store.add("heard", int(not self.rank.is_first))
        until = time.monotonic() + FAREWELL_S
        while self.rank.is_first and heard < self.rank.of - 1 and time.monotonic() < until:
            time.sleep(_POLL_S)
            heard = self._store.add("heard", 0)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
