"""``pipeline inspect``: what is in recordings, and what an ingest would make of them. Nothing is written."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, PipelineError, SettingsError
from nwb_latents.pipeline.stages.explicit_recipe import explicit_recipe, recipe_yaml
from nwb_latents.pipeline.stages.ingest_plan import session_of_path
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.unforeseen import unforeseen_words
from nwb_latents.schemas.events import BytesEvent, InspectionEvent, NoteEvent
from nwb_latents.schemas.inspection import Inspection, UnitFacts, WouldBe
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile, NwbSource
    from nwb_latents.pipeline.signals.recording import Recording
    from nwb_latents.pipeline.signals.trials import Trials
    from nwb_latents.pipeline.sources.asset import Asset, Source
    from nwb_latents.pipeline.sources.remote_file import RemoteFile

logger = logging.getLogger(__name__)

HERE_BYTES = 1 << 26
"""Of a file on this machine, datasets up to this size are looked into though no ingest needs them."""

REMOTE_BYTES = 1 << 16
"""The same, of a file that is read in the archive."""


def inspect(
    source: Source, recipe: IngestRecipe | None = None, *, asset: str = "*", report: Report = ignore
) -> list[Inspection]:
    """Look into recordings, and try what an ingest would make of them.

    Parameters
    ----------
    source
        Where the files are. Those of an archive are read there; only NWB in Zarr is downloaded.
    recipe
        Recipe of the ingest; default: that of `pipeline.stages.ingest.ingest`.
    asset
        Shell pattern for the paths of files in the source.
    report
        Receives an ``inspection`` for each file.

    Returns
    -------
    inspections
        One for each file, in order of their path; of one that cannot be opened, with the refusal alone.

    Raises
    ------
    DataError
        If no file fits the pattern.
    SettingsError
        If the recipe names a layout there is not.
    MachineError
        If the archive cannot be reached.
    """
    recipe = recipe or IngestRecipe()
    listed = source.assets()
    for note in getattr(source, "notes", ()):
        report(NoteEvent(text=note))
    assets = [each for each in listed if fnmatchcase(each.path, asset) or each.path == asset]
    if not assets:
        shown = ", ".join(each.path for each in listed[:6])
        raise DataError(f"No file fits {asset!r}. There are {len(listed)}, among them {shown}.")
    found = []
    for each in assets:
        found.append(_inspect_asset(source, each, recipe, report))
        report(InspectionEvent(**found[-1].model_dump()))
    return found


def inspect_file(
    content: NwbSource, asset: Asset, recipe: IngestRecipe, *, small_bytes: int = HERE_BYTES
) -> Inspection:
    """Look into one file.

    Parameters
    ----------
    content
        The file, or a stream of it.
    asset
        What its source says of it.
    recipe
        Recipe of the ingest.
    small_bytes
        Datasets up to this size are looked into though no ingest needs them.

    Raises
    ------
    DataError
        If it cannot be opened as NWB.
    """
    from nwb_latents.pipeline.nwb.contents import contents_of  # noqa: PLC0415
    from nwb_latents.pipeline.nwb.file import open_nwb  # noqa: PLC0415
    from nwb_latents.pipeline.nwb.kept_arrays import KeptArrays  # noqa: PLC0415
    from nwb_latents.pipeline.nwb.read import recording_of  # noqa: PLC0415
    from nwb_latents.pipeline.signals.trials import make_trials  # noqa: PLC0415

    with open_nwb(content, name=asset.path, wanted=recipe.columns) as opened:
        file = replace(opened, tree=KeptArrays(opened.tree))
        recording: Recording | None = None
        made: Trials | None = None
        refusal = ""
        try:
            recording = recording_of(file, recipe)
            made = make_trials(recording, recipe)
        except SettingsError:
            raise
        except PipelineError as error:
            refusal = " ".join([str(error), *getattr(error, "__notes__", ())])
        except (OSError, RuntimeError) as error:
            refusal = f"{asset.path}: damaged: {error}. Fetch the file again."
        except Exception as error:
            # Whatever a file holds, what can be told of it is told.
            refusal = unforeseen_words(asset.path, error)
        said = tuple(file.said) if recording is None else recording.warnings
        notes = made.notes if made is not None else ()
        inside = contents_of(file, needed=_needed(file, recipe), small_bytes=small_bytes)
        choices = tuple(file.choices)
        return Inspection(
            session=file.session,
            subject=file.subject,
            source=asset.path,
            size=asset.size,
            dandiset=asset.dandiset,
            dandiset_version=asset.version,
            facts=inside.facts,
            series=inside.series,
            tables=inside.tables,
            invalid_times=inside.invalid_times,
            units=_units(file, recording),
            choices=choices,
            doubtful=(*said, *notes),
            would_be=None if recording is None or made is None else _would_be(recording, made, recipe),
            refusal=refusal,
            recipe=recipe_yaml(explicit_recipe(recipe, choices)),
        )


def _inspect_asset(source: Source, asset: Asset, recipe: IngestRecipe, report: Report) -> Inspection:
    from pathlib import Path  # noqa: PLC0415

    try:
        with source.open(asset, mode="stream", recipe=recipe, progress=_progress(asset, report)) as opened:
            content: Path | RemoteFile = opened[0]
            small = HERE_BYTES if isinstance(content, Path) else REMOTE_BYTES
            return inspect_file(content, asset, recipe, small_bytes=small)
    except DataError as error:
        refusal = " ".join([str(error), *getattr(error, "__notes__", ())])
    except PipelineError:
        raise
    except Exception as error:
        refusal = unforeseen_words(asset.path, error)
    return Inspection(
        session=session_of_path(asset.path),
        source=asset.path,
        size=asset.size,
        dandiset=asset.dandiset,
        dandiset_version=asset.version,
        is_open=False,
        refusal=refusal,
    )


def _progress(asset: Asset, report: Report) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        report(BytesEvent(stage="inspect", source=asset.path, done=done, total=total))

    return progress


def _needed(file: NwbFile, recipe: IngestRecipe) -> set[str]:
    from nwb_latents.pipeline.nwb.read import needed_paths  # noqa: PLC0415

    try:
        return needed_paths(replace(file, said=[], choices=[]), recipe)
    except SettingsError:
        raise
    except Exception as error:
        logger.debug("%s: what an ingest needs is not known", file.name, exc_info=error)
        return set()


def _units(file: NwbFile, recording: Recording | None) -> UnitFacts:
    """Return the units as the recording has them, or of a file that is refused, as far as they are read."""
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.nwb.units import read_spikes  # noqa: PLC0415

    if recording is not None:
        seconds = float(np.diff(recording.observed, axis=1).sum())
        return UnitFacts(
            **_spike_facts(recording.spike_times, recording.spike_index, seconds),
            areas=dict(Counter(str(area) for area in recording.units.area if area).most_common()),
            n_observed=len(recording.observed),
            observed_s=seconds,
        )
    try:
        times, index = read_spikes(replace(file, said=[], choices=[]))
    except DataError as error:
        return UnitFacts(problem=str(error))
    except Exception as error:
        return UnitFacts(problem=unforeseen_words(file.name, error))
    return UnitFacts(**_spike_facts(times, index, float(np.ptp(times)) if len(times) else 0.0))


def _spike_facts(
    times: NDArray[np.float64], index: NDArray[np.int64], seconds: float
) -> dict[str, float | None]:
    import numpy as np  # noqa: PLC0415

    counts = np.diff(index, prepend=0)
    found: dict[str, float | None] = {"n_units": len(index), "n_spikes": len(times)}
    if len(times):
        found |= {"first_s": float(times.min()), "last_s": float(times.max())}
    if len(index) and seconds > 0:
        rates = counts / seconds
        found |= {
            "least_hz": float(rates.min()), "median_hz": float(np.median(rates)),
            "most_hz": float(rates.max()),
        }  # fmt: skip
    return found


def _would_be(recording: Recording, made: Trials, recipe: IngestRecipe) -> WouldBe:
    conditions = Counter(str(name) for name in made.trials["condition"])
    quality = made.quality
    return WouldBe(
        layout=recording.layout,
        task=recording.task,
        axes=recording.axes,
        kinematics_unit=recording.kinematics_unit,
        bin_size_s=recipe.bin_size_s,
        n_bins=recipe.n_bins,
        n_trials=quality.n_trials,
        n_units=quality.n_units,
        dropped=made.dropped,
        conditions=dict(sorted(conditions.items())),
        onset_quality=quality.onset_quality,
        reaction_time_s=quality.reaction_time_s.p50,
        peak_speed=quality.peak_speed_cm_s.p50,
        decodability=quality.decodability,
        flags=quality.flags,
    )


def differences(inspections: Sequence[Inspection]) -> list[str]:
    """Return in what the files of a folder differ, a sentence for each part and value.

    Parameters
    ----------
    inspections
        Of several files.

    Returns
    -------
    differences
        Part, the value most files have, and which files have another.

    Examples
    --------
    >>> one = Inspection(session="a", source="a.nwb", size=1, refusal="no units")
    >>> two = one.model_copy(update={"session": "b", "source": "b.nwb", "refusal": ""})
    >>> three = two.model_copy(update={"session": "c", "source": "c.nwb"})
    >>> differences([one, two, three])
    ['ingest: accepted in 2 of 3 files; refused in a.nwb']
    """
    said = []
    parts = [_parts(each) for each in inspections]
    for name in dict.fromkeys(name for each in parts for name in each):
        # What a file that is refused would have been read from is not known to the end.
        values = [
            each.get(name, "none") if name in each or not inspection.refusal else None
            for inspection, each in zip(inspections, parts, strict=True)
        ]
        counts = Counter(value for value in values if value is not None).most_common()
        if len(counts) == 1:
            continue
        usual, n_usual = counts[0]
        others = []
        for value, _ in counts[1:]:
            where = [i.source for i, v in zip(inspections, values, strict=True) if v == value]
            others.append(f"{value} in {_listed(where)}")
        said.append(f"{name}: {usual} in {n_usual} of {len(parts)} files; {'; '.join(others)}")
    return [*_shared_ids(inspections), *said]


def _shared_ids(inspections: Sequence[Inspection]) -> list[str]:
    files: dict[str, list[str]] = {}
    for each in inspections:
        if each.is_open:
            files.setdefault(each.session, []).append(each.source)
    return [
        f"session id {session}: of {_listed(where)}; ingest takes one of them and refuses the others"
        for session, where in files.items()
        if len(where) > 1
    ]


def _parts(inspection: Inspection) -> dict[str, str]:
    found = {"ingest": "refused" if inspection.refusal else "accepted"}
    if not inspection.refusal:
        found |= {choice.what: choice.value for choice in inspection.choices}
    for table in inspection.tables:
        found[f"columns of {table.path}"] = ", ".join(sorted(c.name for c in table.columns))
    read = {choice.value for choice in inspection.choices if choice.what in {"position", "velocity"}}
    for series in inspection.series:
        if series.path in read:
            rate = "unknown" if series.rate_hz is None else f"{series.rate_hz:.4g} Hz"
            axes = series.shape[1] if len(series.shape) > 1 else 1
            found[series.path] = f"{axes} axes, {series.unit or 'no unit'}, {rate}"
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
