"""Kernels of the tutorials, forked from one process that has imported everything once.

A kernel of its own for each tutorial would spend most of its time on imports. `Forge` is that process; a
Jupyter kernel of the name `tutorial` asks it for a fork, and lives as long as the fork does.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

IMPORTED = (
    "distributed",
    "elephant.gpfa",
    "ipykernel.kernelapp",
    "lightning_fabric",
    "matplotlib.backends.backend_agg",
    "nwb_latents.pipeline.cli.main",
    "nwb_latents.pipeline.stages.align",
    "nwb_latents.pipeline.stages.decode",
    "nwb_latents.pipeline.stages.evaluate",
    "nwb_latents.pipeline.stages.forecast",
    "nwb_latents.pipeline.stages.ingest",
    "nwb_latents.pipeline.stages.simulate",
    "nwb_latents.pipeline.stages.train",
    "pandas",
    "pyarrow.parquet",
    "pynwb",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "tensorboard.summary.writer.event_file_writer",
    "torch",
)
NAME = "tutorial"


class Forge:
    """The process kernels are forked from; it ends with whoever started it.

    Parameters
    ----------
    folder
        Where its socket and the description of its kernel are written.
    """

    def __init__(self, folder: Path) -> None:
        here = Path(__file__)
        self._address = folder / "forge.sock"
        self._address.unlink(missing_ok=True)
        kernel = folder / "kernels" / NAME
        kernel.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-S", str(here), str(self._address), "{connection_file}"]
        described = {"argv": argv, "display_name": NAME, "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(described), encoding="utf-8")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(
            [str(folder), *filter(None, [os.environ.get("JUPYTER_PATH")])]
        )
        serve = f"from {here.stem} import serve; serve({str(self._address)!r})"
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", serve], stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # who asks for a kernel does not wait for imports

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(address: str) -> None:
    """Import everything, then fork a kernel for each caller, until standard input ends."""
    kernels: list[int] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        for name in IMPORTED:
            importlib.import_module(name)
        threading.Thread(target=_leave_with_starter, args=(kernels,), daemon=True).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            caller, _ = listening.accept()
            asked = json.loads(caller.makefile().readline())
            kernel = os.fork()
            if kernel == 0:
                _be_a_kernel(caller, asked)
            kernels.append(kernel)
            caller.close()


def _leave_with_starter(kernels: list[int]) -> None:
    sys.stdin.read()
    for kernel in kernels:
        os.kill(kernel, signal.SIGKILL)
        os.waitpid(kernel, 0)
    os._exit(0)


def _be_a_kernel(caller: socket.socket, asked: dict[str, object]) -> None:
    """Run a kernel in this process, which ends with it or with its caller."""
    from ipykernel.kernelapp import IPKernelApp  # noqa: PLC0415

    def leave_with_caller() -> None:
        caller.recv(1)
        os._exit(1)

    code = 1
    try:
        os.environ.clear()
        os.environ.update(asked["env"])
        os.environ.pop("JPY_PARENT_PID", None)  # a stranger to this process
        os.chdir(str(asked["folder"]))
        sys.path.insert(0, "")
        threading.Thread(target=leave_with_caller, daemon=True).start()
        IPKernelApp.launch_instance(["-f", str(asked["connection"])])
        code = 0
    finally:
        os._exit(code)


def ask(address: str, connection: str) -> None:
    """Ask for a kernel, and stay until it has ended."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # what ends a kernel is its message, or the end of this process
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(address)
        asked = {"env": dict(os.environ), "folder": str(Path.cwd()), "connection": connection}
        asking.sendall(json.dumps(asked).encode() + b"\n")
        asking.recv(1)


if __name__ == "__main__":
    ask(*sys.argv[1:])
