"""Pictures of lags, parts and transfer: whole, small, and saying what they show."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.lag_scan import scan_lags
from nwb_latents.pipeline.evaluation.decoding.parts import parts_table
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.figures.decoding import draw_lag_scan, draw_parts, draw_transfer
from nwb_latents.pipeline.evaluation.figures.velocity import draw_summary, draw_trajectories, draw_velocity
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.measurement import Measurement

SETTINGS = DecodeSettings(lag_scan_ms=(0.0, 60.0, 100.0, 140.0))


@pytest.fixture(scope="module")
def session(make_session):
    return make_session()


@pytest.fixture(scope="module")
def decoded(session):
    rates = session[0]["rates"].values[session[0]["split"].values == "test"]
    return [
        decode_session(
            session_in_memory(*session),
            SETTINGS,
            reconstruction=rates,
            forecast=rates[:, 13:33],
            run="m",
            decoder=decoder,
        )
        for decoder in ("ridge", "wiener")
    ]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Draw, check the file, and return all the words in the picture."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    def drawn_words(draw):
        drawn = []
        save = Figure.savefig

        def spy(figure, *args, **kwargs):
            save(figure, *args, **kwargs)
            drawn.extend(text.get_text() for text in figure.findobj(Text))

        monkeypatch.setattr(Figure, "savefig", spy)
        draw(tmp_path / "picture.png")
        content = (tmp_path / "picture.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content.rstrip().endswith(b"IEND\xaeB`\x82")
        assert len(content) < 1_500_000
        return " | ".join(drawn)

    return drawn_words


def test_lags_name_the_best_of_each_decoder_and_every_signal(session, words):
    scans = [scan_lags(session_in_memory(*session), SETTINGS, decoder=name) for name in ("ridge", "wiener")]
    rates = session[0]["rates"].values[scans[0].test]
    scores = [s for scan in scans for s in scan.decode(rates, source="reconstruction", run="m")]
    found = words(lambda path: draw_lag_scan(path, scans, scores))
    assert f"best lag on training trials: 100 ms; {scans[1].best_lag_ms:g} ms, wiener" in found
    for text in ("28 training and 8 test trials", "r2_uniform", "reconstruction of m, wiener", "(ms)"):
        assert text in found
    with pytest.raises(DataError, match="set lag_scan_ms"):
        words(lambda path: draw_lag_scan(path, [], scores))


@pytest.mark.parametrize(("conditions", "named"), [(3, "c2"), (40, "25 conditions"), (0, "none")])
def test_parts_name_conditions_and_what_the_deviation_is_from(make_session, words, conditions, named):
    trials, continuous = make_session(n_trials=250)
    names = [f"c{i // 10 % conditions}" if conditions else "" for i in range(250)]
    trials = trials.assign_coords(condition=("trial", np.array(names, dtype=object)))
    table = parts_table([decode_session(session_in_memory(trials, continuous), SETTINGS)])
    found = words(lambda path: draw_parts(path, table))
    for text in (named, "its mean over trials and bins", "r2_pooled", "100 ms", "50 test trials", "(s)"):
        assert text in found


def test_parts_show_every_signal_and_decoder(decoded, words):
    found = words(lambda path: draw_parts(path, parts_table(decoded)))
    for text in ("forecast decoded of m", "forecast decoded of m, wiener", "rates", "run m"):
        assert text in found


@pytest.mark.parametrize("draw", [draw_velocity, draw_trajectories])
def test_pictures_of_the_wiener_decoder_say_so(decoded, draw, words):
    assert "Wiener decoder of 5 bins" in words(lambda path: draw(path, decoded[1]))
    assert "Wiener" not in words(lambda path: draw(path, decoded[0]))


def test_paths_of_the_wiener_decoder_begin_where_it_does(decoded, words):
    found = words(lambda path: draw_trajectories(path, decoded[1]))
    assert found.count("recorded, 8 trials") == 3
    assert "−0.08 to 0.56 s" in found


def test_summary_tells_the_decoders_apart(decoded, words):
    found = words(lambda path: draw_summary(path, [s for one in decoded for s in one.scores]))
    for text in ("reconstruction of m", "reconstruction of m, wiener", "rates, wiener"):
        assert text in found


def transfer(trained_on, session, value):
    return Measurement(
        run="m", session=session, recipe_id="r", name="transfer_velocity_r2", source="latents",
        fitted_sessions=trained_on, lag_ms=100.0, value=value, definition="r2_uniform", split="test",
        n_trials=8, n_samples=99, decoder="ridge",
    )  # fmt: skip


@pytest.mark.parametrize("n_sessions", [2, 3, 25])
def test_transfer_has_a_number_for_each_pair_where_there_is_room(words, n_sessions):
    names = [f"s{number:02d}" for number in range(n_sessions)]
    subjects = {name: "AB"[number % 2] for number, name in enumerate(names)}
    scores = [transfer((a,), b, 0.8 if a == b else -0.25) for a in names for b in names]
    if n_sessions > 2:
        scores += [transfer(tuple(n for n in names if n != left), left, None) for left in names]
    found = words(lambda path: draw_transfer(path, scores, subjects))
    assert (found.count("−0.25 |") >= n_sessions * (n_sessions - 1)) == (n_sessions < 20)
    assert "same session 0.80" in found
    assert "other subject −0.25" in found
    assert ("all others" in found) == (n_sessions > 2)
    assert all(name in found for name in names)


def test_no_transfer_cannot_be_drawn(words):
    with pytest.raises(DataError, match="nothing to draw"):
        words(lambda path: draw_transfer(path, [], {}))
