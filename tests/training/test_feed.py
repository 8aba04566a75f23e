"""From stores to tensors and back to hertz."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nwb_latents.models.batching.shown_input import ShownSmoothing
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.training.feed import feed_sessions, read_signal, shown_smoothing

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from nwb_latents.schemas.training import TrainSettings


def test_scaling_comes_from_training_trials_alone(
    datasets: dict[str, xr.Dataset], make_settings: Callable[..., TrainSettings]
) -> None:
    feeds = feed_sessions(map(session_in_memory, datasets.values()), make_settings())
    train = feeds["sub-A_ses-1"].train.scored.numpy()
    np.testing.assert_allclose(train.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(train.std((0, 1)), 1, rtol=1e-4)
    spoilt = {name: dataset.copy(deep=True) for name, dataset in datasets.items()}
    for dataset in spoilt.values():
        for signal in ("rates", "counts"):
            dataset[signal].values[dataset["split"].values != "train"] *= 100
    for name, feed in feed_sessions(map(session_in_memory, spoilt.values()), make_settings()).items():
        assert np.array_equal(feed.train.y.numpy(), feeds[name].train.y.numpy())
        assert np.array_equal(feed.scaling.scale, feeds[name].scaling.scale)


def test_splits_are_those_of_the_store(
    datasets: dict[str, xr.Dataset], make_settings: Callable[..., TrainSettings]
) -> None:
    for name, feed in feed_sessions(map(session_in_memory, datasets.values()), make_settings()).items():
        split = datasets[name]["split"].values
        assert feed.train.n_trials == (split == "train").sum()
        assert feed.val.n_trials == (split == "val").sum()
        back = feed.scaling.to_hz(feed.val.scored.numpy())
        np.testing.assert_allclose(back, datasets[name]["rates"].values[split == "val"], rtol=1e-4)


def test_a_poisson_model_is_scored_on_counts(
    datasets: dict[str, xr.Dataset], make_settings: Callable[..., TrainSettings]
) -> None:
    settings = make_settings(signal="counts", model={"likelihood": "poisson"})
    feed = feed_sessions(map(session_in_memory, datasets.values()), settings)["sub-B_ses-1"]
    counts = datasets["sub-B_ses-1"]["counts"].values
    train = datasets["sub-B_ses-1"]["split"].values == "train"
    assert np.array_equal(feed.train.scored.numpy(), counts[train])
    np.testing.assert_allclose(feed.train.y.numpy().mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(feed.scaling.to_hz(np.ones((1, 1, 4), np.float32)), 50)
    expected = read_signal(session_in_memory(datasets["sub-B_ses-1"]), "rates")
    np.testing.assert_allclose(expected, datasets["sub-B_ses-1"]["rates"].values * 0.02, rtol=1e-6)


def test_a_silent_unit_is_not_blown_up(
    datasets: dict[str, xr.Dataset], make_settings: Callable[..., TrainSettings]
) -> None:
    dataset = datasets["sub-A_ses-1"]
    dataset["rates"].values[dataset["split"].values == "train", :, 2] = 0
    feed = feed_sessions(map(session_in_memory, datasets.values()), make_settings())["sub-A_ses-1"]
    silent = feed.train.scored.numpy()[..., 2]
    assert np.array_equal(silent, np.zeros_like(silent))
    np.testing.assert_allclose(
        feed.val.scored.numpy()[..., 2], dataset["rates"].values[3::5][..., 2], rtol=1e-5
    )


def test_sessions_that_cannot_be_trained_are_refused(
    datasets: dict[str, xr.Dataset],
    make_dataset: Callable[..., xr.Dataset],
    make_settings: Callable[..., TrainSettings],
) -> None:
    other = make_dataset("sub-C_ses-1", n_trials=9, n_units=3, n_bins=12)
    with pytest.raises(DataError, match="sub-C_ses-1: 12 bins"):
        feed_sessions(map(session_in_memory, [*datasets.values(), other]), make_settings())
    datasets["sub-A_ses-1"]["split"].values[:] = "test"
    with pytest.raises(DataError, match="sub-A_ses-1: no trial is in the training split"):
        feed_sessions(map(session_in_memory, datasets.values()), make_settings())


def test_what_is_shown_is_smoothed_as_the_recipe_says_in_bins_of_the_session(datasets, make_settings):
    trials = datasets["sub-A_ses-1"].assign_attrs(bin_size_s=0.05)
    session = session_in_memory(trials)
    recipe = session.recipe.model_copy(
        update={"smooth_sigma_s": 0.1, "smooth_truncate": 3.0, "smooth_kernel": "causal"}
    )
    told = replace(session, attributes=session.attributes.model_copy(update={"recipe": recipe}))
    found = shown_smoothing(told, make_settings())
    assert found == ShownSmoothing(2.0, 3.0, is_causal=True)
    assert not shown_smoothing(session, make_settings()).is_causal
    assert shown_smoothing(told, make_settings(input_smoothing="recorded")) is None
    assert shown_smoothing(told, make_settings(signal="counts")) is None
