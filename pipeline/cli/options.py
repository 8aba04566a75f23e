"""Options several commands share, and help texts made from the settings' own descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast, get_args

import typer
from typer.core import TyperCommand

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.task_words import LAG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nwb_latents.schemas.training import Device

CATALOG = Path("catalog.yaml")
"""Where the catalog lies unless it is said."""

CatalogOption = Annotated[
    Path,
    typer.Option("--catalog", help="Catalog file; paths inside it are relative to it.", show_default=True),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, key.path=value; repeatable.", metavar="KEY=VALUE"),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.", metavar="FILE")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show results and errors only.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show every event, and tracebacks.")]
SessionOption = Annotated[
    list[str] | None,
    typer.Option("--session", help="Session id or shell pattern, repeatable; default: all.", metavar="GLOB"),
]
RecipeIdOption = Annotated[
    str | None,
    typer.Option(
        "--recipe-id",
        help="Recipe of the stores, or its beginning; default: the one ingested last.",
        metavar="ID",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Do again what is up to date.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu or cuda.", metavar="auto|cpu|cuda")
]
RunsOption = Annotated[
    list[str] | None,
    typer.Option("--run", help="Run, repeatable; default: all of the recipe.", metavar="RUN"),
]
LagOption = Annotated[
    float | None,
    typer.Option(LAG.option, help=LAG.help, metavar="MS"),
]


class Given(TypedDict):
    """Settings that were given by options, for `pipeline.stores.settings.settings_from`."""

    values: dict[str, object]
    origin: dict[str, str]


def given(options: Mapping[str, tuple[str, object]], *, typed: Mapping[str, str] | None = None) -> Given:
    """Return the settings that were given by options.

    Parameters
    ----------
    options
        Option → key of the setting and the value of the option; None: it was not given.
    typed
        Option → its value as it was typed, where that differs from the value.

    Examples
    --------
    >>> given({"--seed": ("train.seed", 3), "--device": ("train.device", None)})
    {'values': {'train.seed': 3}, 'origin': {'train.seed': '--seed 3'}}
    """
    there = {key: (option, value) for option, (key, value) in options.items() if value is not None}
    texts = {option: _typed(value) for option, value in there.values()} | dict(typed or {})
    return {
        "values": {key: value for key, (_, value) in there.items()},
        "origin": {key: f"{option} {texts[option]}".rstrip() for key, (option, _) in there.items()},
    }


def listed(text: str | None) -> list[str] | None:
    """Return the words of a comma-separated list; None for none.

    Examples
    --------
    >>> listed("rates, forecast")
    ['rates', 'forecast']
    """
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _typed(value: object) -> str:
    if value is True:
        return ""
    if isinstance(value, list | tuple):
        return ",".join(_typed(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def device_of(word: str) -> Device:
    """Return the device that was asked for.

    Raises
    ------
    SettingsError
        If there is no such kind of device.
    """
    from nwb_latents.schemas.training import Device

    if word not in get_args(Device):
        raise SettingsError(f"--device: expected auto, cpu or cuda, found {word!r}.")
    return cast("Device", word)


def settings_command(
    schema: str, *, takes: Callable[[str], bool] | None = None, also: Callable[[], str] | None = None
) -> type[TyperCommand]:
    """Return a command class whose help lists the settings of `schema` with defaults and units.

    The schema is loaded only when that help is asked for.

    Parameters
    ----------
    schema
        Name of the schema.
    takes
        Whether the command takes a setting, by its key; default: it takes all.
    also
        Returns what stands before the settings; called only when that help is asked for.
    """

    class SettingsCommand(TyperCommand):
        def get_help(self, ctx: Any) -> str:
            between = f"{also()}\n\n" if also is not None else ""
            return f"{super().get_help(ctx)}\n\n{between}{settings_text(schema, takes=takes)}"

    return SettingsCommand


def settings_text(schema: str, *, takes: Callable[[str], bool] | None = None) -> str:
    """Return the settings of `schema`, or those that are taken, as text: name, default, description."""
    from nwb_latents.schemas import schema_class

    rows = [row for row in _rows(schema_class(schema), "") if takes is None or takes(row[0])]
    title = (
        f"Settings (--set KEY=VALUE, or a YAML file; schema: pipeline schema {schema})"
        if takes is None
        else f"Settings it takes (--set KEY=VALUE; a part of: pipeline schema {schema})"
    )
    return "\n".join([title, "", *two_columns([(f"{name} [{value}]", about) for name, value, about in rows])])


def two_columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return lines of names with what they are beside them.

    Examples
    --------
    >>> two_columns([("a", "first"), ("bcd", "second")])
    ['  a    first', '  bcd  second']
    """
    width = min(44, max(len(head) for head, _ in rows) + 2)
    lines = []
    for head, description in rows:
        wrapped = _wrap(description, 108 - width)
        if len(head) >= width:
            lines.append(f"  {head}")
            lines += [f"  {'':{width}}{line}" for line in wrapped]
        else:
            lines.append(f"  {head:{width}}{wrapped[0]}")
            lines += [f"  {'':{width}}{line}" for line in wrapped[1:]]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]


def _rows(schema: Any, prefix: str) -> list[tuple[str, str, str]]:
    from pydantic import BaseModel

    from nwb_latents.schemas.models import ModelSettings, known_models

    rows: list[tuple[str, str, str]] = []
    for name, field in schema.model_fields.items():
        kind = field.annotation
        if kind is ModelSettings:
            for which, member in known_models().items():
                rows += [
                    (key, value, f"{which}: {text}") for key, value, text in _rows(member, f"{prefix}{name}.")
                ]
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _rows(kind, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=True)
        shown = list(default) if isinstance(default, tuple) else default
        text = "required" if field.is_required() else "none" if shown is None else str(shown)
        rows.append((f"{prefix}{name}", text, field.description or ""))
    return rows
