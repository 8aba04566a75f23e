"""A session as a store holds it: its trials, the recording they were cut from, and what is known of it.

Whoever trains on a session, scores it or exports it is given this one object. Arrays are read when they are
used; the continuous group is not even opened before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Self, get_args

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.signals import task
from nwb_latents.pipeline.signals.psth import condition_psths
from nwb_latents.pipeline.signals.velocity_at_lag import pair_velocity
from nwb_latents.pipeline.stores.location import StoreLocation, store_path
from nwb_latents.pipeline.stores.trials import attributes_of, read_attributes, read_continuous, read_trials
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, Split, StoreAttributes, unit_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.psth import ConditionPsths
    from nwb_latents.pipeline.signals.velocity_at_lag import PairedVelocity
    from nwb_latents.schemas.catalog import SessionEntry

    IntArray = NDArray[np.int64]


_SHOWN = 16
"""Digits of a key that are told."""


@dataclass(frozen=True)
class Session:
    """One session of a trial store (`open_session`), or one in memory (`session_in_memory`).

    Attributes
    ----------
    trials
        Group ``trials``: the windows (`schemas.store.TRIALS_ARRAYS`).
    attributes
        What the store says of itself.
    where
        Where the store lies; empty: in memory.
    split_of
        Keys of other stores of this session, by the trials of which it is split: each trial of theirs was
        found among those of this store. Empty: it is split as this store splits it.
    """

    trials: xr.Dataset
    attributes: StoreAttributes
    where: str = ""
    split_of: frozenset[str] = frozenset()
    _open_continuous: Callable[[], xr.Dataset] = field(repr=False, kw_only=True, compare=False)

    @property
    def continuous(self) -> xr.Dataset:
        """Group ``continuous``: the whole binned session, opened when it is first asked for."""
        return self._open_continuous()

    @property
    def name(self) -> str:
        """Session id."""
        return self.attributes.session

    @property
    def subject(self) -> str:
        """Subject id."""
        return self.attributes.subject

    @property
    def store_key(self) -> str:
        """Key of the store; empty for one in memory that has none."""
        return self.attributes.store_key

    @property
    def recipe(self) -> IngestRecipe:
        """The recipe the store was made by."""
        return self.attributes.recipe

    @cached_property
    def recipe_id(self) -> str:
        """Id of that recipe."""
        return self.recipe.recipe_id

    @property
    def bin_size_s(self) -> float:
        """Width of a bin, s."""
        return self.attributes.bin_size_s

    @property
    def velocity_unit(self) -> str:
        """Unit of the velocity: cm/s, or that of kinematics that are no length."""
        stored = self.continuous["velocity"].attrs.get("units")
        return str(stored) if stored else unit_in("cm/s", self.attributes.kinematics_unit)

    @property
    def n_trials(self) -> int:
        """Trials."""
        return int(self.trials.sizes["trial"])

    @property
    def n_bins(self) -> int:
        """Bins of a trial."""
        return int(self.trials.sizes["time"])

    @property
    def n_units(self) -> int:
        """Units."""
        return int(self.trials.sizes["unit"])

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Left edge of each bin from the bin that holds the event, s. Shape ``(time,)``."""
        return np.asarray(self.trials["time"].values, dtype=np.float64)

    @property
    def start_s(self) -> NDArray[np.float64]:
        """Left edge of the first bin of each trial in the session, s. Shape ``(trial,)``."""
        first = self.trials["start_bin"].values.astype(np.int64)
        return np.asarray(self.continuous["time"].values[first], dtype=np.float64)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of position and velocity."""
        return tuple(str(axis) for axis in self.trials["axis"].values)

    @property
    def split(self) -> NDArray[np.object_]:
        """Split of each trial. Shape ``(trial,)``, text."""
        return np.asarray(self.trials["split"].values, dtype=object)

    @property
    def condition(self) -> NDArray[np.object_]:
        """Condition of each trial, empty where there is none. Shape ``(trial,)``, text."""
        return self.trials["condition"].values.astype(str).astype(object)

    def rows(self, split: str | Sequence[str], *, purpose: str = "") -> IntArray:
        """Return the rows of the trials of a split, or of several, ascending.

        Parameters
        ----------
        split
            One of ``"train"``, ``"val"``, ``"test"``, or several.
        purpose
            What they are for, named in the error; empty: there need not be any.

        Raises
        ------
        DataError
            If there is none and they are needed.
        SettingsError
            If there is no split of that name.
        """
        names = [split] if isinstance(split, str) else list(split)
        there = sorted({*get_args(Split), *self.split.tolist()})
        for name in names:
            if name not in there:
                raise SettingsError(
                    f"{self.name}: no split is called {name!r}; expected one of {', '.join(there)}"
                )
        rows = task.rows_in(self.split, names)
        if purpose and not len(rows):
            raise DataError(
                f"{self.name}: no trial is in the split {' or '.join(names)}, none is left for {purpose} "
                f"({self.n_trials} trials). Ingest it with other shares, e.g. --set split.train=0.6 --set "
                "split.val=0.2, or leave the session out."
            )
        return rows

    def lag_bins(self, lag_ms: float) -> int:
        """Return a lag as a number of bins.

        Raises
        ------
        SettingsError
            If it is not a whole number of bins; the message names the nearest that are.
        """
        return task.whole_bins(lag_ms, bin_size_s=self.bin_size_s, name="lag_ms")

    def velocity(self, lag_ms: float) -> PairedVelocity:
        """Return the hand velocity that goes with each bin of each trial: that `lag_ms` later.

        Parameters
        ----------
        lag_ms
            Velocity comes this long after the activity, ms; negative: before it.

        Returns
        -------
        paired
            Rows in the order of the trials; bins outside the session are not valid.

        Raises
        ------
        SettingsError
            If the lag is not a whole number of bins.
        """
        return pair_velocity(
            self.continuous["velocity"].values,
            self.continuous["observed"].values,
            start_bin=self.trials["start_bin"].values,
            window_bins=self.n_bins,
            lag_bins=self.lag_bins(lag_ms),
        )

    def heldout(self, *, fraction: float, seed: int = 0) -> NDArray[np.bool_]:
        """Return which units are held out, shape ``(unit,)``: those the store marks, else a drawn share."""
        marked = self.trials["heldout"].values
        return task.heldout_units(marked, fraction=fraction, seed=seed, session=self.name)

    def forward_bins(self, forward_ms: float) -> int:
        """Return a time after the window as a number of bins.

        Raises
        ------
        SettingsError
            If it is not a whole number of bins, or longer than the window.
        """
        return task.bins_after_window(forward_ms, bin_size_s=self.bin_size_s, n_bins=self.n_bins)

    def counts_after(self, rows: IntArray, *, n_bins: int) -> NDArray[np.float32]:
        """Return the spike counts of the bins that follow the windows of some trials.

        Parameters
        ----------
        rows
            Trials. Shape ``(n,)``.
        n_bins
            Bins after the window.

        Returns
        -------
        counts
            Spikes per bin; NaN where not recorded, and in the window of a trial outside `rows`.
            Shape ``(n, n_bins, unit)``, float32.
        """
        return task.counts_after(
            self.continuous["counts"].values,
            self.continuous["observed"].values,
            start_bin=self.trials["start_bin"].values,
            window_bins=self.n_bins,
            rows=rows,
            n_bins=n_bins,
        )

    def rates_before(self, *, n_bins: int) -> NDArray[np.float64] | None:
        """Return the smoothed rates of the bins before every trial.

        Parameters
        ----------
        n_bins
            Bins before the first of each trial.

        Returns
        -------
        rates
            Hz; NaN for bins outside the session, not recorded, or of a trial of another split. Shape
            ``(trial, n_bins, unit)``. None if the continuous group has no rates.
        """
        if "rates" not in self.continuous:
            return None
        return task.rates_before(
            self.continuous["rates"].values,
            self.continuous["observed"].values,
            start_bin=self.trials["start_bin"].values,
            split=self.split,
            window_bins=self.n_bins,
            n_bins=n_bins,
        )

    def condition_psths(
        self, rows: Mapping[str, IntArray], *, order: IntArray, sigma_ms: float
    ) -> ConditionPsths | None:
        """Return the smoothed session averaged over the trials of each condition (`signals.psth`)."""
        return condition_psths(
            self.continuous["counts"].values,
            self.continuous["observed"].values,
            start_bin=self.trials["start_bin"].values,
            window_bins=self.n_bins,
            condition=self.condition,
            rows=rows,
            order=order,
            bin_size_s=self.bin_size_s,
            sigma_ms=sigma_ms,
        )

    def loaded(self) -> Self:
        """Return the session with its trials in memory; the continuous group stays where it is."""
        return replace(self, trials=self.trials.load())

    def select(self, rows: IntArray) -> Self:
        """Return the session with these trials alone, in this order."""
        return replace(self, trials=self.trials.isel(trial=rows))

    def with_trials(self, trials: xr.Dataset) -> Self:
        """Return the session with other trials, such as ones with an array more."""
        return replace(self, trials=trials)

    def with_split(self, name: str | None) -> Self:
        """Return the session with an extra split of the recipe in place of its own.

        Parameters
        ----------
        name
            Name of the extra split; None keeps the session as it is.

        Raises
        ------
        SettingsError
            If the store has no split of that name; the message names those it has.
        """
        if name is None:
            return self
        coordinates = [str(key) for key in self.trials.coords]
        known = sorted(key.removeprefix("split_") for key in coordinates if key.startswith("split_"))
        if name not in known:
            raise SettingsError(
                f"{self.name}: has no extra split {name!r}; it has: {', '.join(known) or 'none'}. Add it to "
                "extra_splits of the recipe and ingest again."
            )
        return self.with_trials(self.trials.assign_coords(split=self.trials[f"split_{name}"]))


def open_session(where: Path | StoreLocation | str, *, entry: SessionEntry | None = None) -> Session:
    """Open the session of a trial store, on disk or on object storage.

    Parameters
    ----------
    where
        The store.
    entry
        Its entry in the catalog that names it; None takes whatever store is there.

    Raises
    ------
    DataError
        If there is no complete store of this schema, or it is another than the catalog's.
    MachineError
        If the object storage cannot be reached or refuses.

    Examples
    --------
    >>> open_session("nowhere.zarr")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere.zarr: no complete trial store of schema version ...
    """
    location = StoreLocation.parse(where)
    trials = read_trials(location)
    attributes = attributes_of(trials.attrs)
    if entry is not None:
        require_own_store(attributes, entry, where=location)
    return Session(
        trials,
        attributes,
        str(location),
        _open_continuous=cache(lambda: read_continuous(location)),
    )


def require_own_store(attributes: StoreAttributes, entry: SessionEntry, *, where: StoreLocation) -> None:
    """Refuse a store that is another than the catalog has there, such as one of an exchanged folder.

    Parameters
    ----------
    attributes
        What the store says of itself.
    entry
        What the catalog says.
    where
        The store.

    Raises
    ------
    DataError
        If session or key differ, or what the store says of itself is damaged.
    """
    found, expected = (attributes.session, attributes.store_key), (entry.session, entry.store_key)
    if found == expected:
        return
    # Attributes that were damaged are told as such.
    read_trials(where)
    keys = f"(key {found[1][:_SHOWN]}; the catalog has {expected[0]}, key {expected[1][:_SHOWN]}, there)"
    raise DataError(
        f"{where}: this is another store than the catalog's, of {found[0]} {keys}. Put its own store back, "
        "or run the `pipeline run ingest`, import or recut that made it again."
    )


def require_own_stores(catalog_path: Path, entries: Iterable[SessionEntry]) -> None:
    """Refuse stores that are others than the catalog's. What is not there is left to whoever reads it.

    Raises
    ------
    DataError
        If session or key of one differ.
    """
    for entry in entries:
        where = store_path(catalog_path, entry.store)
        attributes = read_attributes(where)
        if attributes is not None:
            require_own_store(attributes, entry, where=where)


def session_in_memory(
    trials: xr.Dataset, continuous: xr.Dataset | None = None, attributes: StoreAttributes | None = None
) -> Session:
    """Return a session of datasets that lie in memory, such as an example's or a test's.

    Parameters
    ----------
    trials, continuous
        Groups ``trials`` and ``continuous``, as far as they are needed; without the latter, what reads it
        fails.
    attributes
        What a store would say of itself; None: what the attributes of `trials` say, as
        `pipeline.stores.trials.to_dataset` writes them. What they leave open stands as ``in memory``, an
        empty key, the default recipe and its bins.

    Raises
    ------
    DataError
        If an attribute of `trials` does not fit.

    Examples
    --------
    >>> import xarray as xr
    >>> trials = xr.Dataset(
    ...     {"start_bin": ("trial", [0, 1])},
    ...     coords={"time": [0.0, 0.02], "split": ("trial", ["train", "test"])},
    ...     attrs={"session": "s", "bin_size_s": 0.02})
    >>> continuous = xr.Dataset({"velocity": (("time", "axis"), [[0.0], [1.0], [2.0], [3.0]]),
    ...                          "observed": ("time", [True] * 4)})
    >>> session = session_in_memory(trials, continuous)
    >>> session.name, session.rows("test").tolist(), session.velocity(20.0).velocity[..., 0].tolist()
    ('s', [1], [[1.0, 2.0], [2.0, 3.0]])
    """
    known = attributes or _attributes_in_memory(trials.attrs)

    def opened() -> xr.Dataset:
        if continuous is None:
            raise DataError(f"{known.session}: made in memory without its continuous group. Give that too.")
        return continuous

    return Session(trials, known, _open_continuous=opened)


def _attributes_in_memory(said: Mapping[str, object]) -> StoreAttributes:
    """Return the attributes of a dataset that may be of no store, and leave some out."""
    recipe = IngestRecipe()
    known: dict[str, object] = {
        "store_key": "",
        "session": "in memory",
        "subject": "in memory",
        "task": "unknown",
        "bin_size_s": recipe.bin_size_s,
        "n_event_bins": 0,
        "recipe": recipe.model_dump_json(),
        "provenance": Provenance(source="in memory", asset_digest="", layout="in memory").model_dump_json(),
        "dropped": "{}",
    }
    return attributes_of({**known, **{key: said[key] for key in StoreAttributes.model_fields if key in said}})
