"""HDF5 files of the exporters: written whole or not at all, and recognised by their own attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.stores.atomic import whole_file
from nwb_latents.pipeline.stores.exporters.exporter import Exporter, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.schemas.export import ExportOrigin

    Array = NDArray[np.generic] | Sequence[NDArray[np.generic]]

_CHUNK_BYTES = 1 << 20


class Hdf5Exporter(Exporter[Settings]):
    """An exporter of HDF5 files, which say themselves what they were made of.

    Its `write` puts what `origin` returns at the root of the file; then nothing has to lie beside it.
    """

    def is_current(self, path: Path, key: str) -> bool:
        """Whether `path` is a whole export with this key."""
        return is_up_to_date(path, key)

    def confirm(self, path: Path, origin: ExportOrigin) -> None:
        """Do nothing: the file says it."""
        del path, origin


def is_up_to_date(path: Path, key: str) -> bool:
    """Whether `path` is a whole export with this key (attribute ``export_key``, or an NWB identifier)."""
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as h5:
            found = h5.attrs.get("export_key")
            if found is None and "identifier" in h5:
                found = h5["identifier"].asstr()[()]
            return bool(found == key)
    except OSError:
        return False


def write_arrays(
    path: Path, arrays: Mapping[str, Array], *, attributes: Mapping[str, str | float], group: str = "/"
) -> None:
    """Write arrays into one group of an HDF5 file, whole or not at all.

    Parameters
    ----------
    path
        Final path.
    arrays
        Name → array; a list of integer arrays becomes one ragged (variable-length) dataset, text becomes
        UTF-8.
    attributes
        Attributes of the file's root.
    group
        Group the arrays lie in.

    Raises
    ------
    MachineError
        If the disk refuses; nothing is left behind.

    Examples
    --------
    >>> import h5py
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.h5"
    ...     write_arrays(path, {"x": np.arange(3)}, attributes={"session": "s"}, group="s_20")
    ...     with h5py.File(path) as h5:
    ...         print(h5["s_20/x"][()], h5.attrs["session"])
    [0 1 2] s
    """
    write_groups(path, [(group, arrays, {})], attributes=attributes)


def write_groups(
    path: Path,
    groups: Iterable[tuple[str, Mapping[str, Array], Mapping[str, str | float]]],
    *,
    attributes: Mapping[str, str | float],
) -> None:
    """Write several groups into one HDF5 file, whole or not at all.

    Parameters
    ----------
    path
        Final path.
    groups
        Name, arrays (as in `write_arrays`) and attributes of each; made one by one as they are written.
    attributes
        Attributes of the file's root.

    Raises
    ------
    MachineError
        If the disk refuses; nothing is left behind.

    Examples
    --------
    >>> import h5py
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "two.h5"
    ...     write_groups(path, [(name, {"x": np.arange(2)}, {}) for name in "ab"], attributes={})
    ...     with h5py.File(path) as h5:
    ...         print(list(h5))
    ['a', 'b']
    """
    import h5py  # noqa: PLC0415

    with whole_file(path) as temporary, h5py.File(temporary, "w") as h5:
        h5.attrs.update(attributes)
        for group, arrays, about in groups:
            target = h5.require_group(group)
            target.attrs.update(about)
            for name, values in arrays.items():
                _write(target, name, values)


def _write(group: object, name: str, values: Array) -> None:
    import h5py  # noqa: PLC0415

    assert isinstance(group, h5py.Group)
    if not isinstance(values, np.ndarray):
        ragged = group.create_dataset(name, (len(values),), dtype=h5py.vlen_dtype(np.int32))
        for row, part in enumerate(values):
            ragged[row] = part
        return
    if values.dtype.kind == "O":
        group.create_dataset(name, data=values.astype(str).astype(object), dtype=h5py.string_dtype())
        return
    if values.ndim < 2 or not values.size:
        group.create_dataset(name, data=values)
        return
    row_bytes = values.dtype.itemsize * int(np.prod(values.shape[1:]))
    rows = max(1, min(len(values), _CHUNK_BYTES // row_bytes))
    # Counts are small whole numbers: shuffled bytes let even the fastest level of gzip, which every HDF5
    # library reads, shrink them tenfold.
    group.create_dataset(
        name,
        data=values,
        chunks=(rows, *values.shape[1:]),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
