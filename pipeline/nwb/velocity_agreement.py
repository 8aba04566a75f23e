"""A velocity held against the position beside it: mended where a unit explains it, else said or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.agreement import AGREES, UNLIKE, Agreement, compare
from nwb_latents.pipeline.signals.contradictions import contradictions
from nwb_latents.pipeline.signals.displacements import SLOWEST_S

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import Series

LAG_SAID_S = 0.1
"""A velocity later or earlier than the position's derivative by as much is told of."""

LEAST_SHARED = 0.9
"""Least share of the time that position and velocity cover together of which nothing is said."""

CHOOSE = (
    "Which of the two is right the file does not say: --set velocity_from=position takes the derivative of "
    "the position as velocity, --set velocity_from=series the velocity as it is stored, and --set "
    "position_series=PATH or --set velocity_series=PATH another series."
)


def agreeing(
    file: NwbFile,
    position: Series,
    velocity: Series,
    *,
    paths: tuple[str, str],
    unit: str,
    is_vouched: bool,
    has_unit: bool,
) -> Series:
    """Return the velocity in the unit the position's derivative has; what is mended or odd is said.

    Parameters
    ----------
    file
        The open file.
    position, velocity
        In `unit` and what is stated to be that per second.
    paths
        Paths of both, for messages.
    unit
        ``cm``, or what is no length: scales are mended in cm alone.
    is_vouched
        Whether someone, a layout or a person, says that the velocity is the one to use: what else would be
        refused is said.
    has_unit
        Whether the unit of the velocity is known for certain, so that it is not mended.

    Returns
    -------
    velocity
        As given where it agrees with the derivative, or cannot be compared.

    Raises
    ------
    DataError
        If it is the derivative with other signs, axes, times or scale, or of something else.
    """
    _say_shared(file, position, velocity, paths=paths)
    found = compare(position, velocity)
    where = f"/{paths[1]} beside /{paths[0]}"
    if found is None:
        _say_not_compared(file, position, velocity, where=where)
        return velocity
    against = _against(found)
    if against:
        if not is_vouched:
            raise DataError(f"{file.name}: {where}: the velocity {against}. {CHOOSE}")
        file.say(f"{where}: the velocity {against}; it is used as it is stored")
        return velocity
    if found.least < AGREES:
        file.say(
            f"{where}: the velocity agrees poorly with the position's derivative (displacements correlate at "
            f"{found.correlation:.2f}); look at both, or take the derivative with --set "
            "velocity_from=position"
        )
    elif abs(found.lag_s) >= LAG_SAID_S:
        side = "later" if found.lag_s > 0 else "earlier"
        file.say(
            f"{where}: the velocity comes about {abs(found.lag_s):.2g} s {side} than the position's "
            "derivative, as after a filter that delays; decoding with a lag counts on its times"
        )
    return velocity if has_unit else _scaled(file, velocity, found, path=paths[1], unit=unit)


def say_contradictions(
    file: NwbFile, position: Series, velocity: Series, *, paths: tuple[str, str], unit: str
) -> None:
    """Say when a velocity and a position contradict each other that agree elsewhere."""
    found = contradictions(position, velocity)
    if not found:
        return
    worst = max(found, key=lambda one: abs(one.position - one.velocity))
    n, lasting = len(found), sum(one.stop_s - one.start_s for one in found)
    file.say(
        f"/{paths[1]} beside /{paths[0]}: the two contradict each other {n} time{'s' * (n != 1)}, for "
        f"{lasting:.3g} s in all, from {found[0].start_s:.6g} s on (most at {worst.start_s:.6g} s: within "
        f"{worst.window_s:.2g} s the position moves {worst.position:.3g} {unit}, and {worst.velocity:.3g} by "
        "the velocity): samples of one of them are lost or damaged; both are kept"
    )


def _against(found: Agreement) -> str:
    """Say what speaks against a velocity; nothing: it agrees, or no more than poorly."""
    if found.relation:
        return f"{found.relation}, held against the position's derivative".replace(
            "the position's derivative, held against the position's derivative", "the position's derivative"
        )
    if found.correlation < UNLIKE:
        return (
            "has nothing to do with the position's derivative (displacements correlate at "
            f"{found.correlation:.2f}, of one movement at nearly 1)"
        )
    return ""


def _say_shared(file: NwbFile, position: Series, velocity: Series, *, paths: tuple[str, str]) -> None:
    spans = [(float(s.time[0]), float(s.time[-1])) for s in (position, velocity)]
    (p0, p1), (v0, v1) = spans
    shared, whole = min(p1, v1) - max(p0, v0), max(p1, v1) - min(p0, v0)
    if shared >= LEAST_SHARED * whole:
        return
    text = f"/{paths[0]} covers {p0:.6g} to {p1:.6g} s, /{paths[1]} {v0:.6g} to {v1:.6g} s"
    if shared <= 0:
        raise DataError(
            f"{file.name}: {text}: position and velocity share no time. Mend the clock of one of them, or "
            "leave one out: --set velocity_from=position takes the derivative of the position."
        )
    file.say(f"{text}: only where both are there is all of the movement known")


def _say_not_compared(file: NwbFile, position: Series, velocity: Series, *, where: str) -> None:
    slowest = max(position.interval_s, velocity.interval_s)
    why = (
        f"a sample every {slowest:.3g} s is too few to tell what happens between them"
        if slowest > SLOWEST_S
        else "they have too little time in common"
    )
    file.say(f"{where}: whether the velocity is the position's derivative is not known: {why}; both are kept")


def _scaled(file: NwbFile, velocity: Series, found: Agreement, *, path: str, unit: str) -> Series:
    factor = found.factor
    if factor is None:
        return velocity
    if found.is_uneven:
        each = ", ".join(f"{f:.3g}" for f in found.factors if np.isfinite(f))
        text = f"/{path}: the position moves {each} times as fast as it says, a factor for each axis"
        if unit != "cm":
            file.say(text)
            return velocity
        raise DataError(
            f"{file.name}: {text}, which no unit explains. Mend its unit or conversion, or leave it out with "
            "--set velocity_from=position: the velocity is then the derivative of the position."
        )
    if 2 / 3 <= factor <= 3 / 2:
        return velocity
    if unit != "cm":
        file.say(
            f"/{path}: the position moves {factor:.3g} times as fast as it says, if both are in {unit}; "
            "values are taken as they are"
        )
        return velocity
    rate = 1.0 / velocity.interval_s
    explained = (
        (100.0, "m/s stated as cm/s"), (0.01, "cm/s stated as m/s"), (10.0, "cm/s stated as mm/s"),
        (0.1, "mm/s stated as cm/s"), (1000.0, "m/s stated as mm/s"), (0.001, "mm/s stated as m/s"),
        (rate, "cm per sample"), (100 * rate, "m per sample stated as cm/s"),
    )  # fmt: skip
    near = min((k for k, _ in explained), key=lambda k: abs(np.log(factor / k)))
    if abs(np.log(factor / near)) < np.log(1.25):
        alike = [why for k, why in explained if abs(np.log(k / near)) < np.log(1.25)]
        file.say(
            f"/{path}: the position moves {factor:.3g} times as fast as it says; values are taken times "
            f"{near:g} ({' or '.join(alike)})"
        )
        return velocity.with_values(velocity.values * near)
    raise DataError(
        f"{file.name}: /{path} is the derivative of the position times {1 / factor:.3g}, which no unit "
        "explains. Mend its unit or conversion, or leave it out with --set velocity_from=position: the "
        "velocity is then the derivative of the position."
    )
