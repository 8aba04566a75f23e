"""What a decoder of hand velocity is, whichever one it is.

A decoder is an entry point of the group ``nwb_latents.decoders``: a subclass of `Decoder`. Everything that
decodes (sessions, lags, transfer between sessions, streams) asks it for features of so many bins, fits it on
training trials, and lets it predict. What it says of itself is what tables, pictures and measurements say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, get_args

import numpy as np

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.velocity import PredictionError, hand_velocity_r2
from nwb_latents.pipeline.signals.folds import group_folds
from nwb_latents.pipeline.stores.settings import validate
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.decoding import DEFAULT_DECODER
from nwb_latents.schemas.registry import DECODERS, BrokenPartError, UnknownPartError
from nwb_latents.schemas.task import ReadOutName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray
    from pydantic import BaseModel

    FloatArray = NDArray[np.float64]

Own = TypeVar("Own", bound=Frozen)


class FittedDecoder(Protocol):
    """A map from features to hand velocity, fitted on training trials."""

    @property
    def n_features(self) -> int:
        """Features it reads."""

    @property
    def n_outputs(self) -> int:
        """Axes of the velocity it predicts."""

    @property
    def chosen(self) -> Mapping[str, object]:
        """What was chosen on the training trials, such as a penalty; goes into every measurement."""

    @property
    def training_r2(self) -> float | None:
        """Cross-validated R² of the training trials; None: the fit did not cross-validate."""

    def predict(self, features: ArrayLike) -> FloatArray:
        """Return velocity, cm/s, shape ``(…, time, axis)``, of features, shape ``(…, time, feature)``."""


@dataclass(frozen=True)
class DecoderDescription:
    """How tables, legends, pictures and measurements speak of a decoder.

    Attributes
    ----------
    name
        Name it is registered by.
    title
        What titles call it, e.g. ``Wiener decoder of 5 bins``.
    suffix
        What it adds to the names of its pictures; empty for the one that is not named.
    dash
        Dash of its lines, as matplotlib writes it.
    is_filled
        Whether its markers and bars are filled.
    bins
        Bins it reads, that at t included.
    settings
        Its settings.
    chosen
        What was chosen on the training trials; empty before the fit.
    """

    name: str
    title: str
    suffix: str
    dash: str = "-."
    is_filled: bool = False
    bins: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)
    chosen: Mapping[str, object] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """What a legend adds to the name of a signal; empty for the decoder that is not named."""
        return f", {self.name}" if self.suffix else ""


class Decoder(ABC, Generic[Own]):
    """A decoder with its settings, not yet fitted.

    A subclass says its `name` and how it fits. What it reads is put together for it: the rates of
    `bins` bins, the earliest first, those of bin t last.

    Attributes
    ----------
    name
        Name of the entry point.
    settings_type
        Class of its own settings, ``decoder_settings.NAME.…`` of the stage.
    shared
        Settings of the stage it takes for its own where they are not given for it alone.
    suffix, dash, is_filled
        As in `DecoderDescription`; a suffix of None is ``_NAME``.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[Frozen]] = Frozen
    shared: ClassVar[tuple[str, ...]] = ()
    suffix: ClassVar[str | None] = None
    dash: ClassVar[str] = "-."
    is_filled: ClassVar[bool] = False

    def __init__(self, settings: Own, *, folds: int = 5, seed: int = 0) -> None:
        self.settings, self.folds, self.seed = settings, folds, seed

    @property
    def title(self) -> str:
        """What titles call it."""
        return f"{self.name.replace('_', ' ')} decoder"

    @property
    def bins(self) -> int:
        """Bins it reads, that at t included."""
        return 1

    @abstractmethod
    def fit(self, features: ArrayLike, velocity: ArrayLike) -> FittedDecoder:
        """Fit on training trials.

        Parameters
        ----------
        features
            Rates in Hz (or latent states) of the bins it reads. Shape ``(trial, time, feature)``; not finite
            where `velocity` is not known, at most.
        velocity
            Hand velocity at the lag, cm/s; NaN on any axis leaves the bin out. Shape ``(trial, time, axis)``.

        Raises
        ------
        DataError
            If there is too little to fit to (`pipeline.evaluation.decoding.velocity.training_samples`).
        """

    def fit_each(self, features: ArrayLike, velocities: Sequence[ArrayLike]) -> tuple[FittedDecoder, ...]:
        """Fit several velocities, such as those at several lags, on the bins where all are known.

        Parameters
        ----------
        features, velocities
            As for `fit`.
        """
        stacked: FloatArray = np.stack([np.asarray(velocity, dtype=np.float64) for velocity in velocities])
        known: NDArray[np.bool_] = np.all(np.isfinite(stacked), axis=(0, -1))
        return tuple(self.fit(features, np.where(known[..., None], one, np.nan)) for one in stacked)

    def training_r2(self, features: ArrayLike, velocity: ArrayLike, fitted: FittedDecoder) -> float:
        """Return the cross-validated R² of training trials: that of the fit itself, where it has one.

        Else the decoder is fitted anew without each fold of whole trials, and the ``r2_uniform`` of the
        trials left out is averaged over the folds; NaN where one of them is not defined.
        """
        if fitted.training_r2 is not None:
            return fitted.training_r2
        x, y = np.asarray(features, dtype=np.float64), np.asarray(velocity, dtype=np.float64)
        known: NDArray[np.bool_] = np.all(np.isfinite(y), axis=-1)
        used = np.flatnonzero(known.any(axis=1))
        fold = group_folds(used, folds=self.folds, seed=self.seed)
        found = []
        for left_out in range(self.folds):
            kept, out = used[fold != left_out], used[fold == left_out]
            value = hand_velocity_r2(self.fit(x[kept], y[kept]), x[out], y[out]).value
            found.append(np.nan if value is None else value)
        return float(np.mean(found))

    def describe(self, fitted: FittedDecoder | None = None) -> DecoderDescription:
        """Say what it is, with which settings, and after the fit what was chosen."""
        return DecoderDescription(
            name=self.name,
            title=self.title,
            suffix=f"_{self.name}" if self.suffix is None else self.suffix,
            dash=self.dash,
            is_filled=self.is_filled,
            bins=self.bins,
            settings={**self.settings.model_dump(mode="json"), "folds": self.folds, "seed": self.seed},
            chosen={} if fitted is None else dict(fitted.chosen),
        )


def decoder_of(settings: BaseModel, name: str = DEFAULT_DECODER) -> Decoder[Any]:
    """Return the decoder of a name, with what the settings of a stage say of it.

    Parameters
    ----------
    settings
        Settings with ``folds`` and ``seed``; ``decoder_settings`` and what the decoder shares, where they
        have it.
    name
        Name of the decoder.

    Raises
    ------
    SettingsError
        If there is no such decoder, or it has no such setting; the message says which is near.
    MachineError
        If the decoder of another distribution is broken.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> decoder_of(DecodeSettings(history_bins=3), "wiener").describe().title
    'Wiener decoder of 3 bins'
    """
    kind, said = _kind(name), settings.model_dump()
    own: dict[str, Any] = said.get("decoder_settings", {}).get(name, {})
    shared = {key: said[key] for key in kind.shared if key in said}
    chosen = validate(kind.settings_type, {**shared, **own}, where=f"decoder_settings.{name}")
    return kind(chosen, folds=said["folds"], seed=said["seed"])


def described(name: str) -> DecoderDescription:
    """Say what the decoder or read-out of a measurement is; of one not installed here, what its name says.

    Examples
    --------
    >>> described("ridge").tag, described("wiener").tag, described("no_longer_here").tag
    ('', ', wiener', ', no_longer_here')
    """
    if not name or name in get_args(ReadOutName):
        return DecoderDescription(
            name=name, title=name, suffix=f"_{name}" if name else "", dash="-", is_filled=True
        )
    if name not in DECODERS:
        return DecoderDescription(name=name, title=name, suffix=f"_{name}")
    kind = _kind(name)
    return kind(kind.settings_type()).describe()


def _kind(name: str) -> type[Decoder[Any]]:
    try:
        found: object = DECODERS.load(name)
    except UnknownPartError as error:
        raise SettingsError(str(error)) from error
    except BrokenPartError as error:
        raise MachineError(str(error)) from error
    if isinstance(found, type) and issubclass(found, Decoder):
        missing = [word for word in ("name",) if not hasattr(found, word)] + sorted(found.__abstractmethods__)
        if not missing and found.name == name:
            return found
        fault = f"does not say its {', '.join(missing)}" if missing else f"calls itself {found.name!r}"
    else:
        fault = f"is {found!r}, not a class derived from Decoder"
    raise MachineError(f"the decoder {name!r} of {DECODERS.owner(name)} {fault}. {DECODERS.remedy(name)}")


def fitted_by(decoder: Decoder[Any], features: FloatArray, velocity: FloatArray) -> FittedDecoder:
    """Fit a decoder, and hold what it returns against what a decoder promises (`Decoder.fit`).

    Raises
    ------
    DataError
        If it cannot be fitted; whatever it raises beside, or returns in place of a fit, is told as its own.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> rates = np.random.default_rng(0).gamma(2.0, 5.0, size=(20, 30, 4))
    >>> fitted_by(decoder_of(DecodeSettings()), rates, rates[..., :2]).n_outputs
    2
    """
    with blaming(decoder.name, "cannot be fitted"):
        fitted = decoder.fit(features, velocity)
        _check_fit(decoder, fitted, features, velocity)
    return fitted


def fitted_by_each(
    decoder: Decoder[Any], features: FloatArray, velocities: Sequence[FloatArray]
) -> tuple[FittedDecoder, ...]:
    """Fit a decoder to several velocities, as `fitted_by` does to one."""
    with blaming(decoder.name, "cannot be fitted"):
        fitted = tuple(decoder.fit_each(features, velocities))
        if len(fitted) != len(velocities):
            raise DataError(f"it made {len(fitted)} fits of {len(velocities)} velocities")
        for one, velocity in zip(fitted, velocities, strict=True):
            _check_fit(decoder, one, features, velocity)
    return fitted


@contextmanager
def blaming(name: str, what: str) -> Iterator[None]:
    """Tell what goes wrong in the code of a decoder as a fault of that decoder.

    Parameters
    ----------
    name
        Name of the decoder.
    what
        What it does not do then.
    """
    try:
        yield
    except PredictionError as error:
        raise DataError(f"the decoder {name!r} of {DECODERS.owner(name)} {what}: {error}") from error
    except PipelineError:
        raise
    except Exception as error:
        raise DataError(
            f"the decoder {name!r} of {DECODERS.owner(name)} {what}: {type(error).__name__}: {error}. Mend "
            "it, or leave it out of the decoders"
        ) from error


def _check_fit(
    decoder: Decoder[Any], fitted: FittedDecoder, features: FloatArray, velocity: FloatArray
) -> None:
    missing = [
        word
        for word in ("n_features", "n_outputs", "chosen", "training_r2", "predict")
        if not hasattr(fitted, word)
    ]
    of = f"the decoder {decoder.name!r} of {DECODERS.owner(decoder.name)}"
    if missing:
        raise DataError(f"{of} made a {type(fitted).__name__} as its fit, without {', '.join(missing)}")
    found, expected = (fitted.n_features, fitted.n_outputs), (features.shape[-1], velocity.shape[-1])
    if found != expected:
        raise DataError(
            f"{of} was given {expected[0]} features and {expected[1]} axes, and says it was fitted to "
            f"{found[0]} and {found[1]}"
        )


def check_bins(decoder: Decoder[Any], n_bins: int, *, where: str) -> None:
    """Refuse a decoder that reads more bins than a signal has.

    Raises
    ------
    SettingsError
        If no bin of the signal has all bins it reads.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> check_bins(decoder_of(DecodeSettings(), "wiener"), 36, where="sub-A")
    """
    if decoder.bins > n_bins:
        settings = ", ".join(decoder.settings_type.model_fields)
        raise SettingsError(
            f"{where}: the {decoder.title} reads {decoder.bins} bins, more than the {n_bins} there are, so "
            f"that no bin has its whole history; have it read at most {n_bins} (its settings: {settings})"
        )
