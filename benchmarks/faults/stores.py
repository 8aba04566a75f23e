"""Faults of what is written and read."""

SESSION = "pipeline/stores/session.py"
TRIALS = "pipeline/stores/trials.py"
MANIFEST = "pipeline/stores/manifest.py"
CATALOG = "pipeline/stores/catalog.py"
VALUES = "pipeline/stores/value_checks.py"

FAULTS = (
    (SESSION, "self.continuous[\"velocity\"].values,", "self.continuous[\"position\"].values,",
     "the position is decoded for the velocity"),
    (SESSION, "lag_bins=self.lag_bins(lag_ms),", "lag_bins=0,", "the lag is not heeded"),
    (SESSION, "rows=rows,\n            n_bins=n_bins,", "rows=np.arange(self.n_trials),\n            n_bins=n_bins,",
     "bins after the window of all trials are handed out", ("tests/training/test_co_smoothing.py",)),
    (SESSION, "return replace(self, trials=self.trials.isel(trial=rows))",
     "return replace(self, trials=self.trials.isel(trial=np.sort(rows)))", "trials are selected in another order"),
    (SESSION, "return np.asarray(self.continuous[\"time\"].values[first], dtype=np.float64)",
     "return np.asarray(self.continuous[\"time\"].values[first + 1], dtype=np.float64)", "trials start a bin late"),
    (SESSION, "split=self.split,\n            window_bins", "split=np.full(self.n_trials, \"train\"),\n            window_bins",
     "the history of a trial reads trials of other splits", ("tests/evaluation/decoding/test_history.py",)),
    (SESSION, "fraction=fraction, seed=seed, session=self.name", "fraction=fraction, seed=0, session=self.name",
     "the seed of the draw of held-out units is not heeded"),
    (TRIALS, "check_group(dataset, group, where=str(location))\n    if location.is_remote",
     "pass\n    if location.is_remote", "arrays that do not fit the schema are written"),
    (TRIALS, "write_manifest(temporary, manifest_of(temporary))", "pass", "a store has no manifest"),
    (TRIALS, "if confirm is not None:\n            confirm()\n", "", "a writer whose lock is lost makes its store visible"),
    (TRIALS, "dict(zip(described[\"dimension_names\"], map(int, described[\"shape\"]), strict=True))",
     "dict(zip(described[\"dimension_names\"][::-1], map(int, described[\"shape\"]), strict=True))",
     "trials are counted as units"),
    (MANIFEST, "elif found != expected.size:", "elif found > expected.size:", "files that were cut short are whole"),
    (MANIFEST, "elif not sizes_only and (digest", "elif sizes_only and (digest", "flipped bits are not noticed"),
    (MANIFEST, "names = (name for name in found if name != MANIFEST)",
     "names = (name for name in found if name.endswith(\"zarr.json\"))", "values are in no manifest"),
    ("pipeline/stores/zarr_access.py", "if listed is not None and listed.size != size:", "if False:",
     "readers do not look at sizes", ("tests/stores/test_whole_or_not_at_all.py", "tests/stores/test_manifest.py")),
    (CATALOG, "others = {k: v for k, v in catalog.sessions.items() if k != key}", "others = dict(catalog.sessions)",
     "a session that is ingested again does not become the latest"),
    (CATALOG, "chosen = matching[-1].recipe_id", "chosen = matching[0].recipe_id", "the recipe ingested first is taken"),
    (CATALOG, "return f\"{session}@{recipe_id}\"", "return f\"{session}\"", "stores of two recipes replace each other"),
    (CATALOG, "if before.schema_version > CATALOG_SCHEMA_VERSION:", "if False:", "a newer catalog is written over"),
    (CATALOG, "if len(wanted) > 1:", "if False:", "a recipe that is not unique is guessed"),
    (VALUES, "if counts[~observed].any():", "if False:", "verify does not see spikes in time that was not observed"),
    (VALUES, "if not np.allclose(smoothed, rates, rtol=1e-3, atol=_RATE_HZ, equal_nan=True):", "if False:",
     "verify does not see rates that are not the counts' own"),
    (VALUES, "n_other = int((~same.all(axis=(1, 2))).sum())", "n_other = 0",
     "verify does not see trials that are not slices of the session"),
    ("pipeline/stores/yaml_text.py", "if said is not key:", "if False:", "a key that is there twice drops the first"),
    ("pipeline/stores/atomic.py", "os.fsync(file.fileno())", "pass", "files are not flushed before they are renamed"),
)  # fmt: skip
