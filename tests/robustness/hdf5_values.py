"""What can happen to the values of one dataset, and to its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Values = Callable[[np.ndarray, np.random.Generator], Any]

TEXT = h5py.string_dtype()
NONSENSE: tuple[Any, ...] = (
    "",
    "nonsense",
    "[/red]",
    "$x_{$",
    "µm",
    "\x1b[31m",
    "a\nb",
    -1,
    0,
    1e300,
    float("nan"),
    float("inf"),
    2**63 - 1,
    np.arange(3),
    np.array([], float),
    True,
    b"\xff\xfe",
    "x" * 5000,
)


def _some(values: np.ndarray, rng: np.random.Generator, share: float = 0.2) -> np.ndarray:
    count = max(1, int(len(values) * share)) if values.ndim else 1
    return rng.choice(max(len(values) if values.ndim else 1, 1), count, replace=False)


def _filled(value: float, *, share: float | None) -> Values:
    def change(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        out = np.array(values, float)
        if out.ndim == 0 or share is None:
            out[...] = value
        elif len(out):
            out[_some(out, rng, share)] = value
        return out

    return change


def _ragged(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    for k, value in enumerate(values):
        out[k] = np.atleast_1d(value).ravel()[: int(rng.integers(0, 3))].astype(float)
    return out


NUMBERS: dict[str, Values] = {
    "nan_one": _filled(np.nan, share=0.0),
    "nan_some": _filled(np.nan, share=0.2),
    "nan_all": _filled(np.nan, share=None),
    "inf_one": _filled(np.inf, share=0.0),
    "inf_all": _filled(-np.inf, share=None),
    "huge_one": _filled(1e300, share=0.0),
    "huge_some": _filled(-1e15, share=0.1),
    "huge_all": _filled(1e300, share=None),
    "zeros": lambda v, _: v * 0,
    "negated": lambda v, _: -v.astype(float),
    "thousandfold": lambda v, _: v.astype(float) * 1000,
    "thousandth": lambda v, _: v.astype(float) / 1000,
    "late": lambda v, _: v.astype(float) + 1000,
    "early": lambda v, _: v.astype(float) - 1000,
    "as_int8": lambda v, _: v.astype(np.float64).astype(np.int64).astype(np.int8),
    "as_float16": lambda v, _: v.astype(np.float16),
    "as_complex": lambda v, _: v.astype(complex),
    "as_bool": lambda v, _: v.astype(bool),
}
"""Changes of numbers alone."""

ROWS: dict[str, Values] = {
    "shuffled": lambda v, rng: rng.permutation(v),
    "reversed": lambda v, _: v[::-1],
    "doubled": lambda v, _: np.repeat(v, 2, axis=0),
    "one_more": lambda v, _: np.concatenate([v, v[-1:]]),
    "one_less": lambda v, _: v[:-1],
    "halved": lambda v, _: v[: len(v) // 2],
    "none_left": lambda v, _: v[:0],
    "moved_by_one": lambda v, _: np.roll(v, 1, axis=0),
    "last_for_first": lambda v, _: np.concatenate([v[-1:], v[1:]]),
    "constant": lambda v, _: np.repeat(v[:1], len(v), axis=0),
}
"""Changes of whole rows."""

SHAPES: dict[str, Values] = {
    "one_axis_more": lambda v, _: v[..., None],
    "one_axis_before": lambda v, _: v[None],
    "transposed": lambda v, _: v.T,
    "flat": lambda v, _: v.ravel(),
    "one_number": lambda v, _: v.ravel()[0] if v.size else np.float64(0),
    "side_by_side": lambda v, _: np.stack([v, v], axis=-1),
    "as_text": lambda v, _: np.vectorize(str, otypes=[object])(v),
    "as_bytes": lambda v, _: v.astype("S8"),
    "as_pairs": lambda v, _: np.array(
        [(0, 0.0)] * max(len(np.atleast_1d(v)), 1), dtype=[("a", "i4"), ("b", "f8")]
    ),
    "as_ragged": _ragged,
    "no_space": lambda v, _: h5py.Empty("f8"),
}
"""Changes of shape and kind."""


def put(h5: h5py.File, path: str, values: Any) -> None:
    """Replace a dataset, keeping its attributes."""
    attributes = dict(h5[path].attrs)
    del h5[path]
    is_ragged = (
        isinstance(values, np.ndarray)
        and values.dtype == object
        and any(isinstance(each, np.ndarray) for each in values.flat)
    )
    if is_ragged:
        made = h5.create_dataset(path, values.shape, dtype=h5py.vlen_dtype("f8"))
        for k, each in enumerate(values):
            made[k] = each
    elif isinstance(values, np.ndarray) and values.dtype == object:
        made = h5.create_dataset(path, data=values, dtype=TEXT)
    else:
        made = h5.create_dataset(path, data=values)
    for name, value in attributes.items():
        made.attrs[name] = value


def give(h5: h5py.File, path: str, name: str, value: Any) -> None:
    """Set an attribute, whatever is given."""
    if isinstance(value, bytes):
        h5[path].attrs.create(name, np.bytes_(value))
    else:
        h5[path].attrs[name] = value
