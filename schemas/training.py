"""Settings of `pipeline run train`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen, Reading, Record
from nwb_latents.schemas.bounds import MOST_BINS, MOST_GB, MOST_ITEMS, MOST_SEED, MOST_STEPS
from nwb_latents.schemas.catalog import Alignment, Imported
from nwb_latents.schemas.digest import (
    AddedLater,
    DecidesNothing,
    DefaultBefore,
    FormerlyInBins,
    NeverCounts,
)
from nwb_latents.schemas.masks import MaskSettings
from nwb_latents.schemas.mdssm import MDSSMSettings
from nwb_latents.schemas.models import AnyModel, known_models, model_settings
from nwb_latents.schemas.quality import QualityFilter
from nwb_latents.schemas.recipe import bin_size_in
from nwb_latents.schemas.registry import MODELS

Signal = Literal["rates", "counts"]
InputSmoothing = Literal["shown", "recorded"]
Device = Literal["auto", "cpu", "cuda"]


_SHOWS_IN_THE_STORES = "which sessions were chosen shows in the keys of the stores"
_NOTHING_ASKED = {"min_trials": 0, "min_decodability": None, "max_flags": None, "exclude_flags": ()}
_WHERE_TRIALS_LIE = "whether trials are kept in memory or read again when they are drawn"
_BEST_IS_VALIDATED = "how often training can be resumed from; the best step is kept at validations"
_NOTHING_HIDDEN = {
    "coordinated_dropout": 0.0,
    "pass_rate": 0.0,
    "sample_validation": 0.0,
    "observed_share": 1.0,
    "spike_jitter": 0,
    "temporal_shift": 0.0,
    "temporal_shift_max": 6,
}


class BatchSettings(Frozen):
    """How many trials of how many sessions make one step."""

    trials_per_session: int = Field(
        64, ge=1, le=MOST_ITEMS, description="Trials drawn from each session of a step."
    )
    sessions_per_step: int = Field(
        20, ge=1, le=MOST_ITEMS, description="Sessions drawn for each step; fewer if there are fewer."
    )
    sessions_per_block: int = Field(
        10,
        ge=1,
        le=MOST_ITEMS,
        description="Sessions packed into one block; small blocks stay in the processor's cache. Several "
        "devices share the blocks of a step out.",
    )
    trials_per_block: Annotated[int | None, AddedLater(None)] = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Trials of one session in one block, where its trials are to be shared out among "
        "devices: every session then has blocks of its own. Default: sessions are not cut.",
    )


LONGEST_WARMUP = 100
"""Steps over which the learning rate rises at most, where nothing is set."""


class OptimiserSettings(Frozen):
    """AdamW with a cosine learning rate."""

    lr: float = Field(1e-3, gt=0, le=10, description="Learning rate at the start.")
    final_lr: float = Field(0.0, ge=0, le=10, description="Learning rate at the end of the cosine.")
    weight_decay: float = Field(1e-3, ge=0, le=1000, description="Decoupled weight decay.")
    clip_norm: float = Field(200.0, gt=0, description="Gradients are scaled down to this global norm.")
    warmup_steps: Annotated[int | None, DefaultBefore(0)] = Field(
        None,
        ge=0,
        le=MOST_STEPS,
        description="Steps over which the learning rate rises from zero, without which some trainings run "
        "away; default: a tenth of max_steps, at most 100.",
    )

    def warmup(self, max_steps: int) -> int:
        """Return the steps over which the learning rate rises, the default resolved.

        Examples
        --------
        >>> OptimiserSettings().warmup(2000), OptimiserSettings(warmup_steps=0).warmup(2000)
        (100, 0)
        """
        if self.warmup_steps is not None:
            return self.warmup_steps
        return min(LONGEST_WARMUP, max_steps // 10)


class TrainSettings(Frozen):
    """A whole training: model, data, optimiser, stopping."""

    model: AnyModel = Field(
        default_factory=MDSSMSettings,
        description="The model, mdssm unless it is named.",
    )
    batch: BatchSettings = Field(default_factory=BatchSettings, description="Batches.")
    optimiser: OptimiserSettings = Field(default_factory=OptimiserSettings, description="Optimiser.")
    select: Annotated[QualityFilter, DecidesNothing(_SHOWS_IN_THE_STORES, as_if=_NOTHING_ASKED)] = Field(
        default_factory=QualityFilter, description="What is asked of a session's quality."
    )
    signal: Signal = Field(
        "rates",
        description="Shown to the model and scored: smoothed rates or spike counts; by default counts "
        "for models of spikes with a Poisson likelihood (lfads, node_sae).",
    )
    input_smoothing: Annotated[InputSmoothing, AddedLater("recorded")] = Field(
        "shown",
        description="What a model of smoothed rates is shown: 'shown': the counts of the bins it may see, "
        "smoothed from these bins alone; 'recorded': the recorded rates, which hold spikes of bins after "
        "those shown, as published. What is scored are the recorded rates. With signal: counts nothing is "
        "smoothed, and it is 'recorded'.",
    )
    standardise: bool = Field(
        default=True,
        description="Show each unit to the encoders scaled by its mean and deviation over training trials; a "
        "Gaussian likelihood scores the scaled values, a Poisson likelihood the counts.",
    )
    co_smoothing: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="Hide the units a store marks as held out from the encoders and score them all the "
        "same: their rates are then inferred from the other units.",
    )
    heldout_fraction: Annotated[task.HeldoutFraction, AddedLater(0.0)] = task.NOT_ASKED
    forward_ms: Annotated[task.ForwardMs, AddedLater(0.0), FormerlyInBins("forward_bins")] = task.NOT_ASKED
    masks: Annotated[MaskSettings, AddedLater(_NOTHING_HIDDEN)] = Field(
        default_factory=MaskSettings, description="What training hides."
    )
    max_steps: int = Field(2000, ge=1, le=MOST_STEPS, description="Training steps at most.")
    validate_every: int = Field(50, ge=1, le=MOST_STEPS, description="Steps between two validations.")
    validation_cuts: Annotated[int, AddedLater(0)] = Field(
        3,
        ge=0,
        le=MOST_BINS,
        description="Bins at which validation trials are cut, besides being scored whole, where the model "
        "practises forecasts (model.cut_probability): the loss that picks the best step weighs them as the "
        "training does. 0: whole trials alone.",
    )
    checkpoint_every: Annotated[int, DecidesNothing(_BEST_IS_VALIDATED, as_if=1)] = Field(
        50, ge=1, le=MOST_STEPS, description="Steps between two checkpoints."
    )
    patience: int = Field(
        20,
        ge=1,
        le=MOST_STEPS,
        description="Training stops after this many validations without a better loss.",
    )
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of initial weights, batches and noise.")
    device: Annotated[Device, DecidesNothing("where the arithmetic is done", as_if="auto")] = Field(
        "auto", description="Where to train; auto: a GPU if there is one."
    )
    devices: Annotated[int, DecidesNothing("on how many devices it is done", as_if=1)] = Field(
        1,
        ge=1,
        le=MOST_ITEMS,
        description="Number of devices, which share the blocks of every step out; the numbers are those of "
        "one device, up to the order of sums.",
    )
    data_memory_gb: Annotated[float | None, NeverCounts(_WHERE_TRIALS_LIE)] = Field(
        None,
        gt=0,
        le=MOST_GB,
        description="Memory for the trials of the sessions, GB. Where reading all of them is estimated to "
        "take more, each is read when it is drawn. Default: what this machine has to give.",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = Field(
        "32-true", description="Arithmetic of the training step."
    )

    @property
    def reads_recordings(self) -> bool:
        """Whether a training reads what the trials were cut from beside the trials.

        Examples
        --------
        >>> TrainSettings().reads_recordings, TrainSettings(model={"behaviour_weight": 1.0}).reads_recordings
        (False, True)
        """
        return bool(self.forward_ms or getattr(self.model, "trains_on_velocity", False))

    @property
    def sees_ahead(self) -> bool:
        """Whether the last bins a model is shown hold spikes of bins after them.

        Examples
        --------
        >>> TrainSettings().sees_ahead, TrainSettings(input_smoothing="recorded").sees_ahead
        (False, True)
        """
        return self.signal == "rates" and self.input_smoothing == "recorded"

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_model(cls, content: Any, info: ValidationInfo) -> Any:
        """Fill in the model's name, the signal that suits it, and what is shown of that."""
        if not isinstance(content, dict):
            return content
        reading = isinstance(info.context, Reading)
        model = content.get("model")
        if isinstance(model, dict):
            model = {"name": "mdssm", **model}
            content = {**content, "model": model}
        described = model.model_dump() if isinstance(model, Frozen) else model or {}
        name = described.get("name") if isinstance(described, dict) else None
        if isinstance(name, str) and name in MODELS:
            kind = model_settings(name)
            likelihood = described.get(
                "likelihood", getattr(kind.model_fields.get("likelihood"), "default", None)
            )
            if kind.reads_counts and likelihood in {None, "poisson"}:
                content = {"signal": "counts", **content}
        # A file that does not say it was written when there was no other way.
        if reading or content.get("signal") == "counts":
            content = {"input_smoothing": "recorded", **content}
        return content

    @model_validator(mode="after")
    def _jitter_moves_spikes(self) -> Self:
        if self.masks.spike_jitter and (self.signal != "counts" or self.standardise):
            raise ValueError(
                "masks.spike_jitter moves whole spikes; it needs signal: counts and standardise: false"
            )
        return self

    @model_validator(mode="after")
    def _smooths_rates_alone(self) -> Self:
        if self.signal == "counts" and self.input_smoothing == "shown":
            raise ValueError(
                "input_smoothing: shown smooths what a model of rates is shown, and signal is counts, "
                "which are shown as they are. Leave input_smoothing out, or use signal: rates"
            )
        return self

    @model_validator(mode="after")
    def _hides_to_co_smooth(self) -> Self:
        if self.heldout_fraction and not self.co_smoothing:
            raise ValueError(
                "heldout_fraction says which units co_smoothing hides; set co_smoothing: true too"
            )
        return self

    @model_validator(mode="after")
    def _bins_after_the_window_are_counts(self) -> Self:
        if self.forward_ms and (self.signal != "counts" or not self.model.scores_forward_bins):
            able = " or ".join(name for name, kind in known_models().items() if kind.scores_forward_bins)
            raise ValueError(
                f"forward_ms needs signal: counts and the model {able}, found "
                f"{self.signal} and {self.model.name}"
            )
        return self


class RunSource(Frozen):
    """A session a run was trained on."""

    store_key: str = Field(description="Key of the trial store.")
    n_units: int = Field(ge=1, description="Units of the session.")
    n_trials: int | None = Field(None, ge=0, description="Trials of the store; none: not written down.")
    trials: tuple[int, ...] | None = Field(
        None, description="Trials the run was given, by their id; none: all of the training split."
    )


class RunConfig(Record):
    """The file `config.yaml` of a run directory: everything needed to train the run again."""

    schema_version: int = Field(2, ge=1, description="Version of this description.")
    run: str = Field(description="Name of the run.")
    run_key: str = Field(description="Hash of settings, seed and the keys of the stores.")
    recipe_id: str = Field(description="Recipe of the stores.")
    sessions: dict[str, RunSource] = Field(
        description="Session id → store it was trained on, in the model's order."
    )
    settings: TrainSettings = Field(description="Settings, all defaults filled in.")
    packages: dict[str, str] = Field(default_factory=dict, description="Versions of the packages that ran.")
    created: str = Field(description="When the run was begun, ISO 8601, UTC.")
    alignment: Alignment | None = Field(None, description="How it was made of another run; none: it was not.")
    imported: Imported | None = Field(None, description="Where it was trained; none: here.")
    pretrained_on: tuple[str, ...] = Field(
        (), description="Sessions its shared parameters were trained on before it was aligned."
    )
    sweep: str | None = Field(
        None, description="Search that chose its settings, see sweep.json beside it; none: they were given."
    )

    @classmethod
    def brought_up(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Say the time after the window in ms: version 1 said it in bins, `settings.forward_bins`."""
        settings = dict(content.get("settings") or {})
        bins = settings.pop("forward_bins", 0)
        if bins:
            width = bin_size_in(str(content.get("recipe_id")))
            if width is None:
                raise ValueError(f"settings.forward_bins is {bins}; recipe_id does not say how wide a bin is")
            settings["forward_ms"] = round(bins * width * 1e3, 6)
        return super().brought_up({**content, "settings": settings}, version)
