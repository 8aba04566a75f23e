"""Settings and words that somebody typed, on the command line and in files."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustness import catalogs, forked
from robustness.base import RUN
from robustness.verdict import (
    BAD_DATA,
    DONE,
    MACHINE,
    SOME_FAILED,
    USAGE,
    Mutation,
    Verdict,
    judge,
    sentences_of_error,
)
from robustness.work import no_pictures

if TYPE_CHECKING:
    import numpy as np

    from robustness.base import Base

CODES = frozenset({DONE, USAGE, SOME_FAILED, BAD_DATA, MACHINE})
STAGES: dict[str, tuple[str, ...]] = {
    "ingest": ("run", "ingest", "--path", "nwb", "--json"),
    "train": ("run", "train", "--config", "tiny.yaml", "--run-name", "s", "--json"),
    "decode": ("run", "decode", "--source", "rates", "--json"),
    "forecast": ("run", "forecast", "--run", RUN, "--json"),
    "evaluate": ("run", "evaluate", "--run", RUN, "--json"),
    "export": ("export", "lfads", "--json"),
    "simulate": ("simulate", "sim", "--set", "n_subjects=1", "--set", "n_sessions=1", "--json"),
    "embed": ("run", "embed", "--run", RUN, "--json"),
}
NUMBER, COUNT, TRUTH, CHOICE, NUMBERS = "number", "count", "truth", "choice", "numbers"
KEYS: dict[str, dict[str, str]] = {
    "ingest": {
        "bin_size_s": NUMBER,
        "smooth_sigma_s": NUMBER,
        "smooth_truncate": NUMBER,
        "min_rate_hz": NUMBER,
        "min_observed": NUMBER,
        "units.min_presence": NUMBER,
        "units.presence_s": NUMBER,
        "units.order": CHOICE,
        "align_to": CHOICE,
        "window_s": NUMBERS,
        "jitter.max_s": NUMBER,
        "jitter.seed": COUNT,
        "onset.method": CHOICE,
        "onset.fraction": NUMBER,
        "onset.smooth_s": NUMBER,
        "onset.extrapolate": TRUTH,
        "onset.min_rt_s": NUMBER,
        "trials.source": CHOICE,
        "trials.success_only": TRUTH,
        "trials.guard_s": NUMBER,
        "trials.max_duration_s": NUMBER,
        "split.seed": COUNT,
        "split.train": NUMBER,
        "split.val": NUMBER,
        "chop.enabled": TRUTH,
        "chop.length_s": NUMBER,
    },
    "train": {
        "max_steps": COUNT,
        "validate_every": COUNT,
        "checkpoint_every": COUNT,
        "patience": COUNT,
        "seed": COUNT,
        "optimiser.lr": NUMBER,
        "optimiser.final_lr": NUMBER,
        "optimiser.weight_decay": NUMBER,
        "optimiser.clip_norm": NUMBER,
        "batch.trials_per_session": COUNT,
        "batch.sessions_per_step": COUNT,
        "signal": CHOICE,
        "standardise": TRUTH,
        "co_smoothing": TRUTH,
        "heldout_fraction": NUMBER,
        "forward_ms": NUMBER,
        "masks.coordinated_dropout": NUMBER,
        "masks.spike_jitter": COUNT,
        "device": CHOICE,
        "devices": COUNT,
        "precision": CHOICE,
        "model.latent_dim": COUNT,
        "model.rank": COUNT,
        "model.dynamics_width": COUNT,
    },
    "decode": {
        "lag_ms": NUMBER,
        "decoders": CHOICE,
        "history_bins": COUNT,
        "alphas": NUMBERS,
        "folds": COUNT,
        "n_permutations": COUNT,
        "seed": COUNT,
        "lag_scan_ms": NUMBERS,
        "transfer": TRUTH,
    },
    "forecast": {"seen_bins": COUNT, "bins": COUNT},
    "evaluate": {"lag_ms": NUMBER, "seed": COUNT, "folds": COUNT},
    "export": {
        "forward_ms": NUMBER,
        "heldout_fraction": NUMBER,
        "seed": COUNT,
        "ext_input": CHOICE,
        "split": CHOICE,
    },
    "simulate": {
        "n_units": NUMBERS,
        "n_trials": COUNT,
        "n_targets": COUNT,
        "failure_rate": NUMBER,
        "mean_rate_hz": NUMBER,
        "silent_units": COUNT,
        "waveforms": TRUTH,
        "layout": CHOICE,
        "seed": COUNT,
        "kinematics_rate_hz": NUMBER,
    },
    "embed": {
        "grid_size": COUNT,
        "spacing": NUMBER,
        "line_size": COUNT,
        "flow_points": COUNT,
        "lag_ms": NUMBER,
    },
}
"""Settings of the stages and of what kind they are, as their help says."""

NEVER = (
    ".nan",
    "nan",
    "2020-01-01",
    "[[1]]",
    "{a: 1}",
    "x",
    "[/red]",
    "$x_{$",
    "\udcff",
    "é中",
    "!!set {a}",
    "*a",
    "&a",
    "[",
    "'",
    "%",
    "@x",
    "{",
    "? ",
    "\t",
    "a: b: c",
    "a\nb",
    "\x1b[31m",
)
"""What no setting of the table can be."""

WRONG: dict[str, tuple[str, ...]] = {
    NUMBER: (
        ".inf",
        "-.inf",
        "1e400",
        "-1e400",
        "true",
        "[]",
        "1.5.2",
        "1,5",
        "5 ms",
        "1:30",
        "9" * 5000,
        "1e300",
        "-1e300",
    ),
    COUNT: (".inf", "1e400", "true", "1.5", "[]", "-5", "1e30", "9" * 30, "9" * 5000, "1:30", "010"),
    TRUTH: ("2", "-1", "maybe", "[]", "1.5", "9" * 50),
    CHOICE: ("5", "nonsense", "", "true", "[1]", "x" * 5000),
    NUMBERS: ("true", "[.nan]", "[.inf, 1]", "[x]", "[[1], [2]]", "[1e400]", "5 ms", "{}", "[true]"),
}
MAYBE: dict[str, tuple[str, ...]] = {
    NUMBER: (
        "0",
        "1_0",
        "-1",
        "1e-9",
        "0.001",
        "0.5",
        "1",
        "3",
        "100",
        "1e6",
        "null",
        "-0.0",
        ".5",
        "+1",
        "1e3",
    ),
    COUNT: ("0x1F", "1_0", "1", "2", "3", "7", "20", "null", "1e1", "5.0"),
    TRUTH: ("true", "false", "yes", "off", "null", "1", "0"),
    CHOICE: ("auto", "null", "file", "none", "~"),
    NUMBERS: (
        "[]",
        "[1]",
        "[0, 0]",
        "[-0.2, 0.4]",
        "[0.4, -0.2]",
        "[1, 2, 3]",
        "null",
        "[0.1, 10]",
        "[3, 5]",
    ),
}
WORDS: tuple[tuple[str | bytes, ...], ...] = (
    *(tuple(shlex.split(line)) for line in (Path(__file__).parent / "words.txt").read_text().splitlines()),
    ("run", "decode", b"--run", b"\xff\xfe"),
    ("run", "ingest", b"--path", b"\xff.nwb"),
)
"""Command lines that make no sense, or little."""

ONLY_ODD = "another setting gives another result"


def _setting(rng: np.random.Generator, *, without: str = "") -> tuple[str, str, str, bool]:
    stage = str(rng.choice([each for each in KEYS if each != without]))
    key = str(rng.choice(list(KEYS[stage])))
    kind = KEYS[stage][key]
    draw = rng.random()
    values = NEVER if draw < 0.3 else WRONG[kind] if draw < 0.7 else MAYBE[kind]
    value = values[int(rng.integers(len(values)))]
    return stage, key, value, draw < 0.7


def by_set(rng: np.random.Generator, folder: Path) -> tuple[tuple[Any, ...], Mutation]:
    stage, key, value, is_wrong = _setting(rng)
    words = (*STAGES[stage], "--set", f"{key}={value}")
    # On a command line zeros at the beginning say nothing; in a file YAML makes 8 of it.
    is_wrong = is_wrong and value != "010"
    return words, Mutation(
        f"{key}={value[:40]!r}", (key.rpartition(".")[2],), harmless=ONLY_ODD, refused=is_wrong
    )


def by_config(rng: np.random.Generator, folder: Path) -> tuple[tuple[Any, ...], Mutation]:
    # Without its file of settings a training is long.
    stage, key, value, is_wrong = _setting(rng, without="train")
    depth = key.split(".")
    text = "".join(
        f"{'  ' * k}{part}:{chr(10) if k < len(depth) - 1 else ' '}" for k, part in enumerate(depth)
    )
    (folder / "odd.yaml").write_bytes(os.fsencode(f"{text}{value}\n"))
    words = tuple(word for word in STAGES[stage] if word not in {"--config", "tiny.yaml"})
    names = (key.rpartition(".")[2], "odd.yaml")
    # Written into a file these are no value of the key, and may be nothing at all.
    is_wrong = is_wrong and value not in {"", "? ", "\t", "&a", "a\nb"}
    return (*words, "--config", "odd.yaml"), Mutation(
        f"{key}: {value[:40]!r}", names, harmless=ONLY_ODD, refused=is_wrong
    )


def unknown(rng: np.random.Generator, folder: Path) -> tuple[tuple[Any, ...], Mutation]:
    stage, key, _, _ = _setting(rng)
    odd = str(
        rng.choice(
            [
                f"{key}_",
                f"{key}.x",
                key.upper(),
                key.replace("_", "-") + "-",
                "[/red]",
                "$x_{$",
                "é",
                "2020-01-01",
                "a" * 3000,
                ".".join("a" * 300),
            ]
        )
    )
    return (*STAGES[stage], "--set", f"{odd}=1"), Mutation(f"{odd[:40]}=1", (odd.strip()[:3],), refused=True)


def config(rng: np.random.Generator, folder: Path) -> tuple[tuple[Any, ...], Mutation]:
    """Give a file of settings that is something else."""
    stage = str(rng.choice([each for each in STAGES if each != "train"]))
    kind = str(rng.choice([*catalogs.TEXTS, "UTF-16", "noise", "gone", "a folder"]))
    path = folder / "odd.yaml"
    if kind == "a folder":
        path.mkdir()
    elif kind != "gone":
        data = {"UTF-16": "seed: 1\n".encode("utf-16"), "noise": rng.bytes(500)}
        path.write_bytes(data[kind] if kind in data else catalogs.TEXTS[kind].encode())
    nothing = {"empty", "blank", "null", "a comment"}
    words = tuple(word for word in STAGES[stage] if word not in {"--config", "tiny.yaml"})
    return (*words, "--config", "odd.yaml"), Mutation(
        f"settings: {kind}",
        ("odd.yaml",),
        harmless="no settings" if kind in nothing else "",
        refused=kind not in nothing,
    )


def words(rng: np.random.Generator, folder: Path) -> tuple[tuple[Any, ...], Mutation]:
    chosen = WORDS[int(rng.integers(len(WORDS)))]
    return chosen, Mutation(f"{chosen}", harmless="the words may mean something")


MUTATORS = {"by_set": by_set, "by_config": by_config, "unknown": unknown, "config": config, "words": words}
DRAWN = (*MUTATORS, *(["by_set"] * 4), "by_config", "by_config", "words", "words")


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Type something odd."""
    folder = base.copied(trial)
    line, mutation = MUTATORS[mutator](rng, folder)
    is_program = bool(rng.random() < base.share_as_program)
    ended = forked.run(line, folder, prepare=lambda: (no_pictures(), impatient()), as_program=is_program)
    shown = " ".join(
        os.fsencode(word).decode("utf-8", "backslashreplace") if isinstance(word, str) else repr(word)
        for word in line
    )
    return judge(
        Verdict(trial, command=shown[:300]),
        ended,
        mutation,
        new=[*sorted(sentences_of_error(ended)), ended.out[-2000:]] if ended.code else [],
        difference=None if ended.code else {"another setting"},
        allowed=CODES,
    )


def impatient() -> None:
    """Let the program wait for servers less long than a person would."""
    import tenacity.nap

    from nwb_latents.pipeline.sources import retry_policy

    retry_policy.RetryPolicy.__init__.__defaults__ = (4, 0.01, 2.0, 2.0, 1000.0)
    sleep = tenacity.nap.time.sleep
    tenacity.nap.sleep = lambda seconds: sleep(min(seconds, 0.05))
    os.environ.update({"DANDI_NO_ET": "1", "NO_PROXY": "127.0.0.1"})
