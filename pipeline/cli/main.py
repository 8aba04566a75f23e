"""The command ``pipeline``.

Commands are typer functions in this package; nothing heavy is imported before a command runs, so that help
answers at once.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
import warnings
from typing import Annotated, TextIO

import typer
from typer.exceptions import TyperException

from nwb_latents import __version__
from nwb_latents.pipeline.cli import catalog, export, imports, run, study
from nwb_latents.pipeline.cli.dandisets import dandisets
from nwb_latents.pipeline.cli.doctor import doctor
from nwb_latents.pipeline.cli.error_report import unexpected
from nwb_latents.pipeline.cli.evaluate import leaderboard
from nwb_latents.pipeline.cli.inspect_recordings import inspect
from nwb_latents.pipeline.cli.interruption import hear_interruptions
from nwb_latents.pipeline.cli.models import models
from nwb_latents.pipeline.cli.once import OnceCommand
from nwb_latents.pipeline.cli.options import as_typed
from nwb_latents.pipeline.cli.plot import kinds_text, plot
from nwb_latents.pipeline.cli.schema import schema
from nwb_latents.pipeline.cli.settings_help import settings_command
from nwb_latents.pipeline.cli.simulate import simulate
from nwb_latents.pipeline.cli.visible_text import visible
from nwb_latents.pipeline.errors import CatalogWarning, PipelineError, SettingsError, is_interruption
from nwb_latents.schemas.registry import PartError, PartWarning


def _say_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"nwb-latents {__version__}\n")
        raise typer.Exit


app = typer.Typer(
    name="pipeline",
    help="From NWB recordings of motor cortex to latent dynamics and decoded hand velocity.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def pipeline(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """From NWB recordings of motor cortex to latent dynamics and decoded hand velocity."""


app.add_typer(run.app, name="run")
app.add_typer(study.app, name="study")
app.command(cls=OnceCommand)(leaderboard)
app.add_typer(catalog.app, name="catalog")
app.add_typer(export.app, name="export")
app.add_typer(imports.app, name="import")
app.command(cls=settings_command("recipe"))(inspect)
app.command(cls=settings_command("simulate"))(simulate)
app.command(cls=settings_command("plot", also=kinds_text))(plot)
for command in (dandisets, models, schema, doctor):
    app.command(cls=OnceCommand)(command)

USAGE = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    hear_interruptions()
    warnings.showwarning = _say_warning
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a log cannot show, such as a file's name in no known encoding, ends nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int:
    try:
        code = app(standalone_mode=False, prog_name="pipeline")
    except (PipelineError, PartError) as error:
        if "--verbose" in sys.argv or "-v" in sys.argv:
            traceback.print_exc()
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        text = as_typed(error) if isinstance(error, SettingsError) else str(error)
        sys.stderr.write(f"error: {visible(f'{text}{notes}')}\n")
        return error.exit_code
    except TyperException as error:
        sys.stderr.write(_usage_text(error))
        return USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as error:
        # What parses the command line takes the error for its own.
        if isinstance(error.__context__, BrokenPipeError):
            return _reader_gone()
        raise
    except Exception as error:
        if not is_interruption(error):
            if "--verbose" in sys.argv or "-v" in sys.argv:
                traceback.print_exc()
            text, code = unexpected(error, sys.argv[1:])
            sys.stderr.write(f"error: {visible(text)}\n")
            return code
        code = INTERRUPTED
    if code == INTERRUPTED:
        command = shlex.join(["pipeline", *sys.argv[1:]])
        sys.stderr.write(f"interrupted: what is done is kept. Resume with the same command:\n  {command}\n")
    return code if isinstance(code, int) else 0


def _reader_gone() -> int:
    """Return the exit code where the reader of our output has gone.

    It has what it wanted, as ``head`` has; but a stage that told it of each step has stopped before its end.
    """
    # Flushing at exit would complain about it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    if sys.argv[1:2] != ["run"] or "--json" not in sys.argv:
        return 0
    sys.stderr.write("error: whoever read the output has gone, and the work with it: what is done is kept\n")
    return INTERRUPTED


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Say a warning of this program as a sentence, and any other as Python does."""
    if issubclass(category, CatalogWarning | PartWarning):
        sys.stderr.write(f"warning: {visible(str(message))}\n")
    else:
        said = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(said)


def _usage_text(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    if context is None:
        return f"error: {error.format_message()}\n"
    if not error.format_message() or "NoArgsIsHelp" in type(error).__name__:
        return f"{context.get_help()}\n"
    return f"{context.get_usage()}\nerror: {error.format_message()} See `{context.command_path} --help`.\n"


if __name__ == "__main__":
    main()
