"""Digests: what any version has written stays what it is, and every setting counts.

`data/digests.json` holds the digests and keys of all settings with each single one changed, as the program
wrote them before digests followed from marks on the fields. Rows are added for new settings by
`python tests/schemas/add_digests.py`, and never changed.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
from pydantic import create_model
from single_changes import SETTINGS, settings_class, single_changes

from nwb_latents.pipeline.sources.simulator.simulated_session import session_digest
from nwb_latents.pipeline.stages import import_checkpoint, import_lfads, ingest_session
from nwb_latents.pipeline.stages.evaluate_records import settings_digest
from nwb_latents.pipeline.stages.import_lfads import import_key
from nwb_latents.pipeline.stages.ingest_session import store_key
from nwb_latents.pipeline.stages.sweep import sweep_key
from nwb_latents.pipeline.stages.train import run_key
from nwb_latents.pipeline.stores.exporters.exporter import exporter_named
from nwb_latents.schemas.base import Frozen, Reading
from nwb_latents.schemas.digest import AddedLater, DefaultBefore, NeverCounts, mark_of
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.sweep import SweepSettings
from nwb_latents.schemas.training import TrainSettings

WRITTEN = json.loads((Path(__file__).parent / "data/digests.json").read_text())
STORES = [SimpleNamespace(store_key=key, bin_size_s=0.02) for key in ("k2", "k1")]
BIN = 0.02

KEYS = {
    ("TrainSettings", "run_key"): lambda s: run_key(s, STORES),
    ("TrainSettings", "group"): lambda s: s.model_copy(update={"seed": 0}).digest(bin_size_s=BIN),
    ("TrainSettings", "import_key"): lambda s: import_checkpoint.checkpoint_key("file", s, STORES),
    ("SweepSettings", "sweep_key"): lambda s: sweep_key(s, STORES),
    ("EvaluateSettings", "settings_digest"): lambda s: settings_digest(s, version=1),
    ("NlbExport", "export_key"): lambda s: exporter_named("nlb").key(s, "k1"),
    ("LfadsExport", "export_key"): lambda s: exporter_named("lfads").key(s, "k1"),
    ("NwbExport", "export_key"): lambda s: exporter_named("nwb").key(s, "k1"),
    ("SimulateSettings", "session_digest"): session_digest,
    ("IngestRecipe", "store_key"): lambda s: store_key("sha256:0", s),
    ("IngestRecipe", "recipe_id"): lambda s: s.recipe_id,
    ("LfadsH5Import", "import_key"): lambda s: import_key("sha256:0", s, IngestRecipe()),
}
RESOLVED = {
    ("SweepSettings", "default_space"): "what it stands for is laid into the space, which counts",
    **{(f"{name}Settings", "name"): "names the class" for name in ("MDSSM", "LFADS", "HNET", "NODESAE")},
    **{(f"{name}Settings", "name"): "names the class" for name in ("NDT", "GNOCCHI")},
    **{(f"{name}Settings", "likelihood"): "there is one" for name in ("HNET", "NDT", "GNOCCHI")},
}
"""Settings of which there is no other value to try, and why."""


TRANSFORM_OF_THE_TABLE = 2
"""Keys of stores hold the version of the signal processing: those of the table are of this one."""


@pytest.fixture(autouse=True)
def _transform_of_the_table(monkeypatch):
    for stage in (ingest_session, import_lfads):
        monkeypatch.setattr(stage, "TRANSFORM_VERSION", TRANSFORM_OF_THE_TABLE)


def as_read(kind, content):
    """Return settings from what a file of the first versions holds, which always says its parts."""
    return kind.model_validate(_with_parts(kind, content), context=Reading(bin_size_s=BIN))


def _with_parts(kind, content):
    said = dict(content)
    for name, info in kind.model_fields.items():
        part = info.get_default(call_default_factory=True)
        if (
            not isinstance(part, Frozen)
            or mark_of(info, AddedLater)
            or not isinstance(said.get(name, {}), dict)
        ):
            continue
        within = said.get(name, {})
        other = "name" in within and within["name"] != getattr(part, "name", None)
        said[name] = within if other else _with_parts(type(part), within)
    return said


def ways_of(name):
    """Return what is made of settings of a class, by column of the table; the first tells them apart."""
    ways = {key: way for (of, key), way in KEYS.items() if of == name}
    columns = WRITTEN[name]["columns"][1:] if name in WRITTEN else ["digest"]
    return {column: ways.get(column, lambda s: s.digest(bin_size_s=BIN)) for column in columns}


@pytest.mark.parametrize("name", SETTINGS)
def test_digests_and_keys_stay_what_they_were(name):
    for content, *expected in WRITTEN[name]["rows"]:
        settings = as_read(settings_class(name), content)
        for (column, way), digest in zip(ways_of(name).items(), expected, strict=True):
            assert way(settings)[:16] == digest, (column, content)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_digest_written_down(name):
    """A default or a new setting that changes digests silently is found here."""
    kind, digest = settings_class(name), next(iter(ways_of(name).values()))
    written = {row[1] for row in WRITTEN[name]["rows"]}
    missing = [
        (where, content)
        for where, _, content in [("", {}, {}), *single_changes(kind)]
        if digest(kind.model_validate(content))[:16] not in written
    ]
    assert not missing, "changed or new settings; for new ones run python tests/schemas/add_digests.py"


def never_counts(kind, where):
    """Whether a setting, or one that it is within, says that it does not count."""
    for name in where.split("=")[0].split("."):
        field = getattr(kind, "model_fields", {}).get(name)
        if field is None:
            return False
        if mark_of(field, NeverCounts):
            return True
        kind = field.annotation
    return False


@pytest.mark.parametrize("name", SETTINGS)
def test_changing_any_setting_changes_the_digest(name):
    kind = settings_class(name)
    counted = set()
    for where, base, content in single_changes(kind):
        before, after = kind.model_validate(base), kind.model_validate(content)
        top = where.split("=")[0].split(".")[0]
        if before == after:  # the same said in another way
            continue
        counted.add(top)
        never = never_counts(kind, where)
        same = before.digest(bin_size_s=BIN) == after.digest(bin_size_s=BIN)
        assert same == never, (where, content)
    untried = set(kind.model_fields) - counted
    assert untried <= {setting for of, setting in RESOLVED if of == name}


def test_keys_of_runs_leave_out_what_decides_where_and_how_often_alone():
    """Which settings of a training decide no number is a short list, each with its reason."""
    free = set()
    for where, base, content in single_changes(TrainSettings):
        before, after = TrainSettings.model_validate(base), TrainSettings.model_validate(content)
        if before != after and run_key(before, STORES) == run_key(after, STORES):
            free.add(where.split(".")[0])
    assert free == {"device", "devices", "data_memory_gb", "checkpoint_every", "select"}


def test_keys_of_sweeps_leave_out_the_same_and_the_workers():
    free = set()
    for where, base, content in single_changes(SweepSettings):
        before, after = SweepSettings.model_validate(base), SweepSettings.model_validate(content)
        if before != after and sweep_key(before, STORES) == sweep_key(after, STORES):
            free.add(".".join(where.split(".")[:2]))
    decides_nothing = ("device", "devices", "data_memory_gb", "checkpoint_every", "select")
    assert free == {"workers", *(f"train.{name}" for name in decides_nothing)}


@pytest.mark.parametrize("name", SETTINGS)
def test_typed_and_default_values_have_one_digest(name):
    """A default is counted as the same value given by hand, after JSON too."""
    kind = settings_class(name)
    default = kind.model_validate({})
    again = kind.model_validate(default.model_dump(mode="json"))
    assert again == default
    assert again.digest() == default.digest()


class Before(Frozen):
    a: int = 1


class Added(Before):
    b: Annotated[int, AddedLater(0)] = 0


class OtherDefault(Before):
    b: Annotated[int, AddedLater(0)] = 5


def test_a_default_that_changes_changes_the_digest():
    """What is left out is the value of before, not the default of today."""
    assert Added().digest() == Before().digest()
    assert Added(b=5).digest() == OtherDefault().digest() != Before().digest()
    assert OtherDefault(b=0).digest() == Before().digest()


class Changed(Frozen):
    a: Annotated[int, DefaultBefore(1)] = 7
    b: Annotated[int, AddedLater(0)] = 5


def test_a_file_that_does_not_say_a_setting_is_read_as_when_it_was_written():
    assert Changed() == Changed(a=7, b=5)
    assert Changed.read({}) == Changed(a=1, b=0)
    assert Changed.read({"a": 7, "b": 2}) == Changed(a=7, b=2)
    assert Changed.read({}).digest() == Before().digest()


def test_a_setting_added_within_parts_changes_no_digest_and_counts():
    """Parts in tuples and mappings count as parts do."""

    def whole(part):
        return create_model(
            "Whole", __base__=Frozen, one=(part, part()), many=(tuple[part, ...], (part(),)),
            named=(dict[str, part], {"x": part()}),
        )  # fmt: skip

    before, after = whole(Before), whole(Added)
    assert after().digest() == before().digest()
    changed = [{"one": Added(b=1)}, {"many": (Added(b=1),)}, {"named": {"x": Added(b=1)}}]
    assert len({after(**change).digest() for change in [{}, *changed]}) == 4
