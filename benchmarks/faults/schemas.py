"""Faults of settings, their defaults and their digests."""

RECIPE = "schemas/recipe.py"
PARTS = "schemas/recipe_parts.py"
BASE = "schemas/base.py"
TRAIN = "schemas/training.py"

FAULTS = (
    (RECIPE, "    min_rate_hz: float = Field(\n        0.1, ge=0", "    min_rate_hz: float = Field(\n        1.0, ge=0",
     "the default of 0.1 Hz is 1"),
    (RECIPE, "smooth_sigma_s: float = Field(\n        0.025,", "smooth_sigma_s: float = Field(\n        0.05,",
     "rates are smoothed twice as wide by default"),
    (RECIPE, "(-0.26, 0.46)", "(-0.2, 0.46)", "the default window is shorter"),
    (RECIPE, "align_to: CutEvent = Field(\"move_onset\"", "align_to: CutEvent = Field(\"go_cue\"", "trials are cut at the go cue"),
    (PARTS, "seed: int = Field(42, ge=0", "seed: int = Field(0, ge=0", "the default split is another draw"),
    (PARTS, "if not math.isclose(total, 1.0, abs_tol=1e-9):", "if False:", "shares of splits need not be 1",
     ("tests/signals/test_split.py", "tests/stores/test_settings.py")),
    (RECIPE, "if any(edge % bin_ns for edge in exact):", "if False:", "windows of no whole bins are taken",
     ("tests/stores/test_settings.py", "tests/signals/test_trials.py", "tests/cli/test_cli.py")),
    (RECIPE, "if self.chop.guard_s < least - 1e-9:", "if False:", "chopped windows of two splits may share spikes",
     ("tests/signals/test_chop.py",)),
    (PARTS, "success_only: bool = Field(True", "success_only: bool = Field(False", "failed trials are kept by default"),
    (TRAIN, "weight_decay: float = Field(1e-3", "weight_decay: float = Field(1e-2", "weights decay ten times as fast"),
    (TRAIN, "patience: int = Field(\n        20", "patience: int = Field(\n        10", "trainings stop earlier by default"),
    (TRAIN, "standardise: bool = Field(\n        default=True", "standardise: bool = Field(\n        default=False",
     "nothing is standardised by default"),
    ("schemas/decoding.py", '5, ge=2, le=MOST_BINS, description="Bins the Wiener decoder reads', '6, ge=2, le=MOST_BINS, description="Bins the Wiener decoder reads',
     "the Wiener decoder reads a bin more"),
    ("schemas/decoding.py", "        200,\n        ge=0,\n        le=MOST_DRAWS", "        0,\n        ge=0,\n        le=MOST_DRAWS",
     "there are no p-values by default"),
    (BASE, "extra=\"forbid\", frozen=True", "extra=\"ignore\", frozen=True", "misspelt settings are passed over"),
    (BASE, "json.dumps(content, sort_keys=True, separators", "json.dumps(content, separators", "the order of keys is in the digest"),
    (BASE, "if later and (later.says_nothing(value) if later.beside is None else later.beside in silent):", "if later:",
     "settings that were added later never count"),
    (BASE, "if mark_of(info, NeverCounts):", "if mark_of(info, NeverCounts) or name == \"seed\":", "seeds are in no digest"),
    ("schemas/store.py", "return kinematics_unit + units.removeprefix(\"cm\") if units in {\"cm\", \"cm/s\"} else units", "return units",
     "degrees are called cm"),
    ("schemas/digest.py", "bins, rest = divmod(round(float(str(value)) * 1e6), round(bin_size_s * 1e9))",
     "bins, rest = divmod(round(float(str(value)) * 1e6), round(0.02 * 1e9))", "times once said in bins are taken for bins of 20 ms"),
)  # fmt: skip
