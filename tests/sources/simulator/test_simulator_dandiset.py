from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.sources.simulator import nwb_file, read_truth, simulate_dandiset, simulate_session
from nwb_latents.pipeline.sources.simulator.truth import truth_path
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = {"n_subjects": 2, "n_sessions": 1, "n_units": (4, 6), "n_trials": 3, "waveforms": False}
SMALL = SimulateSettings.model_validate(SIZES)


def test_files_are_named_like_those_of_a_dandiset(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    paths = simulate_dandiset(tmp_path, SMALL, progress=lambda *step: seen.append(step))
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "sub-SimA/sub-SimA_ses-CO-20200106_behavior+ecephys.nwb",
        "sub-SimB/sub-SimB_ses-CO-20200107_behavior+ecephys.nwb",
    ]
    assert seen == [("sub-SimA_ses-CO-20200106", 1, 2), ("sub-SimB_ses-CO-20200107", 2, 2)]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        name for path in paths for name in (path.name, truth_path(path).name)
    )


@pytest.mark.parametrize("layout", ["000688", "000070", "nlb", "generic"])
def test_same_seed_same_bytes(tmp_path: Path, layout: str) -> None:
    settings = SMALL.model_copy(update={"layout": layout, "n_subjects": 1, "waveforms": True})
    (one,), (two,) = (simulate_dandiset(tmp_path / name, settings) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert truth_path(one).read_bytes() == truth_path(two).read_bytes()


def test_other_seed_other_data(tmp_path: Path) -> None:
    (one, _), (two, _) = (
        simulate_dandiset(tmp_path / str(seed), SMALL.model_copy(update={"seed": seed})) for seed in (0, 1)
    )
    with h5py.File(one) as first, h5py.File(two) as second:
        assert first["identifier"][()] != second["identifier"][()]
        assert first.attrs["object_id"] != second.attrs["object_id"]
        assert first["units/spike_times"].shape != second["units/spike_times"].shape


def test_object_ids_are_unique_within_and_across_files(tmp_path: Path) -> None:
    found: list[str] = []
    for path in simulate_dandiset(tmp_path, SMALL):
        with h5py.File(path) as file:
            found.append(file.attrs["object_id"])
            file.visititems(lambda _, entry: found.extend(filter(None, [entry.attrs.get("object_id")])))
    assert len(found) > 40
    assert len(set(found)) == len(found)


def test_complete_sessions_are_kept_and_the_dandiset_can_grow(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in simulate_dandiset(tmp_path, SMALL)}
    grown = simulate_dandiset(tmp_path, SMALL.model_copy(update={"n_sessions": 2}))
    assert len(grown) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_write_leaves_nothing_that_looks_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_half_way(simulated: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nwb_file, "write_nwb", stop_half_way)
        with pytest.raises(KeyboardInterrupt):
            simulate_dandiset(tmp_path, SMALL)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".npz"]
    paths = simulate_dandiset(tmp_path, SMALL)
    assert all(path.exists() for path in paths)


def test_files_of_other_settings_are_never_replaced(tmp_path: Path) -> None:
    (path, _) = simulate_dandiset(tmp_path, SMALL)
    content = path.read_bytes()
    with pytest.raises(SettingsError, match=r"other origin.*Choose another folder"):
        simulate_dandiset(tmp_path, SMALL.model_copy(update={"seed": 5}))
    assert path.read_bytes() == content


def test_a_folder_of_the_other_preset_is_told_by_its_name(tmp_path: Path) -> None:
    classic = SimulateSettings.model_validate({**SIZES, "preset": "classic"})
    simulate_dandiset(tmp_path, classic)
    with pytest.raises(SettingsError, match=r"simulated with preset 'classic'.*--preset classic"):
        simulate_dandiset(tmp_path, SMALL)
    assert len(simulate_dandiset(tmp_path, classic)) == 2


def test_a_file_without_truth_is_never_replaced(tmp_path: Path) -> None:
    (path, _) = simulate_dandiset(tmp_path, SMALL)
    truth_path(path).unlink()
    with pytest.raises(SettingsError, match="without readable truth"):
        simulate_dandiset(tmp_path, SMALL)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_machine(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(MachineError, match=r"cannot be written .*Choose a folder"):
        simulate_dandiset(blocked, SMALL)


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        yield from _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]


def test_truth_survives_the_round_trip(tmp_path: Path) -> None:
    (path, _) = simulate_dandiset(tmp_path, SMALL)
    expected, found = simulate_session(SMALL).truth, read_truth(truth_path(path))
    assert expected.reaching is not None
    flat = [dict(_flat(asdict(truth))) for truth in (expected, found)]
    assert flat[0].keys() == flat[1].keys()
    assert "reaching.tuning.drift_rad" in flat[0]
    for name, one in flat[0].items():
        two = flat[1][name]
        np.testing.assert_array_equal(one, two, err_msg=name)
        assert type(one) is type(two)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
    assert found.rates_hz.dtype == np.float32
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["units/id"][:], found.unit_ids)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_broken_truth_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session_truth.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"session_truth.npz: not the truth"):
        read_truth(path)


def test_a_missing_truth_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_truth(tmp_path / "session.nwb")


def test_the_stage_reports_every_session(tmp_path: Path) -> None:
    events: list[Any] = []
    paths = simulate(tmp_path, SMALL, report=events.append)
    assert len(paths) == 2
    assert [(event.event, event.status, event.done) for event in events] == [
        ("session", "done", 1),
        ("session", "done", 2),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "RT", "layout": "nlb"}, "no task RT"),
        ({"task": "RT", "layout": "000070"}, "no task RT"),
        ({"n_units": (8, 4)}, "least number first"),
        ({"n_units": (2, 4), "silent_units": 2}, "silent_units"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SimulateSettings.model_validate(changes)
