"""Spoiled stores on object storage: a server on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from archive.object_storage import ENVIRONMENT

from robustness import stores
from robustness.work import Elsewhere, attempt_on_folder, weighted

if TYPE_CHECKING:
    import numpy as np

    from robustness.base import Base
    from robustness.verdict import Verdict

BUCKET = "robust"
COMMANDS = {"verify": 8, "decode rates": 4, "decode": 2, "train anew": 2, "export": 2, "recut": 2}
# An object is neither a folder nor a link.
DRAWN = tuple(name for name in stores.DRAWN if name != "misplaced")


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil a store, put it on object storage and run a command that meets it."""
    command = weighted(COMMANDS, rng)
    if mutator == "values_and_manifest":
        command = "verify"
    url = base.known("object storage", _served)
    there = Elsewhere(
        "object storage", lambda folder: _put(folder, url), {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}
    )
    return attempt_on_folder(
        trial,
        base,
        spoil=stores.MUTATORS[mutator],
        command=command,
        rng=rng,
        rule=stores.rule,
        elsewhere=there,
    )


def _served() -> str:
    """Start the server, which ends with this process, and return its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
        f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    )
    subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the server of object storage does not answer")


def _put(folder: str, url: str) -> None:
    """Move the store of a folder to object storage, in place of what lies there."""
    import shutil

    import requests

    where = f"{url}/{BUCKET}"
    requests.post(f"{url}/moto-api/reset", timeout=20).raise_for_status()
    requests.put(where, timeout=20).raise_for_status()
    store = stores.store_of(Path(folder))
    prefix = store.relative_to(folder).as_posix()
    for path in sorted(store.rglob("*")):
        # The server knows no name with a line break in it.
        if path.is_file() and path.name.isprintable():
            name = requests.utils.quote(f"{prefix}/{path.relative_to(store).as_posix()}")
            requests.put(f"{where}/{name}", data=path.read_bytes(), timeout=20).raise_for_status()
    shutil.rmtree(store)
    catalog = Path(folder, "catalog.yaml")
    content = yaml.safe_load(catalog.read_text())
    for entry in content["sessions"].values():
        entry["store"] = f"s3://{BUCKET}/{entry['store']}"
    catalog.write_text(yaml.safe_dump(content, allow_unicode=True))
