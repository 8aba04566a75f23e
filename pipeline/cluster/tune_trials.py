"""What Ray Tune is given: whom it asks for trials, what a trial does, and who is told when one dies."""

from __future__ import annotations

import sys
import traceback
from time import sleep
from typing import TYPE_CHECKING, Any

from ray.tune import Callback, Trainable
from ray.tune.search import Searcher

from nwb_latents.pipeline.errors import MachineError, PipelineError
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ray.tune.experiment import Trial

    from nwb_latents.pipeline.cluster.ray_tune import Search
    from nwb_latents.pipeline.cluster.task_batch import Report

RETRIES = 3
"""Times a trial is begun again after its process died."""

WAITS_S = (1.0, 5.0, 15.0)
"""How long before that: until Ray has noticed that a node is gone it sends trials there, and memory takes a
while to be free again."""


class WorkTrial(Trainable):  # type: ignore[misc] # Ray is not typed for us
    """A trial that does one task.

    What the work raises is a result: to Tune a trial fails, and is begun again, if its process dies and only
    then.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take the task."""
        self._work, self._task = config["work"], config["task"]
        # Ray puts the folder the program was started in before everything else: a file of the user's there
        # would be taken for a module of Python's.
        sys.path[:] = [place for place in sys.path if place not in config["unsearched"]]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another task; the process, with torch imported and the sessions read, stays."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Do the task."""
        try:
            return {"found": self._work(self._task), "done": True}
        except PipelineError as error:
            return {"found": error, "done": True}
        except Exception as error:
            error.add_note(traceback.format_exc())
            return {"found": error, "done": True}


class TuneSearch(Searcher):  # type: ignore[misc] # Ray is not typed for us
    """Asks a search for tasks in the name of Tune.

    Parameters
    ----------
    work
        What is done with every task.
    search
        Says which tasks there are.
    unsearched
        Folders in which trials look for no modules.
    """

    def __init__(
        self, work: Callable[[Any], Any], search: Search[Any, Any], *, unsearched: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.is_over = False
        self._work = work
        self._search = search
        self._unsearched = tuple(unsearched)
        self._under_way: dict[str, Any] = {}
        self._ended: list[tuple[Any, Any]] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Pass on the results there are, and return the next task, if there is one.

        Results are passed on here since Tune keeps to itself what is raised where it reports them.
        """
        while self._ended:
            task, found = self._ended.pop(0)
            if isinstance(found, Exception):
                raise found
            self._search.done(task, found)
        task = self._search.next_task()
        if task is not None:
            self._under_way[trial_id] = task
            return {"work": self._work, "task": task, "unsearched": self._unsearched}
        self.is_over = not self._under_way
        return str(Searcher.FINISHED) if self.is_over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, *, error: bool = False
    ) -> None:
        """Take what came of a trial; without a result, its process died once too often."""
        task = self._under_way.pop(trial_id)
        died = MachineError(
            f"{task}: its worker process died {RETRIES + 1} times: it was killed, or ran out of "
            "memory. Use fewer --workers or a smaller model; the same command goes on where it was."
        )
        self._ended.append((task, died if error or result is None else result["found"]))


class Deaths(Callback):  # type: ignore[misc] # Ray is not typed for us
    """Reports every trial that is begun again, and waits a little before it is.

    Parameters
    ----------
    report
        Is told.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tell of a trial whose process died."""
        reason = "killed from outside, out of memory, or a crash"
        task, n = trial.config["task"], trial.num_failures
        text = f"{task}: its worker process died, begun again ({n} of {RETRIES}; {reason})"
        self._report(NoteEvent(text=text, status="begun again", reason=reason))
        sleep(WAITS_S[min(n, len(WAITS_S)) - 1])
