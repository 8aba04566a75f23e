"""Quality of a session: how it is measured, what was found, and what training asks of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nwb_latents.schemas.base import Found, Frozen
from nwb_latents.schemas.bounds import LONGEST_TRIAL_S, MOST_ITEMS, WIDEST_KERNEL_S

Flag = Literal[
    "few_trials",
    "few_units",
    "low_decodability",
    "no_decodability",
    "rate_drift",
    "variable_rates",
    "many_outliers",
    "doubtful_onsets",
    "many_dropped",
]
"""What may be wrong with a session (`docs/how-to/quality.md`)."""


class QualitySettings(Frozen):
    """How the quality of a session is measured, and from where on it is flagged."""

    max_acceleration_cm_s2: float | None = Field(
        1500.0, gt=0, description="Acceleration from here on is an outlier, cm/s²; none: not looked for."
    )
    acceleration_smooth_s: float = Field(
        0.01,
        ge=0,
        le=WIDEST_KERNEL_S,
        description="Standard deviation of the Gaussian laid over the velocity first, s.",
    )
    acceleration_dilate_s: float = Field(
        0.02,
        ge=0,
        le=LONGEST_TRIAL_S,
        description="Time around an outlying acceleration that counts with it, s.",
    )
    max_position_cm: float | None = Field(
        10.0,
        gt=0,
        description="Distance from the session's median position, on any axis, from which on it is an "
        "outlier, cm; none: not looked for.",
    )
    position_dilate_s: float = Field(
        4.0, ge=0, le=LONGEST_TRIAL_S, description="Time around an outlying position that counts with it, s."
    )
    position_erode_s: float = Field(
        1.0,
        ge=0,
        le=LONGEST_TRIAL_S,
        description="Taken off both ends of each stretch of outlying positions again, s.",
    )
    lag_s: float = Field(
        0.1,
        ge=0,
        le=WIDEST_KERNEL_S,
        description="Decodability: hand velocity is read this long after the neural activity, to the nearest "
        "whole number of bins, s.",
    )
    folds: int = Field(5, ge=2, le=MOST_ITEMS, description="Decodability: folds of the cross-validation.")
    ridge_alpha: float = Field(
        10.0, gt=0, description="Decodability: penalty of the ridge regression on standardised rates."
    )
    min_trials: int = Field(20, ge=0, le=MOST_ITEMS, description="Fewer trials are flagged 'few_trials'.")
    min_units: int = Field(5, ge=0, le=MOST_ITEMS, description="Fewer units are flagged 'few_units'.")
    min_decodability: float = Field(
        0.6, le=1, description="A lower cross-validated R² of velocity is flagged 'low_decodability'."
    )
    max_drift: float = Field(
        0.4, ge=0, description="A larger change of the mean rate over units is flagged 'rate_drift'."
    )
    max_cv: float = Field(
        0.4,
        ge=0,
        description="A larger coefficient of variation over trials of the mean rate over units is flagged "
        "'variable_rates'.",
    )
    max_outlier_share: float = Field(
        0.05, ge=0, le=1, description="A larger share of outlying time is flagged 'many_outliers'."
    )
    max_doubtful_onsets: float = Field(
        0.2, ge=0, le=1, description="A larger share of doubtful onsets is flagged 'doubtful_onsets'."
    )
    max_dropped_share: float = Field(
        0.5, ge=0, le=1, description="A larger share of trials left out is flagged 'many_dropped'."
    )


class Percentiles(Found):
    """Distribution of a quantity over trials."""

    n: int = Field(ge=0, description="Number of values; trials without one do not count.")
    p5: float | None = Field(None, description="5th percentile.")
    p25: float | None = Field(None, description="25th percentile.")
    p50: float | None = Field(None, description="Median.")
    p75: float | None = Field(None, description="75th percentile.")
    p95: float | None = Field(None, description="95th percentile.")


class KinematicOutliers(Found):
    """Samples of the recorded kinematics that cannot be movements of a hand."""

    n_acceleration: int = Field(0, ge=0, description="Samples above quality.max_acceleration_cm_s2.")
    n_position: int = Field(0, ge=0, description="Samples above quality.max_position_cm.")
    share: float = Field(0.0, ge=0, le=1, description="Share of the observed time around them.")


class RateStability(Found):
    """How firing rates change over a session; none where undefined."""

    drift: float | None = Field(
        None,
        description="Difference between the mean rates over units in the later and the earlier half "
        "of the trials, as a share of the mean of both.",
    )
    cv: float | None = Field(
        None, description="Coefficient of variation over trials of the mean rate over units."
    )
    unit_drift: float | None = Field(None, description="As drift, without sign: median over units.")
    correlation: float | None = Field(
        None, description="Correlation over units between the mean rates of the two halves."
    )


class SessionQuality(Found):
    """What was measured of one session."""

    n_trials: int = Field(ge=0, description="Trials kept.")
    n_units: int = Field(ge=0, description="Units kept.")
    dropped_units: dict[str, int] = Field(default_factory=dict, description="Reason → units left out.")
    dropped_trials: dict[str, int] = Field(default_factory=dict, description="Reason → trials left out.")
    reaction_time_s: Percentiles = Field(description="Reaction times of the trials kept, s.")
    peak_speed_cm_s: Percentiles = Field(description="Peak speeds of the trials kept, cm/s.")
    onset_quality: dict[str, int] = Field(
        default_factory=dict, description="Onset quality → number of the trials kept."
    )
    rates: RateStability = Field(description="Stability of the firing rates.")
    outliers: KinematicOutliers = Field(description="Kinematic outliers.")
    decodability: float | None = Field(
        None,
        description="Cross-validated R² of velocity from the rates of the training trials, mean over axes; "
        "none where the velocity is unknown.",
    )
    flags: tuple[str, ...] = Field((), description="What may be wrong with the session.")


class QualityFilter(Frozen):
    """What training asks of a session; the default asks nothing."""

    min_trials: int = Field(0, ge=0, le=MOST_ITEMS, description="Sessions with fewer trials are left out.")
    min_decodability: float | None = Field(
        None, le=1, description="Sessions with a lower cross-validated R² of velocity are left out."
    )
    max_flags: int | None = Field(
        None, ge=0, le=MOST_ITEMS, description="Sessions with more flags are left out."
    )
    exclude_flags: tuple[Flag, ...] = Field((), description="Sessions with one of these flags are left out.")

    @property
    def is_off(self) -> bool:
        """Whether nothing is asked.

        Examples
        --------
        >>> QualityFilter().is_off, QualityFilter(min_trials=10).is_off
        (True, False)
        """
        return self == QualityFilter()
