"""Every option of a command that works reaches its stage, with its own value and under its own name."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from nwb_latents.pipeline.cli import run
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.stages.session_tasks import Where
from nwb_latents.schemas.cluster import ClusterSettings
from nwb_latents.schemas.pictures import PictureSettings

STAGES = "nwb_latents.pipeline.stages"
CATALOG = "some/where.yaml"
SPEAKING = {"config", "settings", "json_lines", "quiet", "verbose"}
"""Options of all commands, which other tests are about."""


class ReachedError(Exception):
    """A stage was called, and ends here."""

    def __init__(self, given):
        self.given = given


def recorder(function):
    """Return a function that says how it was called, in place of a stage."""
    signature = inspect.signature(function)

    def call(*words, **named):
        raise ReachedError(signature.bind(*words, **named).arguments)

    return call


def reached(monkeypatch, module, name, words, *, names_catalog=True):
    """Return what a stage is given by a command."""
    found = importlib.import_module(module)
    monkeypatch.setattr(found, name, recorder(getattr(found, name)))
    done = CliRunner().invoke(app, [*words, *(["--catalog", CATALOG] if names_catalog else [])])
    assert isinstance(done.exception, ReachedError), (words, done.output, done.exception)
    given = dict(done.exception.given)
    if names_catalog:
        assert str(given.pop("catalog_path")) == CATALOG
    given.pop("report", None)
    return given


def flat(settings, names):
    """Return settings by their dotted names."""
    found = {}
    for name in names:
        value = settings
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = value
    return found


PLACE = "--cluster local:2 --shard 1/4 --retry-failed"
AT = {"where": Where("local:2", ClusterSettings(), Shard(1, 4), retry_failed=True)}
SELECTION = "--session a* --session b --recipe-id 20ms-x"
SELECTED = {"sessions": ("a*", "b"), "recipe_id": "20ms-x"}
PICTURES = "--format png,svg --format pdf --dpi 600"
DRAWN = {"pictures": PictureSettings(formats=("png", "svg", "pdf"), dpi=600)}
RUNS = f"{SELECTION} --run m --run n --device cpu --unseen-trials"
OF_RUNS = {**SELECTED, "runs": ("m", "n"), "device": "cpu", "unseen_trials": True}

COMMANDS = {
    "run train": (
        "train",
        (f"{SELECTION} --model mdssm --run-name r --seed 7 --max-steps 33 --device cpu --devices 2 "
         "--precision 64-true --seeds 1 --force"),
        {**SELECTED, "run_name": "r", "force": True, "resume": None},
        {"model.name": "mdssm", "seed": 7, "max_steps": 33, "device": "cpu", "devices": 2,
         "precision": "64-true"},
    ),
    "run sweep": (
        "sweep",
        (f"{SELECTION} --model lfads --strategy random --run-name r --population 7 --generations 3 "
         "--generation-steps 11 --workers 2 --seed 9 --device cpu --ray-address 10.0.0.1:6379 --force "
         f"{PICTURES}"),
        {**SELECTED, **DRAWN, "run_name": "r", "force": True, "ray_address": "10.0.0.1:6379"},
        {"train.model.name": "lfads", "strategy": "random", "population": 7, "generations": 3,
         "generation_steps": 11, "workers": 2, "train.seed": 9, "train.device": "cpu"},
    ),
    "run decode": (
        "decode",
        (f"{RUNS} {PLACE} --lag-ms 60 --source rates,forecast --decoder wiener,ridge --lag-scan 0:60:20 "
         f"--transfer --ensemble --force {PICTURES}"),
        {**OF_RUNS, **AT, **DRAWN, "force": True},
        {"lag_ms": 60.0, "sources": ("rates", "forecast"), "decoders": ("wiener", "ridge"),
         "lag_scan_ms": (0.0, 20.0, 40.0, 60.0), "transfer": True,
         "forecast.ensemble": ("trial_factors",)},
    ),
    "run forecast": (
        "forecast",
        f"{RUNS} {PLACE} --seen-bins 17 --bins 4 --lag-ms 60 --ensemble --leaky --force {PICTURES}",
        {**OF_RUNS, **AT, **DRAWN, "force": True},
        {"seen_bins": 17, "bins": 4, "lag_ms": 60.0, "ensemble": ("trial_factors",), "leaky": True},
    ),
    "run evaluate": (
        "evaluate",
        (f"{RUNS} {PLACE} --metric co_bps --baseline smoothing --phase val --lag-ms 60 --truth T --force "
         "--ensemble --held-out-days 2"),
        {**OF_RUNS, **AT, "truth": Path("T"), "force": True},
        {"metrics": ("co_bps",), "baselines": ("smoothing",), "phase": "val", "lag_ms": 60.0,
         "held_out_days": 2, "forecast.ensemble": ("trial_factors",)},
    ),
    "run embed": (
        "embed",
        (f"--run m --session a* --session b --to c --colour-by task --device cpu --unseen-trials {PLACE} "
         f"--force {PICTURES}"),
        {"run": "m", "sessions": ("a*", "b"), "towards": "c", "device": "cpu", "unseen_trials": True,
         "force": True, **AT, **DRAWN},
        {"colour_by": ("task",)},
    ),
    "run align": (
        "align",
        ("--run m --session a* --session b --trials 1,8 --seeds 3 --from-scratch --no-score --seed 5 "
         f"--device cpu {PLACE} --force"),
        {"run": "m", "sessions": ("a*", "b"), "trials": [1, 8], "seeds": 3, "from_scratch": True,
         "force": True, **AT},
        {"seed": 5, "device": "cpu"},
    ),
    "run stream": (
        "stream",
        ("m --session a --trial 4 --trial 2 --split val --no-rates --velocity --decoder wiener --lag-ms 60 "
         "--unseen-trials --force"),
        {"run": "m", "session": "a", "trials": [4, 2], "split": "val", "unseen_trials": True, "force": True,
         "lines": None},
        {"rates": False, "velocity": True, "decoder": "wiener", "lag_ms": 60.0},
    ),
    "run ingest": (
        "ingest",
        ("--path X --session a* --subject M --task CO --limit 3 --exclude b --exclude c "
         "--session-id {folder} --shard 1/4 --retry-failed --auto --stores E --cluster local:2 --dry-run "
         "--memory-gb 2.5 --force"),
        {"cluster": "local:2", "stores": "E", "mode": "auto", "retry_failed": True, "dry_run": True,
         "force": True, "session_id": "{folder}", "memory_gb": 2.5},
        {},
    ),
    "run recut": (
        "recut",
        f"{SELECTION} --set align_to=go_cue --force",
        {**SELECTED, "changes": ["align_to=go_cue"], "force": True},
        {},
    ),
    "run report": (
        "report_page",
        "--session a* --session b --run m --run n --out r.html --device cpu",
        {"sessions": ("a*", "b"), "runs": ("m", "n"), "out": Path("r.html"), "device": "cpu"},
        {},
    ),
    "leaderboard": (
        "leaderboard",
        f"{SELECTION} --by velocity_r2:forecast --phase val --output b.md",
        {**SELECTED, "ranked_by": "velocity_r2:forecast", "phase": "val", "output": Path("b.md")},
        {},
    ),
    "plot": (
        "plot",
        (f"raster {SELECTION} --run m --run n --unit 3 --unit 5 --split test --lag-ms 60 --device cpu "
         f"{PICTURES}"),
        {**SELECTED, **DRAWN, "kind": "raster", "runs": ("m", "n"), "device": "cpu"},
        {"units": (3, 5), "split": "test", "lag_ms": 60.0},
    ),
    "export nlb": (
        "export",
        f"{SELECTION} --out E {PLACE} --force",
        {**SELECTED, "name": "nlb", "out": Path("E"), "force": True, **AT},
        {},
    ),
}  # fmt: skip
"""Command → module and function of its stage, words, what the stage is given, and settings among it."""

NOT_OF_THE_STAGE = {
    "run decode": {"cluster_config"},
    "run embed": {"cluster_config"},
    "run forecast": {"cluster_config"},
    "run evaluate": {"cluster_config"},
    "run train": {"resume", "cluster", "cluster_config", "shard", "retry_failed"},
    "run align": {"ensemble", "cluster_config", "picture_format", "dpi"},
    "export nlb": {"cluster_config"},
    "run stream": {"source"},
    "run ingest": {
        "dandiset", "instance", "token_env", "download_dir", "stream", "download", "verify", "recipe",
        "cluster_config",
    },
}  # fmt: skip
"""Options that are about something else than what the stage is given; tests of their own are about them."""


@pytest.mark.parametrize("command", COMMANDS)
def test_options_reach_the_stage(monkeypatch, command):
    stage, words, expected, settings = COMMANDS[command]
    given = reached(monkeypatch, f"{STAGES}.{stage}", stage, [*command.split(), *words.split()])
    chosen = given.pop("settings", None)
    assert flat(chosen, settings) == settings
    found = {name: given.get(name) for name in expected}
    assert found == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_of_a_command_is_left_out_here(command):
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.get_command(typer.Context(found), word)
    words = set(COMMANDS[command][1].split())
    missing = {
        option.name
        for option in found.params
        if option.param_type_name == "option" and not words & {*option.opts, *option.secondary_opts}
    }
    assert missing - SPEAKING - {"catalog", "help"} == NOT_OF_THE_STAGE.get(command, set())


@pytest.mark.parametrize("also", ["--seeds 3", PLACE, "--shard 0/2"])
def test_many_trainings_are_what_is_asked_for(monkeypatch, also):
    words = ["run", "train", *SELECTION.split(), *["--model", "ndt", "--seed", "7", "--force"], *also.split()]
    given = reached(monkeypatch, f"{STAGES}.train_runs", "train_seeds", words)
    chosen = given.pop("settings")
    assert (chosen.model.name, chosen.seed) == ("ndt", 7)
    shard = {"where": Where("serial", ClusterSettings(), Shard(0, 2))}
    where = {"--seeds 3": {"where": Where(settings=ClusterSettings())}, PLACE: AT}.get(also, shard)
    seeds = 3 if "--seeds" in also else 1
    expected = {**SELECTED, "seeds": seeds, "force": True, "run_name": None, "resume": None, **where}
    assert given == expected


def test_ingest_selects_by_the_options_named_so(monkeypatch):
    words = ["run", "ingest", *COMMANDS["run ingest"][1].split()]
    given = reached(monkeypatch, f"{STAGES}.ingest", "ingest", words)
    chosen = given["selection"]
    assert (chosen.sessions, chosen.subject, chosen.task) == (("a*",), "M", "CO")
    assert (chosen.limit, chosen.exclude) == (3, ("b", "c"))
    assert (chosen.shard.index, chosen.shard.count) == (1, 4)


@pytest.mark.parametrize(
    ("option", "mode"), [("--stream", "stream"), ("--download", "download"), (None, "download")]
)
def test_ingest_reads_in_the_way_asked_for(monkeypatch, option, mode):
    words = ["run", "ingest", "--path", "X", *([option] if option else [])]
    assert reached(monkeypatch, f"{STAGES}.ingest", "ingest", words)["mode"] == mode


SCORES = {
    "--metric": ("names", ["x*"]), "--session": ("sessions", ["x*"]), "--run": ("runs", ["x*"]),
    "--source": ("sources", ["x*"]), "--stage": ("stages", ["x*"]), "--split": ("splits", ["x*"]),
    "--recipe-id": ("recipe_id", "x*"),
}  # fmt: skip


@pytest.mark.parametrize("option", SCORES)
def test_scores_are_selected_by_the_option_named_so(monkeypatch, option):
    name, value = SCORES[option]
    module = "nwb_latents.pipeline.stores.measurements"
    given = reached(monkeypatch, module, "read_measurements", ["catalog", "scores", option, "x*"])
    assert given.pop("latest") is True
    assert {key: value for key, value in given.items() if value} == {name: value}


def test_the_history_of_scores_is_asked_for(monkeypatch):
    module = "nwb_latents.pipeline.stores.measurements"
    given = reached(monkeypatch, module, "read_measurements", ["catalog", "scores", "--history"])
    assert given["latest"] is False


ARCHIVE = ["--instance", "https://a", "--token-env", "KEY"]
OF_ARCHIVE = {"dandiset": "000070@0.1", "instance": "https://a", "token_env": "KEY"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "ingest", "--dandiset", "000070@0.1", *ARCHIVE, "--download-dir", "D", "--verify"],
         OF_ARCHIVE | {"download_dir": Path("D"), "verify": True}),
        (["run", "--dandiset", "000070@0.1", *ARCHIVE],
         OF_ARCHIVE | {"download_dir": None, "verify": False}),
        (["inspect", "--dandiset", "000070@0.1", "--asset", "x*", *ARCHIVE], OF_ARCHIVE),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, list) else "",
)  # fmt: skip
def test_an_archive_is_opened_as_the_options_say(monkeypatch, words, expected):
    assert reached(monkeypatch, f"{STAGES}.ingest_words", "archive_source", words) == expected


def test_what_is_looked_into_is_what_is_named(monkeypatch):
    words = ["inspect", "a.nwb", "b", "--asset", "x*", "--set", "min_rate_hz=0.5"]
    given = reached(monkeypatch, f"{STAGES}.ingest_words", "folder_source", words, names_catalog=False)
    assert given == {"paths": [Path("a.nwb"), Path("b")]}
    monkeypatch.undo()
    given = reached(monkeypatch, f"{STAGES}.inspection", "inspect", words, names_catalog=False)
    assert given["asset"] == "x*"
    assert given["recipe"].min_rate_hz == 0.5


def test_all_stages_in_a_row_are_given_what_is_theirs(monkeypatch):
    given = {}
    for name in ("ingest", "train", "decode", "evaluate"):
        monkeypatch.setattr(run, name, lambda _name=name, **words: given.setdefault(_name, words))
    words = ["run", "--path", "X", "--path", "Y", "--model", "ndt", "--quiet", "--catalog", CATALOG]
    own = {"ingest": "bin_size_s=0.05", "train": "max_steps=9", "decode": "lag_ms=60", "evaluate": "seed=3"}
    for stage, setting in own.items():
        words += ["--set", f"{stage}.{setting}"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert list(given) == ["ingest", "train", "decode", "evaluate"]
    for stage, setting in own.items():
        assert given[stage].pop("settings") == [setting]
        assert given[stage].pop("catalog") == Path(CATALOG)
        assert (given[stage].pop("quiet"), given[stage].pop("json_lines")) == (True, False)
    assert given["train"]["model"] == "ndt"
    assert given["ingest"]["path"] == [Path("X"), Path("Y")]


OTHERS = {
    "import lfads-h5 a.h5 b.h5 --bin-ms 5 --force": (
        "import_lfads", "import_lfads", {"files": [Path("a.h5"), Path("b.h5")], "force": True},
        {"bin_ms": 5.0},
    ),
    "import lfads-checkpoint a.ckpt --session s --session t --recipe-id 20ms-x --run-name r --force": (
        "import_checkpoint", "import_checkpoint",
        {"sessions": ["s", "t"], "recipe_id": "20ms-x", "run_name": "r", "force": True}, {},
    ),
    "export nlb-submission --run m --phase val --session s --out E --device cpu --unseen-trials --force": (
        "nlb_submission", "submit",
        {"run": "m", "sessions": ("s",), "out": Path("E"), "device": "cpu", "unseen_trials": True,
         "force": True},
        {"phase": "val"},
    ),
    "catalog verify --quick --cluster local:2 --shard 1/4": (
        "verify", "verify",
        {"quick": True, "where": Where("local:2", ClusterSettings(), Shard(1, 4))}, {},
    ),
    "catalog pin 000070@0.1 --instance https://a --token-env KEY": (
        "pin_dandiset", "pin_dandiset",
        {"dandiset": "000070@0.1", "instance": "https://a", "token_env": "KEY"}, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", OTHERS)
def test_options_of_other_commands_reach_what_they_are_about(monkeypatch, words):
    module, function, expected, settings = OTHERS[words]
    given = reached(monkeypatch, f"{STAGES}.{module}", function, words.split())
    if settings:
        assert flat(given["settings"], settings) == settings
    assert {name: given.get(name) for name in expected} == expected


def test_the_seed_of_a_simulation_is_heeded(monkeypatch):
    words = ["simulate", "D", "--seed", "7"]
    given = reached(monkeypatch, f"{STAGES}.simulate", "simulate", words, names_catalog=False)
    assert (given["directory"], given["settings"].seed) == (Path("D"), 7)
