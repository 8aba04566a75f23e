"""What an ingest is going to do: which files, in which order, at what cost. No data are read."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.estimate import MEMORY_BYTES, Estimate, estimate_session
from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.errors import DataError, PipelineError
from nwb_latents.pipeline.nwb.session_ids import label, session_id
from nwb_latents.schemas.events import PlannedEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nwb_latents.pipeline.nwb.recording_size import RecordingSize
    from nwb_latents.pipeline.sources.asset import Asset, Source
    from nwb_latents.schemas.recipe import IngestRecipe


ALL = Shard()

MOST_OPENED = 200
"""Files that are opened to plan; a file takes some milliseconds."""


@dataclass(frozen=True)
class Selection:
    """Which sessions to ingest.

    Attributes
    ----------
    sessions
        Shell patterns for session ids.
    subject, task
        Exact subject id and task; None: all.
    limit
        At most this many files, in order of their path; None: all.
    exclude
        Shell patterns for session ids to leave out.
    shard
        Part of the files that are left.
    """

    sessions: tuple[str, ...] = ("*",)
    subject: str | None = None
    task: str | None = None
    limit: int | None = None
    exclude: tuple[str, ...] = ()
    shard: Shard = ALL

    def takes(self, *names: str) -> bool:
        """Whether a session that goes by any of `names` is among those asked for, and by none is excluded.

        Examples
        --------
        >>> Selection(sessions=("sub-A*",), exclude=("*-2",)).takes("sub-A_ses-1")
        True
        >>> Selection(sessions=("sub-A*",), exclude=("*-2",)).takes("sub-A_ses-2")
        False
        """
        return any(fnmatch.fnmatchcase(n, g) for n in names for g in self.sessions) and not any(
            fnmatch.fnmatchcase(n, g) for n in names for g in self.exclude
        )

    def words(self) -> str:
        """Return the selection as it would be typed, for messages.

        Examples
        --------
        >>> Selection(subject="C").words()
        '--session * --subject C'
        """
        return (
            f"--session {' '.join(self.sessions)}"
            + "".join(f" --exclude {g}" for g in self.exclude)
            + (f" --subject {self.subject}" if self.subject else "")
            + (f" --task {self.task}" if self.task else "")
        )


def session_of_path(path: str) -> str:
    """Return the session id a file's name suggests, before it is opened: that of a file without metadata.

    Examples
    --------
    >>> session_of_path("sub-C/sub-C_ses-CO-20131003_behavior+ecephys.nwb")
    'sub-C_ses-CO-20131003'
    >>> session_of_path("monkey.nwb")
    'sub-unknown_ses-monkey'
    """
    return session_id(PurePosixPath(path).name, subject=None, session=None)


def stem_of_path(path: str) -> str:
    """Return a file's name without its suffix, which a selection may name too.

    Examples
    --------
    >>> stem_of_path("day1/monkey.nwb")
    'monkey'
    """
    return PurePosixPath(path).name.removesuffix(".zarr").removesuffix(".nwb")


def plan_assets(source: Source, selection: Selection, *, only: Collection[str] | None = None) -> list[Asset]:
    """Return the files to work on, in order of their path.

    Parameters
    ----------
    source
        Where the files are.
    selection
        Which of them.
    only
        Paths of assets; None: all.

    Returns
    -------
    assets
        May be empty where `only` or the shard leaves none.

    Raises
    ------
    DataError
        If no file fits the selection.
    """
    # Names decide for archives, where opening a file means fetching it; the metadata have the last word.
    assets = [a for a in source.assets() if _may_match(a, selection)]
    if not assets:
        raise DataError(
            f"No file fits {selection.words()}. Run the command without them and with --dry-run to see what "
            "there is."
        )
    if only is not None:
        assets = [a for a in assets if a.path in only]
    return [a for a in assets[: selection.limit] if selection.shard.holds(a.path)]


def stated_sizes(source: Source, assets: Sequence[Asset]) -> dict[str, RecordingSize]:
    """Return what files hold that lie here, by their path: the largest `MOST_OPENED` of them are opened.

    Files of an archive are not opened to plan, and say it when they are ingested; so do those that are left.
    """
    local_path = getattr(source, "local_path", None)
    if local_path is None:
        return {}
    from nwb_latents.pipeline.nwb.recording_size import stated_size  # noqa: PLC0415

    found = {}
    for asset in sorted(assets, key=lambda one: one.size, reverse=True)[:MOST_OPENED]:
        try:
            size = stated_size(local_path(asset), name=asset.path)
        except PipelineError:
            continue
        if size is not None:
            found[asset.path] = size
    return found


def estimate_asset(
    asset: Asset,
    recipe: IngestRecipe,
    size: RecordingSize | None = None,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> Estimate:
    """Return what ingesting one file costs, as far as what it holds, or its size alone, tells."""
    return estimate_session(
        asset.size,
        bin_size_s=recipe.bin_size_s,
        is_remote=asset.dandiset is not None,
        recording=size,
        memory_bytes=memory_bytes,
    )


def planned_events(
    assets: Sequence[Asset], estimates: Sequence[Estimate], *, known: Collection[str]
) -> Iterator[PlannedEvent]:
    """Yield one event for each file, for ``--dry-run``.

    Parameters
    ----------
    assets, estimates
        The plan.
    known
        Paths of the assets whose sessions are in the catalog.
    """
    for asset, cost in zip(assets, estimates, strict=True):
        yield PlannedEvent(
            session=session_of_path(asset.path),
            source=asset.path,
            bytes=asset.size,
            memory_bytes=cost.memory_bytes,
            seconds=round(cost.seconds, 1),
            in_catalog=asset.path in known,
        )


def _may_match(asset: Asset, selection: Selection) -> bool:
    name = session_of_path(asset.path)
    names = (name, stem_of_path(asset.path))
    if any(fnmatch.fnmatchcase(one, g) for one in names for g in selection.exclude):
        return False
    if "sub-" not in names[1] or asset.dandiset is None:
        return True
    subject = next((p.removeprefix("sub-") for p in name.split("_") if p.startswith("sub-")), "")
    return selection.takes(name) and (selection.subject is None or label(subject) == label(selection.subject))
