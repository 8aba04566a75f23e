"""Help that is made from the settings' own descriptions, with the models there are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from nwb_latents.pipeline.cli.once import OnceCommand
from nwb_latents.pipeline.errors import UsageError

Row = tuple[str, str, str]
"""Key, default and description of a setting."""

_TYPED = "nwb_latents.typed"
_DEFAULT_MODEL = "mdssm"


def settings_command(
    schema: str, *, takes: Callable[[str], bool] | None = None, also: Callable[[], str] | None = None
) -> type[OnceCommand]:
    """Return a command class whose help lists the settings of `schema` with defaults and units.

    The schema is loaded only when that help is asked for. Where a model is among the settings, its own are
    listed if it is named (``--model NAME --help``), and otherwise which models there are.

    Parameters
    ----------
    schema
        Name of the schema.
    takes
        Whether the command takes a setting, by its key; default: it takes all.
    also
        Returns what stands before the settings; called only when that help is asked for.
    """

    class SettingsCommand(OnceCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            # Help is asked for before the other options are understood.
            ctx.meta[_TYPED] = tuple(args)
            return super().parse_args(ctx, args)

        def get_help(self, ctx: Any) -> str:
            parts = [super().get_help(ctx), *([also()] if also is not None else [])]
            model = model_in(ctx.meta.get(_TYPED, ()))
            return "\n\n".join([*parts, settings_text(schema, takes=takes, model=model)])

        def setting_keys(self, ctx: Any) -> list[str]:
            """Return the keys that ``--set`` takes, those of the model that is named among them."""
            return setting_keys(schema, takes=takes, model=model_in(ctx.meta.get(_TYPED, ())))

    return SettingsCommand


def setting_keys(
    schema: str, *, takes: Callable[[str], bool] | None = None, model: str | None = None
) -> list[str]:
    """Return the keys of the settings of `schema`, or of those that are taken.

    Parameters
    ----------
    schema
        Name of the schema.
    takes
        Whether a setting is taken, by its key; default: all are.
    model
        Model whose settings are among them, where the schema has a place for one; None: the default.

    Examples
    --------
    >>> [key for key in setting_keys("train", model="lfads") if "generator" in key]
    ['model.generator_dim', 'model.l2_generator']
    """
    from nwb_latents.schemas import schema_class
    from nwb_latents.schemas.models import model_settings

    settings = schema_class(schema)
    rows = _rows(settings)
    for place in _places_of_a_model(settings):
        rows += _rows(model_settings(model or _DEFAULT_MODEL), place)
    return [key for key, _, _ in rows if takes is None or takes(key)]


def model_in(words: Sequence[str]) -> str | None:
    """Return the model that is named on a command line; None: none is.

    Examples
    --------
    >>> model_in(["--seed", "1", "--model", "lfads"]), model_in(["--set=train.model.name=ndt"])
    ('lfads', 'ndt')
    >>> model_in(["--max-steps", "3"]) is None
    True
    """
    found = None
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for option, value in pairwise(split):
        key, _, named = value.partition("=")
        if option == "--model":
            found = value
        elif option == "--set" and key in {"model.name", "train.model.name"}:
            found = named
    return found


def settings_text(
    schema: str, *, takes: Callable[[str], bool] | None = None, model: str | None = None
) -> str:
    """Return the settings of `schema`, or those that are taken, as text: name, default, description.

    Parameters
    ----------
    schema
        Name of the schema.
    takes
        Whether a setting is listed, by its key; default: all are.
    model
        Model whose settings are listed as well, where the schema has a place for one; None: the models are.

    Raises
    ------
    UsageError
        If there is no such model.
    """
    from nwb_latents.schemas import schema_class

    settings = schema_class(schema)
    rows = [row for row in _rows(settings) if takes is None or takes(row[0])]
    whole = f"schema: pipeline schema {schema}"
    if takes is not None:
        title = f"Settings it takes (--set KEY=VALUE; a part of: pipeline schema {schema})"
        return _table(title, rows)
    place = next(_places_of_a_model(settings), None)
    if place is None:
        return _table(f"Settings (--set KEY=VALUE, or a YAML file; {whole})", rows)
    common = _table(f"Settings (--set KEY=VALUE, or a YAML file; of every model; {whole})", rows)
    return f"{_models() if model is None else _of_model(model, place)}\n\n{common}"


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


def _table(title: str, rows: Sequence[Row]) -> str:
    lines = two_columns([(f"{name} [{default}]", about) for name, default, about in rows])
    return "\n".join([title, "", *lines])


def _models() -> str:
    from nwb_latents.schemas.models import known_models

    lines = two_columns([(name, summary_of(kind)) for name, kind in known_models().items()])
    return "\n".join(["Models (--model NAME; with --help, its settings)", "", *lines])


def _of_model(name: str, place: str) -> str:
    from nwb_latents.schemas.models import model_settings
    from nwb_latents.schemas.registry import UnknownPartError

    try:
        kind = model_settings(name)
    except UnknownPartError as error:
        raise UsageError(f"--model {name}: {error}") from error
    title = f"Settings of {name}: {summary_of(kind)} (schema: pipeline schema {name})"
    return _table(title, _rows(kind, place))


def summary_of(kind: type[Any]) -> str:
    """Return the first line of a docstring."""
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width) or [""]


def _places_of_a_model(schema: Any, prefix: str = "") -> Iterator[str]:
    """Yield the beginnings of the keys of a model's settings."""
    from pydantic import BaseModel

    from nwb_latents.schemas.models import ModelSettings

    for name, field in schema.model_fields.items():
        if field.annotation is ModelSettings:
            yield f"{prefix}{name}."
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _places_of_a_model(field.annotation, f"{prefix}{name}.")


def _rows(schema: Any, prefix: str = "") -> list[Row]:
    """Return the settings of a schema but those of a model, which are other ones for each."""
    from pydantic import BaseModel

    from nwb_latents.schemas.models import ModelSettings

    rows: list[Row] = []
    for name, field in schema.model_fields.items():
        kind = field.annotation
        if kind is ModelSettings:
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _rows(kind, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=True)
        shown = list(default) if isinstance(default, tuple) else default
        text = "required" if field.is_required() else "none" if shown is None else str(shown)
        rows.append((f"{prefix}{name}", text, field.description or ""))
    return rows
