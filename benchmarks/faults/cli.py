"""Faults of the command line."""

MAIN = "pipeline/cli/main.py"
CONSOLE = "pipeline/cli/console.py"
INGEST = "pipeline/cli/ingest.py"
DECODE = "pipeline/cli/decode.py"

FAULTS = (
    (MAIN, "signal.signal(signal.SIGTERM, _interrupt)", "pass", "SIGTERM is not heeded: what SLURM sends",
     ("tests/cli/test_signals.py", "tests/stages/test_kill.py", "tests/cli/test_run_all.py")),
    (MAIN, "return error.exit_code", "return 1", "errors have no exit code of their own"),
    (MAIN, "USAGE = 2", "USAGE = 1", "a mistyped command has another exit code"),
    (MAIN, "INTERRUPTED = 130", "INTERRUPTED = 1", "an interrupt has another exit code",
     ("tests/cli/test_signals.py", "tests/stages/test_kill.py", "tests/cli/test_run_all.py")),
    (CONSOLE, "self._lines, self._aside = sys.stdout, redirect_stdout(sys.stderr)", "self._lines, self._aside = sys.stdout, redirect_stdout(sys.stdout)",
     "what parts print is among the JSON lines", ("tests/cli/test_events.py", "tests/plugins", "tests/stages/test_parts_that_fail.py")),
    (CONSOLE, "if event.is_printed:", "if True:", "progress is among the JSON lines"),
    (CONSOLE, "        if not self.json_lines:\n            sys.stdout.write(visible(text)", "        if True:\n            sys.stdout.write(visible(text)",
     "text for people is among the JSON lines"),
    (CONSOLE, "highlight=False, markup=False, emoji=False).print(grid)", "highlight=False, emoji=False).print(grid)", "a setting in brackets is taken for markup"),
    (INGEST, "[e.session, e.task, str(e.n_trials), str(e.n_units),", "[e.session, e.task, str(e.n_units), str(e.n_trials),",
     "the table shows units as trials"),
    (INGEST, "dry_run=dry_run,", "dry_run=False,", "a dry run ingests"),
    (INGEST, "force=force,", "force=False,", "--force is not heeded"),
    (INGEST, "if bool(path) == bool(dandiset):", "if False:", "a folder and a dandiset at once are taken"),
    (INGEST, "exclude=tuple(exclude or ()),", "exclude=(),", "--exclude is not heeded"),
    (INGEST, "retry_failed=retry_failed,", "retry_failed=False,", "--retry-failed is not heeded"),
    (INGEST, "        limit,\n        exclude", "        None,\n        exclude", "--limit is not heeded"),
    (INGEST, "return \"stream\" if stream else \"auto\" if auto else \"download\"", "return \"download\"", "--stream is not heeded",
     ("tests/stages/test_ingest_dandi.py",)),
    (DECODE, "for index in range(number + 1)]", "for index in range(number)]", "the last lag is not compared"),
    (DECODE, "recipe_id=recipe_id,", "recipe_id=None,", "--recipe-id of decode is not heeded"),
    (DECODE, "tested = next(iter(found.values())).n_trials", "tested = next(iter(found.values())).n_units", "the table shows units as test trials"),
    ("pipeline/cli/train.py", "\"--seed\": (\"seed\", seed),", "", "--seed is not heeded"),
    ("pipeline/cli/train.py", "            force=force,\n", "", "--force of train is not heeded"),
    ("pipeline/cli/train.py", "run_name=run_name,", "run_name=None,", "--run-name is not heeded"),
    ("pipeline/cli/session_tables.py", "[\"units\", str(entry.n_units)],", "[\"units\", str(entry.n_trials)],", "catalog show tells trials as units"),
    ("pipeline/cli/catalog_scores.py", "\"trials\": f\"{of.n_trials} {of.split}\",", "\"trials\": f\"{of.n_units} {of.split}\",",
     "catalog scores tells units as trials"),
)  # fmt: skip
