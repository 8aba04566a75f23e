"""What simulated reaches are like: measured on kinematics, true rates and truth, of both presets.

``python -m benchmarks.simulator`` prints the mean over three seeds, and the spread, of every measure, for
centre-out and random targets (two minutes). `tests/sources/simulator/test_lifelike_measures.py` holds the
same measures to their ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from nwb_latents.pipeline.evaluation.metrics.spike_scores import bits_per_spike
from nwb_latents.pipeline.evaluation.truth_bins import TrueSignal
from nwb_latents.pipeline.sources.simulator import SimulatedSession, simulate_session
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

BIN_S = 0.02
WINDOW_S = (-0.26, 0.46)
FORWARD_BINS = 10
LAG_S = 0.1
CHANGING = slice(2, 8)
"""Latents that have dynamics of their own: preparation and both rotations."""

AHEAD = 10
"""Steps of 10 ms over which maps of the latents are fitted."""


@dataclass(frozen=True)
class Days:
    """Sessions of two subjects, two days each, and one of the first subject in the other task."""

    sessions: tuple[tuple[SimulatedSession, ...], ...]
    other_task: SimulatedSession

    @classmethod
    def of(cls, settings: SimulateSettings) -> Days:
        """Simulate them."""
        task = "RT" if settings.task == "CO" else "CO"
        return cls(
            tuple(tuple(simulate_session(settings, subject=s, session=k) for k in (0, 1)) for s in (0, 1)),
            simulate_session(settings.model_copy(update={"task": task, "n_trials": 40})),
        )

    @property
    def first(self) -> SimulatedSession:
        """First day of the first subject."""
        return self.sessions[0][0]


def reaches(session: SimulatedSession) -> list[FloatArray]:
    """Return the velocity of every rewarded reach at 1 kHz, from its onset to its end."""
    truth = session.truth
    made = np.isfinite(truth.onset_s) & truth.success
    spans = np.round(1000 * np.stack([truth.onset_s[made], truth.move_end_s[made]], axis=1)).astype(int)
    return [session.kinematics.velocity[first : last + 1] for first, last in spans]


def peak_speed_cv(days: Days) -> float:
    """Coefficient of variation of the peak speed over reaches."""
    truth = days.first.truth
    peaks = truth.peak_speed_cm_s[np.isfinite(truth.onset_s) & truth.success]
    return float(peaks.std() / peaks.mean())


def two_peaked_share(days: Days) -> float:
    """Share of reaches whose speed has two peaks, the lower one a tenth of the higher above the dip."""
    speeds = [gaussian_filter1d(np.hypot(*reach.T), 10) for reach in reaches(days.first)]
    return float(np.mean([len(find_peaks(s, prominence=0.1 * s.max())[0]) > 1 for s in speeds]))


def peak_time_sd(days: Days) -> float:
    """Spread over reaches of when the speed peaks, as a share of their duration."""
    speeds = [gaussian_filter1d(np.hypot(*reach.T), 10) for reach in reaches(days.first)]
    return float(np.std([np.argmax(speed) / len(speed) for speed in speeds]))


def curvature(days: Days) -> float:
    """Median over reaches of how far the path leads off the straight line, as a share of its length."""
    found = []
    for reach in reaches(days.first):
        path = np.cumsum(reach, axis=0) / 1000
        towards = path[-1] / np.hypot(*path[-1])
        found.append(np.abs(path @ [-towards[1], towards[0]]).max() / np.hypot(*path[-1]))
    return float(np.median(found))


def linear_r2(days: Days) -> float:
    """R² of the velocity 100 ms later, read linearly from the true rates: what noise does not spoil."""
    return _velocity_r2(days.first, _true_counts(days.first)[0])


def smoothed_r2(days: Days) -> float:
    """R² of the velocity 100 ms later, read linearly from spikes smoothed by 25 ms."""
    smooth = gaussian_filter1d(_counts(days.first).astype(np.float64), 0.025 / BIN_S, axis=0)
    rows = _rows(days.first)[0]
    return _velocity_r2(days.first, smooth[rows])


def forward_bps(days: Days) -> float:
    """Bits per spike of the true rates in the 200 ms after the window."""
    return _bits(days.first, part=1)


def window_bps(days: Days) -> float:
    """Bits per spike of the true rates in the window."""
    return _bits(days.first, part=0)


def rate_change(days: Days) -> float:
    """Median over neurons found again after a week of how much their rate changed, as a factor."""
    one, other = (session.truth for session in days.sessions[0])
    if one.reaching is None or other.reaching is None:
        return float("nan")
    _, at_one, at_other = np.intersect1d(
        one.reaching.tuning.neuron, other.reaching.tuning.neuron, return_indices=True
    )
    mean = [truth.rates_hz.mean(axis=0, dtype=np.float64) for truth in (one, other)]
    change = np.log(mean[0][at_one] / mean[1][at_other])
    return float(np.exp(np.median(np.abs(change - np.median(change)))))


def turn_deg(days: Days) -> float:
    """Median over neurons found again after a week of how far their preferred direction turned, degrees."""
    one, other = (session.truth.reaching for session in days.sessions[0])
    if one is None or other is None:
        return float("nan")
    _, at_one, at_other = np.intersect1d(one.tuning.neuron, other.tuning.neuron, return_indices=True)
    turned = one.tuning.preferred_rad[at_one] - other.tuning.preferred_rad[at_other]
    return float(np.rad2deg(np.median(np.abs(np.angle(np.exp(1j * turned))))))


def found_again(days: Days) -> float:
    """Share of a day's neurons that are found again a week later, where every one could be."""
    one, other = (session.truth.reaching for session in days.sessions[0])
    if one is None or other is None:
        return 0.0
    return float(np.isin(one.tuning.neuron, other.tuning.neuron).mean())


def change_within(days: Days) -> float:
    """Median over units of the change of the true rate in reaches from the first to the last third.

    As a factor, about what all units do.
    """
    rates = _true_counts(days.first)[0].mean(axis=1)
    third = len(rates) // 3
    change = np.log(rates[-third:].mean(axis=0) / rates[:third].mean(axis=0))
    return float(np.exp(np.median(np.abs(change - np.median(change)))))


def unforeseen_on_another_day(days: Days) -> float:
    """Share of the latents' variance, 100 ms ahead, that the dynamics of another day do not foretell.

    Of linear maps, fitted from the release of a reach on; the same subject.
    """
    one, other = days.sessions[0]
    return _unforeseen(one, by=other)


def unforeseen_by_another_subject(days: Days) -> float:
    """As `unforeseen_on_another_day`, by the dynamics of another subject."""
    return _unforeseen(days.first, by=days.sessions[1][0])


def unforeseen_by_another_task(days: Days) -> float:
    """As `unforeseen_on_another_day`, by the dynamics of the same subject in the other task."""
    return _unforeseen(days.first, by=days.other_task)


MEASURES: Mapping[str, Callable[[Days], float]] = {
    "CV of peak speed": peak_speed_cv,
    "share of two-peaked reaches": two_peaked_share,
    "SD of the time of the peak, of the duration": peak_time_sd,
    "off the straight line, of the distance": curvature,
    "velocity R², linear, true rates": linear_r2,
    "velocity R², linear, smoothed spikes": smoothed_r2,
    "bits/spike of true rates, window": window_bps,
    "bits/spike of true rates, 200 ms after it": forward_bps,
    "neurons found again after a week": found_again,
    "their rate changed by a factor of": rate_change,
    "their preferred direction turned by, degrees": turn_deg,
    "rates changed within a session by a factor of": change_within,
    "latents not foretold by dynamics of another day": unforeseen_on_another_day,
    "latents not foretold by dynamics of another subject": unforeseen_by_another_subject,
    "latents not foretold by dynamics of another task": unforeseen_by_another_task,
}


def _rows(session: SimulatedSession) -> tuple[NDArray[np.int64], FloatArray]:
    """Bins of the window and after it of every rewarded reach, and when they begin, s."""
    truth = session.truth
    onset = truth.onset_s[np.isfinite(truth.onset_s) & truth.success]
    first = np.round((onset + WINDOW_S[0]) / BIN_S).astype(int)
    n_window = round((WINDOW_S[1] - WINDOW_S[0]) / BIN_S)
    return first[:, None] + np.arange(n_window + FORWARD_BINS), first * BIN_S


def _counts(session: SimulatedSession) -> NDArray[np.int64]:
    n_bins = int(session.truth.latent_time_s[-1] / BIN_S)
    spikes = np.split(session.spike_times, session.spike_index[:-1])
    return np.stack([np.histogram(unit, n_bins, (0, n_bins * BIN_S))[0] for unit in spikes], axis=1)


def _true_counts(session: SimulatedSession) -> tuple[FloatArray, FloatArray]:
    """Return expected spikes of active units, in the window and after it: ``(reach, bin, unit)``."""
    rows, start = _rows(session)
    signal = TrueSignal.of(session.truth, session.truth.rates_hz)
    n_window = rows.shape[1] - FORWARD_BINS
    hertz = signal.means(start, bin_size_s=BIN_S, n_bins=n_window, n_ahead=FORWARD_BINS)
    active = session.truth.rates_hz.mean(axis=0) >= 0.1
    expected = hertz[..., active] * BIN_S
    return expected[:, :n_window], expected[:, n_window:]


def _bits(session: SimulatedSession, *, part: int) -> float:
    rows, _ = _rows(session)
    expected = _true_counts(session)
    n_window = expected[0].shape[1]
    active = session.truth.rates_hz.mean(axis=0) >= 0.1
    counts = _counts(session)[rows][..., active]
    seen = (counts[:, :n_window], counts[:, n_window:])[part]
    return bits_per_spike(expected[part], seen)


def _velocity_r2(session: SimulatedSession, features: FloatArray) -> float:
    """Ridge, fitted to the first four fifths of the reaches, scored on the others."""
    rows = _rows(session)[0][:, : features.shape[1]]
    hand = session.kinematics.velocity
    middle = np.round(1000 * (rows * BIN_S + BIN_S / 2 + LAG_S)).astype(int)
    wanted = hand[middle]
    n_train = int(0.8 * len(rows))
    x_train, x_test = (part.reshape(-1, part.shape[-1]) for part in (features[:n_train], features[n_train:]))
    y_train, y_test = (part.reshape(-1, 2) for part in (wanted[:n_train], wanted[n_train:]))
    centre, spread = x_train.mean(axis=0), np.maximum(x_train.std(axis=0), 1e-9)
    x_train, x_test = (x_train - centre) / spread, (x_test - centre) / spread
    gram = x_train.T @ x_train + np.eye(x_train.shape[1])
    weights = np.linalg.solve(gram, x_train.T @ (y_train - y_train.mean(axis=0)))
    error = y_test - x_test @ weights - y_train.mean(axis=0)
    return float(1 - (error**2).sum() / ((y_test - y_test.mean(axis=0)) ** 2).sum())


def _pairs(session: SimulatedSession) -> tuple[FloatArray, FloatArray]:
    """Latents from the release of every reach on, and the same 100 ms later."""
    truth = session.truth
    onset = truth.onset_s[np.isfinite(truth.onset_s) & truth.success]
    rows = (np.round(100 * onset).astype(int)[:, None] + np.arange(-6, 34)).ravel()
    return truth.latents[rows, CHANGING], truth.latents[rows + AHEAD, CHANGING]


def _unforeseen(session: SimulatedSession, *, by: SimulatedSession) -> float:
    mapping = np.linalg.lstsq(*_pairs(by), rcond=None)[0]
    before, after = _pairs(session)
    return float(np.square(after - before @ mapping).sum() / np.square(after).sum())


def main() -> None:
    columns = [(preset, task) for task in ("CO", "RT") for preset in ("lifelike", "classic")]
    found: dict[str, list[str]] = {name: [] for name in MEASURES}
    for preset, task in columns:
        settings = {
            "preset": preset,
            "task": task,
            "n_units": (60, 60),
            "n_trials": 160 if task == "CO" else 60,
        }
        made = [Days.of(SimulateSettings.model_validate({**settings, "seed": seed})) for seed in range(3)]
        for name, measure in MEASURES.items():
            values = np.array([measure(days) for days in made])
            found[name].append(f"{values.mean():.3g} ± {values.std(ddof=1):.2g}")
    print("| | " + " | ".join(f"{task}, {preset}" for preset, task in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, cells in found.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
