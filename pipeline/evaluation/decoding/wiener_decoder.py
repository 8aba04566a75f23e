"""Wiener filter of hand velocity: ridge regression on the rates of several bins."""

from __future__ import annotations

from pydantic import Field

from nwb_latents.pipeline.evaluation.decoding.ridge_decoder import RidgeRegression, RidgeSettings


class WienerSettings(RidgeSettings):
    """Settings of the Wiener decoder."""

    history_bins: int = Field(5, ge=2, description="Bins it reads, that at t included.")


class WienerDecoder(RidgeRegression[WienerSettings]):
    """Ridge regression from the rates of the bin at t and of those before it.

    References
    ----------
    Carmena et al. 2003, "Learning to control a brain-machine interface for reaching and grasping by
    primates", eq. 1: Wiener filter of motor cortex with several bins of history.

    Examples
    --------
    >>> decoder = WienerDecoder(WienerSettings(history_bins=3))
    >>> decoder.bins, decoder.describe().title
    (3, 'Wiener decoder of 3 bins')
    """

    name = "wiener"
    settings_type = WienerSettings
    shared = ("alphas", "history_bins")
    dash = "--"

    @property
    def title(self) -> str:
        """What titles call it."""
        return f"Wiener decoder of {self.bins} bins"

    @property
    def bins(self) -> int:
        """Bins it reads, that at t included."""
        return self.settings.history_bins
