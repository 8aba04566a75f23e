"""How far the weights of one run on two devices are from those on one, for each model.

``python benchmarks/devices.py`` trains every model for ``--steps`` steps in one process and in two, on small
simulated sessions, in double and in single precision, and prints the largest difference of a weight after the
first step and after the last, beside the largest weight.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file

HERE = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(HERE), str(HERE / "training")]

from fit_in_ranks import fit_one, fit_together  # noqa: E402
from small_models import SMALL  # noqa: E402

from nwb_latents.pipeline.training.ranks import ALONE  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    batch = {"trials_per_session": 6, "sessions_per_step": 4, "sessions_per_block": 1}
    trainings = {
        f"{name} {precision} {n}": {
            "stop_at": n,
            "settings": {
                "model": {"name": name, **SMALL[name]}, "precision": precision, "batch": batch,
                "device": "cpu",
                "max_steps": steps, "validate_every": steps, "checkpoint_every": steps,
            },
        }
        for name in SMALL
        for precision in ("64-true", "32-true")
        for n in (1, steps)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        fit_together(Path(two), trainings, n=2)
        print("model      precision   step   largest difference   largest weight")
        for name, training in trainings.items():
            fit_one(Path(one, name), training, ALONE)
            mine, theirs = (load_file(Path(folder, name, "last.safetensors")) for folder in (two, one))
            weights = [key for key in theirs if key.startswith("model.") and theirs[key].numel()]
            apart = max(float((mine[key] - theirs[key]).abs().max()) for key in weights)
            most = max(float(theirs[key].abs().max()) for key in weights)
            model, precision, step = name.split()
            print(f"{model:10} {precision:11} {step:>4} {apart:20.1e} {most:16.2f}")


if __name__ == "__main__":
    main()
