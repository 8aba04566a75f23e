"""A metric says once what it is: its name, what it needs, how it is computed and how its numbers are read.

Each is one object, registered in the entry-point group ``nwb_latents.metrics``; those of this project are in
files of this package and entered in `pyproject.toml`. Everything that shows or chooses metrics (evaluation,
leaderboard, manual, help) goes by these objects, so that a metric of another distribution is shown like any
other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from nwb_latents.pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nwb_latents.pipeline.evaluation.metrics.resampling import Statistic
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    Compute = Callable[[ScoredSession, SourceOutput], "Statistic | Found"]

Part = Literal["reconstruction", "forecast", "latents"]
"""What of a source is scored: rates inferred from whole trials, rates of bins it was not shown, or states."""

Need = Literal["heldout", "forward", "velocity", "conditions", "early_days", "true_rates", "true_states"]
"""What a session and a source may have, or not: see `WHY_NEEDED`."""

Direction = Literal["more", "less"]

WHY_NEEDED: dict[Need, str] = {
    "heldout": "units that the source was not shown",
    "forward": "rates of the bins after the window",
    "velocity": "recorded hand velocity",
    "conditions": "at least two conditions, with units whose mean course differs",
    "early_days": "earlier days of the subject, of which it is held out",
    "true_rates": "the true rates of a simulated session",
    "true_states": "the true states of a simulated session",
}
"""Each thing a metric can need, in words."""

NEEDS_TRUTH: frozenset[Need] = frozenset({"true_rates", "true_states"})
"""What only simulated sessions have."""


class CannotBeHadError(Exception):
    """A metric is not to be had of this source on this session; the message says why, and is no failure.

    Examples
    --------
    >>> raise CannotBeHadError("no trial was rewarded")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.evaluation.metrics.metric.CannotBeHadError: no trial was rewarded
    """


@dataclass(frozen=True, kw_only=True)
class Found:
    """A metric of one source on one session, with what else is to be said about it.

    Attributes
    ----------
    statistic
        The metric as a function of how often each trial counts: its value and its interval come from it.
    value
        The value itself, where another stage computes it too and both must say the same to the last digit;
        None: that of `statistic`.
    per_axis
        The value of each axis, where there are axes.
    n_samples
        Time bins scored.
    decoder, decoder_settings, fitted_on
        Decoder between rates and velocity, what was chosen for it, and the signal it was fitted on. None:
        those of the metric.
    fitted_sessions
        Sessions the decoder was fitted on; none: the one scored.
    details
        What else there is to say.
    """

    statistic: Statistic
    value: float | None = None
    per_axis: tuple[float | None, ...] = ()
    n_samples: int | None = None
    decoder: str | None = None
    decoder_settings: Mapping[str, Any] = field(default_factory=dict)
    fitted_on: str | None = None
    fitted_sessions: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """One metric.

    Attributes
    ----------
    name
        Its one name: setting, column, record. Lower case with underscores.
    title
        What the field calls it, for the heads of tables.
    meaning
        One sentence: what is computed.
    compute
        Part of a source → function of the session and what the source delivered that returns the metric as a
        `Statistic`, or as `Found` where there is more to say. What only this session lacks is said with
        `CannotBeHadError`; any other exception is a failure of this metric alone.
    needs
        What must be there; where it is not, `compute` is not called and the reason is written down.
    unit
        Unit of the values; ``"1"`` for ratios such as an R².
    definition
        Which of the definitions in use this is, e.g. ``"r2_uniform"``; empty where there is but one.
    source
        Paper or equation it comes from.
    better
        One of ``"more"``, ``"less"``: which values are better.
    order
        Place in tables, from left to right; equal ones by name. Those of this project have 10 to 99.
    reads
        Parts of the source it needs beside the one it scores, where the source has them.
    units
        Units of the session that are scored: ``"all"`` or ``"heldout"``.
    decoder
        Name of the decoder between rates and velocity; None: there is none.
    fitted_on
        Signal and trials the decoder was fitted on; empty: nothing is fitted.
    has_lag
        Whether the lag between activity and velocity matters.

    Raises
    ------
    SettingsError
        If it is not described well enough to be shown.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums
    >>> metric = Metric(
    ...     name="heldin_bps", title="held-in", unit="bits/spike", order=200,
    ...     meaning="Likelihood of the spikes of held-in units above that of their mean rate.",
    ...     compute={"reconstruction": lambda session, made: SpikeSums.of(
    ...         made.rates.eval[..., : session.n_heldin], session.answers.eval_heldin)})
    >>> metric.shown_unit, metric.parts
    ('bits/spike', ('reconstruction',))
    """

    name: str
    title: str
    meaning: str
    compute: Mapping[Part, Compute]
    needs: tuple[Need, ...] = ()
    unit: str = "1"
    definition: str = ""
    source: str = ""
    better: Direction = "more"
    order: float = 100.0
    reads: tuple[Part, ...] = ()
    units: str = "all"
    decoder: str | None = None
    fitted_on: str = ""
    has_lag: bool = False

    def __post_init__(self) -> None:
        faults = [
            *([f"name {self.name!r} is not lower case with underscores"] if not _is_name(self.name) else []),
            *(f"{what} is empty" for what in ("title", "meaning", "compute") if not getattr(self, what)),
            *(
                f"there is no part {part!r}"
                for part in (*self.compute, *self.reads)
                if part not in get_args(Part)
            ),
            *(f"there is no need {need!r}" for need in self.needs if need not in get_args(Need)),
            *([f"better is {self.better!r}"] if self.better not in get_args(Direction) else []),
        ]
        if faults:
            raise SettingsError(f"metric {self.name or '?'}: {'; '.join(faults)}. Mend its description.")

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts of a source it scores."""
        return tuple(self.compute)

    @property
    def shown_unit(self) -> str:
        """What stands behind its name in tables: the definition of an R², else the unit."""
        return self.definition or ("" if self.unit == "1" else self.unit)

    @property
    def needs_truth(self) -> bool:
        """Whether only simulated sessions can have it."""
        return bool(NEEDS_TRUTH & set(self.needs))

    @property
    def needs_early_days(self) -> bool:
        """Whether only a day that is held out can have it."""
        return "early_days" in self.needs

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.better == "more" else -1


def _is_name(text: str) -> bool:
    return text.isidentifier() and text == text.lower()
