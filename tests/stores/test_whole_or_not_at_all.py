"""A writer that is killed, or a power cut, at any step leaves the old content or the new one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores import atomic, disk_names

# Every call that changes names or flushes counts down; at zero the process is gone, as from kill -9.
KILLED = """
import os, sys
from pathlib import Path
from nwb_latents.pipeline.stores import atomic, disk_names

left = int(sys.argv[1])

def counted(call):
    def wrapped(*args, **words):
        global left
        left -= 1
        if left == 0:
            os._exit(137)
        return call(*args, **words)
    return wrapped

for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (atomic, "exchange")):
    setattr(owner, name, counted(getattr(owner, name)))
if sys.argv[2] == "no exchange":
    atomic.exchange = lambda first, second: False
"""
WRITES = {
    "directory": """
with atomic.whole_directory(Path("made/a.zarr")) as folder:
    for name in ("x/c/0", "x/zarr.json", "y"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("new")
""",
    "file": """
with atomic.whole_file(Path("made/a.h5")) as file:
    file.write_text("new")
""",
    "bytes": """
atomic.write_bytes(Path("made/a.h5"), b"new")
""",
}


def content(place):
    """Return what is seen under the names of the user: no hidden ones."""
    files = (path for path in place.rglob("*") if path.is_file())
    return {
        path.relative_to(place).as_posix(): path.read_text()
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(place).parts)
    }


def old_and_new(kind):
    names = ("a.zarr/x/c/0", "a.zarr/x/zarr.json", "a.zarr/y") if kind == "directory" else ("a.h5",)
    return dict.fromkeys(names, "old"), dict.fromkeys(names, "new")


def write(place, kind, *, count=0, rule="exchange"):
    words = [sys.executable, "-c", KILLED + WRITES[kind], str(count), rule]
    return subprocess.run(words, cwd=place, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("had", ["nothing", "old"])
def test_killed_at_every_step_there_is_the_old_or_the_new(tmp_path, kind, had):
    old, new = old_and_new(kind)
    seen = set()
    for count in range(1, 40):
        place = tmp_path / str(count)
        for name, text in (old if had == "old" else {}).items():
            (place / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "made" / name).write_text(text)
        place.mkdir(exist_ok=True)
        done = write(place, kind, count=count)
        found = content(place / "made")
        assert found in ((old if had == "old" else {}), new), count
        seen.add(tuple(found.values()))
        if done.returncode == 0:
            break
        assert done.returncode == 137, done.stderr
        assert write(place, kind).returncode == 0
        assert content(place / "made") == new
        assert not list(place.rglob("*.tmp"))
    else:
        raise AssertionError("never finished")
    assert count > 2
    assert len(seen) == 2, "killed both before and after the name was given"


def test_where_directories_cannot_change_places_the_old_one_is_put_back(tmp_path):
    """Some file systems of a network do not know how; the old directory waits under another name."""
    old, new = old_and_new("directory")
    for count in range(1, 40):
        place = tmp_path / str(count)
        for name, text in old.items():
            (place / "made" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "made" / name).write_text(text)
        done = write(place, "directory", count=count, rule="no exchange")
        atomic.put_back(place / "made" / "a.zarr")
        assert content(place / "made") in (old, new), count
        if done.returncode == 0:
            break
    assert content(place / "made") == new


def test_a_disk_that_refuses_the_last_step_leaves_the_old_directory(tmp_path, monkeypatch):
    target = tmp_path / "a.zarr"
    with atomic.whole_directory(target) as folder:
        (folder / "y").write_text("old")
    rename, calls = Path.rename, []

    def refusing(self, to):
        calls.append(self)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(atomic, "exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(MachineError, match="No space left"), atomic.whole_directory(target) as folder:
        (folder / "y").write_text("new")
    assert (target / "y").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.fixture
def steps(monkeypatch):
    """Return a list of what reaches the disk, in order: inodes that are flushed, and new names."""
    told = []
    fsync = os.fsync

    def flushed(descriptor):
        told.append(("flush", os.fstat(descriptor).st_ino))
        return fsync(descriptor)

    def named(call):
        def wrapped(first, second):
            told.append(("name", Path(first).stat().st_ino))
            return call(first, second)

        return wrapped

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "rename", named(Path.rename))
    monkeypatch.setattr(Path, "replace", named(Path.replace))
    monkeypatch.setattr(atomic, "exchange", named(atomic.exchange))
    return told


@pytest.mark.parametrize("had", [False, True])
def test_every_file_is_on_the_disk_before_the_directory_has_its_name_and_the_name_after(tmp_path, steps, had):
    target = tmp_path / "new" / "a.zarr"
    if had:
        target.mkdir(parents=True)
    with atomic.whole_directory(target) as folder:
        (folder / "x" / "c").mkdir(parents=True)
        (folder / "x" / "c" / "0").write_bytes(b"1")
        (folder / "y").write_bytes(b"2")
        root = folder.stat().st_ino
    named = steps.index(("name", root))
    before = {inode for what, inode in steps[:named] if what == "flush"}
    assert {path.stat().st_ino for path in (target, *target.rglob("*"))} <= before
    assert ("flush", target.parent.stat().st_ino) in steps[named:]
    if not had:
        assert ("flush", tmp_path.stat().st_ino) in steps[:named], "the new folder above it is lasting too"


@pytest.mark.parametrize("way", ["bytes", "file"])
def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(tmp_path, steps, way):
    path = tmp_path / "new" / "a.csv"
    if way == "bytes":
        atomic.write_bytes(path, b"1")
    else:
        with atomic.whole_file(path) as temporary:
            temporary.write_bytes(b"1")
    inode = path.stat().st_ino
    named = steps.index(("name", inode))
    assert ("flush", inode) in steps[:named]
    assert ("flush", path.parent.stat().st_ino) in steps[named:]


def test_a_system_that_cannot_flush_folders_is_no_fault_and_a_broken_disk_is(tmp_path, monkeypatch):
    for number, is_fault in ((22, False), (5, True)):

        def refuse(descriptor, number=number):
            raise OSError(number, "no")

        monkeypatch.setattr(os, "fsync", refuse)
        if is_fault:
            with pytest.raises(OSError, match="no"):
                disk_names.flush_folder(tmp_path)
        else:
            disk_names.flush_folder(tmp_path)


def test_a_full_disk_under_hdf5_is_told_in_one_sentence(tmp_path):
    said = (
        "Can't synchronously write data (file write failed: time = Sat Nov 28\n, filename = 'a.h5', "
        "file descriptor = 6, errno = 28, error message = 'No space left on device', buf = 0x5, total = 96)"
    )
    for error in (OSError(said), OSError(28, said)):
        told = str(atomic.machine_error(error, tmp_path / "a.h5", doing="write this file"))
        assert told.endswith(
            "a.h5: cannot write this file: No space left on device. Free some space and run the same command "
            "again."
        )


def test_a_folder_in_the_way_of_a_file_is_a_fault_of_the_data_and_named(tmp_path):
    (tmp_path / "a.csv").mkdir()
    (tmp_path / "a.csv" / "mine").touch()
    said = "a.csv: cannot write this file: .*a.csv is a folder, and a file belongs there. Move it away"
    with pytest.raises(DataError, match=said):
        atomic.write_text(tmp_path / "a.csv", "1, 2")
    with pytest.raises(DataError, match=said), atomic.whole_file(tmp_path / "a.csv") as temporary:
        temporary.write_text("1, 2")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.csv", "mine"]


def test_an_interrupted_writer_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(tmp_path / "a.csv", "1, 2")
    assert list(tmp_path.iterdir()) == []
