"""One of the processes of a training on several devices, started as a module by `train_devices`.

It reads a job from its standard input, and says on its standard output, line by line, what happens. A line
``stop`` asks it to end after the step it is in; where its standard input ends, whoever started it is gone,
and so is it at once.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from nwb_latents.schemas.events import Event


class Voice:
    """What a process says to whoever started it.

    Parameters
    ----------
    out
        Where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, threading.Lock()

    def say(self, kind: str, content: object) -> None:
        """Write one line, a kind and its content."""
        with self._lock:
            self._out.write(json.dumps({kind: content}) + "\n")
            self._out.flush()


def main() -> None:
    """Do the job that is read from standard input."""
    # A Ctrl-C at the terminal is for whoever started it, and so is one that other programs print.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    voice = Voice(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    try:
        voice.say("result", asdict(_train(job, voice, stop)))
    except KeyboardInterrupt:
        voice.say("stopped", None)
    except BaseException as error:
        error.add_note("".join(traceback.format_exception(error)))
        voice.say("error", encoded(error))
        # Groups of processes wait for each other as they are taken down; one of them has failed.
        sys.stderr.flush()
        os._exit(1)


def encoded(error: BaseException) -> str:
    """Return an error as text that `decoded` makes one of."""
    try:
        return base64.b64encode(pickle.dumps(error)).decode()
    except Exception:
        return base64.b64encode(pickle.dumps(RuntimeError(str(error)))).decode()


def decoded(text: str) -> BaseException:
    """Return the error that another process has met.

    Examples
    --------
    >>> decoded(encoded(ValueError("no")))
    ValueError('no')
    """
    try:
        error = pickle.loads(base64.b64decode(text))  # noqa: S301 - written by a process this one started
    except Exception as reason:
        return RuntimeError(f"an error that cannot be told ({reason})")
    return error if isinstance(error, BaseException) else RuntimeError(str(error))


def _listen(stop: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "stop":
            stop.set()
    os._exit(1)


def _train(job: dict[str, Any], voice: Voice, stop: threading.Event) -> Any:
    from nwb_latents.pipeline.errors import CatalogWarning  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report import ignore  # noqa: PLC0415
    from nwb_latents.pipeline.stages.train_model import train_model  # noqa: PLC0415
    from nwb_latents.pipeline.stores.location import StoreLocation  # noqa: PLC0415
    from nwb_latents.pipeline.training.ranks import Rank  # noqa: PLC0415
    from nwb_latents.schemas.training import TrainSettings  # noqa: PLC0415

    rank = Rank(**job["rank"])

    def report(event: Event) -> None:
        voice.say("event", event.line())

    def asked() -> bool:
        if not looked:
            voice.say("begun", None)
            looked.append(True)
        return stop.is_set()

    looked: list[bool] = []

    show = warnings.showwarning

    def warn(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, CatalogWarning):
            voice.say("warning", str(message))
        else:
            show(message, category, *place, **more)

    # What the others have to say, the first one says too.
    if rank.is_first:
        warnings.showwarning = warn
    else:
        warnings.simplefilter("ignore")
    return train_model(
        [StoreLocation.parse(each) for each in job["stores"]],
        TrainSettings.model_validate(job["settings"]),
        Path(job["run_dir"]),
        force=job["force"],
        room=job["room"],
        report=report if rank.is_first else ignore,
        rank=rank,
        asked_to_stop=asked,
    )


if __name__ == "__main__":
    main()
