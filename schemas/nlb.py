"""The datasets of the Neural Latents Benchmark: windows, lags, sizes and conditions, as a table.

Numbers of trials and units are what a full export is compared with, never what arrays are made of.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.recipe import CutEvent

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
    not_expressed: tuple[str, ...] = Field(
        (), description="What stores made by the recipe lack of the benchmark's own tensors."
    )

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
        lag_ms=140,
        not_expressed=(
            "windows that share time with the one before are dropped, and counted as overlaps_previous",
            "forward bins within the window of a trial of another split are left out",
        ),
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
        decoder_groups=("active", "passive"),
        psth_columns=("cond_dir", "ctr_hold_bump"),
        psth_sigma_ms=40,
        not_expressed=("windows that share time with the one before are dropped",),
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
        lag_ms=None,
        psth_columns=("is_eye", "theta", "is_short", "ts"),
        psth_sigma_ms=70,
        jitter_ms=300,
        not_expressed=(
            "training windows are not jittered",
            "bins outside the time from set to go are scored too",
            "PSTHs are of whole windows, not front-padded from set to go",
            "there is no velocity; what is scored of timing needs the produced intervals",
            "windows that share time with the one before are dropped",
        ),
    ),
    _maze("mc_maze_large", "000138", (500, 100), (375, 125), units=(122, 40)),
    _maze("mc_maze_medium", "000139", (250, 100), (188, 62), units=(114, 38)),
    _maze("mc_maze_small", "000140", (100, 100), (75, 25), units=(107, 35)),
)

NLB_DATASETS: dict[str, NlbDataset] = {dataset.key: dataset for dataset in _ALL}
"""Key → dataset (Pei et al. 2021, "Neural Latents Benchmark '21", and its toolkit)."""
