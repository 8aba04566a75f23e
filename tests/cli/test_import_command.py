"""``pipeline import`` as a command: tables, JSON lines, exit codes."""

from __future__ import annotations

import json

import h5py
import numpy as np
import torch

SHAPES = {
    "encoder.ic_enc_h0": (2, 1, 2),
    **{
        f"encoder.ic_enc.{direction}_gru.cell.{name}": shape
        for direction in ("fwd", "bwd")
        for name, shape in {
            "weight_ih": (6, 3), "weight_hh": (6, 2), "bias_ih": (6,), "bias_hh": (6,)
        }.items()
    },
    "encoder.ic_linear.weight": (4, 4), "encoder.ic_linear.bias": (4,),
    "decoder.con_h0": (1, 2),
    "decoder.ic_to_g0.weight": (2, 2), "decoder.ic_to_g0.bias": (2,),
    "decoder.rnn.cell.gen_cell.weight_ih": (6, 0), "decoder.rnn.cell.gen_cell.weight_hh": (6, 2),
    "decoder.rnn.cell.gen_cell.bias_ih": (6,), "decoder.rnn.cell.gen_cell.bias_hh": (6,),
    "decoder.rnn.cell.fac_linear.weight": (2, 2),
    "readout.0.weight": (3, 2), "readout.0.bias": (3,),
    "ic_prior.mean": (2,), "ic_prior.logvar": (2,),
}  # fmt: skip
"""Of the smallest model of lfads-torch, without a controller."""
NUMBERS = {
    "encod_seq_len": 6,
    "recon_seq_len": 6,
    "ic_enc_seq_len": 0,
    "cell_clip": 5.0,
    "ic_post_var_min": 1e-4,
    "dropout_rate": 0.0,
}


def test_a_dataset_and_a_model_are_taken_over(tmp_path, pipeline_command):
    with h5py.File(tmp_path / "maze.h5", "w") as h5:
        for part in ("train", "valid"):
            h5[f"{part}_encod_data"] = h5[f"{part}_recon_data"] = np.ones((4, 6, 3))
    wrong = pipeline_command("import", "lfads-h5", "maze.h5")
    assert (wrong.returncode, wrong.stdout) == (4, "")
    assert "error: maze.h5: does not say how wide its bins are" in wrong.stderr
    assert pipeline_command("import", "lfads-h5").returncode == 2
    done = pipeline_command("import", "lfads-h5", "maze.h5", "--bin-ms", 20, "--set", "task=CO", "--json")
    (event,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, event["status"], event["n_trials"], event["n_units"]) == (0, "done", 8, 3)
    session = event["session"]
    some = pipeline_command("import", "lfads-h5", "maze.h5", "missing.h5", "--bin-ms", 20, "--set", "task=CO")
    assert some.returncode == 3
    assert "missing.h5: there is no such file" in some.stderr
    assert session in some.stdout

    weights = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    torch.save({"state_dict": weights, "hyper_parameters": NUMBERS, "global_step": 5}, tmp_path / "best.ckpt")
    made = pipeline_command("import", "lfads-checkpoint", "best.ckpt", "--session", session, "--json")
    note, event = map(json.loads, made.stdout.splitlines())
    assert "does not say which reconstruction it was trained with" in note["text"]
    assert (event["event"], event["model"], event["steps"], event["status"]) == ("run", "lfads", 5, "done")
    shown = pipeline_command("catalog", "show", event["run"])
    assert "lfads-torch, best.ckpt" in shown.stdout
    torch.save(
        {"state_dict": weights | {"more": torch.zeros(2)}, "hyper_parameters": NUMBERS}, tmp_path / "b.ckpt"
    )
    wrong = pipeline_command("import", "lfads-checkpoint", "b.ckpt", "--session", session)
    assert wrong.returncode == 4
    assert "b.ckpt: LFADS here has no place for more of shape (2,)" in wrong.stderr
    assert pipeline_command("catalog", "verify").returncode == 0
