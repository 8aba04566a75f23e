"""Settings and history of `pipeline run sweep`: what is searched, by which rules, and what came of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, model_validator

from nwb_latents.schemas.base import Found, Frozen, Reading, Record
from nwb_latents.schemas.bounds import MOST_ITEMS, MOST_STEPS
from nwb_latents.schemas.digest import NeverCounts
from nwb_latents.schemas.models import model_settings
from nwb_latents.schemas.training import TrainSettings

Strategy = Literal["pbt", "random"]

NOT_SEARCHED = frozenset(
    {
        "batch.sessions_per_block",
        "checkpoint_every",
        "devices",
        "forward_ms",
        "heldout_fraction",
        "masks.observed_share",
        "masks.sample_validation",
        "max_steps",
        "patience",
        "seed",
        "validate_every",
    }
)
"""Numbers that decide what is compared, for how long or where, and so cannot be compared by."""


class HyperParameter(Frozen):
    """The range of one setting, and how it is searched."""

    low: float = Field(ge=0, description="Least value.")
    high: float = Field(gt=0, description="Largest value.")
    scale: Literal["linear", "log"] = Field("linear", description="Scale on which values are drawn evenly.")
    start: float | None = Field(
        None, description="Value every member of a population starts with; none: drawn. Random search draws."
    )
    explore: float = Field(
        0.3,
        gt=0.002,
        lt=1,
        description="Width w of a change: a copied value times 1 ± U(0.002, w), drawn until within range.",
    )
    per_element: bool = Field(
        default=False,
        description="Whether the range is that of a loss averaged over bins and units; it is multiplied by "
        "their number, since losses here are sums.",
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.high < 1.01 * self.low or self.high <= self.low:
            raise ValueError(f"expected low at least 1 % below high, found {self.low:g} to {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a log scale needs low above 0")
        if self.start is not None and not self.low <= self.start <= self.high:
            raise ValueError(f"start {self.start:g} is not within {self.low:g} to {self.high:g}")
        return self

    def times(self, elements: float) -> HyperParameter:
        """Return the range in units of the summed loss.

        Examples
        --------
        >>> weak = HyperParameter(low=1e-6, high=1e-3, scale="log", per_element=True)
        >>> weak.times(5000.0).high, HyperParameter(low=0, high=0.6).times(5000.0).high
        (5.0, 0.6)
        """
        if not self.per_element:
            return self
        start = None if self.start is None else self.start * elements
        changes = {"low": self.low * elements, "high": self.high * elements, "start": start}
        return self.model_copy(update={**changes, "per_element": False})


class SweepSettings(Frozen):
    """Search over settings of a training: many members, trained side by side, generation by generation."""

    strategy: Strategy = Field(
        "pbt",
        description="'pbt': population-based training, members that do worse copy others and change; "
        "'random': every member keeps what was drawn for it.",
    )
    train: TrainSettings = Field(
        default_factory=lambda: TrainSettings.model_validate({"model": {"name": "lfads"}}),
        description="What all members have in common; max_steps and patience follow from the generations.",
    )
    space: dict[str, HyperParameter] = Field(
        default_factory=dict,
        description="Setting, e.g. optimiser.lr → its range; laid over the default space of the model, from "
        "which null takes a setting out.",
    )
    default_space: bool = Field(
        default=True, description="Begin with the default space of the model, where it has one."
    )
    population: int = Field(20, ge=2, le=MOST_ITEMS, description="Members; 20 to 40 in AutoLFADS.")
    generations: int = Field(40, ge=1, le=MOST_ITEMS, description="Generations at most.")
    generation_steps: int = Field(
        100, ge=1, le=MOST_STEPS, description="Training steps of a generation; 25 epochs in AutoLFADS."
    )
    burn_in_steps: int | None = Field(
        None,
        ge=0,
        le=MOST_STEPS,
        description="Steps before the first copies; default: the warm-ups of the model and one generation.",
    )
    smoothing: float = Field(
        0.3, ge=0, lt=1, description="Share of the earlier average in the smoothed validation loss."
    )
    min_improvement: float = Field(
        5e-4, ge=0, description="PBT ends once the best member has not improved by this share of its loss …"
    )
    improve_within: int = Field(4, ge=1, le=MOST_ITEMS, description="… over this many generations.")
    workers: Annotated[
        int | None, NeverCounts("how many are trained at once does not change what comes out")
    ] = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Members trained at once; default: one per core, at most the population.",
    )

    @model_validator(mode="before")
    @classmethod
    def _flat_space_over_default(cls, content: Any, info: ValidationInfo) -> Any:
        """Accept nested names (``optimiser: {lr: {…}}``), and lay the space over that of the model."""
        if not isinstance(content, Mapping):
            return content
        content = dict(content)
        train = content.get("train", {})
        if isinstance(train, Mapping):
            # The default of a sweep is lfads, of a training mdssm.
            model = train.get("model") or {}
            if isinstance(model, Mapping):
                content["train"] = train = {**train, "model": {"name": "lfads", **model}}
        given = content.get("space") or {}
        if not isinstance(given, Mapping):
            return content
        try:
            common = TrainSettings.model_validate(
                train, context=info.context, extra="allow" if isinstance(info.context, Reading) else None
            )
            known = dict(searchable(common))
        except ValidationError:
            return {**content, "space": {}, "default_space": True}  # the fault is reported under its own key
        named = dict(_flat(given, "", known))
        _require_known(named, known)
        base: dict[str, Any] = {}
        if content.get("default_space", True):
            base = dict(model_settings(_model_name(train)).sweep_space)
        for name, wanted in named.items():
            both = isinstance(wanted, Mapping) and name in base
            base[name] = {**base[name], **wanted} if both else wanted
        content["space"] = {name: wanted for name, wanted in base.items() if wanted is not None}
        # What is there is the whole space: read again, nothing is added to it.
        content["default_space"] = False
        return content

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        if not self.space:
            raise ValueError(
                f"space: the model {self.train.model.name} has no default space, and none is given. Name at "
                "least one setting, e.g. --set space.optimiser.lr.low=1e-4 --set space.optimiser.lr.high=1e-2"
            )
        for name, wanted in self.space.items():
            self._require_searchable(name, wanted)
        if self.strategy == "pbt" and all(wanted.start is not None for wanted in self.space.values()):
            raise ValueError(
                "space: every setting has a fixed start, so all members would be the same. Leave out "
                "the start of at least one"
            )
        for name, derived in (("max_steps", self.total_steps), ("patience", None)):
            default = TrainSettings.model_fields[name].default
            if getattr(self.train, name) not in {default, derived}:
                raise ValueError(
                    f"train.{name}: a sweep trains generations × generation_steps = {self.total_steps} "
                    "steps; set those"
                )
        return self

    def _require_searchable(self, name: str, wanted: HyperParameter) -> None:
        known = dict(searchable(self.train))
        if self.strategy == "pbt" and name == "optimiser.final_lr":
            raise ValueError(
                f"space.{name}: under pbt the learning rate has no schedule; search optimiser.lr"
            )
        if self.strategy == "pbt" and isinstance(known[name], int) and name.startswith("model."):
            raise ValueError(
                f"space.{name}: members of different sizes cannot copy each other. Use --strategy random"
            )
        if wanted.per_element:
            return
        for value in (wanted.low, wanted.high):
            try:
                with_values(self.train, {name: value})
            except ValidationError as error:
                message = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"space.{name}: {value:g} is no value of it: {message}") from error

    @property
    def total_steps(self) -> int:
        """Training steps of a member at most."""
        return self.generations * self.generation_steps

    @property
    def first_copy_step(self) -> int:
        """Step from which on members copy others."""
        if self.burn_in_steps is not None:
            return self.burn_in_steps
        return self.train.model.ramp_steps + self.generation_steps


def searchable(train: TrainSettings) -> Iterator[tuple[str, float]]:
    """Yield dotted name and value of every number among the settings that a sweep can search.

    Examples
    --------
    >>> names = dict(searchable(TrainSettings()))
    >>> names["optimiser.lr"], "seed" in names
    (0.001, False)
    """
    for name, value in _numbers(train, ""):
        if name not in NOT_SEARCHED and not name.startswith("select."):
            yield name, value


def with_values(train: TrainSettings, values: Mapping[str, float]) -> TrainSettings:
    """Return the settings with some of them replaced, by dotted name; checked like any others.

    Examples
    --------
    >>> with_values(TrainSettings(), {"optimiser.lr": 0.01, "batch.trials_per_session": 8.0}).optimiser.lr
    0.01
    """
    content = train.model_dump()
    for name, value in values.items():
        at = content
        *path, last = name.split(".")
        for part in path:
            at = at[part]
        at[last] = round(value) if isinstance(at[last], int) else value
    return TrainSettings.model_validate(content)


def _numbers(settings: BaseModel, prefix: str) -> Iterator[tuple[str, float]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _flat(space: Mapping[str, Any], prefix: str, known: Mapping[str, float]) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and ranges of names that may be nested."""
    for name, value in space.items():
        whole = f"{prefix}{name}"
        if isinstance(value, Mapping) and any(k.startswith(f"{whole}.") for k in known):
            yield from _flat(value, f"{whole}.", known)
        else:
            yield whole, value


def _require_known(names: Mapping[str, Any], known: Mapping[str, float]) -> None:
    """Refuse a misspelt setting before its range is looked at."""
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"space.{name}: no number of the training settings that can be searched; {hint}")


def _model_name(train: Any) -> str:
    model = train.get("model") if isinstance(train, Mapping) else getattr(train, "model", None)
    found = model.get("name") if isinstance(model, Mapping) else getattr(model, "name", None)
    return str(found)


class MemberRecord(Found):
    """One generation of one member."""

    generation: int = Field(ge=0, description="Generation, from 0.")
    member: int = Field(ge=0, description="Member, from 0.")
    parent: int | None = Field(
        None, description="Member of the generation before it went on from; none in the first generation."
    )
    step: int = Field(ge=0, description="Training steps its weights have taken.")
    metric: float | None = Field(None, description="Smoothed validation loss; none: the training diverged.")
    last: float | None = Field(None, description="Validation loss at the end, as measured.")
    values: dict[str, float] = Field(description="Setting → value.")
    reason: str = Field("", description="Why it diverged.")


class SweepState(Record):
    """The file `sweep.json` of a run: what was searched, and every generation that is complete."""

    schema_version: int = Field(2, ge=1, description="Version of this description.")
    run: str = Field(description="Name of the run.")
    run_key: str = Field(description="Hash of the settings of the sweep and the keys of the stores.")
    settings: SweepSettings = Field(description="Settings of the sweep, all defaults filled in.")
    space: dict[str, HyperParameter] = Field(description="Ranges as they were searched, for summed losses.")
    metric: str = Field(description="Metric that is compared, before smoothing; nats per trial.")
    history: tuple[MemberRecord, ...] = Field((), description="Members of every complete generation.")
    stopped: Literal["generations", "no improvement"] | None = Field(
        None, description="Why it ended; none: it has not."
    )


class MemberOutcome(Record):
    """What came of one generation of one member, before it is compared with others."""

    step: int = Field(ge=0, description="Training steps its weights have taken.")
    best_step: int = Field(0, ge=0, description="Step of its best checkpoint.")
    metric: float | None = Field(None, description="Smoothed validation loss; none: the training diverged.")
    last: float | None = Field(None, description="Validation loss at the end, as measured.")
    metrics: dict[str, float] = Field(default_factory=dict, description="All metrics at the end.")
    reason: str = Field("", description="Why it diverged.")
