"""Stores and runs that are larger than the memory are refused before anything is read of them.

What a store holds stands in the metadata of its arrays, which are a few hundred bytes each, and what a run
holds is the size of its weights. What is done with them takes several times as much; how much was measured
(``benchmarks/RESULTS.md``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.estimate import BASE_BYTES, memory_share
from nwb_latents.pipeline.errors import MachineError, PipelineError
from nwb_latents.pipeline.stores.location import store_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.training import TrainSettings

STAGE_BASE_BYTES = BASE_BYTES + (300 << 20)
"""A process with torch and the libraries of figures loaded."""

TRIALS_COPIES = 7.0
CONTINUOUS_COPIES = 3.0
"""Memory for each byte of the arrays of the trials, and of the whole session, while it is worked on."""

WEIGHTS_COPIES = 2
"""Of the weights of a run: as they are read, and in the model."""

_LARGE = {"trials": ("counts", "rates"), "continuous": ("counts", "rates")}
"""Arrays by trials or bins and units; what else a store holds is small beside them."""

_ITEM_BYTES = {"bool": 1, "uint8": 1, "uint16": 2, "uint32": 4, "float32": 4, "float64": 8}


def require_stores_fit(
    catalog_path: Path,
    entries: Sequence[SessionEntry],
    *,
    runs: Sequence[RunEntry] = (),
    together: bool = False,
    recordings: bool = True,
    at_once: int = 1,
    force: bool = False,
) -> None:
    """Refuse sessions and runs that do not fit the memory, before they are read.

    Parameters
    ----------
    catalog_path
        Catalog file.
    entries
        Sessions that are worked on. One that cannot be looked at is left to whoever reads it.
    runs
        Runs that are loaded, all at once.
    together
        Whether the trials of all sessions are held at once, as in a training; otherwise one session follows
        the other.
    recordings
        Whether what the trials were cut from is read too.
    at_once
        Processes of this machine that hold all of it.
    force
        Refuse nothing.

    Raises
    ------
    MachineError
        If they do not fit; the message is of the largest session, or of all where they are held at once.

    Examples
    --------
    >>> from pathlib import Path
    >>> require_stores_fit(Path("nowhere/catalog.yaml"), [])
    """
    if force:
        return
    most = memory_share()
    weights = WEIGHTS_COPIES * sum(_weights_bytes(catalog_path, run) for run in runs)
    held = {entry.session: store_bytes(store_path(catalog_path, entry.store)) for entry in entries}
    trials = {name: TRIALS_COPIES * size for name, (size, _) in held.items()}
    whole = {name: CONTINUOUS_COPIES * size * recordings for name, (_, size) in held.items()}
    largest = max(held, key=lambda name: trials[name] + whole[name], default="")
    if together:
        sessions = sum(trials.values()) + max(whole.values(), default=0)
    else:
        sessions = trials.get(largest, 0) + whole.get(largest, 0)
    needed = at_once * (STAGE_BASE_BYTES + int(weights + sessions))
    if needed <= most:
        return
    begin = f"{largest}: " if sessions >= weights and not (together and len(held) > 1) else ""
    raise MachineError(
        f"{begin}estimated to need {needed / 1e9:,.1f} GB of memory; {most / 1e9:,.1f} GB may be used here "
        f"({_words(held, largest, together=together)}{_words_of_runs(len(runs), weights)}"
        f"{f'; {at_once} processes hold them' if at_once > 1 else ''}). "
        f"{_remedy(len(entries), len(runs), together=together, at_once=at_once)} a machine with more "
        "memory, or --force to try all the same."
    )


@dataclass(frozen=True)
class Reading:
    """How the trials of a training are read.

    Attributes
    ----------
    room
        Bytes of sessions that are kept in memory, where each is read when it is drawn; None: all are read
        once.
    text
        What is to be said of it; empty: nothing.
    """

    room: int | None
    text: str


def reading_of(
    catalog_path: Path, entries: Sequence[SessionEntry], settings: TrainSettings, *, force: bool = False
) -> Reading:
    """Return how the trials of a training are read: all at once, or each session when it is drawn.

    Parameters
    ----------
    catalog_path
        Catalog file.
    entries
        Its sessions.
    settings
        Memory for trials, what a step draws, devices, whether recordings are read too.
    force
        Refuse nothing.

    Raises
    ------
    MachineError
        If not even one session and the batches of a step fit.
    """
    n, batch, told = settings.devices, settings.batch, settings.data_memory_gb
    most = int(told * 1e9 / n) if told is not None else max(0, memory_share() // n - STAGE_BASE_BYTES)
    held = [store_bytes(store_path(catalog_path, entry.store)) for entry in entries]
    trials = [TRIALS_COPIES * size for size, _ in held]
    whole = max((CONTINUOUS_COPIES * size for _, size in held), default=0.0) * settings.reads_recordings
    needed = sum(trials) + whole
    where = "data_memory_gb" if told is not None else "the memory of this machine"
    if n > 1:
        where += f", shared by {n} processes"
    if needed <= most:
        text = f"the trials of {len(held)} sessions are kept in memory: about {_gb(needed)}"
        return Reading(None, f"{text} of {_gb(most)} ({where})" if told is not None else "")
    shares = (
        min(1.0, batch.trials_per_session / max(1, entry.n_trials)) * size
        for entry, (size, _) in zip(entries, held, strict=True)
    )
    # The blocks of the step that is computed, and of the next: as they were read, and packed.
    steps = 4 * sum(sorted(shares, reverse=True)[: batch.sessions_per_step])
    least = max(trials, default=0.0) + whole + steps
    if least > most and not force:
        raise MachineError(
            f"one session and the batches of a step: estimated to need {least / 1e9:,.1f} GB of memory; "
            f"{most / 1e9:,.1f} GB may be used here ({where}). Use a larger data_memory_gb, fewer sessions "
            "or trials a step (batch.sessions_per_step, batch.trials_per_session), a machine with more "
            "memory, or --force to try all the same."
        )
    room = max(0, int(most - least))
    text = (
        f"the trials of {len(held)} sessions are read when they are drawn: all of them would take about "
        f"{_gb(needed)}, and {_gb(most)} may be used ({where}); up to {_gb(room)} of them are kept"
    )
    return Reading(room, text)


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.2g} GB" if n_bytes < 1e9 else f"{n_bytes / 1e9:,.1f} GB"


def session_bytes(
    catalog_path: Path, entry: SessionEntry, runs: Sequence[RunEntry], *, recording: bool = True
) -> int:
    """Return the memory a process is estimated to need that works on one session with some runs.

    Parameters
    ----------
    catalog_path, entry, runs, recording
        As `entries`, `runs` and `recordings` of `require_stores_fit`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.catalog import SessionEntry
    >>> entry = SessionEntry(session="s", subject="A", task="CO", recipe_id="r", store="s.zarr",
    ...                      store_key="k", source="s.nwb", n_trials=1, n_units=1, n_bins=1,
    ...                      bin_size_s=0.02, created="")
    >>> session_bytes(Path("nowhere/catalog.yaml"), entry, []) == STAGE_BASE_BYTES
    True
    """
    trials, whole = store_bytes(store_path(catalog_path, entry.store))
    weights = WEIGHTS_COPIES * sum(_weights_bytes(catalog_path, run) for run in runs)
    return STAGE_BASE_BYTES + int(weights + TRIALS_COPIES * trials + CONTINUOUS_COPIES * whole * recording)


def training_bytes(catalog_path: Path, entries: Sequence[SessionEntry], settings: TrainSettings) -> int:
    """Return the memory a process is estimated to need that trains a model on sessions, steps left out.

    Parameters
    ----------
    catalog_path, entries
        As in `require_stores_fit`.
    settings
        Of the training.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> training_bytes(Path("nowhere/catalog.yaml"), [], TrainSettings()) == STAGE_BASE_BYTES
    True
    """
    held = [store_bytes(store_path(catalog_path, entry.store)) for entry in entries]
    recordings = bool(settings.forward_ms)
    whole = CONTINUOUS_COPIES * max((size for _, size in held), default=0) * recordings
    return STAGE_BASE_BYTES + int(TRIALS_COPIES * sum(size for size, _ in held) + whole)


def store_bytes(store: StoreLocation) -> tuple[int, int]:
    """Return the bytes of a store's trials and of its whole session, in memory, from their metadata alone.

    Parameters
    ----------
    store
        The store; one that cannot be read has none.

    Examples
    --------
    >>> from nwb_latents.pipeline.stores.location import StoreLocation
    >>> store_bytes(StoreLocation.parse("nowhere.zarr"))
    (0, 0)
    """
    trials, whole = (sum(_array_bytes(store, f"{g}/{name}") for name in names) for g, names in _LARGE.items())
    return trials, whole


def _array_bytes(store: StoreLocation, name: str) -> int:
    try:
        described = json.loads(store.read(f"{name}/zarr.json") or "null")
        n_values = 1
        for length in described["shape"]:
            n_values *= int(length)
        return n_values * _ITEM_BYTES[described["data_type"]]
    except (PipelineError, OSError, KeyError, TypeError, ValueError):
        return 0


def _weights_bytes(catalog_path: Path, run: RunEntry) -> int:
    from nwb_latents.pipeline.training.run_files import BEST  # noqa: PLC0415 - imports yaml and settings

    try:
        return (catalog_path.parent / run.path / BEST).stat().st_size
    except OSError:
        return 0


def _words(held: dict[str, tuple[int, int]], largest: str, *, together: bool) -> str:
    """Return what there is to read of the sessions."""
    if not held:
        return "no session"
    if together:
        trials = sum(trials for trials, _ in held.values())
        return f"the trials of {len(held)} session{'s' * (len(held) > 1)} are {trials / 1e9:,.1f} GB"
    trials, whole = held[largest]
    more = f", the largest of {len(held)} sessions" if len(held) > 1 else ""
    return f"its trials are {trials / 1e9:,.1f} GB, its recording {whole / 1e9:,.1f} GB{more}"


def _words_of_runs(n_runs: int, weights: float) -> str:
    if not n_runs:
        return ""
    return f"; weights of {n_runs} run{'s' * (n_runs > 1)}: {weights / WEIGHTS_COPIES / 1e9:,.1f} GB"


def _remedy(n_sessions: int, n_runs: int, *, together: bool, at_once: int) -> str:
    words = ["fewer sessions (--session)"] if together and n_sessions > 1 else []
    words += ["fewer runs at once (--run)"] if n_runs > 1 else []
    words += ["fewer processes (--workers)"] if at_once > 1 else []
    words += ["a recipe of wider bins (bin_size_s)"] if n_sessions and not words else []
    return f"Use {', '.join([*words, ''])}or" if words else "Use"
