"""The embeddings of a trained run: a table of them, and what the dynamics between them look like.

Functions take any object that does what `Embedded` says, which a loaded run does, and return datasets.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.schemas.task import LAG_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import FittedDecoder
    from nwb_latents.pipeline.stores.session import Session

    FloatArray = NDArray[np.float64]

NOT_OF_A_SESSION = {"schema_version", "transform_version"}
"""Numbers among a store's attributes that say nothing about its session."""


class Embedded(Protocol):
    """What these functions ask of a run; `pipeline.training.inference.TrainedRun` has it."""

    @property
    def name(self) -> str:
        """Name of the run."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Dimension of the embedding, 0 where there is none."""
        ...

    def embedding(self, session: Session) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and variance of a session's embedding. Shapes ``(E,)``."""
        ...

    def states(self, session: Session) -> NDArray[np.float32]:
        """Return posterior means of states. Shape ``(trial, time, D)``."""
        ...

    def roll_out(
        self, session: str, z0: ArrayLike, *, n_bins: int, embeddings: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return latents and rates in Hz. Shapes ``(embedding, start, n_bins, D or unit)``."""
        ...


def embedding_table(
    run: Embedded,
    sessions: Sequence[Session],
    *,
    parameters: Mapping[str, Mapping[str, float]] | None = None,
) -> xr.Dataset:
    """Infer the embedding of every session, beside what is known of the session.

    Parameters
    ----------
    run
        A trained run.
    sessions
        The sessions; all their trials count.
    parameters
        Session id → name → number: further columns.

    Returns
    -------
    table
        ``mean`` and ``variance`` of shape ``(session, embedding)``; coordinates ``subject`` and ``task``;
        ``n_trials``, ``n_units``, and every number among the attributes and quality of the stores, NaN where
        a session has none.

    Raises
    ------
    DataError
        If there is no session, or the run has no embedding.

    References
    ----------
    Vermani et al. 2025, eq. 17: mean and variance are averaged over trials, so that the posterior does not
    sharpen with their number.
    """
    import xarray as xr  # noqa: PLC0415

    needs_embedding(run)
    if not sessions:
        raise DataError(f"Run {run.name}: no session was given to infer embeddings of")
    found = [run.embedding(session) for session in sessions]
    rows = [_numbers(session) | dict((parameters or {}).get(session.name, {})) for session in sessions]
    names = sorted({name for row in rows for name in row})
    columns = {name: [float(row.get(name, math.nan)) for row in rows] for name in names}
    words = {
        "subject": ("session", np.array([one.subject for one in sessions], dtype=object)),
        "task": ("session", np.array([one.attributes.task for one in sessions], dtype=object)),
    }
    return xr.Dataset(
        {
            "mean": (("session", "embedding"), np.stack([mean for mean, _ in found])),
            "variance": (("session", "embedding"), np.stack([var for _, var in found])),
            **{name: ("session", np.array(values)) for name, values in columns.items()},
        },
        coords={
            "session": np.array([one.name for one in sessions], dtype=object),
            "embedding": np.arange(run.embedding_dim),
            **words,
        },
        attrs={"run": run.name},
    )


def embedding_grid(centre: ArrayLike, *, size: int = 3, spacing: float = 1.0) -> FloatArray:
    """Return a square grid of embeddings around one, along the first two dimensions.

    Parameters
    ----------
    centre
        Shape ``(E,)``.
    size
        Points along each dimension; with an odd number, the centre is one of them.
    spacing
        Distance of neighbours.

    Returns
    -------
    embeddings
        Shape ``(size, size, E)``; a line, ``(size, 1, E)``, where E is 1.

    Examples
    --------
    >>> embedding_grid([5.0], size=3).ravel().tolist()
    [4.0, 5.0, 6.0]
    >>> embedding_grid([5.0, 7.0], size=3)[0, 2].tolist()
    [4.0, 8.0]
    """
    middle = np.asarray(centre, dtype=np.float64)
    steps = spacing * (np.arange(size) - (size - 1) / 2)
    grid = np.broadcast_to(middle, (size, size if len(middle) > 1 else 1, len(middle))).copy()
    grid[..., 0] += steps[:, None]
    if len(middle) > 1:
        grid[..., 1] += steps
    return grid


def embedding_line(first: ArrayLike, last: ArrayLike, *, size: int = 5) -> FloatArray:
    """Return embeddings on the line from one to another, both included. Shape ``(size, 1, E)``.

    Examples
    --------
    >>> embedding_line([0.0, 2.0], [4.0, 0.0], size=3)[:, 0].tolist()
    [[0.0, 2.0], [2.0, 1.0], [4.0, 0.0]]
    """
    share = np.linspace(0.0, 1.0, size)[:, None, None]
    line: FloatArray = (1 - share) * np.asarray(first) + share * np.asarray(last)
    return line


def interpolate(
    run: Embedded,
    session: Session,
    *,
    embeddings: ArrayLike,
    decoder: FittedDecoder | None = None,
    start_bin: int = 0,
    lag_ms: float = LAG_MS,
) -> xr.Dataset:
    """Let the dynamics of other embeddings run from a session's own mean states.

    For every condition, the mean over its trials of the inferred state at `start_bin` is held fixed; the
    weights are made anew from each embedding, and the states rolled out to the end of the trial.

    Parameters
    ----------
    run
        A trained run.
    session
        Session whose states, read-out and decoder are used; all its trials count.
    embeddings
        Shape ``(grid0, grid1, E)``, see `embedding_grid` and `embedding_line`.
    decoder
        The session's velocity decoder; None: no velocity.
    start_bin
        Bin of the trial the states start from.
    lag_ms
        The decoder's velocity comes this long after the activity, ms.

    Returns
    -------
    interpolated
        ``latents``, ``rates`` (Hz), and with a decoder ``velocity`` (cm/s) and ``position`` (cm from the
        start, its running sum), each of shape ``(grid0, grid1, condition, time, …)``; ``embedding_value``;
        ``start``, the states of shape ``(condition, latent)``.

    Raises
    ------
    DataError
        If the run has no embedding, there are no trials, or shapes do not fit.

    References
    ----------
    Vermani et al. 2025, interpolation between dynamical systems.
    """
    import xarray as xr  # noqa: PLC0415

    needs_embedding(run)
    given = np.asarray(embeddings, dtype=np.float64)
    trials, n_time = session.trials, session.n_bins
    if given.ndim != 3 or given.shape[2] != run.embedding_dim or not 0 <= start_bin < n_time:
        raise DataError(
            f"{session.name}: cannot interpolate over embeddings of shape {given.shape} from bin {start_bin} "
            f"on; expected (grid, grid, {run.embedding_dim}) and a bin below {n_time}"
        )
    conditions, start, numbers = _starts(run, session, start_bin=start_bin)
    latents, rates = run.roll_out(
        session.name, start, n_bins=n_time - start_bin, embeddings=given.reshape(-1, given.shape[2])
    )
    dims = ("grid0", "grid1", "condition", "time")
    shape = given.shape[:2]
    bin_size_s = session.bin_size_s
    variables: dict[str, Any] = {
        "embedding_value": (("grid0", "grid1", "embedding"), given),
        "start": (("condition", "latent"), start),
        "latents": ((*dims, "latent"), latents.reshape(*shape, *latents.shape[1:])),
        "rates": ((*dims, "unit"), rates.reshape(*shape, *rates.shape[1:]), {"units": "Hz"}),
    }
    coords: dict[str, Any] = {
        "condition": np.array(conditions, dtype=object),
        "n_trials": ("condition", numbers),
        "time": ("time", trials["time"].values[start_bin:], {"units": "s"}),
        "unit": trials["unit"].values,
    }
    if decoder is not None:
        velocity = decoder.predict(variables["rates"][1])
        recorded = trials.get("velocity")
        unit = "cm/s" if recorded is None else str(recorded.attrs.get("units", "cm/s"))
        variables["velocity"] = ((*dims, "axis"), velocity, {"units": unit})
        position = velocity.cumsum(axis=3) * bin_size_s
        variables["position"] = ((*dims, "axis"), position, {"units": unit.removesuffix("/s")})
        coords["axis"] = np.array(session.axes, dtype=object)
    attrs = {
        "run": run.name, "session": session.name, "start_bin": start_bin, "bin_size_s": bin_size_s,
        "lag_ms": lag_ms,
    }  # fmt: skip
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def needs_embedding(run: Embedded) -> None:
    """Refuse a run without embeddings.

    Raises
    ------
    DataError
        If the dynamics of the run are shared by all sessions.
    """
    if run.embedding_dim == 0:
        raise DataError(
            f"Run {run.name} has no embedding: its dynamics are the same for all sessions (conditioner "
            "'shared'). Choose a run with the conditioner low_rank, linear or concat."
        )


def _starts(
    run: Embedded, session: Session, *, start_bin: int
) -> tuple[list[str], FloatArray, NDArray[np.int64]]:
    """Return conditions, the mean state of each at a bin, and their numbers of trials."""
    states = np.asarray(run.states(session)[:, start_bin], dtype=np.float64)
    of_trial = session.condition
    names = sorted(set(of_trial), key=lambda name: (_direction(session.trials, of_trial == name), name))
    start = np.stack([states[of_trial == name].mean(axis=0) for name in names])
    return names, start, np.array([int((of_trial == name).sum()) for name in names])


def _direction(trials: xr.Dataset, rows: NDArray[np.bool_]) -> float:
    """Mean direction of the target of some trials in [0, 2π), so that conditions go round; 0 without one."""
    if "target_dir" not in trials.coords:
        return 0.0
    angles = np.asarray(trials["target_dir"].values, dtype=np.float64)[rows]
    angle = float(np.angle(np.exp(1j * angles).sum())) if np.isfinite(angles).all() else 0.0
    # A mean of zero comes out as a tiny angle of either sign.
    return round(angle % (2 * math.pi), 6) % round(2 * math.pi, 6)


def _numbers(session: Session) -> dict[str, float]:
    """Return every number known of a session."""
    attrs = {str(k): v for k, v in session.trials.attrs.items() if k not in NOT_OF_A_SESSION}
    quality = attrs.pop("quality", None)
    if isinstance(quality, str):
        quality = json.loads(quality)
    found = {"n_trials": float(session.n_trials), "n_units": float(session.n_units)}
    return _flat(quality if isinstance(quality, dict) else {}, "") | _flat(attrs, "") | found


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float | np.integer | np.floating):
            found[f"{prefix}{name}"] = float(value)
        elif isinstance(value, dict) and prefix == "":
            found |= _flat(value, f"{name}_")
    return found
