"""Sessions larger than the memory are refused: before the plan begins, before data are read or binned.

A plan knows what local files hold. A file of an archive says it once it is open, wherever it is ingested,
and the worker it is ingested on knows its own memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.estimate import MEMORY_BYTES, memory_refusal, memory_share
from nwb_latents.pipeline.errors import MachineError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.pipeline.cluster.estimate import Estimate
    from nwb_latents.pipeline.nwb.recording_size import RecordingSize
    from nwb_latents.pipeline.sources.asset import Asset
    from nwb_latents.pipeline.stages.ingest_session import IngestJob
    from nwb_latents.schemas.recipe import IngestRecipe

LEAST_MEMORY_GB = 0.3
"""The program and its libraries take as much."""


def memory_asked(memory_gb: float) -> int:
    """Return the memory a session may take, bytes.

    Parameters
    ----------
    memory_gb
        As a person says it.

    Raises
    ------
    SettingsError
        If it is less than the program itself takes.

    Examples
    --------
    >>> memory_asked(1.0)
    1000000000
    """
    if not memory_gb >= LEAST_MEMORY_GB:
        raise SettingsError(
            f"--memory-gb {memory_gb:g}: a session takes at least {LEAST_MEMORY_GB:g} GB, of which the "
            f"program is the most. Give {LEAST_MEMORY_GB:g} or more; 1 is the default."
        )
    return int(min(memory_gb * 1e9, float(1 << 60)))


def require_memory(job: IngestJob, asset: Asset, size: RecordingSize | None) -> None:
    """Refuse one recording that does not fit the memory of the process that ingests it.

    Parameters
    ----------
    job
        What all sessions have in common; where it is forced, nothing is refused.
    asset
        The file.
    size
        What it holds; None: not known.

    Raises
    ------
    MachineError
        If it does not fit.
    """
    if size is None or job.force:
        return
    refusal = memory_refusal(
        asset.path,
        size,
        bin_size_s=job.recipe.bin_size_s,
        most=memory_share(),
        memory_bytes=job.memory_bytes,
    )
    if refusal is not None:
        raise refusal


def require_plan_fits(
    planned: Sequence[tuple[Asset, Estimate]],
    sizes: Mapping[str, RecordingSize],
    recipe: IngestRecipe,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> None:
    """Refuse a plan with sessions that are larger than this machine, before hours are spent on it.

    Parameters
    ----------
    planned
        Files, and what each is estimated to cost.
    sizes
        Path → what the file holds, where that is known.
    recipe
        The recipe.
    memory_bytes
        What a session may take.

    Raises
    ------
    MachineError
        If one does not fit; the message is of the largest.
    """
    most = memory_share()
    large = [(asset, cost) for asset, cost in planned if cost.memory_bytes > most]
    if not large:
        return
    asset, cost = max(large, key=lambda pair: pair[1].memory_bytes)
    more = f" ({len(large)} of {len(planned)} sessions need more than there is.)" if len(planned) > 1 else ""
    if asset.path in sizes:
        refusal = memory_refusal(
            asset.path,
            sizes[asset.path],
            bin_size_s=recipe.bin_size_s,
            most=most,
            memory_bytes=memory_bytes,
        )
        if refusal is not None:
            raise MachineError(f"{refusal}{more}")
    raise MachineError(
        f"{asset.path}: estimated to need {cost.memory_bytes / 1e9:,.1f} GB of memory, of the size of the "
        "file; "
        f"{most / 1e9:,.1f} GB may be used here. Use wider bins (--set bin_size_s=0.02), a larger machine "
        f"(--cluster), leave the session out (--exclude), or --force to try all the same.{more}"
    )
