"""What a caller may write, as stages take it: places, names, settings."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.settings import settings_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.stages.session_tasks import Where
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.pictures import PictureSettings

Place = str | os.PathLike[str]
"""A file or folder, as text or `Path`; ``~`` is the home of the user."""

Names = str | Iterable[str]
"""One name or shell pattern, or several."""

Settings = TypeVar("Settings", bound=BaseModel)

LONGEST_SHOWN = 40
"""Characters of a value in an error."""


def path_of(place: Place) -> Path:
    """Return a place as a path.

    Examples
    --------
    >>> path_of("stores/catalog.yaml")
    PosixPath('stores/catalog.yaml')
    """
    return Path(place).expanduser()


def names_of(words: Names) -> tuple[str, ...]:
    """Return one name, or several, as stages take them.

    Examples
    --------
    >>> names_of("sub-C_*"), names_of(["a", "b"])
    (('sub-C_*',), ('a', 'b'))
    >>> names_of(5)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: expected a name or a shell pattern, or several, found 5. ...
    """
    if isinstance(words, str):
        return (words,)
    several = tuple(words) if isinstance(words, Iterable) else (words,)
    for one in several:
        if not isinstance(one, str):
            raise SettingsError(
                f"expected a name or a shell pattern, or several, found {_short(one)}. Leave the argument "
                "out for all there are."
            )
    return several


def one_of(value: object, known: Sequence[str], *, argument: str, function: str) -> None:
    """Raise where an argument is none of the words it may be.

    Raises
    ------
    SettingsError
        With the nearest of them.

    Examples
    --------
    >>> one_of("strem", ["download", "stream", "auto"], argument="mode", function="ingest")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: ingest(mode='strem'): expected download, stream or auto; did
    you mean stream?
    """
    if value in known:
        return
    *most, last = known
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise SettingsError(f"{function}({argument}={_short(value)}): expected {', '.join(most)} or {last}{hint}")


def settings_of(
    schema: type[Settings],
    given: Settings | Mapping[str, object] | Place | None,
    values: Mapping[str, object],
    *,
    function: Callable[..., object],
    base: Mapping[str, object] | None = None,
) -> Settings:
    """Build settings from what a caller gave, keyword arguments above all else.

    Parameters
    ----------
    schema
        The settings wanted.
    given
        Settings, a mapping with nested or dotted keys, a YAML file, or nothing.
    values
        Keyword arguments; a mapping changes single settings of a part, settings replace the part.
    function
        The public function, named in errors; its own arguments are among what could have been meant.
    base
        Values under all of these.

    Raises
    ------
    SettingsError
        With key, expected and found for each fault, and the nearest known key for a misspelt one.

    Examples
    --------
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> made = settings_of(TrainSettings, {"batch.trials_per_session": 8}, {"seed": 3}, function=settings_of)
    >>> made.batch.trials_per_session, made.seed
    (8, 3)
    >>> settings_of(TrainSettings, None, {"max_stepz": 3}, function=settings_of)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: settings_of(max_stepz=3): unknown key, found 3; did you mean
    max_steps?
    """
    if isinstance(given, schema) and not values:
        return given
    under, file, said = dict(base or {}), None, {}
    match given:
        case None:
            pass
        case BaseModel() if isinstance(given, schema):
            under = given.model_dump()
        case str() | os.PathLike():
            file = path_of(given)
        case Mapping():
            said = _nested(given)
        case _:
            raise SettingsError(
                f"{function.__name__}(): settings: expected {schema.__name__}, a mapping or a YAML file, "
                f"found {type(given).__name__}."
            )
    said = _laid_over(said, _nested(values))
    under = {key: value for key, value in under.items() if not _is_other(value, said.get(key))}
    _refuse_misspelt_arguments(schema, said, function)
    origin = {key: f"{function.__name__}({key}={_short(value)})" for key, value in said.items()}
    return settings_from(schema, base=under, file=file, values=said, origin=origin)


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    """Return a mapping with dotted keys as nested ones, and numbers of numpy as Python's.

    Examples
    --------
    >>> _nested({"model.rank": 4, "batch": {"trials_per_session": 8}})
    {'model': {'rank': 4}, 'batch': {'trials_per_session': 8}}
    """
    out: dict[str, object] = {}
    for key, value in flat.items():
        first, *inner = str(key).split(".")
        nested = _plain(value)
        for part in reversed(inner):
            nested = {part: nested}
        out = _laid_over(out, {first: nested})
    return out


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return _nested(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    to_python: Any = getattr(value, "tolist", None)
    return to_python() if type(value).__module__ == "numpy" and to_python else value


def _laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping) and not _is_other(mine, value):
            out[key] = _laid_over(mine, value)
        else:
            out[key] = value
    return out


def _is_other(below: object, above: object) -> bool:
    """Whether these are settings of two models: those of one say nothing about the other."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return False
    return "name" in above and "name" in below and above["name"] != below["name"]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _refuse_misspelt_arguments(
    schema: type[BaseModel], content: Mapping[str, object], function: Callable[..., object]
) -> None:
    """Raise where an unknown key is nearer to an argument of the function than to any setting."""
    arguments = [
        name for name, what in inspect.signature(function).parameters.items() if what.kind != what.VAR_KEYWORD
    ]
    for key in content:
        if key in schema.model_fields:
            continue
        close = difflib.get_close_matches(key, [*schema.model_fields, *arguments], n=1, cutoff=0.5)
        if close and close[0] not in schema.model_fields:
            raise SettingsError(f"{function.__name__}(): no argument {key!r}; did you mean {close[0]}?")


def where_of(
    cluster: str,
    settings: ClusterSettings | Mapping[str, object] | Place | None,
    function: Callable[..., object],
) -> Where:
    """Return where a function works, from its arguments.

    Parameters
    ----------
    cluster, settings
        As the function takes them.
    function
        The function, which errors name.

    Raises
    ------
    SettingsError
        If a setting is unknown or does not fit.
    """
    from nwb_latents.pipeline.stages.session_tasks import Where  # noqa: PLC0415
    from nwb_latents.schemas.cluster import ClusterSettings  # noqa: PLC0415

    return Where(cluster, settings_of(ClusterSettings, settings, {}, function=function))


def pictures_of(formats: Names, dpi: int, *, function: Callable[..., object]) -> PictureSettings:
    """Return in which formats a function writes its pictures, from its arguments.

    Raises
    ------
    SettingsError
        If a format or resolution cannot be had.

    Examples
    --------
    >>> pictures_of(["pdf", "svg"], 300, function=pictures_of).formats
    ('pdf', 'svg')
    """
    from nwb_latents.pipeline.stages.picture_folder import picture_settings  # noqa: PLC0415

    name = function.__name__
    said = (f"{name}(formats={{!r}})", f"{name}(dpi={{!r}})")
    return picture_settings(names_of(formats), dpi, said=said)
