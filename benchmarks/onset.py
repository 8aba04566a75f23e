"""How far onsets are from the truth, for reaches of several shapes, with drift: each rule, the same sessions.

``python benchmarks/onset.py`` prints, for every shape, the median error and the error that nine in ten trials
stay within, in ms, of 60 simulated reaches of 8 cm in 0.35 to 0.8 s with hold noise of 0.3 cm/s.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter1d

from nwb_latents.pipeline.signals.onset import find_onset, profile_onsets, speed_of
from nwb_latents.pipeline.signals.recording import Series
from nwb_latents.schemas.recipe_parts import OnsetSettings

N_TRIALS = 60
RULES = ("profile", "peak_fraction", "accel_half_peak", "threshold")


def power(a: float, b: float):
    return lambda tau: np.clip(tau, 0, 1) ** a * np.clip(1 - tau, 0, 1) ** b


def lognormal(sigma: float):
    def profile(tau: np.ndarray) -> np.ndarray:
        after = np.clip(tau, 1e-9, None)
        return np.where(tau > 0, np.exp(-((np.log(after) / sigma + 3.09) ** 2) / 2) / after, 0.0)

    return profile


def two(delay: float, height: float):
    first = power(2, 2)
    return lambda tau: first(tau) + height * first((tau - delay) / 0.7)


SHAPES = {
    "minimum jerk": power(2, 2),
    "skewed early": power(1.8, 3.4),
    "skewed late": power(2.8, 1.8),
    "late peak": power(4.2, 2.1),
    "cosine": lambda tau: 1 - np.cos(2 * np.pi * np.clip(tau, 0, 1)),
    "lognormal, narrow": lognormal(0.32),
    "lognormal, wide": lognormal(0.47),
    "two peaks, apart": two(0.75, 0.45),
    "two peaks, merged": two(0.55, 0.6),
}


def simulate(shape: str, rate_hz: float, drift_cm_s: float) -> tuple[Series, np.ndarray, np.ndarray]:
    """Return velocity, go cues and true onsets of one session."""
    rng = np.random.default_rng(0)
    go = 1.0 + 3.0 * np.arange(N_TRIALS)
    onset = go + rng.uniform(0.18, 0.45, N_TRIALS)
    lasts = rng.uniform(0.35, 0.8, N_TRIALS)
    angle = rng.uniform(0, 2 * np.pi, N_TRIALS)
    time = np.arange(0.0, go[-1] + 3.0, 1 / rate_hz)
    tau = np.linspace(-0.5, 3, 7001)
    length = np.trapezoid(SHAPES[shape](tau), tau)
    velocity = drift_cm_s * np.column_stack([np.sin(0.05 * time), np.cos(0.05 * time)])
    for start, long, towards in zip(onset, lasts, angle, strict=True):
        speed = 8.0 * SHAPES[shape]((time - start) / long) / (length * long)
        velocity += speed[:, None] * [np.cos(towards), np.sin(towards)]
    noise = gaussian_filter1d(rng.standard_normal(velocity.shape), 0.005 * rate_hz, axis=0)
    return Series(time, velocity + noise * (0.3 / noise.std())), go, onset


def found(rule: str, velocity: Series, go: np.ndarray) -> np.ndarray:
    """Return the onsets one rule finds, s; NaN where it finds none."""
    settings = OnsetSettings(method=rule)
    if rule == "profile":
        made = profile_onsets(velocity, [(g, g + 0.1, g + 1.8) for g in go], settings)
    else:
        speed = speed_of(velocity, settings.smooth_s)
        made = [find_onset(speed, g + 0.1, g + 1.8, settings, from_s=g) for g in go]
    return np.array([each.onset for each in made])


def main() -> None:
    print(f"{'shape':20s} {'Hz':>5s} {'drift':>6s}  " + "  ".join(f"{rule:>22s}" for rule in RULES))
    for shape, rate_hz, drift in itertools.product(SHAPES, (100.0, 1000.0), (0.0, 2.0)):
        velocity, go, onset = simulate(shape, rate_hz, drift)
        cells = []
        for rule in RULES:
            error = 1e3 * (found(rule, velocity, go) - onset)
            known = error[np.isfinite(error)]
            lost = len(error) - len(known)
            if not len(known):
                cells.append("none")
                continue
            within = np.quantile(np.abs(known), 0.9)
            cells.append(f"{np.median(known):+5.0f} {within:5.0f} {f'({lost} lost)' if lost else '':>10s}")
        print(f"{shape:20s} {rate_hz:5.0f} {drift:4.0f}    " + "  ".join(f"{cell:>22s}" for cell in cells))


if __name__ == "__main__":
    main()
