"""Settings from YAML files and from ``key.path=value`` words, with errors that say where."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.plain_files import read_text, why_unreadable
from nwb_latents.pipeline.stores.yaml_text import load_yaml
from nwb_latents.schemas.models import ModelSettings, known_models

if TYPE_CHECKING:
    from pathlib import Path

Settings = TypeVar("Settings", bound=BaseModel)

MOST_SHOWN = 200
"""Characters of a word that an error repeats."""

DEEPEST_KEY = 32
"""Parts of a key path; settings of this program have 5 at most."""


def read_yaml(path: Path, *, typed: bool = False) -> dict[str, Any]:
    """Read a YAML mapping.

    Parameters
    ----------
    path
        YAML file.
    typed
        A person named it: it may be a pipe, such as a shell makes of ``<(…)``. In the place of a file of the
        program one is refused, for nobody might ever write into it.

    Raises
    ------
    SettingsError
        If the file is missing, is not YAML, or holds something other than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8") if typed and path.exists() else read_text(path)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file. Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {why_unreadable(error)}") from error
    try:
        content = load_yaml(text)
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
        faults = [describe_fault(schema, fault) for fault in error.errors()]
        raise SettingsError(f"{where}: " + "; ".join(faults)) from error


def settings_from(
    schema: type[Settings],
    *,
    base: Mapping[str, Any] | None = None,
    file: Path | None = None,
    values: Mapping[str, object] | None = None,
    words: Sequence[str] = (),
    origin: Mapping[str, str] | None = None,
) -> Settings:
    """Build settings from defaults, a file, values and ``key.path=value`` words, the later winning.

    What a person gave is read strictly: an unknown key, a value that does not fit, and an option and a word
    that say two things of one key are refused by the name the person gave them under.

    Parameters
    ----------
    schema
        The pydantic model.
    base
        Values under those of the file, where they are not the defaults.
    file
        YAML file.
    values
        Key, or key path such as ``"train.seed"``, → value, taken as it is: options of a command, keyword
        arguments of a function. None is a value; leave out what was not given.
    words
        Words such as ``"bin_size_s=0.05"`` or ``"onset.method=column"`` (``--set``); their values are YAML.
    origin
        Key of `values` → how the person said it, e.g. ``{"lag_ms": "--lag-ms 90"}``; errors speak of that.
        Default: as a keyword argument, ``lag_ms=90``.

    Returns
    -------
    settings
        The model; ``model_fields_set`` holds what was given.

    Raises
    ------
    SettingsError
        If the file cannot be read, a word has no ``=``, a key or value does not fit the schema, or a value
        and a word contradict each other.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> settings_from(IngestRecipe, words=["bin_size_s=0.05", "window_s=[-0.25, 0.45]"]).n_bins
    14
    >>> settings_from(IngestRecipe, values={"onset.fraction": 2}, origin={"onset.fraction": "--fraction 2"})
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: --fraction 2: expected a number less than 1, found 2
    """
    said = [_of_file(file)] if file else []
    by_value = [
        _Said(
            (origin or {}).get(key, f"{key}={_short(value)}"), _path(key), _nested(key, value), is_value=True
        )
        for key, value in (values or {}).items()
    ]
    by_word = [_of_word(word) for word in words]
    _require_agreement(by_value, by_word)
    typed: dict[str, Any] = {}
    for each in (*said, *by_value, *by_word):
        typed = _merged(typed, each.content)
    content = laid_over(base or {}, typed)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise SettingsError(_faults(schema, error, [*said, *by_value, *by_word])) from error


@dataclass(frozen=True)
class _Said:
    """What a person said in one breath: the words, the key (of a file: none) and its content."""

    text: str
    key: tuple[str, ...]
    content: dict[str, Any]
    is_value: bool = False

    def speaks_of(self, location: Sequence[str]) -> bool:
        """Whether a fault at `location` is in what this says, or in what it is a part of."""
        n = min(len(location), len(self.key))
        if tuple(location[:n]) != self.key[:n]:
            return False
        return bool(self.key) or _holds(self.content, location)


def _of_file(file: Path) -> _Said:
    return _Said(str(file), (), read_yaml(file, typed=True))


def _of_word(word: str) -> _Said:
    key, equals, value = word.partition("=")
    shown = word if len(word) <= MOST_SHOWN else f"{word[:MOST_SHOWN]}…"
    if not equals or not key:
        raise SettingsError(f"--set {word}: expected key.path=value, for example --set bin_size_s=0.05.")
    try:
        # YAML reads 000070 as an octal number; here it is a dandiset.
        parsed = value if re.fullmatch(r"0\d+", value.strip()) else load_yaml(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {shown}: the value is not valid YAML: {error}.") from error
    return _Said(f"--set {shown}", _path(key), _nested(key, parsed))


def _path(key: str) -> tuple[str, ...]:
    path = tuple(key.strip().split("."))
    if len(path) > DEEPEST_KEY:
        raise SettingsError(
            f"{key[:60]}…: a key of {len(path)} parts; none has more than {DEEPEST_KEY}. Check the word."
        )
    return path


def _nested(key: str, value: object) -> dict[str, Any]:
    nested: Any = value
    for part in reversed(_path(key)):
        nested = {part: nested}
    found: dict[str, Any] = nested
    return found


def _holds(content: Any, location: Sequence[str]) -> bool:
    for part in location:
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return bool(location)


def _require_agreement(by_value: Sequence[_Said], by_word: Sequence[_Said]) -> None:
    for value in by_value:
        for word in by_word:
            if value.key == word.key and _listed(value.content) != _listed(word.content):
                raise SettingsError(f"{value.text} and {word.text} say two things. Give one of them.")


def _listed(content: Any) -> Any:
    """Return what does not tell tuples from lists: YAML knows lists alone."""
    if isinstance(content, Mapping):
        return {key: _listed(value) for key, value in content.items()}
    return [_listed(value) for value in content] if isinstance(content, tuple | list) else content


def _faults(schema: type[BaseModel], error: ValidationError, said: Sequence[_Said]) -> str:
    """Return every fault, each behind the words it is in."""
    told: dict[str, list[str]] = {}
    faults = error.errors()
    deeper = [fault["loc"] for fault in faults]
    for fault in faults:
        n = len(fault["loc"])
        if fault["type"] == "too_short" and any(len(loc) > n and loc[:n] == fault["loc"] for loc in deeper):
            continue  # It is short of the parts that are at fault.
        location = _without_tags(schema, [str(part) for part in fault["loc"]])
        about = [each for each in said if each.speaks_of(location)]
        whole = [each for each in about if len(each.key) <= len(location)] if location else []
        about = whole[-1:] or about or list(said)
        where = ", ".join(each.text for each in about) or schema.__name__
        text = describe_fault(schema, fault)
        if len(about) == 1 and about[0].is_value:
            text = _without_key(text, about[0].key, location)
        told.setdefault(where, []).append(text)
    return "; ".join(f"{where}: {'; '.join(texts)}" for where, texts in told.items())


def _without_key(text: str, key: Sequence[str], location: Sequence[str]) -> str:
    """Return a fault of a value without its key, and the index in a list: the option says which it is."""
    if all(part.isdigit() for part in location[len(key) :]):
        for said in (location, key):
            text = text.removeprefix(f"{'.'.join(said)}: ")
    return text


def laid_over(base: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base with what was typed; a part that is of another name, such as a model, in its place.

    Examples
    --------
    >>> laid_over({"model": {"name": "ndt", "layers": 2}, "seed": 1}, {"model": {"name": "hnet"}})
    {'seed': 1, 'model': {'name': 'hnet'}}
    >>> laid_over({"model": {"name": "ndt", "layers": 2}}, {"model": {"layers": 4}})
    {'model': {'name': 'ndt', 'layers': 4}}
    """
    under = dict(base)
    for key, value in typed.items():
        mine = under.get(key)
        if not isinstance(mine, Mapping) or not isinstance(value, Mapping):
            continue
        if value.get("name", mine.get("name")) != mine.get("name"):
            del under[key]
    return _merged(under, typed)


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        out[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, Mapping) else value
    return out


def describe_fault(schema: type[BaseModel], fault: Mapping[str, Any]) -> str:
    """Return one fault that pydantic found, with its key, what was expected and what was found."""
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
    if fault["type"] == "literal_error":
        choices = fault["ctx"]["expected"]
        return f"{key}: expected {choices}, found {_short(found)}{_near(found, choices)}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    expected = message.removeprefix("Input should be ").replace("Input should have", "something with")
    expected = expected[0].lower() + expected[1:]
    if fault["type"] == "tuple_type":
        several = f"several, in brackets: [{found}]" if isinstance(found, str | int | float) else "several"
        return f"{key}: expected {several}, found {_short(found)}"
    number = "a number " if expected.startswith(("greater", "less")) else ""
    return f"{key}: expected {number}{expected}, found {_short(found)}"


def _near(found: object, choices: str) -> str:
    """Return a hint at the choice that was probably meant, from a list of them in quotes."""
    close = difflib.get_close_matches(str(found), re.findall(r"'([^']*)'", choices), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _without_tags(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys as they are written: the name of a model stands behind ``model`` in a fault."""
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
    """Return the classes of which a location is one, by their name; none where it is of one class."""
    if not location:
        return {}
    holder = _at(schema, location[:-1])
    field = holder.model_fields.get(location[-1]) if holder else None
    return {} if field is None or field.annotation is not ModelSettings else {**known_models()}


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models_in(part)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
