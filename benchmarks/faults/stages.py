"""Faults of the stages."""

INGEST = "pipeline/stages/ingest_session.py"
IDENTITY = "pipeline/stages/recording_identity.py"
TRAIN = "pipeline/stages/train.py"
DECODE = "pipeline/stages/decode.py"
TRAINED = ("tests/training/test_train_stage.py",)

FAULTS = (
    (INGEST, "*(versions or (STORE_SCHEMA_VERSION, TRANSFORM_VERSION))]", "*(versions or (STORE_SCHEMA_VERSION, 3))]",
     "the key of a store ignores TRANSFORM_VERSION"),
    (INGEST, "parts = [digest, recipe.digest(), ", "parts = [recipe.digest(), ", "the key of a store ignores the file"),
    (INGEST, "n_trials=sizes[\"trial\"],", "n_trials=sizes[\"unit\"],", "n_trials holds the number of units"),
    (INGEST, "n_bins=sizes[\"time\"],", "n_bins=sizes[\"trial\"],", "n_bins holds the number of trials"),
    (INGEST, "n_event_bins=-job.recipe.window_bins[0],", "n_event_bins=job.recipe.n_bins,", "the bins before an event are all of them"),
    (INGEST, "warnings=(*recording.warnings, *notes, *unverified),", "warnings=(*recording.warnings, *unverified),",
     "what binning found odd is not in the store"),
    (INGEST, "if not is_same and not job.force:", "if False:", "another recording replaces a store"),
    (INGEST, "velocity_series=recording.velocity_series,", "velocity_series=recording.position_series,",
     "a store names the wrong series"),
    (INGEST, "session_start=recording.start,", "session_start=\"\",", "a store does not keep when its session began"),
    (INGEST, "if there is not None and _is_current(job, there, asset.digest):", "if there is not None:",
     "a file that changed in the archive is not fetched again",
     ("tests/stages/test_ingest_dandi.py",)),
    (IDENTITY, "if there.session_start and facts.start and there.session_start != facts.start:", "if False:",
     "recordings of two days under one identifier are one"),
    (IDENTITY, "return there.identifier == facts.identifier or", "return True or", "any recording of the same start is the same"),
    (IDENTITY, "return \"\".join(found.groups()) if found else \"\"", "return \"\".join(found.groups()[::-1]) if found else \"\"",
     "dates are turned round"),
    ("pipeline/stages/trained_runs.py", "status=\"done\", store=entry.store, **told, seconds=seconds)",
     "status=\"done\", store=entry.session, **told, seconds=seconds)", "an event names the session as its store"),
    (TRAIN, "stores = sorted(entry.store_key for entry in entries)", "stores = sorted(entry.session for entry in entries)",
     "the key of a run ignores which stores"),
    (TRAIN, "if entry is None or entry.store_key != source.store_key:", "if entry is None:",
     "a run goes on with another store", TRAINED),
    (TRAIN, "steps=result.steps,", "steps=settings.max_steps,", "a run that stopped early says all its steps", TRAINED),
    (TRAIN, "return {**told, \"best_step\": float(best_step)}", "return {**told, \"best_step\": float(len(told))}",
     "the best step is another number"),
    (DECODE, "return {\"n_trials\": entry.n_trials, \"n_units\": entry.n_units}", "return {\"n_trials\": entry.n_units, \"n_units\": entry.n_trials}",
     "trials and units of an event are exchanged"),
    (DECODE, "signals.append(_Signal(foreseen, \"forecast\", run, seen))", "signals.append(_Signal(foreseen, \"forecast\", run))",
     "a forecast is held against the first bins of a trial"),
    (DECODE, "return _Signal(session.trials[\"rates\"].values[test], \"rates\")",
     "return _Signal(session.trials[\"rates\"].values[: len(test)], \"rates\")", "the first trials are decoded for the test trials"),
    ("pipeline/stages/embed.py", "session = session.select(session.rows(split))", "pass",
     "the split of an embedding is not heeded"),
    ("pipeline/stages/recut.py", "if found != expected:", "if False:", "stores of another version are cut anew", ("tests/stages/test_recut.py",)),
    ("pipeline/stages/import_lfads.py", "        IMPORT_VERSION,\n    ]", "    ]", "the key of an import ignores its version",
     ("tests/stages/test_import_lfads.py", "tests/schemas/test_digests.py")),
)  # fmt: skip
