"""Where a catalog comes from, and the commands that make it again."""

from __future__ import annotations

import glob
import shlex
from collections import defaultdict
from typing import TYPE_CHECKING, get_args

import yaml

from nwb_latents.pipeline.evaluation.report.content import Command
from nwb_latents.pipeline.evaluation.report.flat_settings import unlike_default
from nwb_latents.pipeline.evaluation.report.number_table import finite
from nwb_latents.pipeline.sources.known_dandisets import known_dandisets, pin_key
from nwb_latents.pipeline.stages.explicit_recipe import recipe_yaml
from nwb_latents.pipeline.stages.trained_runs import FAILURES
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.pipeline.training.unseen_trials import UNSEEN
from nwb_latents.schemas.catalog import MAIN_ARCHIVE_URL
from nwb_latents.schemas.decoding import DecodeSource
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.registry import DECODERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from nwb_latents.pipeline.stages.report_asked import ReportWork
    from nwb_latents.schemas.catalog import DandisetEntry, RunEntry, SessionEntry

SHOWN = "catalog.yaml"


def dandisets_of(work: ReportWork) -> dict[str, tuple[DandisetEntry | None, int]]:
    """Return the dandisets the sessions come from: ``ID@VERSION`` → what is known of it, and their number."""
    try:
        known = known_dandisets(work.catalog.dandisets)
    except FAILURES:
        known = work.catalog.dandisets
    found: dict[str, tuple[DandisetEntry | None, int]] = {}
    for entry in work.entries.values():
        if entry.dandiset:
            key = pin_key(entry.archive or MAIN_ARCHIVE_URL, entry.dandiset.partition("@")[0])
            found[entry.dandiset] = (known.get(key), found.get(entry.dandiset, (None, 0))[1] + 1)
    return found


def packages_of(work: ReportWork) -> tuple[tuple[str, str], ...]:
    """Return the versions of the packages that made the stores and runs."""
    versions: dict[str, dict[str, None]] = defaultdict(dict)
    said = [each.provenance.packages for each in work.attributes.values()]
    said += [each.packages for each in work.configs.values()]
    for packages in said:
        for name, version in packages.items():
            versions[name][version] = None
    return tuple((name, ", ".join(each)) for name, each in sorted(versions.items()))


def commands_of(work: ReportWork) -> tuple[Command, ...]:
    """Return the commands that make the stores, the runs and the numbers again.

    Every word that comes from data is quoted for a shell. Paths of recordings are not kept: ``FOLDER`` stands
    for where they lie.
    """
    return (*_ingests(work), *_trainings(work), *_measurings(work))


def _ingests(work: ReportWork) -> list[Command]:
    groups: dict[tuple[str, str, str], list[tuple[str, SessionEntry]]] = defaultdict(list)
    for key, entry in work.entries.items():
        groups[entry.recipe_id, entry.dandiset or "", entry.archive or ""].append((key, entry))
    made = []
    for (recipe_id, dandiset, archive), entries in groups.items():
        origin = ["--dandiset", dandiset] if dandiset else ["--path", "FOLDER"]
        if archive and archive != MAIN_ARCHIVE_URL:
            origin += ["--instance", archive]
        known = [work.attributes[key] for key, _ in entries if key in work.attributes]
        file = recipe_yaml(known[0].recipe) if known and known[0].recipe != IngestRecipe() else ""
        name = f"recipe-{path_name(recipe_id)}.yaml"
        words = ["pipeline", "run", "ingest", *origin, *(["--recipe", name] if file else [])]
        of = dandiset or "files of a folder (put in where they lie)"
        what = f"Stores of recipe {recipe_id}, from {of}: {len(entries)} sessions"
        names = [entry.session for _, entry in entries]
        made.append(Command(what, _line([*words, *_sessions(names)]), name if file else "", file))
    return made


def _trainings(work: ReportWork) -> list[Command]:
    made = []
    for run in work.runs:
        config = work.configs.get(run.run)
        if config is None:
            continue
        settings = unlike_default(config.settings)
        file = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""
        name = f"{path_name(run.run)}.yaml"
        if run.imported:
            made.append(
                Command(
                    f"Run {run.run}: imported", f"pipeline import lfads-checkpoint --help  # {_comment(run)}"
                )
            )
            continue
        if run.alignment:
            words = ["pipeline", "run", "align", "--run", run.alignment.parent]
            words += ["--trials", str(run.alignment.n_trials), "--seed", str(run.alignment.seed)]
            words += ["--from-scratch"] if run.alignment.from_scratch else []
            made.append(Command(f"Run {run.run}: aligned", _line([*words, *_sessions(run.sessions)])))
            continue
        words = [
            "pipeline",
            "run",
            "train",
            "--model",
            run.model,
            "--run-name",
            run.run,
            "--recipe-id",
            run.recipe_id,
        ]
        words += ["--config", name] if file else []
        what = f"Run {run.run}: {run.model}, {len(run.sessions)} sessions"
        if config.sweep:
            what += f"; its settings were chosen by a search ({config.sweep}) and stand in the file"
        made.append(Command(what, _line([*words, *_sessions(run.sessions)]), name if file else "", file))
    return made


def _measurings(work: ReportWork) -> list[Command]:
    table = work.table[work.table["stage"].isin(["decode", "forecast", "evaluate"])]
    made = []
    alike = ["stage", "recipe_id", "lag_ms"]
    for (stage, recipe_id, lag), rows in table.groupby(alike, dropna=False, sort=False, observed=True):
        runs = list(dict.fromkeys(rows["run"].dropna()))
        if finite(lag) is None:
            # Numbers that no lag goes into come with those of the same command that one does.
            continue
        words = ["pipeline", "run", str(stage), "--recipe-id", str(recipe_id), "--lag-ms", f"{lag:g}"]
        for run in runs:
            words += ["--run", str(run)]
        words += _protocol(str(stage), rows)
        windows = rows[["seen_bins", "bins"]].dropna().drop_duplicates()
        if len(windows) == 1:
            seen, ahead = (int(value) for value in windows.iloc[0])
            flags = ["--seen-bins", str(seen), "--bins", str(ahead)]
            sets = ["--set", f"forecast.seen_bins={seen}", "--set", f"forecast.bins={ahead}"]
            words += flags if stage == "forecast" else sets
        what = f"Numbers of {stage}, {lag:g} ms after the activity"
        if len(windows) > 1:
            what += f", of {len(windows)} windows of forecasts: one command each, with its own window"
        what += ". Settings that numbers do not say, such as seeds, folds and penalties, are as by default"
        made.append(Command(what, _line(words)))
    return made


def _protocol(stage: str, rows: pd.DataFrame) -> list[str]:
    """Return the options that numbers were measured with, as far as they say."""
    words = []
    sources = set(rows["source"].dropna())
    if stage == "decode":
        signals = [each for each in get_args(DecodeSource) if each in sources]
        decoders = [name for name in dict.fromkeys(rows["decoder"].dropna()) if name in DECODERS]
        words += ["--source", ",".join(signals)] if signals else []
        words += ["--decoder", ",".join(decoders)] if decoders else []
    if stage == "evaluate":
        baselines = dict.fromkeys(rows["source"][rows["is_baseline"].astype(bool)])
        for name in baselines or ["none"]:
            words += ["--baseline", str(name)]
    if "ensemble" in sources:
        words.append("--ensemble")
    if rows["split"].astype(str).str.startswith(UNSEEN).any():
        words.append("--unseen-trials")
    return words


def _sessions(names: Iterable[str]) -> list[str]:
    return [word for name in names for word in ("--session", glob.escape(name))]


def _comment(run: RunEntry) -> str:
    return "" if run.imported is None else " ".join(f"{run.imported.program}: {run.imported.source}".split())


def _line(words: Sequence[str]) -> str:
    r"""Return words as a shell reads them, folded at options where they are long.

    Examples
    --------
    >>> print(_line(["pipeline", "run", "train", "--session", "a b"]))
    pipeline run train --session 'a b' --catalog catalog.yaml
    """
    quoted = [shlex.quote(word) for word in (*words, "--catalog", SHOWN)]
    lines, line = [], ""
    for word in quoted:
        if word.startswith("--") and len(line) > 90:
            lines.append(line)
            line = "    "
        line += (" " if line.strip() else "") + word
    return " \\\n".join([*lines, line])
