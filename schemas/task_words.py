"""What several stages share is called, begins with and means the same in all of them.

Here without pydantic, so that the command line has the words at hand before any settings are loaded;
`nwb_latents.schemas.task` makes fields of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A setting of several stages.

    Parameters
    ----------
    name
        Its name everywhere: field, key of a file; with hyphens, option.
    default
        Value unless it is given. Where nothing of the kind is asked for by default, a stage begins with 0.
    description
        One sentence, for every help text.
    """

    name: str
    default: float
    description: str

    @property
    def option(self) -> str:
        """Name of the option of a command.

        Examples
        --------
        >>> LAG.option
        '--lag-ms'
        """
        return "--" + self.name.replace("_", "-")

    @property
    def help(self) -> str:
        """Help text of the option, which says the default.

        Examples
        --------
        >>> BINS.help
        'Bins forecast and scored after those seen; default: 20.'
        """
        return f"{self.description.removesuffix('.')}; default: {self.default:g}."


LAG = Word(
    "lag_ms",
    100.0,
    "Hand velocity is read this long after the neural activity, ms, a whole number of bins.",
)
SEEN_BINS = Word("seen_bins", 13, "Bins of a trial that a forecast is shown.")
BINS = Word("bins", 20, "Bins forecast and scored after those seen.")
HELDOUT = Word(
    "heldout_fraction",
    0.25,
    "Share of the units held out where a recording marks none itself, drawn by the session id: the same in "
    "every stage with the same seed.",
)
FORWARD = Word(
    "forward_ms",
    200.0,
    "Time after the window whose spikes are predicted but not shown, ms, a whole number of bins, at most the "
    "window's length; 0: none.",
)
PSTH_SIGMA = Word(
    "psth_sigma_ms", 70.0, "Standard deviation of the Gaussian laid over the spikes of PSTHs first, ms."
)
FOLDS = Word("folds", 5, "Folds of the cross-validation that chooses penalties; whole trials stay together.")

ENSEMBLE = ("trial_factors",)
"""Baselines a run is averaged with where an ensemble is asked for without saying of what."""
