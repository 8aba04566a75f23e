"""Test trials of which a file of lfads-torch holds what is encoded, and not what is reconstructed.

Its loader asks for no more of them. A store holds counts of every unit and bin, so what is not known has to
be kept from being taken for silence: bins count as not recorded, trials with unknown units are in no split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.schemas.store import NO_SPLIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class EncodedOnly:
    """What is not known of the test trials.

    Attributes
    ----------
    n_trials
        How many test trials there are; 0: they are whole, or there are none.
    n_bins, n_units
        Bins after the window and units held out that are not known of them.
    """

    n_trials: int = 0
    n_bins: int = 0
    n_units: int = 0

    @property
    def split(self) -> str:
        """Split of the test trials."""
        return NO_SPLIT if self.n_units else "test"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said, one sentence each.

        Examples
        --------
        >>> EncodedOnly(5).notes
        ('test_recon_data is not in the file; all 5 test trials are encoded whole, and nothing is missing',)
        """
        if not self.n_trials:
            return ()
        if not self.n_bins and not self.n_units:
            told = f"all {self.n_trials} test trials are encoded whole, and nothing is missing"
            return (f"test_recon_data is not in the file; {told}",)
        said = []
        if self.n_bins:
            said.append(
                f"test_recon_data is not in the file: the {self.n_bins} bins after the window of the "
                f"{self.n_trials} test trials count as not recorded"
            )
        if self.n_units:
            said.append(
                f"test_recon_data is not in the file: spikes of the {self.n_units} held-out units of the "
                f"{self.n_trials} test trials are not known, and 0 in the store. So that nothing is fitted "
                f"or scored on them, these trials are in no split (split {NO_SPLIT}). Score the trials of "
                "valid_ with --set valid_split=test"
            )
        return tuple(said)


def filled(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], EncodedOnly]:
    """Return the datasets with ``test_recon_data``, and what of it is not known.

    Parameters
    ----------
    arrays
        Datasets of the file, their shapes checked.

    Returns
    -------
    arrays
        What is not known is 0.
    unknown
        What that is.

    Examples
    --------
    >>> whole, known = {"train_recon_data": np.ones((2, 4, 3))}, {"test_encod_data": np.ones((5, 4, 2))}
    >>> arrays, unknown = filled(whole | known)
    >>> arrays["test_recon_data"].shape, unknown.n_bins, unknown.n_units
    ((5, 4, 3), 0, 1)
    """
    if "test_encod_data" not in arrays or "test_recon_data" in arrays:
        return dict(arrays), EncodedOnly()
    encoded = arrays["test_encod_data"]
    n_trials, n_bins, n_units = encoded.shape
    _, whole_bins, whole_units = arrays["train_recon_data"].shape
    made = np.zeros((n_trials, whole_bins, whole_units), encoded.dtype)
    made[:, :n_bins, :n_units] = encoded
    unknown = EncodedOnly(n_trials, whole_bins - n_bins, whole_units - n_units)
    return {**arrays, "test_recon_data": made}, unknown
