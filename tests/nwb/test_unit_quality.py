"""Labels of units that sorters and people write: said where they are not used, kept by where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from nwb.odd_files import N_UNITS, put, write_plain
from pydantic import ValidationError

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.read import bytes_needed, read_recording
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.signals.recording import Recording

LABELS = ["good", "noise", "good", "mua", "good", "noise"]


def labelled(folder: Path, values: Sequence[object], name: str = "quality") -> Path:
    path = folder / "labelled.nwb"
    write_plain(path)
    with h5py.File(path, "a") as h5:
        put(h5, f"units/{name}", values)
        h5["units"].attrs["colnames"] = np.array(["spike_times", name], dtype=object)
    return path


def read(path: Path, **rules: Any) -> Recording:
    return read_recording(path, IngestRecipe.model_validate({"units": rules}))


def chosen(recording: Recording) -> list[str]:
    return [f"{c.value} ({c.why})" for c in recording.choices if c.what == "unit quality"]


@pytest.mark.parametrize("name", ["quality", "KSLabel", "ks_label", "sorting_quality", "cluster_label"])
def test_labels_that_are_not_used_are_told_with_the_setting_that_uses_them(tmp_path: Path, name: str) -> None:
    recording = read(labelled(tmp_path, LABELS, name))
    assert len(recording.units) == N_UNITS
    why = f"/units/{name} holds good (3), noise (2), mua (1)"
    assert chosen(recording) == [f"not used ({why}; to keep some: --set 'units.quality_values=[good, mua]')"]
    said = [text for text in recording.warnings if name in text]
    assert len(said) == 1
    assert "2 of 6 units are noise; they are used" in said[0]


def test_good_units_that_differ_are_no_warning(tmp_path: Path) -> None:
    recording = read(labelled(tmp_path, ["good", "mua"] * 3))
    assert len(chosen(recording)) == 1
    assert not [text for text in recording.warnings if "quality" in text]


@pytest.mark.parametrize("values", [["good"] * N_UNITS, np.linspace(0.1, 0.9, N_UNITS)])
def test_what_tells_no_units_apart_by_label_is_not_told(tmp_path: Path, values: Sequence[object]) -> None:
    """One label for all, and measures of quality, which are no labels."""
    assert chosen(read(labelled(tmp_path, values))) == []


@pytest.mark.parametrize(
    ("values", "keep", "rows"),
    [
        (LABELS, ["good"], [0, 2, 4]),
        (LABELS, ["mua", "good"], [0, 2, 3, 4]),
        (np.array([1, 2, 1, 3, 1, 2]), [1], [0, 2, 4]),
        (np.array([True, False, True, False, True, False]), [True], [0, 2, 4]),
        (["good", "", "good", "nan", "good", "x"], ["missing"], [1, 3]),
    ],
)
def test_units_are_kept_by_the_values_asked_for(
    tmp_path: Path, values: Sequence[object], keep: list[object], rows: list[int]
) -> None:
    path = labelled(tmp_path, values)
    whole, recording = read(path), read(path, quality_values=keep)
    assert recording.units.ids.tolist() == whole.units.ids[rows].tolist()
    starts = np.concatenate([[0], whole.spike_index])
    own = np.concatenate([whole.spike_times[starts[row] : starts[row + 1]] for row in rows])
    np.testing.assert_array_equal(recording.spike_times, own)
    assert any(f"{N_UNITS - len(rows)} of {N_UNITS} units were left out" in w for w in recording.warnings)


def test_a_column_of_another_name_is_used_where_it_is_named(tmp_path: Path) -> None:
    path = labelled(tmp_path, LABELS, "verdict")
    assert chosen(read(path)) == []
    assert len(read(path, quality_column="verdict", quality_values=["good"]).units) == 3


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            {"quality_values": ["fine"]},
            r"holds fine; /units/quality holds good \(3\), noise \(2\), mua \(1\)",
        ),
        (
            {"quality_column": "depth", "quality_values": ["good"]},
            "has no column 'depth'. Its columns are: spike_times, quality",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    tmp_path: Path, rules: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(labelled(tmp_path, LABELS), **rules)


def test_values_without_any_known_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column of /units is known.*units\.quality_column=NAME"):
        read(labelled(tmp_path, LABELS, "verdict"), quality_values=["good"])


def test_a_column_without_values_decides_nothing_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="which of its values are kept"):
        IngestRecipe.model_validate({"units": {"quality_column": "quality"}})


def test_what_is_streamed_counts_the_labels(tmp_path: Path) -> None:
    path = labelled(tmp_path, LABELS)
    without = labelled(tmp_path, LABELS, "verdict")
    assert path == without
    less = bytes_needed(path, IngestRecipe())[0]
    named = IngestRecipe.model_validate({"units": {"quality_column": "verdict", "quality_values": ["good"]}})
    assert bytes_needed(path, named)[0] > less
