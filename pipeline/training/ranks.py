"""Which of the processes of a training this one is.

A training on one device is one process, whatever the variables of a batch system or of a launcher say; they
are not looked at. On several devices there is one process for each, and each is told its place by whoever
started it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from lightning_fabric.plugins.environments import ClusterEnvironment

LONGEST_WAIT = timedelta(minutes=30)
"""A process that hears nothing of the others for so long ends: validating and writing take less."""


@dataclass(frozen=True)
class Rank:
    """The place of a process among those that train one model.

    Attributes
    ----------
    number, of
        Its number, counted from 0, and how many there are.
    local, on_node
        Its number among those of its machine, and how many these are.
    address, port
        Where the first one is met; of one process alone nobody asks.
    """

    number: int = 0
    of: int = 1
    local: int = 0
    on_node: int = 1
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and reports.

        Examples
        --------
        >>> Rank().is_first, Rank(number=1, of=2).is_first
        (True, False)
        """
        return self.number == 0


ALONE = Rank()
"""A training on one device."""


class ToldEnvironment(ClusterEnvironment):  # type: ignore[misc]
    """What Lightning Fabric asks of a cluster, answered by a `Rank` and by nothing else.

    Fabric's own environments look at the variables of SLURM, LSF, MPI and torchrun, and take any process of a
    job of several tasks for one of a training on several devices.

    Examples
    --------
    >>> told = ToldEnvironment(Rank(number=1, of=2))
    >>> told.global_rank(), told.world_size()
    (1, 2)
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        """Whether others start the processes: they do."""
        return True

    @property
    def main_address(self) -> str:
        """Where the first process is met."""
        return self.rank.address

    @property
    def main_port(self) -> int:
        """Port of that."""
        return self.rank.port

    @staticmethod
    def detect() -> bool:
        """Return False: it is never found, only told."""
        return False

    def world_size(self) -> int:
        """Return how many processes there are."""
        return self.rank.of

    def set_world_size(self, size: int) -> None:
        """Leave it as it was told."""

    def global_rank(self) -> int:
        """Return the number of this one."""
        return self.rank.number

    def set_global_rank(self, rank: int) -> None:
        """Leave it as it was told."""

    def local_rank(self) -> int:
        """Return its number on this machine."""
        return self.rank.local

    def node_rank(self) -> int:
        """Return the number of this machine."""
        return self.rank.number // self.rank.on_node
