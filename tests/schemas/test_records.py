"""What was written is read again: by this version, of an older one, of a newer one."""

import json
import re
import tarfile
import warnings
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from nwb_latents.pipeline.cluster.ledger import append_attempts, read_ledger
from nwb_latents.pipeline.errors import CatalogWarning, DataError, NewerFileError, SettingsError
from nwb_latents.pipeline.stages.sweep import sweep, sweep_key
from nwb_latents.pipeline.stages.train import run_key, train
from nwb_latents.pipeline.stores import lenient
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.lenient import read_record
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.stores.trials import attributes_of
from nwb_latents.pipeline.training.run_files import read_config, read_entry, write_config
from nwb_latents.schemas.base import NewerRecordError, Record
from nwb_latents.schemas.catalog import DandisetEntry, RunEntry, SessionEntry
from nwb_latents.schemas.cluster import Attempt
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.inspection import Inspection
from nwb_latents.schemas.manifest import FileDigest, Manifest
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.quality import KinematicOutliers, Percentiles, RateStability, SessionQuality
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes
from nwb_latents.schemas.sweep import MemberOutcome, SweepSettings, SweepState
from nwb_latents.schemas.training import RunConfig, TrainSettings
from nwb_latents.schemas.trial_record import RunTrials, SessionTrials

ARCHIVE = Path(__file__).parents[1] / "data/archives/0.1.0-forward-bins.tar.xz"
LFADS = {"name": "lfads", "generator_dim": 4}

STORE = StoreAttributes(
    store_key="k", session="s", subject="a", task="CO", bin_size_s=0.02, n_event_bins=13,
    recipe=IngestRecipe(),
    provenance=Provenance(source="a.nwb", asset_digest="sha256:0", layout="000688"), dropped=DropCounts(),
    quality=SessionQuality(
        n_trials=3, n_units=2, reaction_time_s=Percentiles(n=0), peak_speed_cm_s=Percentiles(n=0),
        rates=RateStability(), outliers=KinematicOutliers(), flags=("few_trials",),
    ),
)  # fmt: skip
RECORDS = [
    STORE,
    Attempt(time="t", session="s", source="a.nwb", recipe_id="r", status="done"),
    DandisetEntry(title="t", version="draft", layout="000688", tasks=("CO",)),
    SessionEntry(
        session="s", subject="a", task="CO", recipe_id="r", store="p", store_key="k", source="a.nwb",
        n_trials=1, n_units=1, n_bins=36, bin_size_s=0.02, created="t",
    ),
    RunEntry(
        run="r", model="lfads", path="p", run_key="k", recipe_id="r", sessions=("s",), steps=1, created="t"
    ),
    RunConfig(
        run="r", run_key="k", recipe_id="20ms-0", sessions={"s": {"store_key": "k", "n_units": 3}},
        settings=TrainSettings(model=LFADS), created="t",
    ),
    SweepState(run="r", run_key="k", settings=SweepSettings(), space={}, metric="val_nll"),
    MemberOutcome(step=3),
    RunTrials(
        sessions={
            "sub-A": SessionTrials(
                store_key="k",
                identifier="a",
                session_start="2020-01-06T00:00:00+00:00",
                trial=(3, 7),
                split=("train", "test"),
                start_s=(0.1, None),
                go_cue_s=(0.25, 1.5),
                target_rad=(None, -3.1),
            )
        }
    ),
    Manifest(files={"trials/zarr.json": FileDigest(size=1, sha256="0" * 64)}),
    Inspection(session="s", source="a.nwb", size=1, refusal="no units"),
    Measurement(name="co_bps", value=1.0, session="s", recipe_id="r", split="test", n_trials=1, source="m"),
]  # fmt: skip
kinds = pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)


@kinds
def test_every_kind_says_its_version_even_where_defaults_are_left_out(record):
    for least in (True, False):
        assert record.written(exclude_defaults=least)["schema_version"] == type(record).current_version()
    assert type(record).read(record.written()) == record
    assert type(record).read(json.loads(record.text())) == record


@kinds
def test_what_is_not_known_is_kept_and_named(record):
    content = {**record.written(), "node": 7, "schema_version": record.current_version() + 1}
    found = type(record).read(content)
    assert found.unknown() == ("node",)
    assert found.written() == content, "a newer version finds what it wrote, its number too"
    assert found.model_copy().written() == content


@kinds
def test_without_a_version_it_is_of_the_first(record):
    content = record.written()
    del content["schema_version"]
    first = type(record).read(content)
    assert first.model_copy(update={"schema_version": record.schema_version}) == record


@kinds
def test_a_newer_one_that_is_not_understood_is_refused_by_both_versions(record):
    required = next(name for name, field in type(record).model_fields.items() if field.is_required())
    newest = record.current_version() + 1
    content = {key: value for key, value in record.written().items() if key != required}
    with pytest.raises(NewerRecordError, match=rf"version {newest} of .* up to {newest - 1}\. Update it"):
        type(record).read({**content, "schema_version": newest})


@kinds
def test_what_the_program_makes_has_no_unknown_keys(record):
    """Leniency is for reading: a misspelt name in the program is an error."""
    with pytest.raises(ValueError, match="node"):
        type(record)(**{**dict(record), "node": 7})


def test_settings_within_keep_what_a_newer_version_set(tmp_path):
    config = next(record for record in RECORDS if isinstance(record, RunConfig))
    content = config.written()
    content["settings"]["model"]["gate"] = True
    content["settings"]["masks"]["shuffle"] = 0.5
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    lenient._named.clear()
    with pytest.warns(CatalogWarning, match=r"settings\.masks\.shuffle, settings\.model\.gate"):
        found = read_config(tmp_path, run_key=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_config(tmp_path, run_key=None) == found, "said once"
    assert found.settings.digest() != config.settings.digest(), "what is not known counts"
    write_config(tmp_path, found)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == content


def test_a_ledger_passes_over_only_what_cannot_be_read_and_says_so(tmp_path):
    path = tmp_path / "ledger.jsonl"
    line = next(record for record in RECORDS if isinstance(record, Attempt))
    append_attempts(path, [line])
    newer = {**line.written(), "status": "postponed", "schema_version": 9}
    path.write_text(path.read_text() + json.dumps(newer) + "\n" + '{"time": "cut o\n')
    append_attempts(path, [line])
    with pytest.warns(CatalogWarning) as said:
        assert read_ledger(path) == [line, line]
    told = " ".join(str(warning.message) for warning in said)
    assert "version 9 of Attempt" in told
    assert "line 3 is cut off" in told


def test_a_store_of_a_newer_version_is_refused_not_taken_for_none():
    content = {**STORE.written(), "schema_version": 99, "n_event_bins": None}
    flat = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in content.items()}
    with pytest.raises(NewerFileError, match=r"the store of s: n_event_bins: .* version 99"):
        attributes_of(flat)
    with pytest.raises(DataError) as error:
        attributes_of({**flat, "schema_version": 2})
    assert not isinstance(error.value, NewerFileError)


def test_a_file_that_is_damaged_says_what_to_do(tmp_path):
    path = tmp_path / "outcome.json"
    assert read_record(MemberOutcome, path, remedy="Delete it.") is None
    for text, reason in (("{", "cannot be read as JSON"), ("[]", "expected keys"), ('{"step": -1}', "step")):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"outcome\.json: .*{reason}.*Delete it\."):
            read_record(MemberOutcome, path, remedy="Delete it.")


# Settings that have got another name.


@pytest.fixture(scope="module")
def old_work(tmp_path_factory):
    """Return a folder that version 0.1.0 left: a run and a sweep that score five bins after the window."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_runs_and_sweeps_of_version_1_are_those_of_today(old_work):
    """Time after the window in bins of 20 ms is read as ms, and keys are what they were."""
    catalog = read_catalog(old_work / "catalog.yaml")
    (entry,) = catalog.sessions.values()
    for name in ("ahead", "searched"):
        config = read_config(old_work / "runs" / name, run_key=None)
        assert config.schema_version == RunConfig.current_version()
        assert config.settings.forward_ms == 100.0
        assert config.settings.model_extra is None or not config.settings.model_extra
        assert read_entry(old_work / "runs" / name).run_key == config.run_key
    ahead = read_config(old_work / "runs/ahead", run_key=None)
    assert run_key(ahead.settings, [entry]) == ahead.run_key
    content = json.loads((old_work / "runs/searched/sweep.json").read_text())
    state = SweepState.read(content, bin_size_s=entry.bin_size_s)
    assert state.settings.train.forward_ms == 100.0
    assert sweep_key(state.settings, [entry]) == state.run_key
    assert catalog.runs["ahead"].run_key == ahead.run_key


def test_runs_and_sweeps_of_version_1_are_up_to_date(old_work):
    events = []
    catalog = old_work / "catalog.yaml"
    ahead = read_config(old_work / "runs/ahead", run_key=None).settings
    content = json.loads((old_work / "runs/searched/sweep.json").read_text())
    searched = SweepState.read(content, bin_size_s=0.02).settings
    train(catalog, ahead, run_name="ahead", report=events.append)
    sweep(catalog, searched, run_name="searched", report=events.append)
    ends = [event for event in map(_plain, events) if event["event"] == "run"]
    assert [event["status"] for event in ends] == ["skipped", "skipped"]


def _plain(event):
    return event.model_dump()


def test_a_run_whose_bins_have_no_known_width_is_refused():
    config = next(record for record in RECORDS if isinstance(record, RunConfig)).written()
    settings = {key: value for key, value in config["settings"].items() if key != "forward_ms"}
    old = {**config, "schema_version": 1, "recipe_id": "mine", "settings": {**settings, "forward_bins": 5}}
    with pytest.raises(ValueError, match="recipe_id does not say how wide a bin is"):
        RunConfig.read(old)
    assert RunConfig.read({**old, "settings": {**settings, "forward_bins": 0}}).settings.forward_ms == 0


@pytest.mark.parametrize(
    ("kind", "word", "remedy"),
    [
        (DecodeSettings, "forecast_seen_bins=10", r"forecast\.seen_bins: write forecast\.seen_bins=10"),
        (EvaluateSettings, "forecast_bins=10", r"forecast\.bins: write forecast\.bins=10"),
        (TrainSettings, "forward_bins=10", r"forward_ms, in ms: with bins of 20 ms write forward_ms=200"),
    ],
)
def test_who_types_the_old_word_is_told_the_new_one(kind, word, remedy):
    with pytest.raises(SettingsError, match=remedy):
        settings_from(kind, words=[word])


def test_all_records_are_tried_here():
    def kinds_below(kind):
        return {kind, *(each for below in kind.__subclasses__() for each in kinds_below(below))}

    tried = {type(record).__name__ for record in RECORDS}
    ours = [kind for kind in kinds_below(Record) if kind.__module__.startswith("nwb_latents.schemas")]
    # Events are not read again, records of the first catalogs never written.
    there = {kind.__name__ for kind in ours if not re.search(r"\.events\.|_v1$", kind.__module__)}
    assert there - tried <= {"Record", "Catalog", "ExportOrigin"}


def test_the_command_line_says_it_in_one_line(tmp_path, pipeline_command):
    (tmp_path / "catalog.yaml").write_text("schema_version: 2\nnode: 7\n")
    shown = pipeline_command("catalog", "list")
    assert shown.returncode == 0
    assert shown.stderr.startswith("warning: ")
    assert "node" in shown.stderr
    assert ".py" not in shown.stderr


@pytest.mark.parametrize("typed", [{"seed": True}, {"lag_ms": False}, {"alphas": [1.0, True]}])
def test_yes_and_no_are_no_numbers(typed):
    with pytest.raises(ValidationError, match="truth value; expected a number"):
        DecodeSettings(**typed)


def test_yes_and_no_are_taken_where_they_are_meant():
    assert DecodeSettings(transfer=True).transfer
