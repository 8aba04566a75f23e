"""A disk that fills up: an error with a remedy, nothing half-written, and the next run finishes."""

import os
import resource
import subprocess

import pytest

from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.trials import read_attributes

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
sys.argv = ["pipeline", *sys.argv[1:]]
from nwb_latents.pipeline.cli.main import main
main()
"""


@pytest.fixture
def folder(tmp_path, make_nwb, make_reaches):
    """Return a folder of two sessions, the second one much larger."""
    for number, n_units in enumerate((4, 40)):
        make_nwb(
            tmp_path / "nwb" / f"sub-T_ses-{number}.nwb",
            make_reaches(seed=number, n_trials=24, n_units=n_units),
            session=str(number),
        )
    return tmp_path / "nwb"


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of half a megabyte, where this user may."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1300k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def stores_are_whole(place):
    stores = list(place.glob("stores/*/*.zarr"))
    assert all(read_attributes(store) is not None for store in stores)
    assert not list(place.rglob("*.tmp"))
    return {store.stem for store in stores}


def test_a_disk_that_fills_up_while_a_store_is_written(folder, small_disk, pipeline_command):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(100_000))
    words = ("run", "ingest", "--path", folder, "--catalog", small_disk / "catalog.yaml")
    done = pipeline_command(*words)
    assert done.returncode in (3, 5), done.stderr
    assert "No space left on device. Free some space" in done.stderr
    assert "Traceback" not in done.stderr
    whole = stores_are_whole(small_disk)
    assert "sub-T_ses-1" not in whole
    entered = {e.session for e in read_catalog(small_disk / "catalog.yaml").sessions.values()}
    assert entered <= whole

    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    again = pipeline_command(*words)
    assert again.returncode == 0, again.stderr
    assert stores_are_whole(small_disk) == {"sub-T_ses-0", "sub-T_ses-1"}
    assert len(read_catalog(small_disk / "catalog.yaml").sessions) == 2


def test_a_limit_on_the_size_of_files(folder, tmp_path, pipeline_command):
    import sys

    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "run", "ingest", "--path", str(folder)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in (3, 5), done.stderr
    assert "File too large" in done.stderr
    assert "sub-T_ses-1" not in stores_are_whole(tmp_path)
    assert pipeline_command("run", "ingest", "--path", folder, "--retry-failed").returncode == 0
    assert len(stores_are_whole(tmp_path)) == 2
