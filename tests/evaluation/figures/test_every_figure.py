"""Every figure fits a journal, says units and numbers, clips nothing unmarked, has equal scales in a row."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.figures.figure_rules import (
    SEEN_BY,
    caption_of,
    check,
    check_rows,
    colours_drawn,
    least_distance,
    legend_labels,
    panels_of,
    words_of,
)
from evaluation.figures.test_decoding import summary_score
from evaluation.figures.test_embedding import make_field, make_interpolation, make_table
from evaluation.figures.test_forecasting import forecast_of
from evaluation.figures.test_lag_and_transfer import transfer
from evaluation.figures.test_sweep import HISTORY, SPACE
from matplotlib.colors import to_rgb
from scipy.stats import t

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.lag_scan import TEST_METRIC, scan_lags
from nwb_latents.pipeline.evaluation.decoding.parts import parts_table
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.figures import condition_colours, source_looks, style
from nwb_latents.pipeline.evaluation.figures.decoding import parts_figure, transfer_figure
from nwb_latents.pipeline.evaluation.figures.embedding import embedding_figure, interpolation_figure
from nwb_latents.pipeline.evaluation.figures.few_shot import FewShotPoint, few_shot_figure
from nwb_latents.pipeline.evaluation.figures.flow_fields import flow_figure
from nwb_latents.pipeline.evaluation.figures.forecasting import forecast_figure
from nwb_latents.pipeline.evaluation.figures.lags import lag_figure
from nwb_latents.pipeline.evaluation.figures.latents import latents_figure
from nwb_latents.pipeline.evaluation.figures.marks import BEYOND
from nwb_latents.pipeline.evaluation.figures.onsets import onsets_figure
from nwb_latents.pipeline.evaluation.figures.paths import paths_figure
from nwb_latents.pipeline.evaluation.figures.psth import psth_figure
from nwb_latents.pipeline.evaluation.figures.raster import raster_figure
from nwb_latents.pipeline.evaluation.figures.reaches import reaches_figure
from nwb_latents.pipeline.evaluation.figures.session_quality import session_quality_figure
from nwb_latents.pipeline.evaluation.figures.summary import summary_figure, without_alignments
from nwb_latents.pipeline.evaluation.figures.sweep import schedule_figure
from nwb_latents.pipeline.evaluation.figures.training import TrainingLog, training_figure
from nwb_latents.pipeline.evaluation.figures.velocity import velocity_figure
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.quality import KinematicOutliers, Percentiles, RateStability, SessionQuality


@pytest.fixture(scope="module")
def decoded(make_session):
    trials, continuous = make_session()
    rates = trials["rates"].values[trials["split"].values == "test"]
    return decode_session(
        session_in_memory(trials, continuous),
        DecodeSettings(),
        reconstruction=rates,
        forecast=rates[:, 13:33],
        run="mdssm-1",
    )


def with_quality(session):
    known = Percentiles(n=40, p5=0.2, p25=0.22, p50=0.25, p75=0.28, p95=0.3)
    quality = SessionQuality(
        n_trials=40, n_units=20, dropped_units={"below_min_rate": 2}, dropped_trials={"not_successful": 5},
        reaction_time_s=known, peak_speed_cm_s=known, onset_quality={"ok": 37, "several_peaks": 3},
        rates=RateStability(drift=-0.1, cv=0.2), outliers=KinematicOutliers(), flags=("few_trials",),
    )  # fmt: skip
    attributes = session.attributes.model_copy(update={"quality": quality})
    return session_in_memory(session.trials, session.continuous, attributes)


def log_of(run="m", n=20):
    rows = [{"step": 10 * (i + 1), "loss": 100 / (i + 1), "nll": 50 / (i + 1), "lr": 1e-3} for i in range(n)]
    rows += [{"step": 10 * i, "val_loss": 120 / i, "val_nll": 60 / i} for i in range(5, n, 5)]
    return TrainingLog(run, sorted(rows, key=lambda row: row["step"]), best_step=100)


def few_shot_points(n_sessions, n_seeds=3):
    return [
        FewShotPoint(f"s{s}", n, method, quantity, 0.1 * np.log(n) + 0.02 * s, n_seeds, 0.02)
        for s in range(n_sessions)
        for n in (2, 8, 32)
        for method in ("aligned", "from scratch", "shared_factors")
        for quantity in ("rates, reconstructed", "velocity, forecast")
    ]


MADE = {
    "raster": lambda session, decoded: raster_figure(session),
    "raster of one unit": lambda session, decoded: raster_figure(session, units=[3], split="test"),
    "psth": lambda session, decoded: psth_figure(session),
    "onsets": lambda session, decoded: onsets_figure(session),
    "session quality": lambda session, decoded: session_quality_figure(with_quality(session)),
    "latents": lambda session, decoded: latents_figure(session, states_of(session), run="m"),
    "training": lambda session, decoded: training_figure([log_of(), log_of("another-run")]),
    "few-shot of one session": lambda session, decoded: few_shot_figure(few_shot_points(1)),
    "few-shot of sessions": lambda session, decoded: few_shot_figure(few_shot_points(4), ceiling=0.8),
    "velocity": lambda session, decoded: velocity_figure(decoded),
    "paths": lambda session, decoded: paths_figure(decoded),
    "parts": lambda session, decoded: parts_figure(parts_table([decoded])),
    "reaches": lambda session, decoded: reaches_figure(decoded.decoder, [decoded.signals[-1]]),
    "summary": lambda session, decoded: summary_figure(
        [summary_score(session=f"sub-{s}", value=0.1 * s - 0.9) for s in range(12)]
    ),
    "transfer": lambda session, decoded: transfer_figure(
        [transfer((a,), b, 0.5) for a in "abc" for b in "abc"], dict.fromkeys("abc", "M")
    ),
    "forecast": lambda session, decoded: forecast_figure(forecast_of("sub-A", 0.5), bin_size_s=0.02),
    "forecast of sessions": lambda session, decoded: forecast_figure(
        [one for n in range(4) for one in forecast_of(f"sub-{n}", 0.5 + 0.05 * n)], bin_size_s=0.02
    ),
    "embedding": lambda session, decoded: embedding_figure(make_table(2)),
    "embedding in a line": lambda session, decoded: embedding_figure(make_table(1), colour_by=("omega",)),
    "interpolation": lambda session, decoded: interpolation_figure(make_interpolation((3, 3))),
    "schedule": lambda session, decoded: schedule_figure(
        HISTORY, [HISTORY[0], HISTORY[3]], space=SPACE, title="mine", metric="val_nll"
    ),
}
IN_ROWS = (
    "raster",
    "psth",
    "velocity",
    "paths",
    "parts",
    "forecast",
    "interpolation",
    "few-shot of sessions",
)


def states_of(session, n_dims=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(session.n_trials, session.n_bins, n_dims)).cumsum(axis=1)


@pytest.mark.parametrize("name", MADE)
def test_a_figure_fits_a_journal_and_hides_nothing(whole_session, decoded, name):
    figure = check(MADE[name](whole_session(), decoded))
    if name in IN_ROWS:
        check_rows(figure)


@pytest.mark.parametrize("n_points", [1, 5])
def test_flow_fields_have_one_scale_and_one_page(n_points):
    fields = [make_field().assign_coords(x=np.linspace(-1 - n, 1, 5)) for n in range(n_points)]
    figure = flow_figure(fields, conditions=["a", "b"], title="sub-A, 2 trials")
    check_rows(figure, axis="x")
    check_rows(figure)


def test_lags_beyond_the_axis_are_arrows(make_session):
    settings = DecodeSettings(lag_scan_ms=(0.0, 100.0))
    scan = scan_lags(session_in_memory(*make_session()), settings)
    scores = [
        summary_score(name=TEST_METRIC, session=scan.session, lag_ms=lag, value=-9.0) for lag in (0.0, 100.0)
    ]
    figure = check(lag_figure([scan], scores))
    (panel,) = panels_of(figure)
    *_, arrows = [line for line in panel.lines if line.get_gid() == BEYOND]
    assert arrows.get_xdata().tolist() == [0.0, 100.0]


@pytest.mark.parametrize("seen", SEEN_BY)
@pytest.mark.parametrize(
    "palette",
    [
        style.COLOURS,
        condition_colours.WHEEL,
        (*source_looks.COLOURS.values(), source_looks.OTHER_COLOUR, "#000000"),
    ],
    ids=["colours", "conditions", "sources"],
)
def test_colours_are_told_apart_by_everybody(palette, seen):
    assert len(set(map(to_rgb, palette))) == len(palette)
    assert least_distance(palette, SEEN_BY[seen]) >= 15.0


@pytest.mark.parametrize("n_conditions", [2, 5, 8])
def test_the_legend_names_the_conditions_that_are_drawn_and_no_others(whole_session, n_conditions):
    session = whole_session(n_conditions=n_conditions)
    names = sorted(set(session.condition.tolist()), key=condition_colours.in_order)
    figure = psth_figure(session)
    assert [label.partition(" (n")[0] for label in legend_labels(figure)] == names
    palette, _ = condition_colours.condition_colours(session.condition, session.trials["target_dir"].values)
    assert {to_rgb(colour) for colour in palette.values()} == colours_drawn(figure)
    part = session.select(np.flatnonzero(session.condition == names[0]))
    assert len(legend_labels(psth_figure(part))) == 1


def test_a_condition_of_which_no_path_is_known_is_not_in_the_legend(make_session):
    trials, continuous = make_session(n_trials=40)
    names = np.array([f"c{i % 10 % 3}" for i in range(40)], dtype=object)
    trials = trials.assign_coords(condition=("trial", names), target_dir=("trial", np.full(40, np.nan)))
    continuous = continuous.copy(deep=True)
    test = trials["split"].values == "test"
    for row in np.flatnonzero(test & (names == "c2")):
        continuous["velocity"][int(trials["start_bin"][row]) + 10] = np.nan
    figure = paths_figure(decode_session(session_in_memory(trials, continuous), DecodeSettings()))
    assert set(legend_labels(figure)) == set(names[test]) - {"c2"}
    assert "left out: a bin is not known" in caption_of(figure)


def test_more_conditions_than_colours_are_counted(whole_session):
    figure = check(psth_figure(whole_session(n_conditions=12)))
    assert legend_labels(figure) == ["12 conditions, coloured in order of direction, or else of name"]
    assert "no bands: 12 conditions" in caption_of(figure)


def test_the_choice_of_units_and_trials_is_said(whole_session):
    session = whole_session()
    assert "all 40 trials, 6 of 20 units, those of the highest mean rates" in caption_of(
        raster_figure(session)
    )
    chosen = caption_of(raster_figure(session, units=[2, 7], split="test"))
    assert "the 8 test trials of 40, 2 of 20 units, chosen by id" in chosen
    assert "all 20 units" in caption_of(psth_figure(session, n_units=24))
    with pytest.raises(SettingsError, match=r"has no unit 99; its 20 units are 0, 1, .* …"):
        raster_figure(session, units=[99])
    with pytest.raises(SettingsError, match="no split is called"):
        psth_figure(session, split="tset")


def test_rows_of_a_raster_are_the_counts_in_order_of_condition_and_reaction(whole_session):
    session = whole_session(n_conditions=4)
    figure = raster_figure(session, units=[7])
    (panel,) = panels_of(figure)
    shown = np.asarray(panel.images[0].get_array())
    kind = np.array([float(name.split()[0]) for name in session.condition])
    order = np.lexsort((np.nan_to_num(session.trials["reaction_time"].values, nan=9), kind))
    np.testing.assert_array_equal(shown, session.trials["counts"].values[order, :, 7])


def test_lines_of_a_psth_are_the_means_and_bands_their_intervals(whole_session):
    session = whole_session(n_conditions=2)
    (panel,) = panels_of(psth_figure(session, units=[5]))
    rates = session.trials["rates"].values[session.condition == "0.0 deg", :, 5].astype(float)
    np.testing.assert_allclose(panel.lines[0].get_ydata(), rates.mean(axis=0), rtol=1e-6)
    half = t.ppf(0.975, len(rates) - 1) * rates.std(axis=0, ddof=1) / np.sqrt(len(rates))
    edge = panel.collections[0].get_paths()[0].vertices
    assert edge[:, 1].max() == pytest.approx((rates.mean(axis=0) + half).max())


@pytest.mark.parametrize("n_dims", [1, 2, 3, 9])
def test_latent_states_of_every_dimension_are_drawn_on_one_scale(whole_session, n_dims):
    session = whole_session()
    figure = check(latents_figure(session, states_of(session, n_dims), run="m", split="test"))
    assert f"of {n_dims} latent dimensions" in caption_of(figure)
    planes = [panel for panel in panels_of(figure) if panel.get_aspect() == 1]
    spans = {round(float(np.ptp(panel.get_xlim())), 6) for panel in planes}
    spans |= {round(float(np.ptp(panel.get_ylim())), 6) for panel in planes}
    assert len(spans) == (n_dims > 1)


def test_onsets_say_how_they_were_found_and_what_is_not_known(whole_session):
    words = words_of(check(onsets_figure(whole_session())))
    for word in ("several peaks (n = 3)", "n = 39, 1 not known", "hand speed (cm/s)", "n = 40 trials"):
        assert word in words


def test_a_session_without_a_known_speed_or_reaction_has_a_picture(whole_session):
    session = whole_session(reaction_time=("trial", np.full(40, np.nan)))
    trials = session.trials.assign(velocity=session.trials["velocity"] * np.nan)
    silent = session_in_memory(trials, session.continuous)
    words = words_of(onsets_figure(silent))
    assert "n = 0 trials with a known speed" in words
    assert "n = 0, 40 not known" in words


def test_the_quality_page_has_flags_limits_and_what_was_left_out(whole_session):
    words = words_of(session_quality_figure(with_quality(whole_session())))
    for word in ("flags: few trials", "not defined", "−0.10", "within ±0.4", "left out: 5 trials, 2 units"):
        assert word in words
    with pytest.raises(DataError, match="says nothing of its quality"):
        session_quality_figure(whole_session())


def test_training_curves_have_the_numbers_of_the_log(whole_session):
    figure = training_figure([log_of()])
    assert [panel.get_title(loc="left") for panel in panels_of(figure)] == ["loss", "nll"]
    loss = panels_of(figure)[0]
    drawn = {(x, y) for line in loss.lines for x, y in zip(*line.get_data(), strict=True)}
    assert {(50, 20.0), (50, 24.0), (100, 12.0)} <= drawn
    assert any(line.get_gid() == BEYOND for line in loss.lines)
    assert "values beyond the edge" in caption_of(figure)
    with pytest.raises(DataError, match=r"nothing was written down .*metrics\.jsonl"):
        training_figure([TrainingLog("m", [])])


def test_training_curves_count_what_is_not_finite_and_name_runs_of_which_nothing_is_drawn():
    gone = TrainingLog("gone", [{"step": 10, "loss": float("nan"), "val_loss": float("inf")}])
    odd = log_of("odd")
    rows = [
        {**row, "loss": float("nan")} if row["step"] == 100 and "loss" in row else row for row in odd.rows
    ]
    figure = training_figure([log_of(), TrainingLog("odd", rows), gone], not_drawn=["lost"])
    said = caption_of(figure)
    assert "n = 2 runs:" in said
    assert "1 values that are not finite are left out" in said
    assert "nothing is drawn: lost, gone" in said
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["m", "odd"]
    with pytest.raises(DataError, match=r"gone: no value of .* is finite"):
        training_figure([gone])
    with pytest.raises(
        DataError, match=r"different units .*m in nats per trial; n in squared error per trial"
    ):
        training_figure([log_of(), TrainingLog("n", log_of().rows, unit="squared error per trial")])


def test_few_shot_curves_have_means_over_sessions_and_say_what_they_are_of():
    figure = few_shot_figure(few_shot_points(4), ceiling=0.8)
    assert "4 sessions, n = 3 seeds" in caption_of(figure)
    panel = panels_of(figure)[0]
    means = [
        line for line in panel.lines if line.get_label().startswith("_child") and len(line.get_xdata()) == 3
    ]
    assert any(np.allclose(line.get_ydata(), 0.1 * np.log([2, 8, 32]) + 0.03) for line in means)
    with pytest.raises(DataError, match="pipeline run align"):
        few_shot_figure([])


def test_a_score_beyond_the_edge_is_an_arrow_with_its_value():
    figure = check(summary_figure([summary_score(value=-7.25), summary_score(session="b", value=0.4)]))
    (panel,) = panels_of(figure)
    arrows = [line for line in panel.lines if line.get_gid() == BEYOND]
    assert all(line.get_xdata() == panel.get_xlim()[0] for line in arrows)
    assert "−7.25" in words_of(figure)


def test_alignments_are_left_out_of_a_crowd_and_counted():
    many = [summary_score(run=f"few-{n}", source="forecast") for n in range(20)]
    scores = [summary_score(), *many]
    shown, left_out = without_alignments(scores, {f"few-{n}" for n in range(20)})
    assert (shown, left_out) == (scores[:1], 20)
    assert "Not drawn: 20 scores" in caption_of(summary_figure(shown, left_out=left_out))
    assert without_alignments(many, {f"few-{n}" for n in range(20)}) == (many, 0)


def test_intervals_over_trials_are_in_the_table_and_hold_the_value(decoded):
    table = parts_table([decoded])
    value, low, high = (table[f"r2_over_time{end}"].values for end in ("", "_low", "_high"))
    known = np.isfinite(low)
    assert known.any()
    assert (low[known] <= high[known]).all()
    assert np.mean((low[known] <= value[known]) & (value[known] <= high[known])) > 0.9
    assert "95 % intervals over trials" in caption_of(parts_figure(table))
