"""Base classes of everything this project writes down.

`Frozen` is for settings, which a person types: they never change after they were read, a misspelt key is an
error, and every field carries the sentence that serves as command-line help, documentation and JSON-schema
description at once. `Record` is for what the program writes: it says its version, and what a newer version
wrote into it beside what is known here is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from nwb_latents.schemas.digest import (
    FORMER_NAMES,
    AddedLater,
    DecidesNothing,
    DefaultBefore,
    FormerName,
    NeverCounts,
    mark_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Frozen(BaseModel):
    """Immutable settings that refuse unknown keys, and numbers that are infinite or none.

    Read within a `Record` they keep them: a file may be of a newer version.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=False, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse yes and no where a number is meant: pydantic takes them for 1 and 0."""
        if not _holds_truth(value):
            return value
        field = cls.model_fields.get(info.field_name or "")
        annotation: Any = None if field is None else field.annotation
        if field is not None and not _takes_truth(annotation):
            verb = "is" if isinstance(value, bool) else "holds"
            msg = f"{str(value).lower()} {verb} a truth value; expected a number or text"
            raise ValueError(msg)
        return value

    def digest(self, *, bin_size_s: float | None = None) -> str:
        """Return the SHA-256 of the canonical JSON form, as 64 hexadecimal digits.

        Two objects of a class have the same digest exactly when all their settings are equal, whatever order
        or notation they were written in, but for settings marked `NeverCounts`.

        Parameters
        ----------
        bin_size_s
            Width of the bins of the stores, s. Only needed where a time in ms was once said in bins.

        Raises
        ------
        ValueError
            If that width is needed and not given.

        Examples
        --------
        >>> from nwb_latents.schemas.recipe import IngestRecipe
        >>> IngestRecipe().digest() == IngestRecipe(bin_size_s=0.02).digest()
        True
        """
        return _sha256(self.counted(bin_size_s=bin_size_s))

    def outcome_digest(self, *, bin_size_s: float | None = None) -> str:
        """Return the digest of what decides the outcome: settings marked `DecidesNothing` do not count.

        Parameters
        ----------
        bin_size_s
            As in `digest`.

        Examples
        --------
        >>> from nwb_latents.schemas.training import TrainSettings
        >>> TrainSettings(device="cpu").outcome_digest() == TrainSettings().outcome_digest()
        True
        """
        return _sha256(self.counted(bin_size_s=bin_size_s, outcome_only=True))

    def counted(self, *, bin_size_s: float | None = None, outcome_only: bool = False) -> dict[str, object]:
        """Return what counts for the digest, in the settings within these too, in the notation of JSON.

        Parameters
        ----------
        bin_size_s
            As in `digest`.
        outcome_only
            As in `outcome_digest`.

        Examples
        --------
        >>> from nwb_latents.schemas.imports import LfadsCheckpointImport
        >>> LfadsCheckpointImport().counted()
        {'likelihood': 'poisson', 'input_prior_df': None}
        """
        plain: dict[str, Any] = self.model_dump(mode="json")
        found: dict[str, object] = {}
        silent: set[str] = set()
        formers = _former_names(type(self))

        def inside(value: object, as_json: Any) -> object:
            if isinstance(value, Frozen):
                return value.counted(bin_size_s=bin_size_s, outcome_only=outcome_only)
            if isinstance(value, Mapping):
                return {key: inside(each, as_json[key]) for key, each in value.items()}
            if isinstance(value, tuple):
                return [inside(*pair) for pair in zip(value, as_json, strict=True)]
            return as_json

        for name, info in type(self).model_fields.items():
            value = inside(getattr(self, name), plain[name])
            if mark_of(info, NeverCounts):
                continue
            later = mark_of(info, AddedLater)
            # A setting that came beside another is left out exactly as long as that one is.
            if later and (later.says_nothing(value) if later.beside is None else later.beside in silent):
                silent.add(name)
                continue
            machine = mark_of(info, DecidesNothing)
            if machine and outcome_only:
                value = machine.as_if
            former = formers.get(name)
            found |= former.named(name, value, bin_size_s=bin_size_s) if former else {name: value}
        # What a newer version has settings for decides something that is not known here.
        return found | (self.model_extra or {})

    @classmethod
    def read(cls, content: Mapping[str, Any], *, bin_size_s: float | None = None) -> Self:
        """Return settings that were written into a file, by this version of the program or another.

        Former names are read, and what is not known is kept.

        Parameters
        ----------
        content
            What the file holds.
        bin_size_s
            Width of the bins it is about, s, where that is known; old files say some times in bins.

        Raises
        ------
        ValidationError
            If it does not fit.

        Examples
        --------
        >>> from nwb_latents.schemas.decoding import DecodeSettings
        >>> DecodeSettings.read({"forecast_bins": 7}).forecast.bins
        7
        """
        return cls.model_validate(dict(content), context=Reading(bin_size_s), extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _what_was_not_said(cls, content: Any, info: ValidationInfo) -> Any:
        """Read what a file leaves out as it was when files left it out, whatever the default is today."""
        if not isinstance(info.context, Reading) or not isinstance(content, Mapping):
            return content
        unsaid = {name: value for name, value in _read_when_unsaid(cls).items() if name not in content}
        return {**content, **unsaid} if unsaid else content

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, content: Any, info: ValidationInfo) -> Any:
        """Read settings of a file under the name they had then; of a person, refuse them by the new one."""
        formers = _former_names(cls)
        if not isinstance(content, Mapping) or not formers:
            return content
        reading = info.context if isinstance(info.context, Reading) else None
        renamed = dict(content)
        for name, former in formers.items():
            old = {each: renamed[each] for each in former.names if each in renamed}
            if not old:
                continue
            if reading is None:
                raise ValueError(former.remedy(name, old))
            renamed[name] = former.read(old, bin_size_s=reading.bin_size_s)
            for each in old:
                del renamed[each]
        return renamed


def _holds_truth(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_truth(each) for each in value)
    return isinstance(value, bool)


@cache
def _takes_truth(annotation: object) -> bool:
    """Whether a truth value is among what an annotation allows."""
    if annotation is bool or annotation is Any or annotation is object or isinstance(annotation, bool):
        return True
    return any(_takes_truth(each) for each in get_args(annotation) if not isinstance(each, FieldInfo))


@dataclass(frozen=True)
class Reading:
    """Context of a validation: a file is read, not what a person typed.

    Parameters
    ----------
    bin_size_s
        Width of the bins the file is about, s; None: not known.
    """

    bin_size_s: float | None = None


class Found(Frozen):
    """What was found in data, part of a record: its numbers are as the data are, NaN and infinity too."""

    model_config = ConfigDict(allow_inf_nan=True)


class NewerRecordError(ValueError):
    """A file was written by a newer version, and is not understood here."""


class Record(Found):
    """What the program writes into a file, and reads again: also of older and newer versions.

    Made by the program it refuses unknown keys as settings do; `read` keeps them, and `written` gives them
    out again.
    """

    schema_version: int = Field(1, ge=1, description="Version of this description.")

    @classmethod
    def current_version(cls) -> int:
        """Return the version that is written.

        Examples
        --------
        >>> from nwb_latents.schemas.store import STORE_SCHEMA_VERSION, StoreAttributes
        >>> StoreAttributes.current_version() == STORE_SCHEMA_VERSION
        True
        """
        return int(cls.model_fields["schema_version"].default)

    @classmethod
    def read(cls, content: Mapping[str, Any], *, bin_size_s: float | None = None) -> Self:
        """Return the record that was written as `content`, by this version, an older or a newer one.

        Parameters
        ----------
        content
            What the file holds. Without a version it is of the first.
        bin_size_s
            Width of the bins it is about, s, where that is known; old files say some times in bins.

        Raises
        ------
        NewerRecordError
            If it was written by a newer version and is not understood.
        ValidationError
            If it does not fit.

        Examples
        --------
        >>> from nwb_latents.schemas.cluster import Attempt
        >>> line = Attempt(time="2025-01-01", session="a", source="a.nwb", recipe_id="r", status="done")
        >>> Attempt.read({**line.model_dump(), "node": 7}).unknown()
        ('node',)
        """
        try:
            return super().read(content, bin_size_s=bin_size_s)
        except ValidationError as error:
            written = content.get("schema_version")
            if not isinstance(written, int) or written <= cls.current_version():
                raise
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise NewerRecordError(
                f"{where}: {fault['msg']}. It was written as version {written} of {cls.__name__}; this "
                f"program knows versions up to {cls.current_version()}. Update it: pip install --upgrade "
                "nwb-latents"
            ) from error

    @classmethod
    def brought_up(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Return what an older version wrote as this one would have written it; here: all but its number.

        Parameters
        ----------
        content
            What was written.
        version
            Version it was written as, below that of today.
        """
        del version
        return {**content, "schema_version": cls.current_version()}

    @model_validator(mode="before")
    @classmethod
    def _of_its_version(cls, content: Any, info: ValidationInfo) -> Any:
        if not isinstance(info.context, Reading) or not isinstance(content, Mapping):
            return content
        content = {"schema_version": 1, **content}
        version = content["schema_version"]
        if isinstance(version, int) and version < cls.current_version():
            return cls.brought_up(content, version)
        return content

    def written(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        """Return what is to be written, in the notation of JSON: versions always, unknown keys as they were.

        Parameters
        ----------
        exclude_defaults
            Leave out what is as by default.

        Examples
        --------
        >>> from nwb_latents.schemas.cluster import Attempt
        >>> line = Attempt(time="2025-01-01", session="a", source="a.nwb", recipe_id="r", status="done")
        >>> "node" in Attempt.read({**line.model_dump(), "node": 7}).written()
        True
        """
        whole: dict[str, Any] = _whole(self, self.model_dump(mode="json", exclude_defaults=exclude_defaults))
        return whole

    def text(self) -> str:
        """Return the file that holds this record alone, in JSON.

        Examples
        --------
        >>> from nwb_latents.schemas.sweep import MemberOutcome
        >>> MemberOutcome.read(json.loads(MemberOutcome(step=7).text())).step
        7
        """
        return json.dumps(self.written(), indent=1, ensure_ascii=False) + "\n"

    def unknown(self) -> tuple[str, ...]:
        """Return the keys that are not known here, with those within, by their dotted names."""
        return tuple(_unknown(self, ""))


@cache
def _read_when_unsaid(kind: type[Frozen]) -> dict[str, object]:
    """Return what settings whose default has changed are, where a file does not say them."""
    found: dict[str, object] = {}
    for name, info in kind.model_fields.items():
        mark = mark_of(info, DefaultBefore) or mark_of(info, AddedLater)
        if mark is not None and info.default_factory is None and mark.before != info.default:
            found[name] = mark.before
    return found


@cache
def _former_names(kind: type[Frozen]) -> dict[str, FormerName]:
    marks = {name: mark_of(info, FORMER_NAMES) for name, info in kind.model_fields.items()}
    return {name: mark for name, mark in marks.items() if mark is not None}


def _whole(value: object, plain: Any) -> Any:
    """Return a dump with the versions of all records in it, and with what is not known here."""
    if isinstance(value, BaseModel):
        version = {"schema_version": value.schema_version} if isinstance(value, Record) else {}
        known = {name: _whole(getattr(value, name, None), each) for name, each in plain.items()}
        return {**version, **known, **(value.model_extra or {})}
    if isinstance(value, Mapping) and isinstance(plain, Mapping):
        return {name: _whole(value.get(name), each) for name, each in plain.items()}
    if isinstance(value, tuple | list):
        return [_whole(*pair) for pair in zip(value, plain, strict=True)]
    return plain


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _unknown(value: object, prefix: str) -> Iterator[str]:
    parts: Iterable[tuple[object, object]] = ()
    if isinstance(value, BaseModel):
        yield from (f"{prefix}{name}" for name in value.model_extra or {})
        parts = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, tuple | list):
        parts = enumerate(value)
    for name, each in parts:
        # Catalogs have very many: nothing is in text and numbers.
        if type(each) not in _PLAIN:
            yield from _unknown(each, f"{prefix}{name}.")


def _sha256(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
