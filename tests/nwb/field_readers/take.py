"""Runs inside the environment of the field's readers: what each of them makes of a file, as plain arrays.

One request is a line of JSON on standard input: the name of a function below, its arguments, and where to
write the arrays (npz). The answer is one line: nothing, or the error. What the packages print goes to the
standard error stream.
"""

import argparse
import contextlib
import importlib
import inspect
import json
import os
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pandas as pd


def versions():
    """Versions of the readers and of what they stand on."""
    names = ("brainsets", "falcon_challenge", "nlb_tools", "numpy", "pandas", "pynwb", "temporaldata")
    return {name: np.array(version(name)) for name in names}


def brainsets(path, pipeline):
    """Everything that a pipeline of brainsets stores for one file: path in the stored file → array."""
    module = importlib.import_module(f"brainsets_pipelines.{pipeline}.pipeline")
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(path.parent):
        asked = argparse.Namespace(reprocess=True, redownload=False)
        # The name alone: the pipeline looks for "CO" in all of the path.
        module.Pipeline(Path(folder), Path(folder), asked).process(Path(path.name))
        (stored,) = Path(folder).glob("*.h5")
        found = {}
        with h5py.File(stored) as h5:
            h5.visititems(
                lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None
            )
    return found


def _seconds(values):
    return np.asarray(values).astype("timedelta64[ns]").astype(np.int64) / 1e9


def _table(prefix, frame):
    found = {}
    for name, column in frame.items():
        values = column.to_numpy()
        if values.dtype.kind == "m":
            values = _seconds(values)
        if values.dtype.kind == "O" and not all(isinstance(value, str) for value in values):
            continue
        found[f"{prefix}/{name}"] = values
    return found


@contextlib.contextmanager
def _rows_in_order():
    """Let ``NWBDataset`` have its rows in order of time, as with pandas up to 1.3, for which it is written.

    Later ones leave the rows of the first frame first where frames are put side by side, and counts would be
    summed over bins that are no neighbours.
    """
    from nlb_tools.nwb_interface import NWBDataset

    load = NWBDataset.load

    def load_in_order(self, *words, **named):
        data, *others = load(self, *words, **named)
        return data.sort_index(), *others

    NWBDataset.load = load_in_order
    try:
        yield NWBDataset
    finally:
        NWBDataset.load = load


def nlb_dataset(path, split_heldout=True, one_trial_s=None, resample_ms=None):
    """The continuous frame and the trial table of ``NWBDataset``; `one_trial_s` is one for a file without."""
    from pynwb import NWBHDF5IO

    with _rows_in_order() as dataset_class, NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        if one_trial_s is not None:
            nwbfile.add_trial(start_time=one_trial_s[0], stop_time=one_trial_s[1])
        dataset = dataset_class(nwbfile, split_heldout=split_heldout)
    if resample_ms is not None:
        dataset.resample(resample_ms)
    found = {"clock_time": _seconds(dataset.data.index.to_numpy())}
    for signal in dataset.data.columns.get_level_values(0).unique():
        found[signal] = dataset.data[signal].to_numpy()
        found[f"{signal}/channel"] = np.array(dataset.data[signal].columns.tolist())
    return {**found, **_table("trial_info", dataset.trial_info)}


def _flat(prefix, content):
    if isinstance(content, dict):
        return {
            key: value for name in content for key, value in _flat(f"{prefix}/{name}", content[name]).items()
        }
    return {prefix: np.asarray(content)}


def nlb_tensors(path, key, width_ms, train=None, scored=None, targets=None):
    """The tensors of the benchmark's toolkit: what a model is given, and what it is scored against.

    `train` and `scored` are splits of the file; without one there are no tensors of it, and no targets.
    `targets` is a file for the targets as the toolkit writes them.
    """
    from nlb_tools import make_tensors

    given = {"save_file": False, "return_dict": True}
    parts = {}
    with _rows_in_order() as dataset_class:
        dataset = dataset_class(str(path))
        dataset.resample(width_ms)
        if train:
            parts["train"] = make_tensors.make_train_input_tensors(
                dataset, key, train, **given, include_forward_pred=True, include_behavior=True
            )
        if scored:
            parts["eval"] = make_tensors.make_eval_input_tensors(dataset, key, scored, **given)
        if train and scored:
            parts["target"] = make_tensors.make_eval_target_tensors(
                dataset, key, train, scored, **given, include_psth="rtt" not in key
            )
            if targets:
                make_tensors.save_to_h5(parts["target"], targets)
    found = _flat("", parts)
    ragged = [name for name, values in found.items() if name.endswith("_cond_idx")]
    for name in ragged:
        found |= {f"{name}/{row}": np.asarray(mine, dtype=int) for row, mine in enumerate(found.pop(name))}
    return found


def nlb_evaluate(targets, submission):
    """The scores of the benchmark's toolkit: ``split/score``."""
    from nlb_tools.evaluation import evaluate

    return {
        f"{split}/{score}": np.array(value)
        for each in evaluate(str(targets), str(submission))
        for split, scores in each.items()
        for score, value in scores.items()
    }


def falcon(path, task):
    """What the loader of the FALCON benchmark returns, and what the file's name tells it."""
    from falcon_challenge.config import FalconTask
    from falcon_challenge.dataloaders import load_nwb

    names = ("counts", "covariates", "trial_change", "eval_mask")
    return dict(zip(names, load_nwb(path, dataset=FalconTask[task]), strict=True))


def falcon_counts(path, stamps, bin_size_s, is_bin_start):
    """Counts of the FALCON benchmark's ``bin_units`` in bins at these stamps."""
    from falcon_challenge.dataloaders import bin_units
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(path), "r") as io:
        units = io.read().units.to_dataframe()
        counts = bin_units(units, bin_size_s, np.load(stamps), is_timestamp_bin_start=is_bin_start)
    return {"counts": counts}


def _plain(values):
    values = np.asarray(values)
    if values.dtype.kind == "O":
        text = [value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel()]
        values = np.array(text, dtype=str).reshape(values.shape)
    return values


def _serve(answers):
    functions = {
        name: f for name, f in globals().items() if inspect.isfunction(f) and not name.startswith("_")
    }
    for line in sys.stdin:
        request = json.loads(line)
        answer = ""
        try:
            found = functions[request["reader"]](**request["words"])
            # A name with a slash is a member of a folder of the archive: kept as it is.
            np.savez(
                request["to"], **{name.replace("/", "|"): _plain(values) for name, values in found.items()}
            )
        except Exception:
            answer = traceback.format_exc()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    pd.set_option("mode.chained_assignment", None)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _serve(answers)
