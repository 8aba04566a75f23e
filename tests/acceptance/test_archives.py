"""Files of older versions (`tests/data/archives`): all of them are read, and give the same numbers."""

import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from nwb_latents.pipeline.cluster.ledger import ledgers_beside, read_ledger, standing_failures
from nwb_latents.pipeline.errors import CatalogWarning
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.group_checks import check_group
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.stores.trials import read_attributes, read_continuous, read_trials
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.pipeline.training.run_files import read_config, read_entry
from nwb_latents.schemas.decoding import DecodeSettings

ARCHIVES = sorted((Path(__file__).parents[1] / "data" / "archives").glob("*-whole.tar.xz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix("-whole.tar.xz"))
def catalog_path(request, tmp_path):
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CatalogWarning)  # numbers are moved, which is said
        read_measurements(tmp_path / "catalog.yaml")
    return tmp_path / "catalog.yaml"


def test_archives_are_there_and_small():
    assert ARCHIVES
    assert all(path.stat().st_size < 300 * 1024 for path in ARCHIVES)


def test_stores_are_read(catalog_path):
    catalog = read_catalog(catalog_path)
    assert len(catalog.sessions) == 2
    for entry in catalog.sessions.values():
        store = store_path(catalog_path, entry.store)
        assert read_attributes(store).store_key == entry.store_key
        for group, read in (("trials", read_trials), ("continuous", read_continuous)):
            check_group(read(store), group, where=str(store), values=True)


def test_runs_are_read_and_reconstruct(catalog_path):
    catalog = read_catalog(catalog_path)
    assert {run.alignment is not None for run in catalog.runs.values()} == {True, False}
    for run in catalog.runs.values():
        folder = catalog_path.parent / run.path
        assert read_entry(folder).model_dump() == run.model_dump()
        assert read_config(folder, run_key=run.run_key).run_key == run.run_key
        session = run.sessions[0]
        [entry] = [e for e in catalog.sessions.values() if e.session == session]
        opened = open_session(store_path(catalog_path, entry.store))
        assert np.isfinite(load_run(folder, device="cpu").reconstruct(opened)).all()


def test_ledgers_are_read(catalog_path):
    [ledger] = ledgers_beside(catalog_path)
    [failure] = standing_failures(read_ledger(ledger))
    assert failure.last.session == "sub-SimA_ses-CO-20200109"
    assert "not an NWB file" in failure.message


def test_decoding_again_gives_the_same_numbers(catalog_path):
    """What an older version measured and what this one measures on its files agree to the last digits.

    But for two things that are made in another way today: forecasts, which see less and are read out
    differently, and reconstructions, which go by the embedding of the trials trained on.
    """
    before = read_measurements(catalog_path, stages=["decode"])
    settings = DecodeSettings(
        decoders=("ridge", "wiener"), lag_scan_ms=(60, 100), transfer=True, n_permutations=20
    )
    decode(catalog_path, settings, runs=["both"], device="cpu")
    after = read_measurements(catalog_path, stages=["decode"])
    place = ["name", "session", "source", "run", "decoder", "lag_ms", "fitted_sessions"]
    old, new = (
        table.fillna({"run": ""}).set_index(place)["value"].sort_index()
        for table in (before, after[after["time"] != ""])
    )

    def of(table, source, run=""):
        sources, runs = (table.index.get_level_values(level) for level in ("source", "run"))
        return table[(sources == source) & (runs == run)]

    assert len(of(old, "rates")) == 20
    assert of(old, "rates").index.equals(of(new, "rates").index)
    np.testing.assert_allclose(of(new, "rates"), of(old, "rates"), rtol=1e-6)
    for source in ("reconstruction", "latents"):
        assert of(old, source, "both").index.equals(of(new, source, "both").index)
        np.testing.assert_allclose(of(new, source, "both"), of(old, source, "both"), rtol=0.1, atol=0.01)
    assert len(of(new, "forecast_decoded", "both")) == len(of(old, "forecast", "both"))
