"""Pages that would go stale by hand: the commands, the settings, the arrays of a store.

Written before each build to ``reference/generated/``; the pages of the manual include them.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.evaluation.baselines.known import known_baselines
from nwb_latents.pipeline.evaluation.metrics.known import known_metrics
from nwb_latents.pipeline.evaluation.report.bibliography import bibtex
from nwb_latents.schemas import UNIONS, schema_class, schema_names
from nwb_latents.schemas.catalog import Catalog, DandisetEntry, RunEntry, SessionEntry
from nwb_latents.schemas.cluster import Attempt
from nwb_latents.schemas.digest import DecidesNothing, NeverCounts, mark_of
from nwb_latents.schemas.events import EVENTS
from nwb_latents.schemas.export import ExportOrigin
from nwb_latents.schemas.gnocchi import GNOCCHIReadInSettings
from nwb_latents.schemas.hnet import HNETReadInSettings
from nwb_latents.schemas.imports import LfadsCheckpointImport, LfadsH5Import
from nwb_latents.schemas.lfads import LFADSReadInSettings
from nwb_latents.schemas.manifest import Manifest
from nwb_latents.schemas.masks import MaskSettings
from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.models import ModelSettings, known_models
from nwb_latents.schemas.ndt import NDTMaskSettings, NDTReadInSettings
from nwb_latents.schemas.nlb import NLB_DATASETS
from nwb_latents.schemas.node_sae import NODESAEReadInSettings
from nwb_latents.schemas.registry import BASELINES, METRICS, OWN
from nwb_latents.schemas.store import (
    CONTINUOUS_ARRAYS,
    EVENTS_ARRAYS,
    TRIALS_ARRAYS,
    ArraySpec,
    StoreAttributes,
)
from nwb_latents.schemas.study import (
    SessionGroup,
    StudyAlignment,
    StudyRecordings,
    StudySettings,
    StudyTraining,
)
from nwb_latents.schemas.sweep import HyperParameter, MemberOutcome, SweepSettings, SweepState
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo
    from sphinx.application import Sphinx

    from nwb_latents.schemas.base import Record

FOLDER = Path(__file__).parent / "reference" / "generated"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

KINDS = {
    "u": "unsigned integer",
    "i": "integer",
    "f": "float",
    "b": "boolean",
    "O": "text",
    "T": "text",
}
RECORDS: dict[type[Record], str] = {
    Catalog: "`catalog.yaml`",
    DandisetEntry: "an entry of it",
    SessionEntry: "an entry of it",
    RunEntry: "an entry of it; `run.json` of the run",
    Measurement: "lines in `catalog.measurements/` beside the catalog",
    Attempt: "lines of `ledger.jsonl` beside the stores of a recipe",
    Manifest: "`manifest.json` of a store, and of a run",
    StoreAttributes: "`zarr.json` of the groups of a store; the version is also that of the arrays",
    RunConfig: "`config.yaml` of a run",
    SweepState: "`sweep.json` of a run",
    MemberOutcome: "`outcome.json` of a member, while the search goes on",
    ExportOrigin: "`….origin.json` beside exported files that hold no attributes",
}
SCHEMA_NAME = re.compile(r"schema: pipeline schema (\w+)")
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def setup(sphinx: Sphinx) -> dict[str, bool]:
    """Write the pages when a build begins."""
    sphinx.connect("builder-inited", lambda _: write_pages())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages() -> None:
    """Write every page whose content has changed."""
    pages = {
        "cli.md": "\n".join(_commands()),
        "json_events.md": "\n".join(_events()),
        "metrics_table.md": "\n".join(_metrics()),
        "baselines_table.md": "\n".join(_baselines()),
        "records.md": "\n".join(_records()),
        "not_counted.md": "\n".join(_not_counted()),
        "schemas.md": "\n".join(_schemas()),
        **{f"{name}.md": "\n".join(_fields(kind)) for name, kind in known_models().items()},
        "read_in.md": "\n".join(_fields(ReadInSettings)),
        "lfads_read_in.md": "\n".join(_fields(LFADSReadInSettings)),
        "hnet_read_in.md": "\n".join(_fields(HNETReadInSettings)),
        "node_sae_read_in.md": "\n".join(_fields(NODESAEReadInSettings)),
        "ndt_read_in.md": "\n".join(_fields(NDTReadInSettings)),
        "ndt_mask.md": "\n".join(_fields(NDTMaskSettings)),
        "gnocchi_read_in.md": "\n".join(_fields(GNOCCHIReadInSettings)),
        "import_lfads_h5.md": "\n".join(_fields(LfadsH5Import)),
        "import_lfads_checkpoint.md": "\n".join(_fields(LfadsCheckpointImport)),
        "masks.md": "\n".join(_fields(MaskSettings)),
        "nlb_windows.md": "\n".join(_benchmark_windows()),
        "nlb_behaviour.md": "\n".join(_benchmark_behaviour()),
        "sweep.md": "\n".join(_fields(SweepSettings)),
        "study.md": "\n".join(_fields(StudySettings)),
        "study_recordings.md": "\n".join(_fields(StudyRecordings)),
        "study_group.md": "\n".join(_fields(SessionGroup)),
        "study_training.md": "\n".join(_fields(StudyTraining)),
        "study_alignment.md": "\n".join(_fields(StudyAlignment)),
        "hyper_parameter.md": "\n".join(_fields(HyperParameter)),
        "trials.md": "\n".join(_arrays(TRIALS_ARRAYS)),
        "continuous.md": "\n".join(_arrays(CONTINUOUS_ARRAYS)),
        "events.md": "\n".join(_arrays(EVENTS_ARRAYS)),
        "bibtex.md": f"```bibtex\n{_bibtex()}\n```\n",
        "benchmarks.md": "\n".join(_benchmarks()),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _commands() -> Iterator[str]:
    """Every command with its help, as the terminal shows it; settings are named by their schema."""
    for context in _walk(typer.main.get_command(app), None, "pipeline"):
        shown, _, settings = context.get_help().partition("\n\nSettings (")
        yield from (f"## `{context.command_path}`", "", "```text", shown, "```", "")
        if settings:
            name = SCHEMA_NAME.search(settings)[1]
            yield from (f"Settings: schema `{name}`, on the page {{doc}}`schemas`.", "")


def _walk(command: Any, parent: Any, name: str) -> Iterator[Any]:
    options = {**command.context_settings, "terminal_width": 84}
    context = typer.Context(command, info_name=name, parent=parent, **options)
    yield context
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _walk(command.get_command(context, child), context, child)


def _schemas() -> Iterator[str]:
    """Every schema of `pipeline schema`, with the models it is made of."""
    written: set[type[BaseModel]] = set()
    for name in schema_names():
        if name in UNIONS:
            continue
        top = schema_class(name)
        yield from (f"## `{name}`", "", _summary(top), "")
        for model in _parts(top):
            if model in written and model is not top:
                continue
            written.add(model)
            if model is not top:
                yield from (f"### {model.__name__}", "", _summary(model), "")
            yield from _fields(model)


def _records() -> Iterator[str]:
    """Table of the kinds of record, with the files they are in and their versions."""
    yield "| record | file | version |"
    yield "|---|---|---|"
    for kind, file in RECORDS.items():
        yield f"| {kind.__name__} | {file} | {kind.current_version()} |"
    yield ""


def _not_counted() -> Iterator[str]:
    """Table of the settings that do not count for keys, and why, from the fields themselves."""
    yield "| settings | setting | why it does not count |"
    yield "|---|---|---|"
    kinds = {kind for name in schema_names() if name not in UNIONS for kind in _parts(schema_class(name))}
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        for name, field in kind.model_fields.items():
            mark = mark_of(field, NeverCounts) or mark_of(field, DecidesNothing)
            if mark is not None:
                yield f"| {kind.__name__} | `{name}` | {_cell(mark.because)} |"
    yield ""


def _events() -> Iterator[str]:
    """Every kind of event with its fields."""
    for event in EVENTS:
        kind = event.model_fields["event"].default
        shown = "" if event.is_printed else " Not printed by `--json`."
        yield from (f"## `{kind}`: {event.__name__}", "", _summary(event) + shown, "")
        yield from _fields(event)


def _metrics() -> Iterator[str]:
    """Table of the metrics of this project, from the metrics themselves."""
    yield "| name | what it is | unit, definition | of | decoder | better | source |"
    yield "|---|---|---|---|---|---|---|"
    for metric in known_metrics()[0]:
        if not METRICS.owner(metric.name).startswith(OWN):
            continue
        fitted = f"`{metric.decoder}`, fitted on {metric.fitted_on}" if metric.decoder else "–"
        cells = [f"`{metric.name}`", metric.meaning, metric.shown_unit, ", ".join(metric.parts), fitted]
        yield "| " + " | ".join(_cell(cell) for cell in [*cells, metric.better, metric.source]) + " |"
    yield ""


def _baselines() -> Iterator[str]:
    """Table of the baselines, from the baselines themselves."""
    yield "| name | what it is | rates | forecasts | is told |"
    yield "|---|---|---|---|---|"
    for baseline in known_baselines()[0]:
        if not BASELINES.owner(baseline.name).startswith(OWN):
            continue
        makes = [baseline.rates is not None or baseline.is_truth, baseline.forecast is not None]
        cells = [baseline.meaning, *("yes" if each else "–" for each in makes), baseline.told or "–"]
        yield f"| `{baseline.name}` | " + " | ".join(_cell(cell) for cell in cells) + " |"
    yield ""


def _bibtex() -> str:
    """Return the program and the papers of its models."""
    return bibtex({name: kind.paper for name, kind in known_models().items()}, {}).strip()


def _benchmarks() -> Iterator[str]:
    """Headings of the two files of results, each with the command it names."""
    for file in (BENCHMARKS / "RESULTS.md", BENCHMARKS / "reproduce" / "RESULTS.md"):
        yield f"In `{file.relative_to(BENCHMARKS.parent).as_posix()}`:"
        yield ""
        for heading in re.findall(r"^## (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE):
            yield f"- {heading}"
        yield ""


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _parts(model: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> list[type[BaseModel]]:
    """Return a model and all models within it, each once, in order of their first use."""
    found = [*seen, model]
    for field in model.model_fields.values():
        for inner in _models_in(field.annotation):
            if inner not in found:
                found = _parts(inner, tuple(found))
    return found


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if kind is ModelSettings:
        return list(known_models().values())
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models_in(part)]


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """Table of a model's fields."""
    yield "| field | type | default | description |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        kind = " ".join([_type(field.annotation), *_bounds(field)])
        yield f"| `{name}` | {kind} | {_default(field)} | {_cell(field.description or '')} |"
    yield ""


def _type(kind: Any) -> str:
    if kind in (None, NoneType):
        return "none"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type(part) for part in get_args(kind))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        return f"list of {_type(parts[0])}" if Ellipsis in parts else f"{len(parts)} × {_type(parts[0])}"
    if get_origin(kind) is dict:
        return f"mapping to {_type(get_args(kind)[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "true or false"}
    return names.get(kind, kind.__name__)


def _bounds(field: FieldInfo) -> list[str]:
    return [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "as below"
    if value is None or value in ((), {}, ""):
        return "none" if value is None else "empty"
    if isinstance(value, tuple):
        return "`[" + ", ".join(str(part) for part in value) + "]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _arrays(arrays: Mapping[str, ArraySpec]) -> Iterator[str]:
    """Table of the arrays of a store's group."""
    yield "| array | dimensions | type | unit | content |"
    yield "|---|---|---|---|---|"
    for name, spec in arrays.items():
        kind = KINDS[spec.kinds[0]] + (", may be NaN" if spec.nullable else "")
        dims, unit = ", ".join(spec.dims), spec.units or "–"
        yield f"| `{name}` | {dims} | {kind} | {unit} | {_cell(spec.description)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _benchmark_windows() -> Iterator[str]:
    yield "| key | dandiset | event | window, ms | bins of 5 ms | trials, test phase | val phase | units |"
    yield "|---|---|---|---|---|---|---|---|"
    for key, dataset in NLB_DATASETS.items():
        first, last = dataset.window_ms
        trials = (f"{fitted} and {scored}" for fitted, scored in (dataset.trials[p] for p in ("test", "val")))
        bins = f"{dataset.n_bins(5)} + {dataset.n_forward(5)}"
        units = f"{dataset.n_heldin} and {dataset.n_heldout}"
        cells = (
            key,
            dataset.dandiset,
            f"`{dataset.align_column}`",
            f"{first} to {last}",
            bins,
            *trials,
            units,
        )
        yield f"| {' | '.join(cells)} |"


def _benchmark_behaviour() -> Iterator[str]:
    yield "| key | behaviour | lag, ms | decoders | PSTH conditions | PSTH kernel, ms |"
    yield "|---|---|---|---|---|---|"
    for key, dataset in NLB_DATASETS.items():
        cells = (
            key,
            dataset.behaviour,
            "–" if dataset.lag_ms is None else str(dataset.lag_ms),
            ", ".join(dataset.decoder_groups) or "one",
            ", ".join(dataset.psth_columns) or "–",
            "–" if dataset.psth_sigma_ms is None else str(dataset.psth_sigma_ms),
        )
        yield f"| {' | '.join(cells)} |"
