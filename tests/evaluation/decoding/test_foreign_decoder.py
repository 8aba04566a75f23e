"""A decoder of another distribution is used like the built-in ones, and its numbers are its own."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import nwb_latents
from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.across_sessions import session_states, transfer_scores
from nwb_latents.pipeline.evaluation.decoding.decoder import decoder_of, described
from nwb_latents.pipeline.evaluation.decoding.lag_scan import scan_lags
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.decoding.velocity import hand_velocity_r2
from nwb_latents.pipeline.signals.folds import group_folds
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas import registry
from nwb_latents.schemas.decoding import DecodeSettings

CODE = '''
"""Velocity of the training bins with the most similar rates: nothing of it is a ridge regression."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from nwb_latents.pipeline.evaluation.decoding.decoder import Decoder
from nwb_latents.pipeline.evaluation.decoding.velocity import training_samples
from nwb_latents.schemas.base import Frozen


class NeighbourSettings(Frozen):
    """Settings of the nearest neighbours."""

    neighbours: int = Field(3, ge=1, description="Bins averaged.")
    history: int = Field(1, ge=1, description="Bins read.")


@dataclass(frozen=True)
class Neighbours:
    features: np.ndarray
    velocity: np.ndarray
    number: int
    training_r2: float | None = None

    @property
    def n_features(self):
        return self.features.shape[1]

    @property
    def n_outputs(self):
        return self.velocity.shape[1]

    @property
    def chosen(self):
        return {"n_bins_known": len(self.features)}

    def predict(self, features):
        x = np.asarray(features, dtype=float)
        flat = x.reshape(-1, x.shape[-1])
        apart = np.square(flat).sum(1)[:, None] - 2 * flat @ self.features.T + np.square(self.features).sum(1)
        nearest = np.argsort(apart, axis=1, kind="stable")[:, : self.number]
        return self.velocity[nearest].mean(axis=1).reshape(*x.shape[:-1], -1)


class NeighbourDecoder(Decoder[NeighbourSettings]):
    name = "neighbours"
    settings_type = NeighbourSettings
    dash = ":"

    @property
    def bins(self):
        return self.settings.history

    def fit(self, features, velocity):
        samples = training_samples(features, [velocity])
        return Neighbours(samples.features, samples.velocities[0], self.settings.neighbours)


class Nameless(Decoder):
    name = "other"
'''

CHOSEN = DecodeSettings(n_permutations=0)


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    """Return a folder of another distribution that is installed."""
    folder = tmp_path / "site"
    about = folder / "lab_neighbours-0.1.dist-info"
    about.mkdir(parents=True)
    (folder / "lab_neighbours.py").write_text(CODE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-neighbours\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(
        "[nwb_latents.decoders]\nneighbours = lab_neighbours:NeighbourDecoder\n"
        "nameless = lab_neighbours:Nameless\ngone = lab_neighbours:Gone\nwrong = lab_neighbours:Neighbours\n"
    )
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    monkeypatch.undo()
    sys.modules.pop("lab_neighbours", None)
    forget()


def forget():
    registry._by_name.cache_clear()
    registry.DECODERS._loaded.clear()


def settings(**changes):
    return DecodeSettings(decoders=("ridge", "neighbours"), n_permutations=0, **changes)


def own(features, velocity, neighbours=3):
    """Return the decoder fitted without anything of the pipeline in between."""
    known = np.isfinite(velocity).all(axis=-1)
    made = importlib.import_module("lab_neighbours").Neighbours
    return made(np.asarray(features, float)[known], velocity[known], neighbours)


def test_its_scores_of_a_session_are_its_own(make_session):
    session = session_in_memory(*make_session(noise_hz=4.0))
    asked = settings(decoder_settings={"neighbours": {"neighbours": 5}})
    [score] = decode_session(session, asked, decoder="neighbours").scores
    rates, velocity = session.trials["rates"].values, session.velocity(100.0).velocity
    train, test = session.rows("train"), session.rows("test")
    expected = hand_velocity_r2(own(rates[train], velocity[train], 5), rates[test], velocity[test])
    assert score.value == expected.value
    assert (score.decoder, score.fitted_on) == ("neighbours", "recorded rates")
    assert score.decoder_settings == {
        "neighbours": 5, "history": 1, "folds": 5, "seed": 0, "n_bins_known": 28 * 36
    }  # fmt: skip
    [of_ridge] = decode_session(session, asked).scores
    assert of_ridge.value != score.value
    assert of_ridge.decoder_settings.keys() == {"alphas", "alpha", "folds", "seed"}


def test_its_comparison_of_lags_is_its_own(make_session):
    session = session_in_memory(*make_session(n_trials=40, n_units=8))
    asked = settings(lag_scan_ms=(60.0, 100.0, 140.0))
    scan = scan_lags(session, asked, decoder="neighbours")
    rates, train, test = session.trials["rates"].values, session.rows("train"), session.rows("test")
    scores = scan.decode(rates[test], source="rates")
    assert [s.decoder for s in (*scores, *scan.training_scores())] == ["neighbours"] * 6
    fold = group_folds(train, folds=5, seed=0)
    for lag, score, cross_validated in zip(asked.lag_scan_ms, scores, scan.cv_r2, strict=True):
        velocity = session.velocity(lag).velocity
        expected = hand_velocity_r2(own(rates[train], velocity[train]), rates[test], velocity[test])
        assert score.value == expected.value
        left_out = [
            hand_velocity_r2(own(rates[kept], velocity[kept]), rates[out], velocity[out]).value
            for kept, out in ((train[fold != k], train[fold == k]) for k in range(5))
        ]
        assert cross_validated == pytest.approx(np.mean(left_out), abs=1e-12)
    of_ridge = scan_lags(session, asked)
    assert of_ridge.cv_r2 != scan.cv_r2
    assert scan.best_lag_ms == 100.0


def test_what_it_carries_between_sessions_is_its_own(make_session):
    sessions = [
        session_states(
            session_in_memory(*make_session(session=name, seed=0)), CHOSEN,
            states=lambda part: part.trials["rates"].values,
        )
        for name in "ab"
    ]  # fmt: skip
    scores = transfer_scores(sessions, settings(), run="m", decoder="neighbours")
    assert {(s.decoder, s.fitted_on, s.source) for s in scores} == {("neighbours", "latents", "latents")}
    a, b = sessions
    expected = hand_velocity_r2(own(a.train_states, a.train_velocity), b.test_states, b.test_velocity)
    [carried] = [s for s in scores if (s.fitted_sessions, s.session) == (("a",), "b")]
    assert carried.value == expected.value
    of_ridge = transfer_scores(sessions, settings(), run="m")
    assert not {s.value for s in of_ridge} & {s.value for s in scores}


def test_a_decoder_that_reads_several_bins_is_given_them(make_session):
    session = session_in_memory(*make_session())
    asked = settings(decoder_settings={"neighbours": {"history": 4}})
    rates = session.trials["rates"].values[session.rows("test")]
    of_data, rebuilt = decode_session(
        session, asked, reconstruction=rates, run="m", decoder="neighbours"
    ).signals
    assert (of_data.score.n_samples, rebuilt.score.n_samples) == (8 * 36, 8 * 33)
    too_many = settings(decoder_settings={"neighbours": {"history": 40}})
    with pytest.raises(SettingsError, match=r"neighbours decoder reads 40 bins, more than the 36.*history"):
        decode_session(session, too_many, decoder="neighbours")


def test_its_settings_are_checked_by_its_own_class():
    with pytest.raises(
        SettingsError, match=r"decoder_settings\.neighbours: neighbour: unknown.*neighbours\?"
    ):
        decoder_of(settings(decoder_settings={"neighbours": {"neighbour": 5}}), "neighbours")
    with pytest.raises(SettingsError, match=r"decoder_settings\.neighbours: neighbours: .* found 0"):
        decoder_of(settings(decoder_settings={"neighbours": {"neighbours": 0}}), "neighbours")
    words = ["decoders=[ridge,neighbours]", "decoder_settings.neighbours.neighbours=7"]
    assert decoder_of(settings_from(DecodeSettings, words=words), "neighbours").settings.neighbours == 7


def test_built_in_decoders_take_the_settings_of_the_stage_or_their_own():
    both = DecodeSettings(
        decoders=("ridge", "wiener"), alphas=(1.0, 10.0), history_bins=3,
        decoder_settings={"wiener": {"alphas": [5.0]}},
    )  # fmt: skip
    assert decoder_of(both, "ridge").settings.alphas == (1.0, 10.0)
    wiener = decoder_of(both, "wiener").settings
    assert (wiener.alphas, wiener.history_bins) == ((5.0,), 3)
    with pytest.raises(SettingsError, match=r"history_bins: unknown key"):
        decoder_of(DecodeSettings(decoder_settings={"ridge": {"history_bins": 3}}))


def test_a_name_that_is_no_decoder_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match=r"decoders.*no decoder is called 'rigde'; did you mean ridge"):
        settings_from(DecodeSettings, words=["decoders=[rigde]"])
    with pytest.raises(SettingsError, match=r"no decoder is called 'winer'; did you mean wiener"):
        settings_from(DecodeSettings, words=["decoder_settings.winer.history_bins=3"])
    with pytest.raises(SettingsError, match=r"decoder_settings\.wiener: wiener is not among the decoders"):
        settings_from(DecodeSettings, words=["decoder_settings.wiener.history_bins=3"])


@pytest.mark.parametrize(
    ("name", "fault"),
    [("gone", "cannot be loaded"), ("wrong", "not a class derived"), ("nameless", "does not say its fit")],
)
def test_a_broken_decoder_names_its_distribution(name, fault):
    with pytest.raises(MachineError, match=rf"'{name}' of lab-neighbours 0\.1.*{fault}"):
        decoder_of(DecodeSettings(decoders=(name,)), name)


def test_numbers_of_a_decoder_that_is_gone_can_still_be_drawn():
    gone = described("of_another_lab")
    assert (gone.tag, gone.suffix, gone.is_filled) == (", of_another_lab", "_of_another_lab", False)
    assert described("neighbours").dash == ":"


def test_nothing_asks_a_decoder_for_its_name():
    source = Path(nwb_latents.__file__).parent
    files = [
        path for room in ("pipeline", "schemas", "models") for path in (source / room).resolve().rglob("*.py")
    ]
    assert len(files) > 200
    names = r"""["'](ridge|wiener)["']"""
    asks = re.compile(rf"(==|!=|\bin|\bcase)\s*[({{\[]?\s*{names}|{names}\s*(==|!=|in\b)|Literal\[{names}")
    found = [
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if asks.search(line) and ">>>" not in line
    ]
    assert found == []
