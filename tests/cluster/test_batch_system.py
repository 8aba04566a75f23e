"""Batch systems: the job script of each, and a whole run through a stand-in for SLURM."""

import re
import signal
import sys

import pytest

from nwb_latents.pipeline.cluster import dask_tasks
from nwb_latents.pipeline.cluster.cluster_option import JOB_QUEUES, parse_cluster
from nwb_latents.pipeline.cluster.job_settings import job_words
from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.schemas.cluster import ClusterSettings

GIB = 1 << 30

SBATCH = """\
#!/bin/sh
# Runs the job at once on this machine, in a process group of its own, and says its number as SLURM does. Like
# SLURM it runs its own copy: the script may be deleted as soon as it was submitted.
cp "$1" "{folder}/job-$$.sh"
setsid sh "{folder}/job-$$.sh" > "{folder}/job-$$.out" 2>&1 < /dev/null &
echo $! > "{folder}/last"
echo "Submitted batch job $!"
"""

SCANCEL = """\
#!/bin/sh
echo "$@" >> "{folder}/cancelled"
kill -TERM -"$1" 2> /dev/null
true
"""


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Put ``sbatch`` and ``scancel`` on the path; return the folder of their traces."""
    folder = tmp_path / "slurm"
    (folder / "bin").mkdir(parents=True)
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / "bin" / name).write_text(text.format(folder=folder))
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return folder


@pytest.mark.filterwarnings("ignore:OAR Job memory")
@pytest.mark.parametrize("name", JOB_QUEUES)
def test_every_batch_system_takes_the_settings(name):
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    settings = ClusterSettings(
        queue="short", account="lab", cores=2, walltime="00:20:00", prologue=("module load python",)
    )
    if name == "htcondor":
        settings = settings.model_copy(update={"options": {"disk": "1GB"}})
    words = job_words(parse_cluster(name), settings, memory_bytes=[GIB, 3 * GIB])
    job_class = getattr(dask_jobqueue, JOB_QUEUES[name]).job_cls
    script = job_class(scheduler="tcp://127.0.0.1:1", name="worker", **words).job_script()
    assert "module load python" in script
    assert 0 < script.find("export PYTHONSAFEPATH=1") < script.find("module load python")
    assert sys.executable in script
    assert "--nworkers 2" in script
    if name != "htcondor":
        assert "short" in script
        assert "lab" in script
        assert "20:00" in script


def test_options_of_a_batch_system_do_not_bring_back_the_folder_of_the_user():
    settings = ClusterSettings(options={"job_script_prologue": ["source env.sh"]})
    words = job_words(parse_cluster("slurm"), settings, memory_bytes=[GIB])
    assert words["job_script_prologue"] == ["export PYTHONSAFEPATH=1", "source env.sh"]


def test_directives_and_options_add_up():
    settings = ClusterSettings(
        directives=("--mail-type=FAIL",),
        prologue=("module load python",),
        options={
            "job_extra_directives": ["--qos=low"],
            "job_script_prologue": "source env.sh",
            "nanny": False,
        },
    )
    words = job_words(parse_cluster("slurm"), settings, memory_bytes=[GIB])
    assert words["job_extra_directives"] == ["--mail-type=FAIL", "--qos=low"]
    assert words["job_script_prologue"][1:] == ["module load python", "source env.sh"]
    assert words["nanny"] is False


@pytest.mark.parametrize(
    ("kind", "setting", "option"), [("slurm", "queue", "queue"), ("sge", "account", "project")]
)
def test_what_is_said_twice_differently_is_refused(kind, setting, option):
    settings = ClusterSettings.model_validate({setting: "short", "options": {option: "long"}})
    with pytest.raises(SettingsError, match=f"{setting} is 'short' and options.{option} is 'long'"):
        job_words(parse_cluster(kind), settings, memory_bytes=[GIB])
    same = ClusterSettings.model_validate({setting: "short", "options": {option: "short"}})
    assert job_words(parse_cluster(kind), same, memory_bytes=[GIB])[option] == "short"
    alone = ClusterSettings.model_validate({"options": {option: "long"}})
    assert job_words(parse_cluster(kind), alone, memory_bytes=[GIB])[option] == "long"


def test_a_job_asks_for_what_its_largest_session_needs():
    words = job_words(parse_cluster("slurm"), ClusterSettings(cores=4), memory_bytes=[GIB, 3 * GIB])
    assert words["memory"] == "16GiB"
    words = job_words(parse_cluster("slurm"), ClusterSettings(memory="6GB"), memory_bytes=[3 * GIB])
    assert words["memory"] == "6GB"


def test_a_missing_package_is_named_with_its_extra(recordings, tmp_path, fake_slurm, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MachineError, match=r"pip install 'nwb-latents\[cluster\]'"):
        ingest(tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="slurm")


def test_a_machine_that_cannot_submit_jobs_is_told(recordings, tmp_path):
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(MachineError, match="sbatch is not on this machine"):
        ingest(tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="slurm")


@pytest.mark.cluster
@pytest.mark.slow
def test_ctrl_c_is_ours_while_a_batch_system_is_waited_for(recordings, tmp_path, fake_slurm, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr(dask_tasks, "TROUBLE_SECONDS", 1.0)
    monkeypatch.setattr(dask_tasks, "WORKERS_SECONDS", 0.5)
    (fake_slurm / "bin" / "sbatch").write_text("#!/bin/sh\necho sbatch: error: closed >&2\nexit 1\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "dask_jobqueue"]:
        monkeypatch.delitem(sys.modules, name)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []

    def report(event):
        if "waiting for a worker" in getattr(event, "text", ""):
            seen.append(signal.getsignal(signal.SIGINT))

    with pytest.raises(MachineError, match="sbatch: error: closed"):
        ingest(
            tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="slurm", report=report,
            cluster_settings=ClusterSettings(n_jobs=1, interface="lo"),
        )  # fmt: skip
    assert "dask_jobqueue.runner" in sys.modules
    assert [getattr(handler, "__module__", "") for handler in seen] != ["dask_jobqueue.runner"]
    assert seen
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.cluster
@pytest.mark.slow
def test_a_cluster_that_does_not_end_as_it_should_hides_no_reason(
    recordings, tmp_path, fake_slurm, monkeypatch
):
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr(dask_tasks, "TROUBLE_SECONDS", 1.0)
    monkeypatch.setattr(dask_tasks, "WORKERS_SECONDS", 0.5)
    (fake_slurm / "bin" / "sbatch").write_text("#!/bin/sh\necho sbatch: error: closed >&2\nexit 1\n")
    closes, ended = dask_jobqueue.SLURMCluster.close, []

    def close(cluster, timeout=None):
        ended.append(cluster)
        closes(cluster, timeout=timeout)
        raise AssertionError("Status.created")

    monkeypatch.setattr(dask_jobqueue.SLURMCluster, "close", close)
    with pytest.raises(MachineError, match="sbatch: error: closed"):
        ingest(
            tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="slurm",
            cluster_settings=ClusterSettings(n_jobs=1, interface="lo"),
        )  # fmt: skip
    assert ended


def test_a_setting_dask_jobqueue_does_not_know_is_named(recordings, tmp_path, fake_slurm):
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(SettingsError, match="no_such_word"):
        ingest(
            tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="slurm",
            cluster_settings=ClusterSettings(options={"no_such_word": 1}),
        )  # fmt: skip


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize(
    ("sbatch", "squeue", "says"),
    [
        (
            "#!/bin/sh\necho 'sbatch: error: invalid partition specified: short' >&2\nexit 1\n",
            None,
            "slurm took no job: sbatch: error: invalid partition specified: short. Mend --cluster-config",
        ),
        (
            "#!/bin/sh\necho conda: no > {folder}/logs/worker-77.err\necho Submitted batch job 77\n",
            "#!/bin/sh\nexit 0\n",
            "ended before a worker was there (job 77). {folder}/logs/worker-77.err ends with: conda: no",
        ),
        (
            "#!/bin/sh\necho Submitted batch job 78\n",
            "#!/bin/sh\necho slurm_load_jobs error: Invalid job id specified >&2\nexit 1\n",
            "It has left no log (set log_directory).",
        ),
    ],
    ids=["refused", "died", "died without a log"],
)
def test_jobs_that_never_work_are_not_waited_for(
    recordings, tmp_path, fake_slurm, monkeypatch, sbatch, squeue, says
):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr(dask_tasks, "TROUBLE_SECONDS", 1.0)
    monkeypatch.setattr(dask_tasks, "WORKERS_SECONDS", 0.5)
    (fake_slurm / "logs").mkdir()
    for name, text in {"sbatch": sbatch, "squeue": squeue}.items():
        if text is not None:
            (fake_slurm / "bin" / name).write_text(text.format(folder=fake_slurm))
            (fake_slurm / "bin" / name).chmod(0o755)
    settings = ClusterSettings(n_jobs=1, interface="lo", log_directory=str(fake_slurm / "logs"))
    with pytest.raises(MachineError, match=re.escape(says.format(folder=fake_slurm))):
        ingest(
            tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="slurm", cluster_settings=settings
        )


@pytest.mark.cluster
@pytest.mark.slow
def test_slurm_jobs_make_the_same_stores_as_a_plain_run(
    recordings, serial_stores, contents, eventually, fake_slurm, pipeline_command, tmp_path
):
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "cluster.yaml").write_text(
        "queue: short\nmemory: 2GB\nn_jobs: 2\ninterface: lo\nlog_directory: logs\nwalltime: '00:10:00'\n"
    )
    done = pipeline_command(
        "run", "ingest", "--path", recordings, "--cluster", "slurm", "--cluster-config", "cluster.yaml"
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == serial_stores
    assert "2 slurm jobs submitted" in done.stderr
    scripts = [path.read_text() for path in fake_slurm.glob("job-*.sh")]
    assert len(scripts) == 2
    for script in scripts:
        assert "#SBATCH -p short" in script
        assert "#SBATCH -t 00:10:00" in script
        assert "#SBATCH --mem=2G" in script
    cancelled = eventually(
        lambda: (fake_slurm / "cancelled").exists() and (fake_slurm / "cancelled").read_text().split(),
        what="scancel",
    )
    assert len(cancelled) >= 1
