"""Worker processes of Ray: results, errors, processes that die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipeline.cluster.ray_workers import RETRIES, RayWorkers, ray_workers
from pipeline.errors import DataError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.cluster]

NOTES: list[dict[str, Any]] = []


@pytest.fixture(scope="module")
def workers() -> Iterator[RayWorkers]:
    """Two workers, and what they report in `NOTES`."""
    with ray_workers(2, gpus=False, report=NOTES.append) as opened:
        yield opened


def test_every_task_is_done_once(workers: RayWorkers) -> None:
    assert workers.gpu_share == 0
    assert sorted(workers.each(lambda n: n * n, range(5))) == [(n, n * n) for n in range(5)]


def test_a_task_whose_process_dies_is_begun_again_and_reported(workers: RayWorkers, tmp_path: Path) -> None:
    tried = tmp_path / "tried"

    def dies_once(n: int) -> int:
        import os
        import signal

        if n == 1 and not tried.exists():
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -n

    NOTES.clear()
    assert dict(workers.each(dies_once, [0, 1, 2])) == {0: 0, 1: -1, 2: -2}
    (note,) = NOTES
    assert note["text"].startswith(f"1: its worker process died, begun again (1 of {RETRIES}")


def test_a_task_whose_process_dies_again_and_again_ends_it(workers: RayWorkers, tmp_path: Path) -> None:
    def dies(n: int) -> int:
        import os
        import signal

        with (tmp_path / "tried").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(MachineError, match=r"7: its worker process died 4 times .* fewer --workers"):
        list(workers.each(dies, [7]))
    assert (tmp_path / "tried").read_text() == "x" * (RETRIES + 1)


def test_an_error_of_ours_comes_back_as_it_is(workers: RayWorkers) -> None:
    def refuses(n: int) -> int:
        raise DataError(f"a.nwb: no units in {n}")

    with pytest.raises(DataError, match=r"^a\.nwb: no units in 3$"):
        list(workers.each(refuses, [3]))
    # They go on to other work.
    assert list(workers.each(lambda n: n + 1, [1])) == [(1, 2)]
