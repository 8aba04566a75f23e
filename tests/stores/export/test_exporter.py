"""An exporter of another distribution: found by name, written whole, recognised when it is up to date."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nwb_latents.pipeline.errors import MachineError, PartialFailure, SettingsError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stores.exporters.exporter import Exporter, exporter_named, origin_path
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.registry import EXPORTERS

if TYPE_CHECKING:
    from pathlib import Path

CODE = '''
"""An exporter of text tables, which hold no attributes."""

from pydantic import Field

from nwb_latents.pipeline.stores.exporters.exporter import Exporter
from nwb_latents.schemas.base import Frozen


class TableExport(Frozen):
    """Mean rate of every unit, one table per session."""

    digits: int = Field(3, ge=1, description="Digits after the point.")


class TableExporter(Exporter[TableExport]):
    name = "table"
    suffix = ".csv"
    settings_type = TableExport
    summary = "Write text tables: mean rate of every unit, Hz."

    def write(self, session, path, settings):
        rates = session.trials["mean_rate"].values
        path.write_text("\\n".join(f"{rate:.{settings.digits}f}" for rate in rates))
        return ["rates are over the observed time"]
'''


@pytest.fixture
def lab(plug, monkeypatch) -> Path:
    """Return a folder of another distribution that is installed: its module can be changed."""
    parts = {"table": "lab_tables:TableExporter", "broken": "lab_tables:Missing"}
    folder = plug("lab_tables", CODE, version="0.3", exporters=parts)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def catalog(tmp_path, small_nwb) -> Path:
    path = tmp_path / "work" / "catalog.yaml"
    ingest(path, FolderSource([small_nwb]))
    return path


def test_its_file_has_its_suffix_and_a_note_beside_it_says_what_it_was_made_of(lab, catalog):
    events = []
    (made,) = export(catalog, "table", report=events.append)
    assert made.path.suffix == ".csv"
    assert made.path.parent.parent == catalog.parent / "exports" / "table"
    float(made.path.read_text().split()[0])
    beside = json.loads(origin_path(made.path).read_text())
    assert (beside["exporter"], beside["distribution"]) == ("table", "lab_tables 0.3")
    assert beside["store_key"] == made.entry.store_key
    assert beside["source_digest"].startswith("sha256:")
    assert beside["export_settings"] == {"digits": 3}
    assert [e.text for e in events if e.event == "note"] == ["rates are over the observed time"]


def status(catalog, **words):
    (made,) = export(catalog, "table", **words)
    return made.status


def test_a_second_export_does_nothing_and_other_settings_write_again(lab, catalog):
    assert status(catalog) == "done"
    assert status(catalog) == "skipped"
    settings = exporter_named("table").settings_type(digits=5)
    assert status(catalog, settings=settings) == "done"
    assert status(catalog, settings=settings) == "skipped"
    assert status(catalog) == "done"


def test_a_file_that_was_changed_or_cut_short_is_not_up_to_date_but_a_copy_is(lab, catalog):
    (made,) = export(catalog, "table")
    whole, stamp = made.path.read_bytes(), made.path.stat().st_mtime_ns
    made.path.write_bytes(whole[:-1])
    # As a copy that was broken off leaves it, with the time of the original.
    os.utime(made.path, ns=(stamp, stamp))
    assert status(catalog) == "done"
    assert made.path.read_bytes() == whole
    made.path.write_bytes(b"9" + whole[1:])
    os.utime(made.path, ns=(1, 1))
    assert status(catalog) == "done"
    assert made.path.read_bytes() == whole
    os.utime(made.path, ns=(1, 1))
    assert status(catalog) == "skipped"
    origin_path(made.path).write_text("{")
    assert status(catalog) == "done"


def test_what_is_killed_is_never_taken_for_done(lab, catalog, monkeypatch):
    (made,) = export(catalog, "table")
    first = made.path.read_bytes()
    kind = EXPORTERS.load("table")
    write = kind.write

    def half(self, session, path, settings):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "write", half)
    with pytest.raises(KeyboardInterrupt):
        export(catalog, "table", settings=kind.settings_type(digits=6))
    assert made.path.read_bytes() == first
    assert sorted(p.name for p in made.path.parent.iterdir()) == [
        made.path.name,
        f"{made.path.name}.origin.json",
    ]
    monkeypatch.setattr(kind, "write", write)
    assert status(catalog) == "skipped"

    def stop(self, path, origin):
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "confirm", stop)
    with pytest.raises(KeyboardInterrupt):
        export(catalog, "table", settings=kind.settings_type(digits=6))
    monkeypatch.setattr(kind, "confirm", Exporter.confirm)
    assert made.path.read_bytes() != first
    assert status(catalog) == "done"


def test_an_export_ended_by_the_system_is_done_again(lab, catalog):
    module = lab / "lab_tables.py"
    slow = CODE.replace("        return [", "        import os; os._exit(9)\n        return [")
    module.write_text(slow)
    words = [
        sys.executable,
        "-m",
        "nwb_latents.pipeline.cli.main",
        "export",
        "table",
        "--catalog",
        str(catalog),
    ]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 9
    folder = next((catalog.parent / "exports" / "table").iterdir())
    assert not list(folder.glob("*.csv"))
    module.write_text(CODE)
    shown = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "done" in shown.stdout
    assert sorted(p.suffix for p in folder.iterdir()) == [".csv", ".json"]


def test_the_command_is_there_with_its_settings_while_it_is_installed(lab, catalog, pipeline_command):
    listed = pipeline_command("export", "--help")
    assert "table" in listed.stdout
    assert "Write text tables" in listed.stdout
    asked = pipeline_command("export", "table", "--help")
    assert "digits [3]" in asked.stdout
    wrong = pipeline_command("export", "table", "--catalog", catalog, "--set", "digit=2")
    assert (wrong.returncode, "did you mean digits?" in wrong.stderr) == (4, True)
    assert "digits" in pipeline_command("schema", "export_table").stdout
    shutil.rmtree(lab)
    gone = pipeline_command("export", "table", "--catalog", catalog)
    assert (gone.returncode, "no exporter is called 'table'" in gone.stderr) == (2, True)


def test_one_that_cannot_be_loaded_is_said_and_the_others_work(lab, catalog, pipeline_command):
    listed = pipeline_command("export", "--help")
    assert listed.returncode == 0
    assert "Cannot be used" in listed.stdout
    used = pipeline_command("export", "broken", "--catalog", catalog)
    assert (used.returncode, "lab_tables 0.3" in used.stderr) == (5, True)
    assert "Traceback" not in used.stderr
    with pytest.raises(MachineError, match=r"'broken' of lab_tables 0\.3"):
        export(catalog, "broken")
    assert export(catalog, "nlb")[0].status == "done"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "table"', 'name = "tables"', "calls itself 'tables'"),
        ('suffix = ".csv"', 'suffix = "csv"', "a suffix begins with a dot"),
        ('    summary = "Write text tables: mean rate of every unit, Hz."\n', "", "does not say its summary"),
        ("def write(", "def written(", "does not say its write"),
    ],
)
def test_one_that_is_not_whole_is_refused_with_what_it_lacks(lab, catalog, old, new, says):
    (lab / "lab_tables.py").write_text(CODE.replace(old, new))
    with pytest.raises(MachineError, match=says):
        export(catalog, "table")


def test_one_that_leaves_no_file_fails_its_session(lab, catalog):
    (lab / "lab_tables.py").write_text(
        CODE.replace("path.write_text(", "path.with_suffix('.txt').write_text(")
    )
    with pytest.raises(
        PartialFailure, match=r"table of lab_tables 0\.3 was to write this file and left .*\.txt"
    ):
        export(catalog, "table")
    assert not list((catalog.parent / "exports").rglob("*.csv*"))


def test_names_and_settings_are_checked(catalog):
    with pytest.raises(SettingsError, match="did you mean lfads"):
        export(catalog, "lfad")
    with pytest.raises(SettingsError, match="takes settings of NlbExport, found Frozen"):
        export(catalog, "nlb", settings=Frozen())


@pytest.mark.parametrize("name", list(EXPORTERS))
def test_store_settings_and_version_are_in_the_key_of_an_export(name, monkeypatch):
    exporter = exporter_named(name)
    settings = exporter.settings_type()
    key = exporter.key(settings, "k1")
    assert key == exporter.key(exporter.settings_type(), "k1")
    assert key != exporter.key(settings, "k2")
    monkeypatch.setattr(type(exporter), "version", exporter.version + 1)
    assert key != exporter.key(settings, "k1")


def test_exports_of_one_store_in_two_formats_have_keys_of_their_own():
    keys = {name: exporter_named(name).key(exporter_named(name).settings_type(), "k") for name in EXPORTERS}
    assert len(set(keys.values())) == len(keys) > 2
    lags = {
        exporter_named("nlb").key(exporter_named("nlb").settings_type(lag_ms=ms), "k") for ms in (0, 100, 140)
    }
    assert len(lags) == 3
