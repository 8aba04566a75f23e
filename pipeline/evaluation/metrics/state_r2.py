"""How much of inferred latent states is explained by the true ones, up to an affine map.

The regression goes **from the true states to the inferred ones**. The other way round, a model may invent
as many further dimensions as it likes and lose nothing: anything the true states can be read out of looks
perfect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums, r2
from nwb_latents.pipeline.evaluation.metrics.same_bins import same_bins

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    FloatArray = NDArray[np.float64]

FLOOR = -10.0


def affine_map(true: ArrayLike, inferred: ArrayLike) -> FloatArray:
    """Return the least-squares affine map from true to inferred states.

    Parameters
    ----------
    true
        Shape ``(…, D)``, finite.
    inferred
        Shape ``(…, D')``, finite.

    Returns
    -------
    weights
        ``inferred ≈ [true, 1] @ weights``. Shape ``(D + 1, D')``, float64.

    Raises
    ------
    DataError
        If the shapes do not fit, or a value is not finite.

    Examples
    --------
    >>> affine_map([[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]]).round(6).tolist()
    [[2.0], [1.0]]
    """
    source, wanted = _checked(true, inferred)
    design, outputs = _with_one(source), wanted.reshape(-1, wanted.shape[-1])
    weights = np.linalg.lstsq(design.reshape(-1, design.shape[-1]), outputs)[0]
    return np.asarray(weights, dtype=np.float64)


def mapped_states(true: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Return true states in the space of inferred ones.

    Parameters
    ----------
    true
        Shape ``(…, D)``.
    weights
        Made by `affine_map`. Shape ``(D + 1, D')``.

    Returns
    -------
    states
        Shape ``(…, D')``, float64.

    Examples
    --------
    >>> mapped_states([[3.0]], [[2.0], [1.0]]).tolist()
    [[7.0]]
    """
    mapped: FloatArray = _with_one(np.asarray(true, dtype=np.float64)) @ np.asarray(weights, dtype=np.float64)
    return mapped


def state_r2(
    true: ArrayLike, inferred: ArrayLike, *, fitted_on: tuple[ArrayLike, ArrayLike] | None = None
) -> float:
    """Return R² of inferred states regressed on true ones, averaged over inferred dimensions.

    ``r2_uniform`` of the map's output, no lower than `FLOOR`: a map fitted on other trials can be arbitrarily
    far off.

    Parameters
    ----------
    true
        True states. Shape ``(…, D)``, such as ``(trial, time, D)``, finite.
    inferred
        Inferred states of the same bins. Shape ``(…, D')``, finite.
    fitted_on
        True and inferred states the affine map is fitted on; default: those that are scored.

    Returns
    -------
    value
        ``r2_uniform``, at most 1 and at least `FLOOR`; NaN where an inferred dimension does not vary.

    Raises
    ------
    DataError
        If the shapes do not fit, or a value is not finite.

    References
    ----------
    Sedler, Versteeg and Pandarinath 2023, "Expressive architectures enhance interpretability of
    dynamics-based neural population models".

    Examples
    --------
    >>> import numpy as np
    >>> z = np.random.default_rng(0).normal(size=(4, 50, 3))
    >>> turned = z @ np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 3.0]]) + 5
    >>> round(state_r2(z, turned), 6), round(state_r2(z[..., :2], turned), 2) < 1
    (1.0, True)
    """
    source, found = _checked(true, inferred)
    weights = affine_map(*(fitted_on or (true, inferred)))
    if weights.shape != (source.shape[-1] + 1, found.shape[-1]):
        raise DataError(
            f"state R²: the map was fitted on {weights.shape[0] - 1} true and {weights.shape[1]} inferred "
            f"dimensions, found {source.shape[-1]} and {found.shape[-1]} to score"
        )
    value = r2(found, mapped_states(source, weights), definition="r2_uniform")
    return value if np.isnan(value) else max(FLOOR, value)


def _with_one(states: FloatArray) -> FloatArray:
    return np.concatenate([states, np.ones((*states.shape[:-1], 1))], -1)


def _checked(true: ArrayLike, inferred: ArrayLike) -> tuple[FloatArray, FloatArray]:
    names = ("true states", "inferred")
    return same_bins(true, inferred, score="state R²", names=names, last="dimensions")


def _explained_by_the_truth(session: ScoredSession, made: SourceOutput) -> R2Sums:
    if session.true_states is None or made.states is None:
        raise CannotBeHadError(made.lacks("latents") or "the true states are not known")
    (of_train, of_scored), (train, scored) = session.true_states, made.states
    mapped = mapped_states(of_scored, affine_map(of_train, train))
    return R2Sums.of(scored, mapped, definition="r2_uniform")


METRIC = Metric(
    name="state_r2",
    title="true states",
    definition="r2_uniform",
    meaning="Latent states explained by the true ones of a simulated session, up to an affine map fitted on "
    "training trials.",
    source="Sedler, Versteeg and Pandarinath 2023",
    needs=("true_states",),
    order=80,
    compute={"latents": _explained_by_the_truth},
)
