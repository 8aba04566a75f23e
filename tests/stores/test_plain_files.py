"""What stands in the place of a file of the program is said: nothing is waited for, or begun beside it."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from nwb_latents.pipeline.cluster.ledger import append_attempts, read_ledger
from nwb_latents.pipeline.errors import CatalogWarning, DataError, MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.nwb.file_kinds import why_no_file
from nwb_latents.pipeline.stages.verify import verify
from nwb_latents.pipeline.stores.atomic import whole_directory, whole_file, write_bytes
from nwb_latents.pipeline.stores.catalog import add_run, read_catalog, require_catalog
from nwb_latents.pipeline.stores.catalog_file import parse_catalog
from nwb_latents.pipeline.stores.manifest import file_digest, read_manifest
from nwb_latents.pipeline.stores.measurements import add_measurements, read_measurements
from nwb_latents.pipeline.stores.one_writer import one_writer
from nwb_latents.pipeline.stores.plain_files import read_file, read_text
from nwb_latents.pipeline.stores.settings import read_yaml, settings_from
from nwb_latents.pipeline.training.checkpoint import read_weights
from nwb_latents.pipeline.training.run_checks import run_faults
from nwb_latents.pipeline.training.run_files import (
    damaged_lines,
    read_config,
    read_entry,
    read_metrics,
)
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.cluster import Attempt
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.recipe import IngestRecipe

RUN = RunEntry(
    run="r",
    model="mdssm",
    path="runs/r",
    run_key="k",
    recipe_id="20ms-a",
    sessions=("s",),
    steps=3,
    created="x",
)
ATTEMPT = Attempt(time="", session="s", source="a.nwb", recipe_id="r", status="failed")
NUMBER = Measurement(
    name="velocity_r2", value=0.1, session="s", recipe_id="20ms-a", split="test", n_trials=5, source="rates"
)
READERS = {
    "catalog.yaml": [
        read_catalog,
        lambda path: add_run(path, RUN),
        verify,
        read_measurements,
    ],
    "manifest.json": [lambda path: read_manifest(path.parent, remedy="Make it again.")],
    "config.yaml": [lambda path: read_config(path.parent, run_key=None), read_yaml],
    "run.json": [lambda path: read_entry(path.parent)],
    "metrics.jsonl": [read_metrics, damaged_lines],
    "ledger.jsonl": [read_ledger, lambda path: append_attempts(path, [ATTEMPT])],
    "last.safetensors": [read_weights],
}
CASES = [
    pytest.param(name, use, id=f"{name}-{number}")
    for name, uses in READERS.items()
    for number, use in enumerate(uses)
]


@pytest.fixture(autouse=True)
def no_waiting():
    """End a test that waits for a pipe."""

    def stop(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _used(path, use):
    """Use a file; of the words that say what is wrong, those said as a warning count too."""
    with pytest.raises(PipelineError) as caught:
        use(path)
    return str(caught.value)


@pytest.mark.parametrize(("name", "use"), [c for c in CASES if c.values[1] is not read_measurements])
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, name, use):
    path = tmp_path / name
    os.mkfifo(path)
    said = _used(path, use)
    assert name in said
    assert "it is a pipe, and a file belongs there. Move it away" in said


@pytest.mark.parametrize(("name", "use"), [c for c in CASES if c.values[1] is not read_measurements])
@pytest.mark.parametrize("to", ["gone/elsewhere", "itself"])
def test_a_link_that_leads_nowhere_is_refused_with_what_it_points_to(tmp_path, name, use, to):
    path = tmp_path / name
    path.symlink_to(name if to == "itself" else to)
    said = _used(path, use)
    assert "Errno" not in said
    assert (
        "it is a link that leads back to itself" if to == "itself" else "it is a link to gone/elsewhere"
    ) in said
    assert path.is_symlink()


def test_a_socket_and_a_folder_are_told_as_such(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("catalog.yaml")
        with pytest.raises(SettingsError, match="it is a socket, and a file belongs there"):
            read_catalog(tmp_path / "catalog.yaml")
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(SettingsError, match="it is a folder, and a file belongs there"):
        read_config(tmp_path, run_key=None)


def test_a_folder_above_that_is_a_link_to_nowhere_is_no_empty_catalog(tmp_path):
    (tmp_path / "volume").symlink_to("not-mounted")
    path = tmp_path / "volume" / "catalog.yaml"
    for use in (read_catalog, require_catalog_and_read, lambda where: add_run(where, RUN)):
        with pytest.raises(PipelineError, match=r"volume.*it is a link to not-mounted, which is not there"):
            use(path)


def require_catalog_and_read(path):
    require_catalog(path)
    read_catalog(path)


def test_what_is_not_there_is_not_there(tmp_path):
    path = tmp_path / "none"
    assert read_catalog(path).sessions == {}
    assert read_config(path, run_key=None) is None
    assert read_entry(path) is None
    assert read_manifest(path, remedy="") is None
    assert read_metrics(path) == []
    assert damaged_lines(path) == (0, 0)
    assert read_ledger(path) == []
    with pytest.raises(DataError, match="no such catalog"):
        require_catalog(path)
    with pytest.raises(FileNotFoundError):
        read_file(path)


def test_a_file_behind_a_link_is_read_and_lines_end_alike(tmp_path):
    (tmp_path / "real").write_bytes(b"a: 1\r\nb: 2\n")
    (tmp_path / "link").symlink_to("real")
    assert read_file(tmp_path / "link") == b"a: 1\r\nb: 2\n"
    assert read_text(tmp_path / "link") == "a: 1\nb: 2\n"
    assert parse_catalog(read_text(tmp_path / "link")) == {"a": 1, "b": 2}


def test_settings_a_person_names_may_come_through_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text("bin_size_s: 0.05\n"))
    writer.start()
    found = settings_from(IngestRecipe, file=path, words=["window_s=[-0.25, 0.45]"])
    writer.join()
    assert found.bin_size_s == 0.05


def test_settings_behind_a_link_to_nowhere_are_refused_in_words(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.symlink_to(path.name)
    with pytest.raises(SettingsError, match="it is a link that leads back to itself"):
        settings_from(IngestRecipe, file=path)


def test_a_lock_that_is_a_link_is_told_with_its_own_name(tmp_path):
    lock = tmp_path / "catalog.yaml.lock"
    lock.symlink_to("nowhere/lock")
    with pytest.raises(
        PipelineError, match=r"catalog\.yaml\.lock: it is a link to nowhere/lock, which is not"
    ):
        add_run(tmp_path / "catalog.yaml", RUN)
    lock.unlink()
    lock.symlink_to("real")
    (tmp_path / "real").touch()
    with pytest.raises(PipelineError, match=r"catalog\.yaml\.lock: it is a link to real.*Remove the link"):
        add_run(tmp_path / "catalog.yaml", RUN)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_called_as_measurements_and_is_no_file_is_named(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = tmp_path / "catalog.yaml"
    add_measurements(catalog, [NUMBER])
    name = "catalog.measurements/theirs.jsonl"
    with socket.socket(socket.AF_UNIX) as one:
        os.mkfifo(name) if kind == "pipe" else one.bind(name)
        with pytest.warns(CatalogWarning, match=rf"theirs\.jsonl \(a {kind}\): not read"):
            assert read_measurements(catalog)["value"].tolist() == [0.1]
        # What tells the time of the newest one does not wait either.
        Path(name).rename("catalog.measurements/99990101T000000Z-x-1-1.jsonl")
        add_measurements(tmp_path / "." / "catalog.yaml", [NUMBER])


def test_a_copy_of_the_measurements_that_is_a_pipe_is_refused(tmp_path):
    from nwb_latents.pipeline.stores.measurement_index import index_name

    catalog = tmp_path / "catalog.yaml"
    add_measurements(catalog, [NUMBER])
    os.mkfifo(tmp_path / "catalog.measurements" / index_name())
    with pytest.raises(PipelineError, match="it is a pipe, and a file belongs there"):
        read_measurements(catalog)


@pytest.mark.parametrize("to", ["nowhere", "catalog.measurements"])
def test_a_folder_of_measurements_that_is_a_link_to_nowhere_is_not_empty(tmp_path, to):
    (tmp_path / "catalog.measurements").symlink_to(to)
    said = (
        "it is a link that leads back to itself" if to != "nowhere" else "it is a link to nowhere, which is"
    )
    with pytest.raises(MachineError, match=rf"catalog\.measurements: .*{said}"):
        read_measurements(tmp_path / "catalog.yaml")


def test_a_run_whose_log_is_a_pipe_and_has_no_manifest_is_not_whole(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    faults = list(run_faults(tmp_path, RUN, expected_key=lambda _: None, quick=False))
    assert any(f.where == "metrics.jsonl" and "it is a pipe" in f.text for f in faults)


def test_a_pipe_is_no_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe"):
        file_digest(tmp_path / "pipe")
    assert "a pipe" in why_no_file(tmp_path / "pipe")


def _writers():
    def by_whole_file(path):
        with whole_file(path) as temporary:
            temporary.write_text("new")

    return [by_whole_file, lambda path: write_bytes(path, b"new")]


@pytest.mark.parametrize("write", _writers(), ids=["whole_file", "write_bytes"])
def test_what_a_link_stands_for_is_written_and_the_link_stays(tmp_path, write):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "real.csv").write_text("old")
    link = tmp_path / "mine.csv"
    link.symlink_to("between")
    (tmp_path / "between").symlink_to("shared/real.csv")
    write(link)
    assert link.is_symlink()
    assert (tmp_path / "shared" / "real.csv").read_text() == "new"
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["real.csv"]


@pytest.mark.parametrize("write", _writers(), ids=["whole_file", "write_bytes"])
@pytest.mark.parametrize("to", ["unmounted/real.csv", "mine.csv"])
def test_a_link_that_leads_nowhere_is_not_written_over(tmp_path, write, to):
    link = tmp_path / "mine.csv"
    link.symlink_to(to)
    with pytest.raises(
        PipelineError, match=r"mine\.csv: cannot write this file: it is a link (to unm|that leads)"
    ):
        write(link)
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "large_disk").mkdir()
    link = tmp_path / "s.zarr"
    link.symlink_to("large_disk")
    with one_writer(link), whole_directory(link) as temporary:
        (temporary / "a").write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "large_disk" / "a").read_text() == "new"
    link.unlink()
    link.symlink_to("unmounted")
    with pytest.raises(MachineError, match="it is a link to unmounted, which is not there"), one_writer(link):
        pass
    with pytest.raises(MachineError, match="it is a link to unmounted"), whole_directory(link):
        pass


def test_a_catalog_that_is_a_link_is_refused_with_the_one_to_name(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "mine").mkdir()
    shared, mine = tmp_path / "shared" / "catalog.yaml", tmp_path / "mine" / "catalog.yaml"
    add_run(shared, RUN)
    before = shared.read_bytes()
    mine.symlink_to("../shared/catalog.yaml")
    uses = [
        read_catalog, lambda path: add_run(path, RUN), read_measurements, verify,
        lambda path: add_measurements(path, [NUMBER]),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(SettingsError, match=rf"is a link to \.\./shared.*--catalog {shared.resolve()}"):
            use(mine)
    assert mine.is_symlink()
    assert shared.read_bytes() == before
    assert [path.name for path in mine.parent.iterdir()] == ["catalog.yaml"]


def test_a_catalog_in_a_folder_that_is_a_link_is_the_same_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    add_run(tmp_path / "link" / "catalog.yaml", RUN)
    assert read_catalog(tmp_path / "real" / "catalog.yaml").runs == {"r": RUN}


def test_attempts_go_into_the_ledger_behind_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "ledger.jsonl").touch()
    (tmp_path / "ledger.jsonl").symlink_to("there/ledger.jsonl")
    append_attempts(tmp_path / "ledger.jsonl", [ATTEMPT])
    assert read_ledger(tmp_path / "there" / "ledger.jsonl") == [ATTEMPT]
    assert (tmp_path / "there" / ".ledger.jsonl.lock").exists()
