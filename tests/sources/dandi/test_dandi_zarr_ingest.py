"""NWB in Zarr from the archive, through the command line: the same store as from HDF5, or none."""

import json

import numpy as np
import pytest
import zarr
from archive import ZARR, drop, flip_byte, status
from archive.recordings import as_zarr
from archive.sample import DANDISET, VERSION

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.sources.archive_diff import diff_dandiset
from nwb_latents.pipeline.sources.asset import Asset
from nwb_latents.pipeline.sources.checksums import digest_file
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.remote_file import StreamRefusedError
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.schemas.catalog import AssetPin, DandisetEntry
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.simulation import SimulateSettings

HDF5, NWB_ZARR = "hdf5/sub-A_ses-1.nwb", "sub-A/sub-A_ses-1.nwb.zarr"
CHUNK = "/zarr/*/units/spike_times/0"
FAULTS = (status(503), drop(after=10), flip_byte(at=20))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Return a session in HDF5, and the same in Zarr."""
    folder = tmp_path_factory.mktemp("simulated")
    settings = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(6, 6), n_trials=20)
    path = simulate_dandiset(folder, settings)[0]
    return path, as_zarr(path, folder / "session.nwb.zarr")


@pytest.fixture
def archive(open_archive, simulated):
    files = {NWB_ZARR: simulated[1], "sub-A/cells.ome.zarr": ZARR}
    return open_archive({DANDISET: {VERSION: files}})


def arrays(store):
    groups = (zarr.open_group(str(store / name), mode="r") for name in ("trials", "continuous", "events"))
    return {f"{group.name}{name}": group[name][...] for group in groups for name in group.array_keys()}


@pytest.fixture
def command(pipeline_command, archive):
    """Return a function that ingests the dandiset and gives exit code and events."""

    def run(*words):
        shown = pipeline_command(
            "run", "ingest", "--dandiset", DANDISET, "--instance", archive.url, "--json", *words,
            env={"DANDI_NO_ET": "1", "NO_PROXY": "127.0.0.1"},
        )  # fmt: skip
        assert "Traceback" not in shown.stderr
        return shown.returncode, [json.loads(line) for line in shown.stdout.splitlines()]

    return run


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["calm", "faults"])
def test_zarr_makes_the_store_of_hdf5(archive, simulated, open_archive, open_source, tmp_path, faults):
    for fault in faults:
        archive.fault(CHUNK, fault)
    made = []
    other = open_archive({DANDISET: {VERSION: {HDF5: simulated[0]}}})
    for name, server in (("zarr", archive), ("hdf5", other)):
        source = open_source(server, download_dir=tmp_path / name)
        (entry,) = ingest(tmp_path / name / "catalog.yaml", source)
        made.append(arrays(tmp_path / name / entry.store))
    from_zarr, from_hdf5 = made
    assert from_zarr.keys() == from_hdf5.keys()
    assert len(from_zarr) > 20
    for name, values in from_hdf5.items():
        np.testing.assert_array_equal(from_zarr[name], values, err_msg=name)


def test_store_key_does_not_depend_on_where_the_folder_comes_from(archive, simulated, open_source, tmp_path):
    (fetched,) = ingest(tmp_path / "a" / "catalog.yaml", open_source(archive))
    (local,) = ingest(tmp_path / "b" / "catalog.yaml", FolderSource([simulated[1]]))
    assert fetched.store_key == local.store_key


@pytest.mark.parametrize("mode", ["download", "stream", "auto"])
def test_every_mode_downloads(archive, open_source, simulated, tmp_path, mode, caplog):
    source = open_source(archive)
    (asset,) = source.assets()
    with source.open(asset, mode=mode, recipe=IngestRecipe()) as (path, digest):
        assert path == tmp_path / "downloads" / DANDISET / VERSION / NWB_ZARR
        assert digest == digest_file(simulated[1])
    said = f"{NWB_ZARR}: NWB in Zarr is not streamed; it is downloaded instead"
    assert (said in caplog.messages) is (mode == "stream")


def test_zarr_cannot_be_opened_as_a_stream(archive, open_source):
    size = archive.asset(DANDISET, VERSION, NWB_ZARR).size
    with pytest.raises(StreamRefusedError, match=r"folder of many files.*--download"):
        open_source(archive).open_stream(Asset(path=NWB_ZARR, size=size, version=VERSION))


def test_a_folder_says_what_is_zarr(simulated):
    assert [asset.is_zarr for path in simulated for asset in FolderSource([path]).assets()] == [False, True]


def test_the_command_ingests_zarr_once(command, archive, tmp_path):
    code, events = command()
    assert code == 0
    assert [e["status"] for e in events if e["event"] == "session"] == ["done"]
    notes = [e["text"] for e in events if e["event"] == "note"]
    assert "1 Zarr assets are not named .nwb or .nwb.zarr and left out: sub-A/cells.ome.zarr." in notes
    (store,) = tmp_path.glob("stores/*/*.zarr")
    size = archive.asset(DANDISET, VERSION, NWB_ZARR).size
    assert archive.bytes_sent("/zarr/*") == size
    n_asked = len(archive.requested("/zarr/*"))
    code, events = command("--stream")
    assert [e["status"] for e in events if e["event"] == "session"] == ["skipped"]
    assert len(archive.requested("/zarr/*")) == n_asked
    provenance = json.loads((store / "trials" / "zarr.json").read_text())["attributes"]["provenance"]
    assert json.loads(provenance)["asset_digest"].startswith("sha256:")


def test_a_dry_run_counts_zarr_and_fetches_nothing(command, archive):
    code, events = command("--dry-run")
    size = archive.asset(DANDISET, VERSION, NWB_ZARR).size
    assert code == 0
    assert [(e["source"], e["bytes"]) for e in events if e["event"] == "planned"] == [(NWB_ZARR, size)]
    assert next(e for e in events if e["event"] == "plan")["bytes"] == size
    assert archive.requested("/zarr/*") == archive.requested("/api/zarr/*") == []


def test_a_corrupted_zarr_is_never_ingested(command, archive, tmp_path):
    archive.fault(CHUNK, flip_byte(at=30), times=None)
    code, events = command()
    assert code in (4, 5)
    (session,) = [e for e in events if e["event"] == "session"]
    assert session["status"] == "failed"
    assert "units/spike_times/0: the archive delivers a corrupted file" in session["reason"]
    assert not list(tmp_path.glob("stores/*/*.zarr"))
    assert not (tmp_path / "downloads" / DANDISET / VERSION / NWB_ZARR).exists()


@pytest.fixture
def draft(open_archive, simulated):
    return open_archive({DANDISET: {"draft": {NWB_ZARR: simulated[1]}}})


@pytest.fixture
def pinned(draft):
    """Return the entry of a catalog in which the Zarr is pinned."""
    asset = draft.asset(DANDISET, "draft", NWB_ZARR)
    pin = AssetPin(path=NWB_ZARR, asset_id=asset.asset_id, zarr_checksum=asset.zarr_checksum, size=asset.size)
    return DandisetEntry(title="t", version="draft", layout="generic", tasks=(), pins=(pin,))


def test_a_pinned_zarr_of_a_draft_is_read(draft, open_source, pinned, simulated):
    source = open_source(draft, known=pinned)
    (asset,) = source.assets()
    assert digest_file(source.fetch(asset)) == digest_file(simulated[1])
    assert source.notes == ()


def test_a_zarr_that_differs_from_its_pin_is_an_error(draft, open_source, pinned):
    wrong = pinned.pins[0].model_copy(update={"zarr_checksum": "a" * 32 + "-1--1"})
    source = open_source(draft, known=pinned.model_copy(update={"pins": (wrong,)}))
    (asset,) = source.assets()
    with pytest.raises(DataError, match=f"since it was pinned: pinned {'a' * 32}-1--1"):
        source.fetch(asset)
    assert draft.requested("/zarr/*") == []


@pytest.mark.parametrize("digests", [{}, {"sha256": "a" * 64, "zarr_checksum": "a" * 32 + "-1--1"}])
def test_a_pin_has_one_digest(digests):
    with pytest.raises(ValueError, match="either a sha256"):
        AssetPin(path=NWB_ZARR, asset_id="1", size=1, **digests)


def test_a_diff_compares_zarrs_by_their_checksum(draft, pinned):
    asset = draft.asset(DANDISET, "draft", NWB_ZARR)

    def changes():
        found = diff_dandiset(pinned, DANDISET, instance=draft.url).changes
        return [(file.path, file.change, file.after.size) for file in found]

    assert changes() == []
    asset.asset_id = "another"
    assert changes() == [(NWB_ZARR, "id", asset.size)]
    checksum, asset.zarr_checksum = asset.zarr_checksum, None
    assert changes() == [(NWB_ZARR, "unknown", asset.size)]
    asset.zarr_checksum = "0" * 32 + checksum[32:]
    assert changes() == [(NWB_ZARR, "content", asset.size)]


def test_the_catalog_shows_pinned_zarrs(pipeline_command, pinned, tmp_path):
    catalog = {"schema_version": 1, "dandisets": {DANDISET: pinned.model_dump(mode="json")}}
    (tmp_path / "catalog.yaml").write_text(json.dumps(catalog))
    shown = pipeline_command("dandisets", DANDISET)
    assert shown.returncode == 0
    assert pinned.pins[0].zarr_checksum[:12] in shown.stdout
