"""The recipe an inspection prints gives what ingest gives without it, of tables of one row or none too."""

from __future__ import annotations

import numpy as np
import pytest
from nwb.odd_files import TRIALS, changed, put

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stages.explicit_recipe import explicit_recipe
from nwb_latents.schemas.recipe import IngestRecipe


@pytest.mark.parametrize("n_rows", [0, 1, 40])
def test_the_recipe_of_an_inspection_gives_the_same(n_rows, tmp_path):
    path = changed(
        tmp_path, lambda h: [put(h, f"{TRIALS}/{name}", h[f"{TRIALS}/{name}"][:n_rows]) for name in h[TRIALS]]
    )
    first = read_recording(path, IngestRecipe())
    recipe = explicit_recipe(IngestRecipe(), first.choices)
    plain = make_trials(first, IngestRecipe())
    told = make_trials(read_recording(path, recipe), recipe)
    assert plain.trials["counts"].shape[0] == (n_rows or 80)
    for name in ("counts", "velocity", "move_onset", "condition"):
        np.testing.assert_array_equal(plain.trials[name], told.trials[name])
