"""Measurements: nothing acknowledged is lost, the later counts, and whatever was written can be read."""

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from nwb_latents.pipeline.errors import CatalogWarning, DataError, MachineError
from nwb_latents.pipeline.stores import lenient, measurement_clock, measurement_index, measurement_lines
from nwb_latents.pipeline.stores.measurements import (
    add_measurements,
    are_current,
    measurement_records,
    read_measurements,
)
from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
from nwb_latents.schemas.measurement import Measurement

FOLDER = "catalog.measurements"


def measured(value: float | None, session: str = "sub-A", **more: object) -> Measurement:
    plain = {"name": "velocity_r2", "recipe_id": "20ms-a", "split": "test", "n_trials": 9, "source": "rates"}
    return Measurement.model_validate({**plain, "value": value, "session": session, **more})


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch):
    """A process says a thing once; each test here is to hear it."""
    monkeypatch.setattr(lenient, "_said", set())


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "catalog.yaml"


def lines_in(catalog: Path) -> list[Path]:
    return sorted(catalog.with_name(FOLDER).glob("*.jsonl"))


def write_by_another(catalog: Path, *lines: bytes, name: str = "20200101T000000Z-other-1-0.jsonl") -> Path:
    path = catalog.with_name(FOLDER) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def test_what_was_added_is_read_back_field_by_field(catalog):
    whole = measured(
        0.25, low=0.1, high=0.4, level=0.95, per_axis=(0.2, None), run="r", run_key="k", seed=3, lag_ms=100.0,
        decoder="ridge", decoder_settings={"alpha": 1.0}, fitted_sessions=("b", "c"), seen_bins=13, bins=20,
        details={"per_step": [0.1, None], "what": {"ä": "\u2028"}}, program="1",
        time="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    bare = measured(None, "sub-B", reason="no velocity")
    added = add_measurements(catalog, [whole, bare])
    assert added[0] == whole
    assert added[1].time
    assert added[1].program
    table = read_measurements(catalog)
    assert measurement_records(table) == added
    assert table["value"].isna().tolist() == [False, True]
    assert list(table.columns) == list(Measurement.model_fields)
    assert table["seen_bins"].dtype == "Int64"
    assert table["n_trials"].sum() == 18


def test_the_later_of_the_same_measurement_counts_and_the_earlier_is_kept(catalog):
    add_measurements(catalog, [measured(0.1), measured(0.2, "sub-B")])
    add_measurements(catalog, [measured(0.3)])
    assert dict(read_measurements(catalog)[["session", "value"]].values) == {"sub-A": 0.3, "sub-B": 0.2}
    assert read_measurements(catalog, latest=False)["value"].tolist() == [0.1, 0.2, 0.3]


def test_later_is_told_by_the_time_said_not_by_the_file(catalog):
    add_measurements(catalog, [measured(0.2, time="2026-02-01T00:00:00+00:00")])
    old = measured(0.1, time="2026-01-01T00:00:00+00:00")
    write_by_another(catalog, measurement_lines.as_line(old), name="99990101T000000Z-x-1-0.jsonl")
    write_by_another(catalog, measurement_lines.as_line(measured(0.0)), name="v1.jsonl")
    assert read_measurements(catalog)["value"].tolist() == [0.2]


@pytest.fixture
def clock(monkeypatch):
    """Return a function that sets the clock, for a process that has not measured yet or for the same."""

    class Set(datetime):
        at = ""

        @classmethod
        def now(cls, tz=None):
            return datetime.fromisoformat(cls.at)

    monkeypatch.setattr(measurement_clock, "datetime", Set)

    def set_to(time: str, *, process: str) -> None:
        Set.at = f"2026-03-01T{time}+00:00"
        if process == "another":
            monkeypatch.setattr(measurement_clock, "_latest", {})
            monkeypatch.setattr(measurement_lines, "_writers", {})

    set_to("12:00:00", process="another")
    return set_to


@pytest.mark.parametrize("process", ["the same", "another"])
@pytest.mark.parametrize("back_to", ["11:59:59.999", "11:59:58", "11:30:00", "00:00:00"])
def test_a_clock_that_is_set_back_does_not_turn_the_order_round(catalog, clock, process, back_to, recwarn):
    add_measurements(catalog, [measured(0.1)])
    clock(back_to, process=process)
    add_measurements(catalog, [measured(0.2), measured(0.3)])
    clock("12:30:00", process=process)
    [last] = add_measurements(catalog, [measured(0.4, "sub-B")])
    assert read_measurements(catalog)["value"].tolist() == [0.3, 0.4]
    assert last.time == "2026-03-01T12:30:00.000+00:00"
    said = [str(one.message) for one in recwarn if issubclass(one.category, CatalogWarning)]
    tells = process == "another" and back_to in {"11:30:00", "00:00:00"}
    assert any("s behind the newest measurement" in text for text in said) == tells


def test_a_time_that_was_never_true_is_said_and_not_followed(catalog, clock):
    future = measured(0.1, time="2031-01-01T00:00:00+00:00")
    path = write_by_another(
        catalog, measurement_lines.as_line(future), name="20310101T000000Z-other-1-0.jsonl"
    )
    with pytest.warns(CatalogWarning, match=rf"{path.name}: .* says 2031.* still counts as the later"):
        [added] = add_measurements(catalog, [measured(0.2)])
    assert added.time == "2026-03-01T12:00:00.000+00:00"


@pytest.mark.parametrize(
    "protocol",
    [{"decoder": "wiener"}, {"source": "forecast", "seen_bins": 13, "bins": 20}, {"fitted_sessions": ("b",)},
     {"run": "r"}, {"lag_ms": 60.0}, {"stage": "evaluate"}, {"definition": "r2_pooled"}, {"step": 2}],
)  # fmt: skip
def test_measurements_of_another_protocol_stand_beside_each_other(catalog, protocol):
    add_measurements(catalog, [measured(0.1), measured(0.2, **protocol)])
    assert sorted(read_measurements(catalog)["value"]) == [0.1, 0.2]
    first, second = measurement_records(read_measurements(catalog))
    assert first.key != second.key


def test_filters_and_columns(catalog):
    add_measurements(
        catalog,
        [measured(0.1, f"sub-{s}", run=r, stage="decode") for s in "AB" for r in ("r1", "r2", None)]
        + [measured(0.5, "sub-A", name="co_bps", recipe_id="5ms-b", stage="evaluate", split="val")],
    )
    assert len(read_measurements(catalog, sessions=["sub-A"])) == 4
    assert len(read_measurements(catalog, sessions=["sub-*"], runs=["r*"])) == 4
    assert len(read_measurements(catalog, runs=["r1"], stages=["decode"])) == 2
    assert len(read_measurements(catalog, names=["co_bps"], splits=["val"], recipe_id="5ms")) == 1
    assert len(read_measurements(catalog, sources=["forecast"])) == 0
    assert list(read_measurements(catalog, columns=["value", "run"]).columns) == ["value", "run"]
    with pytest.raises(KeyError, match="no field 'valeu'"):
        read_measurements(catalog, columns=["valeu"])


def test_what_a_newer_version_or_another_part_wrote_is_read(catalog):
    newer = {
        "schema_version": 7, "name": "their_metric", "value": 0.7, "session": "sub-A", "recipe_id": "r",
        "split": "test", "n_trials": 3, "source": "rates", "decoder": "kernel_ridge", "area": "M1",
        "lag_ms": "from 60 to 100",
    }  # fmt: skip
    other_area = newer | {"area": "PMd", "value": 0.8}
    write_by_another(catalog, *(json.dumps(one).encode() + b"\n" for one in (newer, other_area)))
    add_measurements(catalog, [measured(0.1)])
    with pytest.warns(CatalogWarning, match=r"line 1: lag_ms 'from 60 to 100'.* newer version"):
        table = read_measurements(catalog)
    theirs = table[table["name"] == "their_metric"]
    assert theirs[["value", "decoder", "area", "lag_ms"]].values.tolist() == [
        [0.7, "kernel_ridge", "M1", "from 60 to 100"],
        [0.8, "kernel_ridge", "PMd", "from 60 to 100"],
    ]
    assert table["value"].sum() == pytest.approx(1.6)


def test_a_torn_line_is_passed_over_and_said(catalog):
    line = measurement_lines.as_line(measured(0.4))
    path = write_by_another(catalog, line, measurement_lines.as_line(measured(0.5, "sub-B"))[:40])
    with pytest.warns(CatalogWarning, match=rf"{path.name}: the last line is torn"):
        assert read_measurements(catalog)["value"].tolist() == [0.4]


def test_spoilt_lines_are_passed_over_and_named(catalog):
    line = measurement_lines.as_line(measured(0.4))
    write_by_another(catalog, b"\0" * 30 + b"\n", line, b'["no record"]\n', b'{"value": 3}\n')
    with pytest.warns(CatalogWarning, match="3 of its lines are no measurements, .*: 1, 3, 4"):
        assert read_measurements(catalog)["value"].tolist() == [0.4]


def test_no_bit_of_a_line_turns_without_a_word(catalog):
    record = measurement_lines.as_record(measured(0.4))
    line = measurement_lines.as_line(measured(0.4))
    assert measurement_lines._record(line) == record
    for place in range(len(line) - 1):
        for bit in range(8):
            turned = bytearray(line)
            turned[place] ^= 1 << bit
            found = measurement_lines._record(bytes(turned))
            # In the name of the checksum itself, nothing that was measured turns.
            assert found is None or {name: found.get(name) for name in record} == record, bytes(turned)
    write_by_another(catalog, line.replace(b"0.4", b"0.7"), line)
    with pytest.warns(CatalogWarning, match="not as it was written, .*: 1. Measure again"):
        assert read_measurements(catalog)["value"].tolist() == [0.4]


def test_lines_without_a_checksum_count_and_those_another_program_wrote_anew(catalog):
    line = json.dumps({**measurement_lines.as_record(measured(0.4)), "value": 0.7}).encode() + b"\n"
    whole = json.loads(measurement_lines.as_line(measured(0.5, "sub-B")))
    changed = {**json.loads(measurement_lines.as_line(measured(0.6, "sub-C"))), "value": 0.9}
    write_by_another(catalog, line, *(json.dumps(each).encode() + b"\n" for each in (whole, changed)))
    with pytest.warns(CatalogWarning, match="not as it was written, .*: 3"):
        assert read_measurements(catalog)["value"].tolist() == [0.7, 0.5]


def test_spoilt_lines_are_named_each_time_they_are_read(catalog, monkeypatch):
    monkeypatch.setattr(measurement_index, "LEAST_BYTES", 0)
    path = write_by_another(catalog, b"no record\n", measurement_lines.as_line(measured(0.4)))
    for _ in range(2):
        with pytest.warns(CatalogWarning, match="one of its lines is no measurement, .*: 1"):
            assert read_measurements(catalog)["value"].tolist() == [0.4]
    with path.open("ab") as file:
        file.write(b"nor this\n")
    with pytest.warns(CatalogWarning, match="2 of its lines are no measurements, .*: 1, 3"):
        assert read_measurements(catalog)["value"].tolist() == [0.4]


def test_what_an_editor_does_to_a_file_loses_no_measurement(catalog, monkeypatch):
    monkeypatch.setattr(measurement_index, "LEAST_BYTES", 0)
    first, second = (
        measurement_lines.as_line(measured(value, name)) for value, name in ((0.4, "sub-A"), (0.5, "sub-B"))
    )
    path = write_by_another(catalog, b"\xef\xbb\xbf" + first, second.removesuffix(b"\n"))
    for _ in range(2):
        assert read_measurements(catalog)["value"].tolist() == [0.4, 0.5]
    with path.open("ab") as file:
        file.write(b"\n" + measurement_lines.as_line(measured(0.6, "sub-C")))
    assert read_measurements(catalog, latest=False)["value"].tolist() == [0.4, 0.5, 0.6]


def test_a_folder_that_takes_nothing_is_found_before_the_work(catalog, monkeypatch):
    measurement_lines.check_appendable(catalog.with_name(FOLDER))
    add_measurements(catalog, [measured(0.1)])
    measurement_lines.check_appendable(catalog.with_name(FOLDER))
    assert len(list(catalog.with_name(FOLDER).iterdir())) == 1

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(measurement_lines.os, "open", refuse)
    with pytest.raises(MachineError, match=r"catalog\.measurements: cannot write .*Permission denied"):
        measurement_lines.check_appendable(catalog.with_name(FOLDER))


def test_empty_lines_are_nothing(catalog):
    line = measurement_lines.as_line(measured(0.4)).replace(b"\n", b"\r\n")
    write_by_another(catalog, b"\n", line, b"\n", b"  \n")
    assert read_measurements(catalog)["value"].tolist() == [0.4]


@pytest.mark.parametrize("version", [1, 7])
def test_a_word_that_is_not_known_locks_nobody_out_of_the_records(catalog, version):
    said = measurement_lines.as_record(measured(0.4))
    write_by_another(catalog, json.dumps({**said, "schema_version": version, "area": "M1"}).encode() + b"\n")
    add_measurements(catalog, [measured(0.1, "sub-B")])
    with pytest.warns(CatalogWarning, match="the key area of velocity_r2 of sub-A is not known here") as told:
        records = measurement_records(read_measurements(catalog))
    assert sorted((each.value, each.unknown()) for each in records) == [(0.1, ()), (0.4, ("area",))]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"value": "high"}, "value: .* found 'high'"),
        ({"value": [1]}, r"value: .* found \[1\]"),
        ({"n_trials": -4}, "n_trials: .* found -4"),
        ({"n_trials": None}, "n_trials: field required"),
        ({"value": {"a": 1}, "schema_version": 9}, "value: .* written as version 9 .* Update"),
    ],
)
def test_a_record_that_is_none_is_passed_over_and_said(catalog, wrong, says):
    said = measurement_lines.as_record(measured(0.4))
    write_by_another(catalog, json.dumps({**said, "run": "r", **wrong}).encode() + b"\n")
    add_measurements(catalog, [measured(0.1, "sub-B")])
    with pytest.warns(CatalogWarning, match=f"velocity_r2 of sub-A, .* passed over: {says}"):
        records = measurement_records(read_measurements(catalog))
    assert [each.value for each in records] == [0.1]


@pytest.mark.parametrize("name", ["theirs.JSONL", "theirs.jsonl.gz", "theirs.jsonl/"])
def test_files_that_look_like_measurements_and_are_not_read_are_named(catalog, name):
    add_measurements(catalog, [measured(0.1)])
    path = catalog.with_name(FOLDER) / name
    path.mkdir() if name.endswith("/") else path.write_bytes(b"")
    with pytest.warns(CatalogWarning, match=f"{path.name}: not read"):
        assert read_measurements(catalog)["value"].tolist() == [0.1]


def test_a_file_in_place_of_the_folder_is_told_as_such(catalog):
    catalog.with_name(FOLDER).write_text("")
    with pytest.raises(MachineError, match=r"catalog\.measurements: is a file; expected the folder"):
        read_measurements(catalog)


def test_a_file_that_cannot_be_opened_is_named(catalog):
    add_measurements(catalog, [measured(0.1)])
    (catalog.with_name(FOLDER) / "away.jsonl").symlink_to(catalog / "nowhere")
    with pytest.raises(MachineError, match=r"away.jsonl: cannot read the measurements"):
        read_measurements(catalog)


def test_a_link_that_leads_back_to_itself_is_named_as_such(catalog):
    add_measurements(catalog, [measured(0.1)])
    [file] = catalog.with_name(FOLDER).glob("*.jsonl")
    file.unlink()
    file.symlink_to(file.name)
    with pytest.raises(DataError, match=rf"{file.name}: .* it is a link that leads back to itself"):
        read_measurements(catalog)


def test_after_a_full_disk_the_next_measurements_are_whole(catalog, monkeypatch):
    add_measurements(catalog, [measured(0.1)])
    flush = os.fsync

    def full(handle: int) -> None:
        os.ftruncate(handle, os.fstat(handle).st_size - 20)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(measurement_lines.os, "fsync", full)
    with pytest.raises(MachineError, match="Free some space"):
        add_measurements(catalog, [measured(0.2, "sub-B")])
    monkeypatch.setattr(measurement_lines.os, "fsync", flush)
    add_measurements(catalog, [measured(0.3, "sub-C")])
    assert read_measurements(catalog)["value"].tolist() == [0.1, 0.3]


def test_one_file_for_each_process_and_another_after_a_while(catalog, monkeypatch):
    add_measurements(catalog, [measured(0.1)])
    add_measurements(catalog, [measured(0.2, "sub-B")])
    assert len(lines_in(catalog)) == 1
    child = multiprocessing.get_context("fork").Process(
        target=add_measurements, args=(catalog, [measured(0.3, "sub-C")])
    )
    child.start()
    child.join()
    assert len(lines_in(catalog)) == 2
    monkeypatch.setattr(measurement_lines.time, "monotonic", lambda: time.time() + 1e9)
    add_measurements(catalog, [measured(0.4, "sub-D")])
    assert len(lines_in(catalog)) == 3
    assert sorted(read_measurements(catalog)["value"]) == [0.1, 0.2, 0.3, 0.4]


def test_a_folder_taken_away_is_made_again(catalog):
    add_measurements(catalog, [measured(0.1)])
    lines_in(catalog)[0].unlink()
    catalog.with_name(FOLDER).rmdir()
    add_measurements(catalog, [measured(0.2)])
    assert read_measurements(catalog)["value"].tolist() == [0.2]


class TestCopy:
    """The copy that is quick to read never says anything but what the lines say."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch):
        monkeypatch.setattr(measurement_index, "LEAST_BYTES", 0)
        monkeypatch.setattr(measurement_index, "LEAST_SHARE", 0.0)

    @pytest.fixture
    def copied(self, catalog: Path) -> Path:
        add_measurements(catalog, [measured(k / 10, f"sub-{k}", details={"k": k}) for k in range(5)])
        write_by_another(catalog, measurement_lines.as_line(measured(0.9, "sub-X")))
        read_measurements(catalog)
        assert (catalog.with_name(FOLDER) / measurement_index.index_name()).is_file()
        return catalog

    def test_reads_the_same(self, copied):
        def no_lines(*args, **kwargs):
            raise AssertionError("the lines were read again")

        before = read_measurements(copied)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measurement_index, "read_lines", no_lines)
            assert read_measurements(copied).equals(before)
            assert read_measurements(copied, sessions=["sub-3"])["value"].tolist() == [0.3]
        (copied.with_name(FOLDER) / measurement_index.index_name()).unlink()
        assert read_measurements(copied).equals(before)

    def test_what_was_added_after_it_is_read(self, copied):
        add_measurements(copied, [measured(0.7, "sub-3"), measured(0.8, "sub-9")])
        assert dict(read_measurements(copied)[["session", "value"]].values) == {
            "sub-0": 0.0, "sub-1": 0.1, "sub-2": 0.2, "sub-3": 0.7, "sub-4": 0.4, "sub-9": 0.8, "sub-X": 0.9,
        }  # fmt: skip

    def test_what_was_changed_or_taken_away_counts_as_it_stands(self, copied):
        path = write_by_another(copied, measurement_lines.as_line(measured(0.6, "sub-Y")))
        assert 0.9 not in read_measurements(copied)["value"].tolist()
        assert 0.6 in read_measurements(copied)["value"].tolist()
        path.unlink()
        assert 0.6 not in read_measurements(copied)["value"].tolist()

    def test_a_damaged_one_is_made_anew(self, copied):
        before = read_measurements(copied)
        copy = copied.with_name(FOLDER) / measurement_index.index_name()
        copy.write_bytes(copy.read_bytes()[:-30])
        assert read_measurements(copied).equals(before)
        assert read_measurements(copied).equals(before)

    def test_a_folder_that_may_not_be_written_to_is_read_without(self, copied, monkeypatch):
        def refused(path, content):
            raise MachineError(f"{path}: read-only")

        add_measurements(copied, [measured(0.7, "sub-9")])
        monkeypatch.setattr(measurement_index, "write_bytes", refused)
        assert len(read_measurements(copied)) == 7


WRITER = """
import sys
from pathlib import Path
from nwb_latents.pipeline.stores.measurements import add_measurements
from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
from nwb_latents.schemas.measurement import Measurement
catalog, me = Path(sys.argv[1]), sys.argv[2]
for k in range(int(sys.argv[3])):
    batch = [Measurement(name=f"m{i}", value=k, session=f"{me}-{k}", recipe_id="r", split="test", n_trials=1,
                         source="rates", details={"filling": "x" * 300}) for i in range(3)]
    add_measurements(catalog, batch)
    print(k, flush=True)
"""


def test_numbers_of_stores_and_runs_that_were_made_anew_are_told_apart(catalog):
    session = SessionEntry(
        session="sub-A", subject="A", task="CO", recipe_id="20ms-a", store="a.zarr", store_key="now",
        source="a", n_trials=9, n_units=1, n_bins=1, bin_size_s=0.02, created="",
    )  # fmt: skip
    run = RunEntry(
        run="r", model="lfads", path="runs/r", run_key="now", recipe_id="20ms-a", sessions=("sub-A",),
        steps=1, created="",
    )  # fmt: skip
    held = Catalog(sessions={"sub-A@20ms-a": session}, runs={"r": run})
    keys = [
        ("now", "r", "now"), ("old", "r", "now"), ("now", "r", "old"), ("now", None, None), ("", None, None),
        ("now", "gone", "x"), ("now", "r", None),
    ]  # fmt: skip
    add_measurements(
        catalog,
        [measured(k, name=f"m{k}", store_key=s, run=r, run_key=key) for k, (s, r, key) in enumerate(keys)],
    )
    current = are_current(read_measurements(catalog), held)
    assert [None if pd.isna(one) else one for one in current] == [True, False, False, True, None, False, None]


@pytest.mark.slow
def test_sixteen_writers_of_which_some_are_killed_lose_nothing_acknowledged(catalog, monkeypatch):
    monkeypatch.setattr(measurement_index, "LEAST_BYTES", 20_000)
    chance = random.Random(0)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(catalog), str(me), "60"], stdout=subprocess.PIPE, text=True
        )
        for me in range(16)
    ]
    acknowledged: dict[int, int] = dict.fromkeys(range(16), -1)
    for me, writer in enumerate(writers):
        last = chance.randrange(5, 50) if me % 2 else 59
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged[me] = int(line)
            if acknowledged[me] >= last:
                break
        if me % 2:
            writer.send_signal(signal.SIGKILL)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(measurement_lines, "_say", lambda text: None)
                read_measurements(catalog)  # makes the copy anew while the others write
    for writer in writers:
        writer.communicate()
    monkeypatch.setattr(measurement_lines, "_say", lambda text: None)
    table = read_measurements(catalog, latest=False)
    found = set(zip(table["session"], table["name"], strict=True))
    assert len(found) == len(table)
    for me, last in acknowledged.items():
        assert last >= 5
        assert {(f"{me}-{k}", f"m{i}") for k in range(last + 1) for i in range(3)} <= found
