"""Where training runs."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from lightning_fabric.plugins import environments

from nwb_latents.pipeline.training import device
from nwb_latents.pipeline.training.device import open_fabric
from nwb_latents.schemas.training import TrainSettings


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")
def test_memory_of_a_freed_tensor_is_used_again() -> None:
    # In a process of its own: what other threads of this one touch would count too.
    program = """
import resource, torch
from nwb_latents.pipeline.training.device import reuse_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(64 << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

reuse_freed_memory()
for _ in range(50):
    faults()
print(max(faults() for _ in range(10)))
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The heap settles within some dozen blocks, by how full it was before. A fresh mapping of 64 MiB faults
    # for each of its pages, of which there are 32 even of the largest kind.
    assert int(shown.stdout) < 32


SBATCH = {
    "SLURM_JOB_ID": "1", "SLURM_JOBID": "1", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "node[1-2]",
}  # fmt: skip
SRUN = {
    **SBATCH, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "1",
    "SLURM_NNODES": "2", "PMI_RANK": "1", "PMI_SIZE": "4",
}  # fmt: skip
BATCH_SYSTEMS = {
    "one variable of slurm": {"SLURM_NTASKS": "4"},
    "sbatch": SBATCH,
    "srun": SRUN,
    "pbs": {"PBS_JOBID": "1.host", "PBS_NODEFILE": "/nowhere", "PBS_NUM_PPN": "4", "PBS_TASKNUM": "2",
            "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
    "lsf": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_LOCAL_RANK": "1",
            "JSM_NAMESPACE_SIZE": "2"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "1", "GROUP_RANK": "0", "LOCAL_RANK": "1", "RANK": "1",
                 "WORLD_SIZE": "4", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "LOCAL_WORLD_SIZE": "4"},
    "lightning": {"LOCAL_RANK": "3", "NODE_RANK": "2", "LT_DEVICES": "4", "LT_NUM_NODES": "2"},
}  # fmt: skip
"""What a process finds in its environment where it was started by one of these."""


@pytest.mark.parametrize("system", list(BATCH_SYSTEMS))
def test_variables_of_a_batch_system_do_not_make_a_run_one_of_several(
    monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    def asked() -> bool:
        raise AssertionError("one device asks the environment")

    # What it asks of the C library holds for the whole process.
    monkeypatch.setattr(device, "reuse_freed_memory", lambda: None)
    for name, value in BATCH_SYSTEMS[system].items():
        monkeypatch.setenv(name, value)
    for kind in (environments.SLURMEnvironment, environments.TorchElasticEnvironment,
                 environments.LSFEnvironment, environments.MPIEnvironment):  # fmt: skip
        monkeypatch.setattr(kind, "detect", asked)
    fabric = open_fabric(TrainSettings(device="cpu"))
    assert (fabric.world_size, fabric.global_rank, fabric.is_global_zero) == (1, 0, True)
    assert (fabric.local_rank, fabric.node_rank) == (0, 0)
