"""Tasks of a search as trials of Ray Tune: order, results, errors, processes that die."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from nwb_latents.pipeline.cluster.ray_strangers import remedy_for_strange_nodes
from nwb_latents.pipeline.cluster.ray_tune import RayWorkers, ray_workers
from nwb_latents.pipeline.errors import DataError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nwb_latents.schemas.events import NoteEvent

pytest.importorskip("ray.tune")
pytestmark = [pytest.mark.slow, pytest.mark.cluster]

NOTES: list[NoteEvent] = []


class Rounds:
    """Tasks of which the next round begins once the last of a round is done."""

    def __init__(self, *rounds: Sequence[Any]) -> None:
        self.rounds = [list(tasks) for tasks in rounds]
        self.results: list[dict[Any, Any]] = []
        self.left: set[Any] = set()

    def next_task(self) -> Any:
        if not self.left and self.rounds:
            self.waiting = self.rounds.pop(0)
            self.left = set(self.waiting)
            self.results.append({})
        return self.waiting.pop(0) if self.waiting else None

    def done(self, task: Any, result: Any) -> None:
        self.left.remove(task)
        self.results[-1][task] = result


@pytest.fixture(scope="module")
def workers() -> Iterator[RayWorkers]:
    """Two workers, and what they report in `NOTES`."""
    with ray_workers(2, gpus=False, report=NOTES.append) as opened:
        yield opened


def test_every_task_is_done_once_and_in_its_round(
    workers: RayWorkers, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    began = tmp_path / "began"

    def squared(n: int) -> int:
        with began.open("a") as file:
            file.write(f"{n}\n")
        return n * n

    search = Rounds([3, 1, 2], [5, 4])
    workers.run(squared, search, folder=tmp_path / "tune")
    assert workers.gpu_share == 0
    assert search.results == [{1: 1, 2: 4, 3: 9}, {4: 16, 5: 25}]
    order = [int(line) for line in began.read_text().splitlines()]
    assert (set(order[:3]), set(order[3:])) == ({1, 2, 3}, {4, 5})
    assert capfd.readouterr() == ("", "")


def test_a_task_whose_process_dies_is_begun_again_and_reported(workers: RayWorkers, tmp_path: Path) -> None:
    tried = tmp_path / "tried"

    def dies_once(n: int) -> int:
        import signal

        if n == 1 and not tried.exists():
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -n

    NOTES.clear()
    search = Rounds([0, 1, 2])
    workers.run(dies_once, search, folder=tmp_path / "tune")
    assert search.results == [{0: 0, 1: -1, 2: -2}]
    (note,) = NOTES
    assert note.text.startswith("1: its worker process died, begun again (1 of 3")


def test_a_task_whose_process_dies_again_and_again_ends_it(
    workers: RayWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nwb_latents.pipeline.cluster import tune_trials

    waited: list[float] = []
    monkeypatch.setattr(tune_trials, "sleep", waited.append)

    def dies(n: int) -> int:
        import signal

        with (tmp_path / "tried").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(MachineError, match=r"7: its worker process died 4 times.* fewer --workers"):
        workers.run(dies, Rounds([7]), folder=tmp_path / "tune")
    assert (tmp_path / "tried").read_text() == "xxxx"
    # Longer each time, for a node that is gone to be noticed.
    assert waited == [1.0, 5.0, 15.0]


def test_an_error_of_ours_comes_back_as_it_is_and_at_once(workers: RayWorkers, tmp_path: Path) -> None:
    tried = tmp_path / "tried"

    def refuses(n: int) -> int:
        with tried.open("a") as file:
            file.write("x")
        raise DataError(f"a.nwb: no units in {n}")

    with pytest.raises(DataError, match=r"^a\.nwb: no units in 3$"):
        workers.run(refuses, Rounds([3]), folder=tmp_path / "tune")
    assert tried.read_text() == "x"
    # They go on to other work.
    search = Rounds([1])
    workers.run(lambda n: n + 1, search, folder=tmp_path / "again")
    assert search.results == [{1: 2}]


def test_an_error_of_the_program_says_where_in_the_worker_it_was(workers: RayWorkers, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        workers.run(lambda n: n / 0, Rounds([1]), folder=tmp_path / "tune")
    assert "ZeroDivisionError" in raised.value.__notes__[0]
    assert "test_ray_tune.py" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("nowhere_installed:__version__", "did not find this program: No module named 'nowhere_installed'"),
        ("ray:__version__", r"with nwb-latents \d+\."),
    ],
    ids=["without the program", "of another version"],
)
def test_a_node_without_this_program_is_named_with_what_to_do(
    workers: RayWorkers, version: str, said: str
) -> None:
    found = remedy_for_strange_nodes("head:6379", version=version)
    assert re.match(rf"Ray at head:6379: the node \S+ \([\d.]+\) {said}", found)
    assert re.search(r"Install nwb-latents \S+ in the environment .* start --address=head:6379", found)


def test_nodes_that_have_this_program_are_in_order(workers: RayWorkers) -> None:
    assert remedy_for_strange_nodes("head:6379") == ""


def test_an_address_where_nobody_listens_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(MachineError, match=rf"Nothing answers at 127.0.0.1:{port} .*ray start --head"),
        ray_workers(1, gpus=False, address=f"127.0.0.1:{port}", report=lambda event: None),
    ):
        pass
