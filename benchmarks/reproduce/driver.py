"""Runs the jobs of an experiment side by side, keeps each one's result, and goes on where it stopped."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.reproduce.experiment import METHODS, Plan, Show, run_job
from nwb_latents.pipeline.stores.atomic import write_text

Table = Callable[[Plan, list[dict[str, Any]]], str]
Job = Callable[[str, int, Show], dict[str, Any]]
"""``(row, seed, show) -> result``, ready for JSON."""


def main(plans: dict[str, Plan], table: Table, methods: tuple[str, ...] = METHODS) -> None:
    """Run an experiment from the command line and print its table."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scale", choices=sorted(plans), default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=methods, default=list(methods))
    parser.add_argument("--processes", type=int, default=2, help="jobs at a time, one thread each")
    parser.add_argument("--steps", type=int, help="training steps of everything, to try the experiment out")
    parser.add_argument("--objective", choices=("cut", "paper"), default="cut",
                        help="'paper': the encoders always see whole trials")  # fmt: skip
    parser.add_argument("--noise", choices=("dt", "sqrt_dt"),
                        help="process noise, sigma times this; None: as the experiment has it")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("reproduce"), help="folder for the results")
    parser.add_argument("--table", action="store_true", help="run nothing: the table of what is there")
    options = parser.parse_args()
    plan = _chosen(plans[options.scale], options)
    folder = options.out / f"{plan.name}-{options.scale}-{_fingerprint(plan)}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        (method, seed): folder / f"{method}-{seed}.json"
        for seed in options.seeds
        for method in options.methods
    }
    if not options.table:
        run_missing(files, partial(run_job, plan), name=plan.name, processes=options.processes)
    results = [json.loads(path.read_text()) for path in files.values() if path.exists()]
    text = table(plan, results)
    (folder / "table.md").write_text(text)
    print(text)
    print(f"Results: {folder}", file=sys.stderr)


def _chosen(plan: Plan, options: argparse.Namespace) -> Plan:
    if options.noise:
        plan = replace(plan, recipe=replace(plan.recipe, noise_scaling=options.noise))
    if options.objective == "paper":
        plan = replace(plan, model=plan.model | {"cut_probability": 0.0})
    if options.steps:
        plan = replace(plan, steps=options.steps, align_steps=options.steps, single_steps=options.steps)
    return plan


def _fingerprint(plan: Plan) -> str:
    """Results of other settings lie in another folder."""
    return hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode()).hexdigest()[:8]


def run_missing(files: dict[tuple[str, int], Path], job: Job, *, name: str, processes: int) -> None:
    """Run the jobs without a result yet; each one's is written as soon as it is there.

    Parameters
    ----------
    files
        ``(row, seed)`` → file of its result.
    job
        What makes a result; it goes to other processes.
    name
        Name of the experiment.
    processes
        Jobs at a time, one thread each.
    """
    missing = [key for key, path in files.items() if not path.exists()]
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the new processes when they import torch
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=processes, mp_context=context) as pool:
        futures = {pool.submit(_timed, job, key): key for key in missing}
        for done, future in enumerate(as_completed(futures), 1):
            row, seed = futures[future]
            write_text(files[row, seed], json.dumps(future.result(), indent=1))
            _show(f"{name}: {row}, seed {seed} done ({done} of {len(missing)})")


def _timed(job: Job, key: tuple[str, int]) -> dict[str, Any]:
    started = time.perf_counter()
    result = job(*key, _show)
    return result | {"seconds": time.perf_counter() - started}


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
