"""What of some settings counts for their digest: all of it, but for what its field says here.

A digest is part of the keys of stores, runs and files, and has to stay what it was while settings are added
and renamed. A field says so itself, as a mark in its annotation; there is no list beside the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Mark = TypeVar("Mark")


@dataclass(frozen=True)
class AddedLater:
    """A setting that came after digests of its class were in use.

    It is left out of the digest while it has the value that says what was done before there was the setting.
    That value stays written here when the default changes: with another default the digest is another.

    Parameters
    ----------
    before
        Value that says what was done before, in the notation of JSON.
    beside
        Setting beside which it came: where that one counts, this one does whatever its value.

    Examples
    --------
    >>> AddedLater(0).says_nothing(0), AddedLater(0).says_nothing(3), AddedLater(()).says_nothing([])
    (True, False, True)
    """

    before: object
    beside: str | None = None

    def says_nothing(self, value: object) -> bool:
        """Whether `value`, in the notation of JSON, is that of before."""
        return value == _as_json(self.before)


@dataclass(frozen=True)
class DefaultBefore:
    """A setting whose default was another: a file that does not say it is read with that one.

    Parameters
    ----------
    before
        The default when files began to be written, in the notation of JSON.
    """

    before: object


@dataclass(frozen=True)
class DecidesNothing:
    """A setting that decides where, how fast or how often, and not what comes out.

    Parameters
    ----------
    because
        Why it does not decide what comes out.
    as_if
        Value that stands for every value where only what decides the outcome counts
        (`nwb_latents.schemas.base.Frozen.outcome_digest`).
    """

    because: str
    as_if: object


@dataclass(frozen=True)
class NeverCounts:
    """A setting that is in no digest at all.

    Parameters
    ----------
    because
        Why it does not decide what comes out.
    """

    because: str


@dataclass(frozen=True)
class Formerly:
    """A setting that was called something else: digests go by that name, and files that have it are read.

    Parameters
    ----------
    name
        What it was called.

    Examples
    --------
    >>> Formerly("span").named("spans", 3, bin_size_s=None)
    {'span': 3}
    >>> Formerly("span").read({"span": 3}, bin_size_s=None)
    3
    """

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names that are no longer in use."""
        return (self.name,)

    def named(self, name: str, value: object, *, bin_size_s: float | None) -> dict[str, object]:
        """Return what stands in a digest for the setting `name`."""
        del name, bin_size_s
        return {self.name: value}

    def read(self, old: Mapping[str, object], *, bin_size_s: float | None) -> object:
        """Return the setting from what was called by the former name."""
        del bin_size_s
        return old[self.name]

    def remedy(self, name: str, old: Mapping[str, object]) -> str:
        """Say what to write instead."""
        return f"{self.name} is now called {name}: write {name}={old[self.name]}"


@dataclass(frozen=True)
class FormerlyApart:
    """Settings within one that stood beside each other before they were put together.

    Parameters
    ----------
    parts
        Former name → name within the setting.

    Examples
    --------
    >>> FormerlyApart({"n_seen": "seen"}).named("window", {"seen": 3}, bin_size_s=None)
    {'n_seen': 3}
    >>> FormerlyApart({"n_seen": "seen"}).read({"n_seen": 3}, bin_size_s=None)
    {'seen': 3}
    """

    parts: Mapping[str, str] = field(hash=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names that are no longer in use."""
        return tuple(self.parts)

    def named(self, name: str, value: object, *, bin_size_s: float | None) -> dict[str, object]:
        """Return what stands in a digest for the setting `name`."""
        del bin_size_s
        former = {inner: old for old, inner in self.parts.items()}
        within = value if isinstance(value, Mapping) else {}
        return {former.get(inner, f"{name}.{inner}"): each for inner, each in within.items()}

    def read(self, old: Mapping[str, object], *, bin_size_s: float | None) -> object:
        """Return the setting from what was called by the former names."""
        del bin_size_s
        return {self.parts[name]: value for name, value in old.items()}

    def remedy(self, name: str, old: Mapping[str, object]) -> str:
        """Say what to write instead."""
        said = [f"{former} is now called {name}.{self.parts[former]}" for former in old]
        words = " ".join(f"{name}.{self.parts[former]}={value}" for former, value in old.items())
        return f"{', '.join(said)}: write {words}"


@dataclass(frozen=True)
class FormerlyInBins:
    """A time in ms that was said in bins, under another name.

    Parameters
    ----------
    name
        What it was called.

    Examples
    --------
    >>> FormerlyInBins("delay_bins").named("delay_ms", 200.0, bin_size_s=0.02)
    {'delay_bins': 10}
    >>> FormerlyInBins("delay_bins").named("delay_ms", 200.0, bin_size_s=0.05)
    {'delay_bins': 4}
    >>> FormerlyInBins("delay_bins").read({"delay_bins": 10}, bin_size_s=0.02)
    200.0
    """

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names that are no longer in use."""
        return (self.name,)

    def named(self, name: str, value: object, *, bin_size_s: float | None) -> dict[str, object]:
        """Return what stands in a digest for the setting `name`: bins, where it is a whole number of them.

        Raises
        ------
        ValueError
            If the width of the bins is not known.
        """
        if bin_size_s is None:
            raise ValueError(f"{name}: its digest needs the width of the bins of the stores")
        bins, rest = divmod(round(float(str(value)) * 1e6), round(bin_size_s * 1e9))
        return {name: value} if rest else {self.name: bins}

    def read(self, old: Mapping[str, object], *, bin_size_s: float | None) -> object:
        """Return the time in ms from the number of bins.

        Raises
        ------
        ValueError
            If the width of the bins is not known.
        """
        bins = int(str(old[self.name]))
        if bins and bin_size_s is None:
            raise ValueError(f"{self.name} is {bins}, and nothing says how wide a bin is")
        return round(bins * (bin_size_s or 0.0) * 1e3, 6)

    def remedy(self, name: str, old: Mapping[str, object]) -> str:
        """Say what to write instead."""
        bins = old[self.name]
        in_ms = f"{name}={bins * 20}" if isinstance(bins, int) else f"{name}=200"
        return f"{self.name} is now {name}, in ms: with bins of 20 ms write {in_ms}"


FormerName = Formerly | FormerlyApart | FormerlyInBins
FORMER_NAMES: tuple[type[FormerName], ...] = (Formerly, FormerlyApart, FormerlyInBins)


def mark_of(info: FieldInfo, kind: type[Mark] | tuple[type[Mark], ...]) -> Mark | None:
    """Return the mark of one kind a field carries, or None."""
    found: Mark | None = next((mark for mark in info.metadata if isinstance(mark, kind)), None)
    return found


def _as_json(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_as_json(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _as_json(each) for name, each in value.items()}
    return value
