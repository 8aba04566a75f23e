"""Exports under recipes ``nlb:*`` hold the tensors of the benchmark's toolkit, and scores are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from nwb.field_readers.benchmark_files import benchmark_file
from nwb.field_readers.draft_files import write_with_pynwb

from nwb_latents.pipeline.evaluation.metrics.psth import condition_index, varying_units
from nwb_latents.pipeline.evaluation.nlb.group_sizes import identity_of
from nwb_latents.pipeline.evaluation.nlb.scores import score_submission
from nwb_latents.pipeline.evaluation.nlb.submission import check_submission
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stores.exporters.exporter import exporter_named, write_export
from nwb_latents.pipeline.stores.nlb_settings import nlb_export_defaults, nlb_recipe
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.trials import to_dataset
from nwb_latents.schemas.export import NlbExport
from nwb_latents.schemas.nlb import NLB_DATASETS
from nwb_latents.schemas.store import Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nwb_latents.schemas.recipe import IngestRecipe

pytestmark = pytest.mark.field_readers

WIDTHS = (5, 20)
CASES = [*((key, "classic") for key in NLB_DATASETS), ("mc_maze", "lifelike")]
"""Datasets, and the preset of the simulator for what it makes: mazes with and without delays and drift."""
SCORES = {
    "co-bps": "co_bps",
    "fp-bps": "fp_bps",
    "vel R2": "nlb_velocity_r2",
    "psth R2": "psth_r2",
    "tp corr": "timing_correlation",
}
ROUNDING = {"psth": 2e-7, "behavior": 2e-7}
"""Share of the largest value: files of both hold single precision."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, simulated: Callable[..., Path]) -> Callable[..., Path]:
    """Return the function from a dataset to its file; ``mc_maze`` is a session of the simulator."""
    made: dict[tuple[str, str, bool], Path] = {}

    def file(key: str, preset: str, *, is_test: bool = False) -> Path:
        if (key, preset, is_test) not in made:
            folder = tmp_path_factory.mktemp("benchmark")
            path = folder / f"sub-T_ses-{key}.nwb"
            made[key, preset, is_test] = (
                simulated(layout="nlb", preset=preset, n_units=(16, 16), n_trials=60)
                if key == "mc_maze" and not is_test
                else write_with_pynwb(benchmark_file(key, is_test=is_test), path)
            )
        return made[key, preset, is_test]

    return file


def exported(path: Path, to: Path, recipe: IngestRecipe, settings: NlbExport) -> dict[str, np.ndarray]:
    """Ingest a file, export it, and read what was written."""
    recording = read_recording(path, recipe)
    made = make_trials(recording, recipe)
    attributes = StoreAttributes(
        store_key="k",
        session=recording.session,
        subject=recording.subject,
        task=recording.task,
        bin_size_s=recipe.bin_size_s,
        n_event_bins=-recipe.window_bins[0],
        recipe=recipe,
        provenance=Provenance(source=path.name, asset_digest="sha256:00", layout=recording.layout),
        dropped=made.dropped,
    )
    groups = [to_dataset(name, getattr(made, name), attributes) for name in ("trials", "continuous")]
    write_export(exporter_named("nlb"), session_in_memory(*groups, attributes), to, settings=settings)
    with h5py.File(to) as h5:
        (name,) = h5
        return {key: values[()] for key, values in h5[name].items()}


def settings_of(key: str, phase: str) -> NlbExport:
    return NlbExport.model_validate({**nlb_export_defaults(key), "phase": phase})


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Hold every array of theirs against ours; counts exactly."""
    assert theirs
    for name, expected in theirs.items():
        part, array = name.split("/")[1], name.rsplit("/", 1)[-1]
        if "_cond_idx" in name:
            array, row = name.split("/")[-2:]
            assert ours[array][int(row)].tolist() == expected.tolist(), name
            continue
        # The targets of dmfc_rsg blank what is not scored, the inputs do not.
        found = ours.get(f"{array}_whole", ours[array]) if part == "eval" else ours[array]
        assert found.shape == expected.shape, name
        rounding = next((share for word, share in ROUNDING.items() if word in array), 0.0)
        scale = float(np.nanmax(np.abs(expected), initial=0.0))
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * scale, err_msg=name)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("key", "preset"), CASES)
def test_the_tensors_of_the_phase_val_and_all_scores_are_the_toolkits(
    files, take, tmp_path, key, preset, width
):
    """Its phase *val* is our `test`: fitted on the file's train trials, scored on its val trials."""
    path, theirs_h5, ours_h5 = files(key, preset), tmp_path / "theirs.h5", tmp_path / "ours.h5"
    theirs = take(
        "nlb_tensors", path, key=key, width_ms=width, train="train", scored="val", targets=str(theirs_h5)
    )
    ours = exported(path, ours_h5, nlb_recipe(key, bin_size_ms=width), settings_of(key, "test"))
    assert_same(ours, theirs)
    assert any("/psth" in name for name in theirs) == (key != "mc_rtt")

    submission, first_seen = tmp_path / "submission.h5", {}
    write_rates(submission, ours, group=key if width == 5 else f"{key}_{width}")
    for targets in (theirs_h5, ours_h5):
        assert check_submission(submission, targets) == []
        evaluated = take("nlb_evaluate", targets=str(targets), submission=str(submission))
        (scores,) = score_submission(submission, targets).values()
        # Theirs counts units whose PSTH does not vary as 0; they have none here.
        scores["psth_r2"] = scores.get("psth_r2", np.nan) * share_of_varying_units(ours)
        assert evaluated
        for name, value in evaluated.items():
            score = SCORES[next(known for known in SCORES if name.endswith(known))]
            assert scores[score] == pytest.approx(float(value), abs=1e-6), (name, targets)
            first = first_seen.setdefault(name, float(value))
            assert first == pytest.approx(float(value), abs=1e-6), name


def share_of_varying_units(tensors: dict[str, np.ndarray]) -> float:
    if "psth" not in tensors:
        return 1.0
    n_trials = len(tensors["eval_spikes_heldin"])
    condition = condition_index(tensors["eval_cond_idx"], n_trials=n_trials)
    return len(varying_units(tensors["psth"], condition)) / tensors["psth"].shape[2]


def write_rates(path: Path, tensors: dict[str, np.ndarray], *, group: str) -> None:
    """Write rates that follow the spikes a little, of which there are scores of every kind."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as h5:
        h5.create_group(group).attrs.update(identity_of(tensors))
        for part in ("train", "eval"):
            for kind in ("heldin", "heldout"):
                for end in ("", "_forward"):
                    name = f"{part}_spikes_{kind}{end}"
                    spikes = tensors.get(f"{name}_whole", tensors[name]) if not end else tensors[name]
                    mean = np.nanmean(spikes, axis=(0, 1)) + 0.01
                    rates = mean * rng.uniform(0.8, 1.2, spikes.shape) + 0.02 * np.nan_to_num(spikes)
                    if part == "eval" or not end:
                        h5[f"{group}/{part}_rates_{kind}{end}"] = rates


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("key", "preset"), CASES)
def test_the_tensors_of_the_phase_test_are_the_toolkits(files, take, tmp_path, key, preset, width):
    """Its phase *test* is our `challenge`: all trials of one file, and held-in spikes of another's."""
    recipe, settings = nlb_recipe(key, bin_size_ms=width), settings_of(key, "challenge")
    jitter = recipe.jitter.model_copy(update={"fitted": ("train", "val")})
    recipe = recipe.model_copy(update={"jitter": jitter})
    theirs = take("nlb_tensors", files(key, preset), key=key, width_ms=width, train=["train", "val"])
    ours = exported(files(key, preset), tmp_path / "train.h5", recipe, settings)
    assert_same(ours, theirs)
    assert not any(name.startswith("eval") for name in ours)

    path = files(key, preset, is_test=True)
    theirs = take("nlb_tensors", path, key=key, width_ms=width, scored="test")
    ours = exported(path, tmp_path / "test.h5", recipe, settings)
    assert_same(ours, theirs)
    assert [name for name in ours if "spikes" in name or "behavior" in name] == ["eval_spikes_heldin"]
