"""``pipeline export nlb-submission``: rates of a run for the Neural Latents Benchmark, and their check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    QuietOption,
    SessionOption,
    SetOption,
    UnseenOption,
    VerboseOption,
    device_of,
    given,
)
from nwb_latents.pipeline.errors import DataError, SettingsError, UsageError

if TYPE_CHECKING:
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.nlb import NlbPhase

RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="Run trained with co_smoothing; required unless --check.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
PhaseOption = Annotated[
    str | None,
    typer.Option("--phase", help="What is scored: test or val; default: test.", metavar="test|val"),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Name of the dataset, e.g. mc_maze; takes over its lag, forward time and PSTH kernel. Default: "
        "the session id.",
        metavar="KEY",
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the files; default: exports/nlb-submission/RECIPE/ by the catalog."
    ),
]
CheckOption = Annotated[
    Path | None,
    typer.Option("--check", help="Write nothing: say what is wrong with this submission.", metavar="FILE"),
]
TargetsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--targets",
        help="With --check: targets to hold it against, and to score it on if nothing is wrong; repeatable. "
        "Scores of a run of the catalog are added to its measurements.",
        metavar="FILE",
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-order",
        help="With --check: take it for granted that trials and units are those of the targets, in their "
        "order, where nothing in the file shows it.",
    ),
]


def nlb_submission(
    run: RunOption = None,
    phase: PhaseOption = None,
    key: KeyOption = None,
    session: SessionOption = None,
    out: FolderOption = None,
    device: DeviceOption = "auto",
    unseen_trials: UnseenOption = False,
    check: CheckOption = None,
    targets: TargetsOption = None,
    trust_order: TrustOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a run's rates as a submission to the Neural Latents Benchmark, and its targets beside it.

    With --check FILE: name every fault of a submission, and with --targets score it.
    """
    say = Output(json_lines=json_lines, quiet=quiet, verbose=verbose)
    with say:
        if check is not None:
            if run is not None:
                raise UsageError("Give either --run, to write a submission, or --check FILE (one of them).")
            _check(say, catalog, check, targets or [], phase, trust_order=trust_order)
            return
        if run is None:
            raise UsageError("Give --run RUN, or --check FILE.")
        if targets:
            raise UsageError("--targets goes with --check; a run's own targets are written beside its rates.")
        from nwb_latents.pipeline.stages.nlb_submission import submit
        from nwb_latents.pipeline.stores.nlb_settings import nlb_export_defaults
        from nwb_latents.pipeline.stores.settings import settings_from
        from nwb_latents.schemas.events import SubmissionEvent
        from nwb_latents.schemas.export import NlbExport

        chosen = settings_from(
            NlbExport,
            file=config,
            base=nlb_export_defaults(key) if key else None,
            **given({"--phase": ("phase", phase)}),
            words=settings or (),
        )
        done = submit(
            catalog, chosen, run=run, sessions=tuple(session or ("*",)), out=out,
            device=device_of(device), unseen_trials=unseen_trials, force=force, report=say,
        )  # fmt: skip
        say(
            SubmissionEvent(
                run=run,
                status=done.status,
                path=str(done.path),
                targets=str(done.targets),
                sessions=done.sessions,
            )
        )
        say.result(f"Submission: {done.path} ({done.status})\nTargets: {done.targets}")


def _check(
    say: Output, catalog: Path, path: Path, targets: list[Path], phase: str | None, *, trust_order: bool
) -> None:
    from nwb_latents.pipeline.evaluation.nlb.submission import check_submission
    from nwb_latents.schemas.events import ProblemEvent

    problems = check_submission(path, targets, phase=_phase_of(phase), trust_order=trust_order)
    for problem in problems:
        say(ProblemEvent(kind=problem.kind, where=problem.where, text=problem.text))
        say.result(str(problem))
    if problems:
        raise DataError(
            f"{path}: {len(problems)} faults. Mend them and check again; nothing was scored."
            if len(problems) > 1
            else f"{path}: one fault. Mend it and check again; nothing was scored."
        )
    say.result(f"{path}: nothing is wrong")
    if targets:
        _score(say, catalog, path, targets)


def _phase_of(word: str | None) -> NlbPhase | None:
    from nwb_latents.schemas.nlb import NlbPhase

    if word is not None and word not in get_args(NlbPhase):
        raise SettingsError(f"--phase: expected test or val, found {word!r}.")
    return cast("NlbPhase | None", word)


def _score(say: Output, catalog: Path, path: Path, targets: list[Path]) -> None:
    from nwb_latents.pipeline.stages.nlb_scores import score

    found = score(catalog, path, targets, report=say)
    names = list(dict.fromkeys(each.name for each in found))
    groups: dict[str, dict[str, Measurement]] = {}
    for each in found:
        groups.setdefault(str(each.details["group"]), {})[each.name] = each
    rows = [[group, *(_value(scores.get(name)) for name in names)] for group, scores in groups.items()]
    fitted = next((each for each in found if each.decoder is not None), None)
    title = f"Scores, {found[0].split} trials"
    if fitted is not None:
        title += f"\n{fitted.name}: decoder fitted on {fitted.fitted_on}"
    say.table(title, ["group", *names], rows)


def _value(score: Measurement | None) -> str:
    return "–" if score is None or score.value is None else f"{score.value:.4f}".replace("-", "−")
