"""Pages of reports made of nothing, as small or as large as a test wants them."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from nwb_latents.pipeline.evaluation.report.content import (
    BoardCellText,
    BoardPart,
    Command,
    FailurePart,
    Link,
    Missing,
    Page,
    RunPart,
    SessionPart,
)
from nwb_latents.pipeline.evaluation.report.heat_maps import HeatCell, HeatMap
from nwb_latents.pipeline.evaluation.report.lights import CHECKS, Light
from nwb_latents.pipeline.evaluation.report.packing import numbers

HOSTILE = (
    '</script><img src=x onerror="window.hacked=1">',
    "<b>bold</b>&amp;",
    "[red]rich[/red]",
    "$x_{$",
    "\"'><svg onload=window.hacked=1>",
    '<a href="javascript:window.hacked=1">x</a>',
    "{{ 7 * 7 }}",
    "`$(touch hacked)`; rm -rf 'x",
)


class Elements(HTMLParser):
    """Elements, attributes and text of a page, as a browser sees them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_data(self, data):
        self.text.append(data)


def session_data(name, *, n_trials=24, n_units=60, n_bins=36, n_conditions=8, seed=0):
    """Return drawings of a session of noise: what a session of that size takes at most."""
    rng = np.random.default_rng(seed)
    time = (np.arange(n_bins) - 13) * 0.02
    conditions = [f"{45 * i} deg {name}" for i in range(n_conditions)]
    return {
        "session": name,
        "time": numbers(time, digits=4),
        "bin_ms": 20.0,
        "axes": ["x", "y"],
        "position_unit": "cm",
        "velocity_unit": "cm/s",
        "units": [str(i) for i in range(n_units)],
        "unit_rates": numbers(np.sort(rng.gamma(2, 8, n_units + 5))[::-1]),
        "unit_names": [str(i) for i in range(n_units + 5)],
        "unit_areas": [name] * (n_units + 5),
        "conditions": conditions,
        "psth": numbers(rng.gamma(4, 5, (n_conditions, n_units, n_bins)), digits=1),
        "psth_trials": [18] * n_conditions,
        "trials": [
            {
                "trial": f"{7 * i}",
                "condition": i % n_conditions,
                "split": "test",
                "onset": "ok",
                "marks": {"go cue": -0.3, "movement onset": 0.004, "peak speed": 0.2},
                "counts": numbers(rng.poisson(0.3, (n_units, n_bins)), digits=0),
                "rates": numbers(rng.gamma(4, 5, (n_units, n_bins)), digits=0),
                "position": numbers(rng.normal(size=(2, n_bins)).cumsum(axis=1)),
                "velocity": numbers(rng.normal(size=(2, n_bins)) * 9, digits=1),
            }
            for i in range(n_trials)
        ],
        "left_out": [f"{n_trials} of 200 trials can be chosen.", name],
    }


def run_data(sessions, *, n_trials=24, n_bins=36, name="run", seed=0):
    """Return drawings of a run of noise."""
    rng = np.random.default_rng(seed)
    conditions = [f"{90 * i} deg {name}" for i in range(4)]
    time = numbers((np.arange(n_bins) - 13) * 0.02, digits=4)

    def signal(label, first):
        size = (n_trials, 2, n_bins - first)
        return {
            "source": label,
            "label": f"{label} {name}",
            "first_bin": first,
            "velocity": numbers(rng.normal(size=size) * 9, digits=1),
            "half_width": numbers(np.ones((2, n_bins - first)), digits=1) if first else None,
        }

    of_each = {
        session: {
            "latents": {
                "conditions": conditions,
                "share": [0.5, 0.3, 0.1],
                "trials": numbers(rng.normal(size=(n_trials, 3, n_bins))),
                "trial_conditions": [i % 4 for i in range(n_trials)],
                "means": numbers(rng.normal(size=(4, 3, n_bins))),
                "left_out": [name],
            },
            "decoded": {
                "time": time,
                "lag_ms": 100.0,
                "axes": ["x", "y"],
                "velocity_unit": "cm/s",
                "conditions": conditions,
                "trials": [str(3 * i) for i in range(n_trials)],
                "trial_conditions": [i % 4 for i in range(n_trials)],
                "recorded": numbers(rng.normal(size=(n_trials, 2, n_bins)) * 9, digits=1),
                "signals": [signal("rates", 0), signal("forecast", 13)],
                "left_out": [],
            },
            "parts": None,
            "said": [f"Velocity decoded from recorded rates: R² 0.800 ({name})."],
        }
        for session in sessions
    }
    curve = [[10 * i, float(f"{3000 / (i + 1):.5g}")] for i in range(1, 300)]
    return {
        "losses": {"curves": {"loss": curve, "val_loss": curve[::10]}, "left_out": []},
        "sessions": of_each,
        "embedding": {
            "sessions": list(sessions),
            "mean": numbers(rng.normal(size=(len(sessions), 2))),
            "sd": numbers(np.ones((len(sessions), 2))),
            "left_out": [name],
        },
        "left_out": [],
    }


def number_data(sessions, runs, *, name="velocity_r2", value=0.8123456789, stale=()):
    rows = [(session, run) for session in sessions for run in runs]
    n = len(rows)
    values = [value + 0.001 * i for i in range(n)]
    return {
        "rows": n,
        "of": n,
        "session": [s for s, _ in rows],
        "run": [r for _, r in rows],
        "recipe_id": ["20ms-0"] * n,
        "name": [name] * n,
        "source": ["reconstruction"] * n,
        "stage": ["evaluate"] * n,
        "split": ["test"] * n,
        "unit": ["1"] * n,
        "units": ["all"] * n,
        "decoder": ["ridge"] * n,
        "fitted_on": ["recorded rates"] * n,
        "reason": [""] * n,
        "time": ["2026-01-01"] * n,
        "definition": ["r2_uniform"] * n,
        "model": ["mdssm"] * n,
        "value": values,
        "low": [v - 0.1 for v in values],
        "high": [v + 0.1 for v in values],
        "level": [0.95] * n,
        "p_value": [None] * n,
        "lag_ms": [100.0] * n,
        "seen_bins": [None] * n,
        "bins": [None] * n,
        "step": [None] * n,
        "n_trials": [29] * n,
        "stale": ["its store was made anew" if s in stale else "" for s, _ in rows],
    }


def make_page(n_sessions=3, n_runs=2, *, hostile=False, arrays=True, n_trials=24, run_sessions=1):
    """Return a page of sessions and runs of noise.

    Parameters
    ----------
    n_sessions, n_runs
        How many.
    hostile
        Whether every name and sentence is one of `HOSTILE`.
    arrays
        Whether there are drawings.
    n_trials
        Trials to choose from.
    run_sessions
        Sessions each run draws.
    """

    def text(i, plain):
        return f"{HOSTILE[i % len(HOSTILE)]} {i}" if hostile else plain

    names = [text(i, f"sub-A_ses-{i:02d}") for i in range(n_sessions)]
    runs = [text(i + 1, f"mdssm-{i}") for i in range(n_runs)]
    word = text(0, "word")
    sessions = tuple(
        SessionPart(
            key=f"{name}@20ms-0",
            session=name,
            recipe_id="20ms-0",
            n_trials=100 + i,
            n_units=50 + i,
            facts={"subject": text(i, "A"), word: text(i, "value")},
            lights=tuple(
                Light(
                    check,
                    "look" if check == "onsets" and i == 1 else "ok",
                    text(i, "fine"),
                    text(i, "as expected"),
                )
                for check in CHECKS
            ),
            dropped_units={text(2, "low_rate"): i},
            dropped_trials={text(3, "no_onset"): 2 * i, "no_success": 3},
            flags=(text(i, "doubtful_onsets"),) if i == 1 else (),
            warnings=(text(i, "odd"),),
            choices=((text(i, "position"), text(i, "/a"), text(i, "a name")),),
            links=(Link(text(i, "The file"), "https://dandiarchive.org/dandiset/000688"),),
            arrays=session_data(name, seed=i, n_trials=n_trials) if arrays else None,
        )
        for i, name in enumerate(names)
    )
    parts = tuple(
        RunPart(
            run=run,
            model=text(i, "mdssm"),
            sessions=tuple(names),
            recipe_id="20ms-0",
            facts={"steps": "100", "losses": text(i, "loss 3")},
            stale="" if i else text(i, "its store was made anew"),
            settings={"seed": str(i), "model.rank": "4", text(i, "model.x"): text(i, "1")},
            missing=(Missing(text(i, "What it makes"), text(i, "why"), text(i, "do this")),) if i else (),
            arrays=run_data(names[:run_sessions], name=word, seed=i) if arrays else None,
        )
        for i, run in enumerate(runs)
    )
    rows = tuple(
        (
            BoardCellText(run),
            BoardCellText("1", 1.0),
            BoardCellText(f"0.{5 + i}00 [0.4, 0.9]", 0.5 + 0.1 * i, i == 1),
        )
        for i, run in enumerate(runs)
    )
    cells = tuple(
        (n, tuple(HeatCell(f"0.{i}{k}", i / 10 + k / 100, 0.5, word) for k in range(n_runs)))
        for i, n in enumerate(names)
    )
    return Page(
        catalog=text(0, "catalog.yaml"),
        made="2026-01-01 00:00:00",
        program="0.1.0",
        sessions=sessions,
        runs=parts,
        dandisets=(
            (text(1, "000688@0.1"), text(2, "Reaching"), text(3, "CC-BY-4.0"), n_sessions, text(4, "a DOI")),
        ),
        packages=(("numpy", text(0, "2.0")),),
        commands=(
            Command(
                text(0, "Stores"), text(7, "pipeline run ingest"), text(6, "recipe.yaml"), text(5, "a: 1")
            ),
        ),
        boards=(
            BoardPart(
                text(0, "files"),
                (text(1, "ridge"),),
                ("model", "seeds", text(2, "velocity")),
                rows,
                (text(3, "more is better"),),
            ),
        ),
        heat_maps=(
            HeatMap(text(1, "velocity_r2"), text(2, "evaluate"), tuple(runs), cells, 0.0, 1.0, text(3, "")),
        ),
        stale=text(1, "2 of 9 measurements are stale"),
        numbers=number_data(names, runs, name=text(0, "velocity_r2"), stale=names[-1:]),
        failures=(
            FailurePart(
                "ingest",
                [*names, "lost"][0],
                text(1, "a.nwb"),
                "2026-01-01T00:00:00",
                2,
                "data",
                text(2, "odd"),
                text(3, "Mend it."),
            ),
        ),
        methods=(text(0, "We analysed."),),
        bibtex=text(1, "@misc{a}"),
        missing=(Missing(text(0, "A store"), text(1, "is gone"), text(2, "ingest again")),),
    )
