"""``pipeline run stream``: bin-by-bin decoding of a session, or of counts that are read."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    JsonOption,
    QuietOption,
    SetOption,
    UnseenOption,
    VerboseOption,
    WhateverSizeOption,
    given,
)
from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from nwb_latents.schemas.events import Event

RunArgument = Annotated[
    str,
    typer.Argument(
        help="Run whose model can take one bin at a time.", metavar="RUN", autocompletion=completion.runs
    ),
]
OneSessionOption = Annotated[
    str,
    typer.Option(
        "--session",
        help="Session the run was trained on.",
        metavar="SESSION",
        autocompletion=completion.sessions,
    ),
]
TrialOption = Annotated[
    list[int] | None,
    typer.Option(
        "--trial", help="Trial to replay, as the store numbers it; repeatable. Default: all.", metavar="N"
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split", help="Replay the trials of this split alone: train, val or test.", metavar="SPLIT"
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Read counts from here in place of the session, - being standard input: one bin a line, a JSON "
        "array or numbers between spaces or commas; an empty line begins a trial.",
        metavar="FILE",
    ),
]
RatesOption = Annotated[
    bool | None,
    typer.Option(
        "--rates/--no-rates", help="Give the rates of the units, Hz; default: yes.", show_default=False
    ),
]
VelocityOption = Annotated[
    bool | None,
    typer.Option(
        "--velocity/--no-velocity", help="Give the hand velocity, cm/s; default: yes.", show_default=False
    ),
]
OneDecoderOption = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        help="Decoder of the velocity; default: ridge.",
        metavar="NAME",
        autocompletion=completion.registered("DECODERS"),
    ),
]
OneLagOption = Annotated[
    float | None,
    typer.Option("--lag-ms", help="Velocity is that so long after the bin, ms; default: 100.", metavar="MS"),
]


def stream(
    run: RunArgument,
    session: OneSessionOption,
    trial: TrialOption = None,
    split: SplitOption = None,
    unseen_trials: UnseenOption = False,
    force: WhateverSizeOption = False,
    source: FromOption = None,
    rates: RatesOption = None,
    velocity: VelocityOption = None,
    decoder: OneDecoderOption = None,
    lag_ms: OneLagOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Decode a session bin by bin: one JSON line of rates and velocity for each bin, the moment it is known.

    Lines of bins go to standard output, with or without --json. The median and 99th percentile of the time a
    bin took are said at the end.
    """
    from nwb_latents.pipeline.stages.stream import stream as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.events import BinEvent
    from nwb_latents.schemas.online_decoding import StreamSettings

    options = given(
        {
            "--rates": ("rates", rates),
            "--velocity": ("velocity", velocity),
            "--decoder": ("decoder", decoder),
            "--lag-ms": ("lag_ms", lag_ms),
        },
        typed={"--rates": "", "--velocity": ""},
    )
    chosen = settings_from(StreamSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out, _lines(source) as lines:

        def tell(event: Event) -> None:
            if isinstance(event, BinEvent) and not json_lines:
                sys.stdout.write(event.line() + "\n")
                sys.stdout.flush()
            else:
                out(event)

        counts = None if lines is None else _checked(lines, tell)
        stage(
            catalog, run, session=session, settings=chosen, trials=trial or (), split=split, lines=counts,
            unseen_trials=unseen_trials, force=force, report=tell,
        )  # fmt: skip


def _checked(lines: Iterator[str], tell: Callable[[Event], None]) -> Iterator[str]:
    """Yield lines without the mark some programs begin a file with; a word is said on one without an end."""
    from nwb_latents.schemas.events import NoteEvent

    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n") and not line.rstrip().endswith("]"):
            text = (
                f"line {number}, the last, does not end with a line break: it is taken as whole, though what "
                "wrote it may have stopped in the middle of a count"
            )
            tell(NoteEvent(text=text))
        yield line.removeprefix("\ufeff") if number == 1 else line


@contextlib.contextmanager
def _lines(source: str | None) -> Iterator[Iterator[str] | None]:
    """Yield the lines of a file or of standard input, each as soon as it is there; None: of neither."""
    if source is None:
        yield None
        return
    if source == "-":
        yield iter(sys.stdin.readline, "")
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(source).open(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"--from {source}: cannot be read: {error.strerror}. Give a file, or -."
            ) from error
        yield iter(file.readline, "")
