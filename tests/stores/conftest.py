import logging
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import xarray as xr
from archive.object_storage import ENVIRONMENT

from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.trials import GROUPS, to_dataset
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Return the URL of an S3 server on the loopback interface."""
    pytest.importorskip("obstore")
    server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the environment to the loopback server; return its URL."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def bucket(s3_environment: str) -> StoreLocation:
    """Return a fresh bucket on the loopback server."""
    import requests

    name = f"lab-{uuid.uuid4().hex[:8]}"
    requests.put(f"{s3_environment}/{name}", timeout=10).raise_for_status()
    return StoreLocation.parse(f"s3://{name}")


SIZES = {"trial": 9, "time": 20, "unit": 5, "axis": 2, "input": 3, "candidate": 11}


@pytest.fixture
def make_groups() -> Callable[..., tuple[xr.Dataset, xr.Dataset]]:
    """Return a function that makes both groups of a small store, of any numbers the schema allows."""

    def arrays(group: str, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        made = {}
        for name, spec in GROUPS[group].items():
            shape = tuple(SIZES[dim] for dim in spec.dims)
            values = rng.poisson(3.0, shape)
            if "f" in spec.kinds:
                made[name] = values + 0.5
            elif "T" in spec.kinds:
                made[name] = np.full(shape, "train", dtype=object)
            else:
                made[name] = values.astype({"u": np.uint8, "i": np.int64, "b": bool}[spec.kinds[0]])
        return made

    def make(*, key: str = "k", seed: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
        attributes = StoreAttributes(
            store_key=key, session="s", subject="T", task="CO", bin_size_s=0.02, n_event_bins=13,
            recipe=IngestRecipe(),
            provenance=Provenance(source="x.nwb", asset_digest="sha256:0", layout="generic"), dropped={},
        )  # fmt: skip
        first, second = (to_dataset(g, arrays(g, seed), attributes) for g in ("trials", "continuous"))
        return first, second

    return make
