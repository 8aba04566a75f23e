"""Checks of a session as traffic lights: a state, a word, and why. Never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.signals.quality import SURE_ONSETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.schemas.quality import QualitySettings, SessionQuality
    from nwb_latents.schemas.store import StoreAttributes

State = Literal["ok", "look", "bad", "unknown"]

SYMBOLS: dict[State, str] = {"ok": "✓", "look": "!", "bad": "✕", "unknown": "?"}
"""What stands in a light beside its colour."""

CHECKS: dict[str, str] = {
    "store": "Store",
    "numbers": "Numbers",
    "trials": "Trials",
    "units": "Units",
    "decodability": "Decodability",
    "onsets": "Onsets",
    "rates": "Rates",
    "outliers": "Kinematics",
    "dropped": "Dropped trials",
    "reader": "Reader",
    "bytes": "Bytes",
}
"""Check → its head, in the order of the table."""


@dataclass(frozen=True)
class Light:
    """One check of one session.

    Attributes
    ----------
    check
        Which, one of `CHECKS`.
    state
        What came of it.
    shown
        A few words or a number.
    why
        What was held against what.
    """

    check: str
    state: State
    shown: str
    why: str

    @property
    def symbol(self) -> str:
        """Its sign, for those who do not see the colour."""
        return SYMBOLS[self.state]


def lights_of(
    attributes: StoreAttributes | None,
    *,
    fault: str,
    n_numbers: int,
    stale: Mapping[str, int],
    unknown: int,
    unlooked: str = "",
) -> tuple[Light, ...]:
    """Return the lights of a session.

    Parameters
    ----------
    attributes
        What its store says; None: it cannot be read.
    fault
        What is wrong with the store; empty: nothing that was looked at.
    n_numbers
        Numbers measured of it.
    stale
        Why numbers of it are stale → how many.
    unknown
        Numbers that do not say of which store and run they are.
    unlooked
        Why the files of the store were not looked at; empty: they were.

    Examples
    --------
    >>> lights = lights_of(None, fault="its files are gone", n_numbers=0, stale={}, unknown=0)
    >>> [light.state for light in lights][:3]
    ['bad', 'unknown', 'unknown']
    """
    told = [_store(fault, unlooked), _numbers(n_numbers, stale, unknown)]
    quality = None if attributes is None else attributes.quality
    if attributes is None or quality is None:
        why = (
            "the store cannot be read" if attributes is None else "quality was not measured; ingest it again"
        )
        rest = [name for name in CHECKS if name not in {"store", "numbers"}]
        found = [*told, *(Light(name, "unknown", "not known", why) for name in rest)]
    else:
        found = [
            *told,
            *_of_quality(quality, attributes.recipe.quality),
            _reader(attributes),
            _bytes(attributes),
        ]
    place = list(CHECKS)
    return tuple(sorted(found, key=lambda light: place.index(light.check)))


def _store(fault: str, unlooked: str) -> Light:
    if fault:
        return Light("store", "bad", "damaged", fault)
    if unlooked:
        return Light("store", "unknown", "not known", unlooked)
    return Light("store", "ok", "whole", "sizes and keys match")


def _numbers(n_numbers: int, stale: Mapping[str, int], unknown: int) -> Light:
    n_stale = sum(stale.values())
    if n_stale:
        why = "; ".join(f"{number}: {reason}" for reason, number in stale.items())
        return Light("numbers", "bad", f"{n_stale} of {n_numbers} stale", f"{why}. Measure again")
    if unknown:
        return Light(
            "numbers", "look", f"{unknown} may be stale", "they do not say of which store and run they are"
        )
    if not n_numbers:
        return Light("numbers", "unknown", "none", "nothing was measured of it yet")
    return Light("numbers", "ok", f"{n_numbers} current", "all are of this store and of runs as they are")


def _of_quality(quality: SessionQuality, asked: QualitySettings) -> list[Light]:
    flags = set(quality.flags)

    def light(check: str, bad: set[str], shown: str, why: str, *, known: bool = True) -> Light:
        raised = sorted(flags & bad)
        state: State = "unknown" if not known else "look" if raised else "ok"
        if "no_decodability" in raised:
            state = "bad"
        said = f"{why}; flagged {', '.join(raised)}" if raised else why
        return Light(check, state, shown, said)

    n_onsets = sum(quality.onset_quality.values())
    n_doubtful = sum(n for name, n in quality.onset_quality.items() if name not in SURE_ONSETS)
    doubtful = n_doubtful / quality.n_trials if n_onsets and quality.n_trials else None
    dropped = sum(quality.dropped_trials.values())
    share = dropped / (dropped + quality.n_trials) if dropped + quality.n_trials else 0.0
    onsets = ", ".join(f"{n} {name}" for name, n in quality.onset_quality.items())
    decodable = quality.decodability
    drift, cv = quality.rates.drift, quality.rates.cv
    return [
        light("trials", {"few_trials"}, str(quality.n_trials), f"at least {asked.min_trials} expected"),
        light("units", {"few_units"}, str(quality.n_units), f"at least {asked.min_units} expected"),
        light(
            "decodability",
            {"low_decodability", "no_decodability"},
            "undefined" if decodable is None else f"R² {decodable:.2f}",
            f"cross-validated R² of velocity; at least {asked.min_decodability:g} expected",
            known=decodable is not None,
        ),
        light(
            "onsets",
            {"doubtful_onsets"},
            "none" if doubtful is None else f"{doubtful:.0%} doubtful",
            f"{onsets or 'no onsets'}; at most {asked.max_doubtful_onsets:.0%} doubtful expected",
            known=doubtful is not None,
        ),
        light(
            "rates",
            {"rate_drift", "variable_rates"},
            "undefined" if drift is None else f"drift {drift:+.0%}".replace("-", "−"),
            f"drift at most {asked.max_drift:g}, variation over trials at most {asked.max_cv:g} expected"
            + ("" if cv is None else f", found {cv:.2f}"),
            known=drift is not None,
        ),
        light(
            "outliers",
            {"many_outliers"},
            f"{quality.outliers.share:.1%} outliers",
            f"share of the time around outliers; at most {asked.max_outlier_share:.0%} expected",
        ),
        light(
            "dropped",
            {"many_dropped"},
            f"{share:.0%} dropped",
            f"{dropped} of {dropped + quality.n_trials}; at most {asked.max_dropped_share:.0%} expected",
        ),
    ]


def _reader(attributes: StoreAttributes) -> Light:
    warnings = attributes.provenance.warnings
    if not warnings:
        return Light("reader", "ok", "no warnings", "nothing odd was found in the file")
    n = f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
    return Light("reader", "look", n, " · ".join(warnings))


def _bytes(attributes: StoreAttributes) -> Light:
    match attributes.provenance.verification:
        case "digest":
            return Light("bytes", "ok", "verified", "SHA-256 of the whole file")
        case "connection":
            return Light("bytes", "ok", "over https", "streamed over https; held against no digest")
        case "none":
            return Light("bytes", "look", "not verified", "streamed over plain http; ingest with --download")
    return Light("bytes", "unknown", "not known", "the store does not say what its bytes were held against")
