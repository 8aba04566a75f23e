"""A paragraph of methods, from the recipes of the stores and the settings of the runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.schemas.recipe import IngestRecipe
    from nwb_latents.schemas.training import TrainSettings

_EVENTS = {
    "move_onset": "movement onset",
    "go_cue": "the go cue",
    "target_on": "target onset",
    "peak_time": "peak speed",
}


@dataclass(frozen=True)
class Described:
    """What is said of the sessions of one recipe.

    Attributes
    ----------
    dandisets
        Of each session, ``ID@VERSION``; None: a file.
    subjects
        Of each session.
    dropped_trials, n_trials, n_units
        Sums.
    """

    recipe: IngestRecipe
    recipe_id: str
    dandisets: tuple[str | None, ...]
    subjects: tuple[str, ...]
    n_trials: int
    n_units: int
    dropped_trials: int


@dataclass(frozen=True)
class Trained:
    """What is said of one run."""

    run: str
    model: str
    settings: TrainSettings
    n_sessions: int
    steps: int


def session_sentences(said: Described) -> str:
    """Return what was done to the recordings of one recipe.

    Parameters
    ----------
    said
        Its sessions.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> one = Described(IngestRecipe(), "20ms-0", ("000688@0.1",), ("C",), 100, 50, 20)
    >>> session_sentences(one)[:84]
    'We analysed 1 session of 1 subject (dandiset 000688, version 0.1; recipe 20ms-0), wi'
    """
    recipe = said.recipe
    origin = _origin(said.dandisets)
    n = len(said.dandisets)
    who = f"{_count(n, 'session')} of {_count(len(set(said.subjects)), 'subject')}"
    kernel = f"{recipe.smooth_kernel} kernel of {1e3 * recipe.smooth_sigma_s:g} ms standard deviation"
    words = [
        f"We analysed {who} ({origin}; recipe {said.recipe_id}),",
        f"with {said.n_units} units and {said.n_trials} trials in all.",
        f"Spikes were counted in bins of {1e3 * recipe.bin_size_s:g} ms;",
        f"firing rates are these counts smoothed with a {kernel}.".replace("gaussian", "Gaussian"),
        f"Units that fired less than {recipe.min_rate_hz:g} Hz were left out.",
    ]
    if recipe.chop.enabled:
        words.append(
            f"Continuous time was chopped into windows of {recipe.chop.length_s:g} s that overlap by "
            f"{recipe.chop.overlap_s:g} s."
        )
    else:
        start, stop = recipe.window_s
        event = _EVENTS.get(recipe.align_to, recipe.align_to.replace("_", " "))
        words.append(
            f"Trials were cut from {_ms(start)} to {_ms(stop)} ms around {event}; {said.dropped_trials} "
            "candidates were left out by the rules of the recipe."
        )
    split = recipe.split
    words.append(
        f"Trials were split into training, validation and test trials ({split.train:.0%}, {split.val:.0%}, "
        f"{split.test:.0%}; seed {split.seed}), stratified by condition, unless a file prescribes its split."
    )
    return " ".join(words)


def run_sentences(said: Trained) -> str:
    """Return how a run was trained.

    Parameters
    ----------
    said
        The run.
    """
    settings = said.settings
    main = ", ".join(
        f"{name} {getattr(settings.model, name, '')}" for name in type(settings.model).main_settings
    )
    paper = type(settings.model).paper
    words = f"Run {said.run}: {said.model.upper() if len(said.model) <= 5 else said.model}"
    words += f" ({paper})" if paper != "unpublished" else ""
    words += f", trained on {_count(said.n_sessions, 'session')} for {said.steps} steps (seed {settings.seed}"
    words += f", learning rate {settings.optimiser.lr:g}"
    return f"{words}; {main})." if main else f"{words})."


def decoding_sentences(protocols: Sequence[tuple[str, float | None, int | None, int | None, str]]) -> str:
    """Return how velocity was decoded, from what measurements say of it.

    Parameters
    ----------
    protocols
        Decoder, lag in ms, bins seen, bins forecast and the signal it was fitted on, of each way.

    Examples
    --------
    >>> decoding_sentences([("ridge", 100.0, None, None, "recorded rates")])
    'Hand velocity 100 ms after the activity was decoded with ridge (fitted on recorded rates of training
    trials).'
    """
    said = []
    for lag in dict.fromkeys(lag for _, lag, *_ in protocols):
        mine = [each for each in protocols if each[1] == lag]
        fits = dict.fromkeys(f"{name} (fitted on {_on_training(on)})" for name, _, _, _, on in mine if on)
        when = "" if lag is None else f" {lag:g} ms after the activity"
        said.append(f"Hand velocity{when} was decoded with {'; '.join(fits) or mine[0][0]}.")
        windows = dict.fromkeys((seen, ahead) for _, _, seen, ahead, _ in mine if seen is not None)
        said += [
            f"Forecasts were shown {seen} bins of a trial and go {ahead} bins on." for seen, ahead in windows
        ]
    return " ".join(said)


def _on_training(signal: str) -> str:
    return signal if "train" in signal else f"{signal} of training trials"


def _origin(dandisets: Sequence[str | None]) -> str:
    counted = Counter(dandisets)
    several = len(counted) > 1
    words = []
    for name, number in counted.items():
        what = "files of a folder" if name is None else "dandiset {}, version {}".format(*_parts(name))
        words.append(f"{number} of {what}" if several else what)
    return "; ".join(words)


def _parts(name: str) -> tuple[str, str]:
    dandiset, _, version = name.partition("@")
    return dandiset, version or "not known"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:g}".replace("-", "−")
