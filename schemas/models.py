"""Settings of models, and how the one of a name is found.

A model is registered by its settings: an entry point of the group ``nwb_latents.models``, named as the model
and leading to its class of settings, which names the class that computes. So a command line, a catalog or a
worker that trains nothing knows a model without torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, cast

from pydantic import Field, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, SchemaValidator, ValidationError, core_schema

from nwb_latents.schemas.base import Frozen, Reading
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.registry import MODELS, BrokenPartError, PartError, PartWarning
from nwb_latents.schemas.task import LAG_MS, LagMs

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic.json_schema import JsonSchemaValue

SCALED_LIKELIHOODS = frozenset({"gaussian", "gaussian_per_bin", "mse"})
"""Likelihoods that score standardised values, where a training standardises; the others score what was
recorded."""


RateLink = Annotated[
    Literal["exp", "softplus"],
    Field(
        description="What makes expected counts of the read-out under a Poisson likelihood: 'exp', or "
        "'softplus' as in the code of MDSSM's authors."
    ),
]


CutProbability = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="Share of training steps in which the encoders see only the first bins, as in a "
        "forecast, while all bins are scored; 0: whole trials alone, as published.",
    ),
]


class ModelSettings(Frozen):
    """Settings of a model: sizes and choices, no training schedule (that is `schemas.training`).

    A class of settings gives ``name`` its own name, says where the model is and what it can be used for. The
    first line of its docstring presents it.

    Attributes
    ----------
    implementation
        Where the class that computes is, as ``"package.module:Class"``: a `models.interface.Model`, which is
        called with the settings and session id → number of units.
    paper
        Where it was published.
    main_settings
        The settings one looks at first.
    reads_counts
        Whether it is trained on spike counts by default where its likelihood is Poisson.
    scores_forward_bins
        Whether it can score bins after those it is shown.
    sweep_space
        Setting of a training → its range (`schemas.sweep.HyperParameter`), searched unless another space is
        given; empty: there is none.
    """

    implementation: ClassVar[str]
    paper: ClassVar[str] = "unpublished"
    main_settings: ClassVar[tuple[str, ...]] = ()
    reads_counts: ClassVar[bool] = False
    scores_forward_bins: ClassVar[bool] = False
    sweep_space: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    name: str = Field(description="Name of the model.")

    @property
    def ramp_steps(self) -> int:
        """Steps until every weight of the loss is what it stays."""
        return 0

    @property
    def trains_on_velocity(self) -> bool:
        """Whether hand velocity is part of what is trained on."""
        return False

    @property
    def cut_share(self) -> float:
        """Share of the training steps that show the first bins alone, ``cut_probability`` if there is one."""
        return float(getattr(self, "cut_probability", 0.0))

    @property
    def scales_target(self) -> bool:
        """Whether the likelihood scores standardised values where a training standardises."""
        return getattr(self, "likelihood", None) in SCALED_LIKELIHOODS

    @model_validator(mode="after")
    def _links_make_counts(self) -> Self:
        link, likelihood = getattr(self, "rate_link", "exp"), getattr(self, "likelihood", None)
        if link != "exp" and likelihood != "poisson":
            raise ValueError(
                f"rate_link: {link!r} makes expected counts for a Poisson likelihood, and the likelihood is "
                f"{likelihood}. Use likelihood poisson, or leave rate_link out."
            )
        return self

    def aligned(self, *, mask_probability: float) -> Self:
        """Return the settings of few-shot alignment, for which some models have others.

        Parameters
        ----------
        mask_probability
            Share of bins whose state is rolled out (`schemas.align.AlignSettings`), for models that do that.
        """
        del mask_probability
        return self


class BehaviourSettings(ModelSettings):
    """Settings of a model that can be trained to tell hand velocity too, from its latent states."""

    behaviour_weight: Annotated[float, AddedLater(0.0)] = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Weight of the squared error of hand velocity, in deviations of its session, read "
        "linearly from the latent states; 0: no velocity is looked at. Runs with it are marked on boards.",
    )
    behaviour_head: Annotated[Literal["shared", "session"], AddedLater("shared")] = Field(
        "shared", description="One read-out of velocity for all sessions, or one for each."
    )
    behaviour_lag_ms: Annotated[LagMs, AddedLater(100.0)] = Field(
        LAG_MS, description="Velocity comes this long after the activity it is read from, ms."
    )
    behaviour_axes: Annotated[int, AddedLater(2)] = Field(2, ge=1, le=3, description="Axes of the velocity.")

    @property
    def trains_on_velocity(self) -> bool:
        """Whether hand velocity is part of what is trained on."""
        return self.behaviour_weight > 0


def model_settings(name: str) -> type[ModelSettings]:
    """Return the class of settings of the model of that name.

    Raises
    ------
    UnknownPartError
        If there is no model of that name.
    BrokenPartError
        If what is registered cannot be imported or is no class of settings of that name.

    Examples
    --------
    >>> model_settings("ndt").__name__
    'NDTSettings'
    >>> model_settings("ntd")
    Traceback (most recent call last):
        ...
    nwb_latents.schemas.registry.UnknownPartError: no model is called 'ntd'; did you mean ndt? There are: ...
    """
    found = MODELS.load(name)
    if not (isinstance(found, type) and issubclass(found, ModelSettings)):
        fault = "is no class of settings (`nwb_latents.schemas.models.ModelSettings`)"
    elif found.model_fields["name"].default != name:
        fault = f"has settings named {found.model_fields['name'].default!r}"
    elif not getattr(found, "implementation", ""):
        fault = "does not say which class computes (`implementation`)"
    else:
        return found
    raise BrokenPartError(f"the model {name!r} of {MODELS.owner(name)} {fault}. {MODELS.remedy(name)}")


def known_models() -> dict[str, type[ModelSettings]]:
    """Return the class of settings of every model, by name.

    A model that cannot be loaded is left out, with a warning.

    Examples
    --------
    >>> [name for name, kind in known_models().items() if kind.scores_forward_bins]
    ['lfads', 'ndt', 'node_sae']
    """
    found = {}
    for name in MODELS:
        try:
            found[name] = model_settings(name)
        except PartError as error:
            warnings.warn(str(error), PartWarning, stacklevel=2)
    return found


class _OfRegisteredModel:
    """Validates the settings of a model by the class that is registered under their ``name``."""

    @staticmethod
    def __get_pydantic_core_schema__(source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        del source, handler
        return core_schema.with_info_plain_validator_function(_validated)

    @staticmethod
    def __get_pydantic_json_schema__(
        schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema
        kinds = {name: kind.__pydantic_core_schema__ for name, kind in known_models().items()}
        return handler(core_schema.tagged_union_schema(cast("dict[Any, Any]", kinds), "name"))


AnyModel: TypeAlias = Annotated[ModelSettings, _OfRegisteredModel]
"""Type of a field that takes the settings of whichever registered model they name."""


def _validated(content: object, info: ValidationInfo) -> ModelSettings:
    name = content.get("name") if isinstance(content, Mapping) else getattr(content, "name", None)
    try:
        kind = model_settings(name) if isinstance(name, str) else None
    except PartError as error:
        raise _fault_of_name(str(error), name) from error
    if kind is None:
        raise _fault_of_name(f"expected one of {', '.join(MODELS)}, found {name!r}", name)
    if isinstance(content, ModelSettings) and not isinstance(content, kind):
        mine, other = type(content), kind
        raise _fault_of_name(f"{mine.__qualname__} is not {other.__qualname__}, which is registered", name)
    # What a file says and this version does not know is kept (`Frozen`); what a person typed is refused.
    extra: Literal["allow"] | None = "allow" if isinstance(info.context, Reading) else None
    validated = _validator(kind).validate_python(content, context=info.context, extra=extra)
    return cast("ModelSettings", validated)


def _fault_of_name(text: str, name: object) -> ValidationError:
    fault = InitErrorDetails(
        type=PydanticCustomError("value_error", "{text}", {"text": text}), loc=("name",), input=name
    )
    return ValidationError.from_exception_data("model", [fault])


@cache
def _validator(kind: type[ModelSettings]) -> SchemaValidator:
    """Return what validates settings of a class, and puts the model's name before the place of a fault."""
    name = kind.model_fields["name"].default
    return SchemaValidator(core_schema.tagged_union_schema({name: kind.__pydantic_core_schema__}, "name"))
