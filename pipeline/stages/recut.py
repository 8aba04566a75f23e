"""``pipeline run recut``: trial stores → trial stores with other trials, without the NWB files.

A store holds the whole binned session and every candidate with its events. Another event, window, trial
selection or split, or windows of continuous time, can be cut from these; what they are made of cannot change.
"""

from __future__ import annotations

import difflib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError, PartialFailure, PipelineError, SettingsError
from nwb_latents.pipeline.stages.ingest_session import store_key
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stores.catalog import add_session, read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.one_writer import one_writer
from nwb_latents.pipeline.stores.session import require_own_store
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.events import SessionEvent
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import STORE_SCHEMA_VERSION, TRANSFORM_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.signals.binned import BinnedSession
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.store import StoreAttributes

MAY_CHANGE = frozenset(
    {"align_to", "window_s", "window_from", "jitter", "trials", "split", "extra_splits", "chop"}
)
"""Parts of a recipe that only decide how trials are cut out of the binned session."""

_MAY_CHANGE_WORDS = (
    f"here may change: {', '.join(sorted(MAY_CHANGE))}, onset.max_rt_s and the flags of quality "
    "(`pipeline run recut --help` lists all)"
)

_NEEDS_SAMPLES = (
    "quality.max_acceleration", "quality.acceleration", "quality.max_position", "quality.position"
)  # fmt: skip


@dataclass(frozen=True)
class _Made:
    entry: SessionEntry
    status: str


def recut(
    catalog_path: Path,
    changes: Sequence[str],
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    force: bool = False,
    report: Report = ignore,
) -> list[SessionEntry]:
    """Cut the trials of stored sessions anew and enter them beside the old ones.

    Parameters
    ----------
    catalog_path
        Catalog file; the new stores lie in the folder of the new recipe beside that of the old one.
    changes
        Changes of the stores' recipe, ``"key.path=value"``, e.g. ``"align_to=go_cue"``. Event, window,
        trial selection, splits, chopping, the longest reaction time and thresholds of flags may change.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores to start from, or its beginning; default: that of the matching session ingested
        last.
    force
        Make stores again that are up to date.
    report
        Receives one event per session.

    Returns
    -------
    entries
        Catalog entries of the new stores. Each holds the same numbers as one ingested with the new recipe.

    Raises
    ------
    SettingsError
        If nothing changes, or a change needs the NWB files.
    DataError
        If no session matches.
    PartialFailure
        If a session failed; the others were finished first.

    Examples
    --------
    >>> from pathlib import Path
    >>> recut(Path("nowhere/catalog.yaml"), ["align_to=go_cue"])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    old_entries = select_sessions(read_catalog(catalog_path), sessions, recipe_id, say=noted(report))
    entries: list[SessionEntry] = []
    failed: list[tuple[str, str]] = []
    codes: Counter[int] = Counter()
    for old in old_entries:
        begin = time.monotonic()
        try:
            made = _recut(catalog_path, old, changes, force=force)
        except SettingsError:
            raise
        except PipelineError as error:
            failed.append((old.session, str(error)))
            codes[error.exit_code] += 1
            report(_event(old.session, "failed", time.monotonic() - begin, reason=str(error)))
            continue
        add_session(catalog_path, made.entry)
        entries.append(made.entry)
        report(_event(old.session, made.status, time.monotonic() - begin, entry=made.entry))
    if failed:
        failure = PartialFailure(
            f"{len(failed)} of {len(old_entries)} sessions failed: {', '.join(name for name, _ in failed)}. "
            f"The reasons stand above{'; the other sessions are done' if entries else ''}.",
            results=entries,
            failures=failed,
        )
        if not entries and len(codes) == 1:
            failure.exit_code = next(iter(codes))
        raise failure
    return entries


def changed_recipe(old: IngestRecipe, changes: Sequence[str]) -> IngestRecipe:
    """Return the recipe with the changes.

    Parameters
    ----------
    old
        The recipe of a store.
    changes
        ``"key.path=value"`` words.

    Raises
    ------
    SettingsError
        If a word cannot be understood, nothing changes, or a change needs the recording.

    Examples
    --------
    >>> changed_recipe(IngestRecipe(), ["align_to=go_cue"]).align_to
    'go_cue'
    >>> changed_recipe(IngestRecipe(), ["bin_size_s=0.01"])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: bin_size_s cannot be changed without the NWB files: ...
    """
    for word in changes:
        _require_known(word)
    new = settings_from(IngestRecipe, words=changes, base=old.model_dump(mode="json"))
    differing = [
        (f"{top}.{name}" if name else top)
        for top in IngestRecipe.model_fields
        for name in _differences(getattr(old, top), getattr(new, top))
    ]
    if not differing:
        raise SettingsError(
            f"--set {' '.join(changes) or 'was not given'}: the recipe {old.recipe_id} is as it was. Give "
            "what is to change, e.g. --set align_to=go_cue."
        )
    refused = [key for key in differing if not is_cut(key)]
    if refused:
        raise SettingsError(
            f"{', '.join(refused)} cannot be changed without the NWB files: the stores hold what was made "
            f"with them. Run `pipeline run ingest` with {' '.join(f'--set {word}' for word in changes)} "
            f"instead; {_MAY_CHANGE_WORDS}."
        )
    return new


def _require_known(word: str) -> None:
    """Refuse a key the recipe does not have, and name those that may change instead."""
    key, equals, _ = word.partition("=")
    known = _keys(IngestRecipe)
    if not key or not equals or key.strip() in known:
        return
    close = difflib.get_close_matches(key.strip(), [k for k in known if is_cut(k)], n=1)
    hint = f"did you mean {close[0]}?" if close else f"{_MAY_CHANGE_WORDS}."
    raise SettingsError(f"--set {word}: {key.strip()}: unknown key; {hint}")


def _keys(schema: type[Frozen], prefix: str = "") -> list[str]:
    """Return the keys of all settings, and of the parts they belong to."""
    out = []
    for name, field in schema.model_fields.items():
        out.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Frozen):
            out += _keys(field.annotation, f"{prefix}{name}.")
    return out


def _differences(old: object, new: object) -> list[str]:
    if old == new:
        return []
    if not isinstance(old, Frozen):
        return [""]
    return [name for name in type(old).model_fields if getattr(old, name) != getattr(new, name)]


def is_cut(key: str) -> bool:
    """Whether a setting of the recipe only decides how trials are cut, so that it may change here.

    Parameters
    ----------
    key
        Its name, with that of the part it belongs to.

    Examples
    --------
    >>> is_cut("split.seed"), is_cut("quality.min_trials"), is_cut("onset.fraction")
    (True, True, False)
    """
    top = key.partition(".")[0]
    is_flag = top == "quality" and not key.startswith(_NEEDS_SAMPLES)
    return top in MAY_CHANGE or key == "onset.max_rt_s" or is_flag


def _recut(catalog_path: Path, old: SessionEntry, changes: Sequence[str], *, force: bool) -> _Made:
    from nwb_latents.pipeline.stores.trials import read_attributes  # noqa: PLC0415

    source = StoreLocation.parse(old.store, base=catalog_path.parent)
    attributes = _usable(read_attributes(source), source)
    require_own_store(attributes, old, where=source)
    recipe = changed_recipe(attributes.recipe, changes)
    folder = old.store.rsplit("/", maxsplit=2)[0]
    name = f"{folder}/{recipe.recipe_id}/{source.name}"
    target = StoreLocation.parse(name, base=catalog_path.parent)
    key = store_key(attributes.provenance.asset_digest, recipe)
    with one_writer(target) as confirm:
        there = read_attributes(target)
        is_done = there is not None and there.store_key == key and not force
        if not is_done:
            require_stores_fit(catalog_path, [old], force=force)
            _cut(source, attributes, target, recipe=recipe, key=key, confirm=confirm)
    return _Made(_entry(old, name, target, recipe=recipe, key=key), "skipped" if is_done else "done")


def _usable(attributes: StoreAttributes | None, source: StoreLocation) -> StoreAttributes:
    if attributes is None:
        raise DataError(
            f"{source}: no complete trial store here. Run `pipeline run ingest` again; `pipeline catalog "
            "verify` lists every store that is missing."
        )
    found = attributes.schema_version, attributes.transform_version
    expected = STORE_SCHEMA_VERSION, TRANSFORM_VERSION
    if found != expected:
        raise DataError(
            f"{source}: the store was made by another version of this program (schema and transform "
            f"version {found[0]} and {found[1]}, expected {expected[0]} and {expected[1]}). Run "
            "`pipeline run ingest` again first."
        )
    return attributes


def _cut(
    source: StoreLocation,
    attributes: StoreAttributes,
    target: StoreLocation,
    *,
    recipe: IngestRecipe,
    key: str,
    confirm: Callable[[], None],
) -> None:
    from nwb_latents.pipeline.signals.trials import cut_trials  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import to_dataset, write_store  # noqa: PLC0415

    made = cut_trials(stored_session(source, attributes), recipe)
    changed = attributes.model_copy(
        update={
            "store_key": key,
            "n_event_bins": -recipe.window_bins[0],
            "recipe": recipe,
            "dropped": made.dropped,
            "quality": made.quality,
        }
    )
    write_store(
        target,
        to_dataset("trials", made.trials, changed),
        to_dataset("continuous", made.continuous, changed),
        to_dataset("events", made.events, changed),
        confirm=confirm,
    )


def stored_session(source: StoreLocation, attributes: StoreAttributes) -> BinnedSession:
    """Return the binned session a store holds, as `bin_session` made it.

    Parameters
    ----------
    source
        The store.
    attributes
        Its attributes.

    Raises
    ------
    DataError
        If the store was written without its events, or is damaged.
    """
    from nwb_latents.pipeline.signals.binned import BinnedSession  # noqa: PLC0415
    from nwb_latents.pipeline.signals.candidates import from_arrays  # noqa: PLC0415
    from nwb_latents.pipeline.signals.timebase import Grid  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import read_continuous, read_events, read_trials  # noqa: PLC0415

    events = read_events(source)
    if events is None or attributes.quality is None:
        raise DataError(
            f"{source}: the store holds no events to cut at. Run `pipeline run ingest --force` once; "
            "stores made since then hold them."
        )
    trials, continuous = read_trials(source), read_continuous(source).load()
    bin_ns = attributes.recipe.bin_ns
    by_time: dict[str, Any] = {
        name: continuous[name].values
        for name in ("counts", "rates", "position", "velocity", "observed", "outlier", "unit", "axis")
    }
    by_unit: dict[str, Any] = {name: trials[name].values for name in ("area", "mean_rate", "heldout")}
    first = round(float(continuous["time"][0]) * 1e9) // bin_ns
    return BinnedSession(
        session=attributes.session,
        grid=Grid(first, continuous.sizes["time"], bin_ns),
        **by_time,
        **by_unit,
        candidates=from_arrays({str(name): events[name].values for name in events.variables}),
        dropped_units=attributes.dropped.units,
        outliers=attributes.quality.outliers,
        psth_counts=continuous["psth_counts"].values if "psth_counts" in continuous else None,
    )


def _entry(
    old: SessionEntry, store: str, target: StoreLocation, *, recipe: IngestRecipe, key: str
) -> SessionEntry:
    from nwb_latents.pipeline.stores.trials import read_trials  # noqa: PLC0415

    sizes = read_trials(target).sizes
    modified = target.modified()
    return old.model_copy(
        update={
            "recipe_id": recipe.recipe_id,
            "store": store,
            "store_key": key,
            "n_trials": sizes["trial"],
            "n_bins": sizes["time"],
            "created": modified.isoformat(timespec="seconds") if modified else old.created,
        }
    )


def _event(
    session: str, status: str, seconds: float, *, entry: SessionEntry | None = None, reason: str = ""
) -> SessionEvent:
    return SessionEvent(
        session=session,
        status=status,
        store=entry.store if entry else None,
        n_trials=entry.n_trials if entry else None,
        n_units=entry.n_units if entry else None,
        seconds=round(seconds, 3),
        reason=reason,
    )
