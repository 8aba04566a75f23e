"""The datasets of the Neural Latents Benchmark: windows, lags, sizes and conditions, as a table.

Numbers of trials and units are what a full export is compared with, never what arrays are made of.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.recipe_parts import CutEvent

NlbPhase = Literal["test", "val"]

NLB_BIN_MS: tuple[int, ...] = (5, 20)
"""Widths of bins the benchmark has a track for; the first needs no suffix."""


class NlbDataset(Frozen):
    """One dataset of the benchmark."""

    key: str = Field(description="Name of its group in a submission at bins of 5 ms.")
    dandiset: str = Field(description="Dandiset of its NWB files.")
    layout: str = Field(description="Layout adapter that reads its trials as the benchmark does.")
    align_to: CutEvent = Field(description="Event that time zero of a trial stands for.")
    align_column: str = Field(description="Column of the trial table that holds it.")
    window_ms: tuple[int, int] = Field(description="Trial window around the event, ms.")
    forward_ms: int = Field(200, description="Time after the window that is predicted, ms.")
    trials: dict[NlbPhase, tuple[int, int]] = Field(
        description="Phase of the benchmark → trials that are fitted and that are scored."
    )
    n_heldin: int = Field(description="Units that are shown.")
    n_heldout: int = Field(description="Units to be predicted.")
    behaviour: str = Field(description="What is decoded: a series of the file, or columns of its trials.")
    position_series: str | None = Field(
        None, description="Path of the position series where the layout does not find it."
    )
    velocity_series: str | None = Field(
        None, description="Path of the velocity series where the layout does not find it."
    )
    lag_ms: int | None = Field(
        description="Behaviour is read this long after the neural activity, ms; none: it has no time course."
    )
    behaviour_per_cm: float = Field(
        1.0, description="Factor from cm/s to the unit of the file, in which the benchmark has the behaviour."
    )
    behaviour_columns: tuple[str, ...] = Field(
        (), description="Columns of the trial table that are the behaviour; NaN in trials of mask_column."
    )
    mask_column: str | None = Field(
        None, description="Column that is 1 in trials left out of behaviour and PSTHs, not of spikes."
    )
    decoder_column: str | None = Field(
        None, description="Column whose values 0 and 1 have a decoder each; none: one decoder for all."
    )
    decoder_groups: tuple[str, ...] = Field(
        (), description="Beginnings of the conditions that have a decoder each; none: one decoder for all."
    )
    psth_columns: tuple[str, ...] = Field(
        (), description="Columns of the trial table whose values make a condition; none: no PSTHs."
    )
    psth_sigma_ms: int | None = Field(
        None, description="Standard deviation of the Gaussian laid over the spikes of PSTHs, ms."
    )
    jitter_ms: int = Field(
        0,
        description="Training windows are moved to later times by up to this, no further than the produced "
        "interval allows, ms; 0 = they are not.",
    )
    jitter_column: str | None = Field(None, description="Column of the produced interval, ms.")
    scored_from: CutEvent | None = Field(
        None, description="Only bins from this event to that of the window are scored; none: all."
    )

    @property
    def trial_columns(self) -> tuple[str, ...]:
        """Columns of the trial table that a store has to keep.

        Examples
        --------
        >>> NLB_DATASETS["area2_bump"].trial_columns
        ('cond_dir', 'ctr_hold_bump')
        """
        single = (self.mask_column, self.decoder_column, self.jitter_column)
        wanted = (*self.psth_columns, *self.behaviour_columns, *(name for name in single if name))
        return tuple(dict.fromkeys(wanted))

    @property
    def export_settings(self) -> dict[str, object]:
        """Values of `schemas.export.NlbExport` that the benchmark prescribes, its key among them.

        Examples
        --------
        >>> NLB_DATASETS["mc_rtt"].export_settings
        {'key': 'mc_rtt', 'forward_ms': 200.0, 'lag_ms': 140.0, 'psth': False}
        """
        chosen: dict[str, object] = {"key": self.key, "forward_ms": float(self.forward_ms)}
        if self.lag_ms is not None:
            chosen["lag_ms"] = float(self.lag_ms)
        if self.psth_sigma_ms is None:
            return chosen | {"psth": False}
        return chosen | {"psth_sigma_ms": float(self.psth_sigma_ms)}

    def n_bins(self, bin_size_ms: int) -> int:
        """Return the bins of a window at a width of `bin_size_ms`.

        Examples
        --------
        >>> NLB_DATASETS["mc_maze"].n_bins(5), NLB_DATASETS["mc_maze"].n_bins(20)
        (140, 35)
        """
        return (self.window_ms[1] - self.window_ms[0]) // bin_size_ms

    def n_forward(self, bin_size_ms: int) -> int:
        """Return the bins to be predicted after a window, at a width of `bin_size_ms`."""
        return self.forward_ms // bin_size_ms


_MAZE_PSTH = ("trial_type", "trial_version")


def _maze(
    key: str,
    dandiset: str,
    test: tuple[int, int],
    val: tuple[int, int],
    *,
    units: tuple[int, int],
    lag_ms: int = 120,
    psth_sigma_ms: int = 50,
) -> NlbDataset:
    return NlbDataset(
        key=key,
        dandiset=dandiset,
        layout="nlb",
        align_to="move_onset",
        align_column="move_onset_time",
        window_ms=(-250, 450),
        trials={"test": test, "val": val},
        n_heldin=units[0],
        n_heldout=units[1],
        behaviour="hand_vel",
        behaviour_per_cm=10.0,
        lag_ms=lag_ms,
        psth_columns=_MAZE_PSTH,
        psth_sigma_ms=psth_sigma_ms,
    )


_ALL = (
    _maze("mc_maze", "000128", (2295, 574), (1721, 574), units=(137, 45), lag_ms=100, psth_sigma_ms=70),
    NlbDataset(
        key="mc_rtt",
        dandiset="000129",
        layout="nlb",
        align_to="trial_start",
        align_column="start_time",
        window_ms=(0, 600),
        trials={"test": (1080, 272), "val": (810, 270)},
        n_heldin=98,
        n_heldout=32,
        behaviour="finger_vel",
        position_series="processing/behavior/finger_pos",
        velocity_series="processing/behavior/finger_vel",
        behaviour_per_cm=10.0,
        lag_ms=140,
    ),
    NlbDataset(
        key="area2_bump",
        dandiset="000127",
        layout="000127",
        align_to="move_onset",
        align_column="move_onset_time",
        window_ms=(-100, 500),
        trials={"test": (364, 98), "val": (272, 92)},
        n_heldin=49,
        n_heldout=16,
        behaviour="hand_vel",
        lag_ms=-20,
        decoder_column="ctr_hold_bump",
        decoder_groups=("active", "passive"),
        psth_columns=("cond_dir", "ctr_hold_bump"),
        psth_sigma_ms=40,
    ),
    NlbDataset(
        key="dmfc_rsg",
        dandiset="000130",
        layout="000130",
        align_to="move_onset",
        align_column="go_time",
        window_ms=(-1500, 0),
        trials={"test": (989, 252), "val": (741, 248)},
        n_heldin=40,
        n_heldout=14,
        behaviour="is_eye, theta, is_short, ts, tp",
        behaviour_columns=("is_eye", "theta", "is_short", "ts", "tp"),
        mask_column="is_outlier",
        lag_ms=None,
        psth_columns=("is_eye", "theta", "is_short", "ts"),
        psth_sigma_ms=70,
        jitter_ms=300,
        jitter_column="tp",
        scored_from="go_cue",
    ),
    _maze("mc_maze_large", "000138", (500, 100), (375, 125), units=(122, 40)),
    _maze("mc_maze_medium", "000139", (250, 100), (188, 62), units=(114, 38)),
    _maze("mc_maze_small", "000140", (100, 100), (75, 25), units=(107, 35)),
)

NLB_DATASETS: dict[str, NlbDataset] = {dataset.key: dataset for dataset in _ALL}
"""Key → dataset (Pei et al. 2021, "Neural Latents Benchmark '21", and its toolkit)."""
