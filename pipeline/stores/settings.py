"""Settings from YAML files and from ``key.path=value`` words, with errors that say where."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

Settings = TypeVar("Settings", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    SettingsError
        If the file is missing, is not YAML, or holds something other than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file. Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}.") from error
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML: {error}. Mend the line it names.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}.")
    return content


def validate(schema: type[Settings], content: Mapping[str, Any], *, where: str) -> Settings:
    """Check `content` against `schema`.

    Parameters
    ----------
    schema
        The pydantic model.
    content
        What was read.
    where
        File or option it comes from; named in the error.

    Raises
    ------
    SettingsError
        With key, expected and found for each fault, and the nearest known key for a misspelt one.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> validate(IngestRecipe, {"bin_sise_s": 0.02}, where="recipe.yaml")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: recipe.yaml: bin_sise_s: unknown key, found 0.02; did you mean
    bin_size_s?
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        faults = [_describe(schema, fault) for fault in error.errors()]
        raise SettingsError(f"{where}: " + "; ".join(faults)) from error


def read_record(schema: type[Settings], path: Path, *, remedy: str) -> Settings | None:
    """Return what a JSON file of the program holds, or None where there is no such file.

    Parameters
    ----------
    schema
        The pydantic model.
    path
        JSON file.
    remedy
        What to do about a damaged file.

    Raises
    ------
    DataError
        If it is no JSON or does not fit the schema.
    """
    try:
        return validate(schema, json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}. {remedy}") from error
    except SettingsError as error:
        raise DataError(f"{error}. {remedy}") from error


def load(
    schema: type[Settings],
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
) -> Settings:
    """Build settings from defaults, a file and ``key.path=value`` words, the later winning.

    Parameters
    ----------
    schema
        The pydantic model.
    file
        YAML file.
    overrides
        Words such as ``"bin_size_s=0.05"`` or ``"onset.method=column"``; values are YAML.
    base
        Values under those of the file.

    Raises
    ------
    SettingsError
        If a word has no ``=``, or a key or value does not fit the schema.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> load(IngestRecipe, overrides=["bin_size_s=0.05", "window_s=[-0.25, 0.45]"]).n_bins
    14
    """
    content: dict[str, Any] = _merged(dict(base or {}), read_yaml(file) if file else {})
    where = [str(file)] if file else []
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise SettingsError(f"--set {word}: expected key.path=value, for example --set bin_size_s=0.05.")
        try:
            # YAML reads 000070 as an octal number; here it is a dandiset.
            parsed = value if re.fullmatch(r"0\d+", value.strip()) else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {word}: the value is not valid YAML: {error}.") from error
        nested: Any = parsed
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        content = _merged(content, nested)
        where.append(f"--set {word}")
    return validate(schema, content, where=", ".join(where) or schema.__name__)


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        out[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, Mapping) else value
    return out


def _describe(schema: type[BaseModel], fault: Mapping[str, Any]) -> str:
    whole = [str(part) for part in fault["loc"]]
    location = _without_tags(schema, whole)
    key = ".".join(location)
    found = fault.get("input")
    if fault["type"] == "extra_forbidden":
        known = _fields_at(schema, whole[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        prefix = ".".join(location[:-1])
        hint = (
            f"did you mean {prefix + '.' if prefix else ''}{close[0]}?"
            if close
            else f"known keys: {', '.join(known)}"
        )
        return f"{key}: unknown key, found {_short(found)}; {hint}"
    if fault["type"] == "missing":
        return f"{key}: expected a value, found none"
    if fault["type"] == "union_tag_invalid":
        asked = fault["ctx"]
        key = f"{key}.{asked['discriminator'].strip(chr(39))}"
        return f"{key}: expected one of {asked['expected_tags']}, found {asked['tag']!r}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: expected {message[0].lower()}{message[1:]}, found {_short(found)}"


def _without_tags(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys as they are written: pydantic puts the name of a union's member behind its key."""
    return [part for k, part in enumerate(location) if not _members(schema, location[:k]).get(part)]


def _fields_at(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    current = _at(schema, location)
    return list(current.model_fields) if current is not None else []


def _at(schema: type[BaseModel], location: Sequence[str]) -> type[BaseModel] | None:
    """Return the model that a location lies in; None where there is no single one."""
    current: type[BaseModel] | None = schema
    in_mapping = False
    for k, part in enumerate(location):
        members = _members(schema, location[:k])
        if members:
            current = members.get(part)
            continue
        if in_mapping:
            in_mapping = False
            continue
        field = current.model_fields.get(part) if current else None
        current = next(iter(_models_in(field.annotation)), None) if field else None
        in_mapping = field is not None and get_origin(field.annotation) is dict
    return current


def _members(schema: type[BaseModel], location: Sequence[str]) -> dict[str, type[BaseModel]]:
    """Return the members of the union told apart by name that a location is, by that name."""
    if not location:
        return {}
    holder = _at(schema, location[:-1])
    field = holder.model_fields.get(location[-1]) if holder else None
    if field is None or not isinstance(field.discriminator, str):
        return {}
    return {str(m.model_fields[field.discriminator].default): m for m in _models_in(field.annotation)}


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models_in(part)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
