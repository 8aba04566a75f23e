"""Whatever is typed, found in names or sent as a signal: one paragraph and a documented exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nwb_latents.pipeline.cli import error_report
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.error_report import unexpected
from nwb_latents.pipeline.cli.visible_text import visible
from nwb_latents.schemas.events import BytesEvent, NoteEvent, PhaseEvent, PlanEvent, SessionEvent

DEEP_KEY = ".".join("a" * 5000) + "=1"
DEEP_VALUE = "bin_size_s=" + "[" * 3000 + "]" * 3000
HUGE = "9" * 5000
ODD_NAMES = ["[/red]", "[bold", ":smile:", "$x_{$", "\x1b[31m", "a\rb", "=1+1", "a|b", "\udcff"]


@pytest.mark.parametrize(
    ("stage", "word", "says"),
    [
        ("ingest", "bin_size_s=2020-01-01", "bin_size_s"),
        ("ingest", "2020-01-01=3", "unknown key"),
        ("ingest", DEEP_KEY, "a key of 5000 parts"),
        ("ingest", DEEP_VALUE, "not valid YAML"),
        ("ingest", f"split.seed={HUGE}", "not valid YAML"),
        ("ingest", "split.seed=1e23", "split.seed"),
        ("ingest", "split.seed=99999999999999999999999", "less than or equal to"),
        ("ingest", "smooth_sigma_s=25", "smooth_sigma_s"),
        ("ingest", "smooth_sigma_s=.inf", "smooth_sigma_s"),
        ("ingest", "smooth_truncate=1.0e9", "smooth_truncate"),
        ("ingest", "bin_size_s=1.0e-6", "bin_size_s"),
        ("ingest", "window_s=[-.inf, .inf]", "window_s"),
        ("ingest", "window_s=[-1.0e300, 1.0e300]", "window_s"),
        ("ingest", "window_s=[-260, 4600]", "in seconds"),
        ("ingest", "chop.length_s=1.0e300", "chop.length_s"),
        ("train", "seed=1e23", "seed"),
        ("train", "seed=99999999999999999999999", "seed"),
        ("train", "model.latent_dim=1e9", "latent_dim"),
        ("train", "model.latent_dim=1000000000", "latent_dim"),
        ("train", "optimiser.lr=.inf", "optimiser.lr"),
        ("decode", "lag_ms=1000", "lag_ms"),
        ("decode", "lag_ms=-520", "lag_ms"),
        ("decode", "lag_scan_ms=[0, 1.0e6]", "lag"),
        ("decode", "n_permutations=1000000000000", "n_permutations"),
        ("decode", "forecast.bins=1000000000", "forecast.bins"),
        ("decode", "lag\udcff=1", "lag"),
    ],
    ids=lambda each: each[:32].encode("ascii", "backslashreplace").decode(),
)
def test_settings_that_cannot_be_are_one_paragraph(pipeline_command, tmp_path, stage, word, says):
    (tmp_path / "a.nwb").write_bytes(b"")
    words = ["--path", "."] if stage == "ingest" else ["--model", "mdssm"] if stage == "train" else []
    shown = pipeline_command("run", stage, *words, "--set", word)
    assert shown.returncode == 4, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
    assert len(shown.stderr) < 3000


def test_dates_huge_numbers_and_depth_in_a_file_of_settings(pipeline_command, tmp_path):
    for text in (
        "lag_ms: 2020-01-01",
        f"seed: {HUGE}",
        "a: " * 3000 + "1",
        "? [1, 2]\n: 3",
        "lag_ms: !!set {}",
    ):
        (tmp_path / "s.yaml").write_text(text)
        shown = pipeline_command("run", "decode", "--config", "s.yaml")
        assert shown.returncode == 4, (text[:40], shown.stderr)
        assert "Traceback" not in shown.stderr


def test_a_name_that_is_not_utf8_is_ingested_beside_others_and_said(pipeline_command, small_nwb, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(small_nwb, os.fsencode(folder) + b"/a\xff\xe9.nwb")
    for words in ([], ["--json", "--force"]):
        shown = pipeline_command("run", "ingest", "--path", "odd", *words)
        assert shown.returncode == 0, shown.stderr
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [e["source"] for e in events if e["event"] == "session"] == ["a\\xff\\xe9.nwb"]
    listed = pipeline_command("catalog", "list")
    assert listed.returncode == 0
    assert "a\\xff\\xe9.nwb" in listed.stdout


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_are_shown_as_they_stand(monkeypatch, capsys, name, is_terminal):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with Output() as say:
        say.table(name, [name], [[name], ["1"]])
        say.result(name)
        say(NoteEvent(text=f"note {name} end"))
        if "\udcff" not in name:
            say(BytesEvent(source=name, done=1, total=2))
            say(
                PlanEvent(
                    stage="ingest", n_sessions=1, bytes=1, seconds=1.0, memory_bytes=1, recipe="r", stores="s"
                )
            )
            say(PhaseEvent(session=name, source=name, phase="reading"))
            say(SessionEvent(session=name, status="failed", seconds=1.0, reason=name, source=name))
    shown = capsys.readouterr()
    assert visible(name) in shown.out
    assert f"note {visible(name)} end" in shown.err
    assert "\x1b[31m" not in shown.out
    assert "\r" not in shown.out


def test_an_event_with_half_a_character_is_a_line_of_json():
    assert json.loads(NoteEvent.model_construct(text="a\udcff", event="note").line())["text"] == "a\udcff"


def test_the_unexpected_writes_a_report_beside_the_catalog(
    pipeline_command, small_nwb, tmp_path, monkeypatch
):
    assert pipeline_command("run", "ingest", "--path", small_nwb).returncode == 0
    code = (
        "import sys; sys.argv = ['pipeline', 'catalog', 'list', '--catalog', 'catalog.yaml']\n"
        "import nwb_latents.pipeline.stores.catalog as c\n"
        "import nwb_latents.pipeline.cli.catalog as shown\n"
        "def fail(*_, **__): raise ZeroDivisionError('of nobody')\n"
        "c.read_catalog = fail\n"
        "if hasattr(shown, 'read_catalog'): shown.read_catalog = fail\n"
        "from nwb_latents.pipeline.cli.main import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.glob("pipeline-error-*.txt")
    assert str(report) in done.stderr
    text = report.read_text()
    assert "ZeroDivisionError: of nobody" in text
    assert "pipeline catalog list" in text


def test_without_a_catalog_the_report_lies_among_temporary_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(error_report.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    text, code = unexpected(ValueError("x"), ["run", "--instance", "https://me:secret@host/api"])
    (report,) = (tmp_path / "tmp").iterdir()
    assert code == 4
    assert str(report) in text
    assert "secret" not in report.read_text()
    assert not list(tmp_path.glob("*.txt"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("Unable to allocate 3 TiB"), 5),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes"), 5),
        (OSError(28, "No space left on device", "a.csv"), 5),
        (RecursionError("maximum recursion depth exceeded"), 4),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), 4),
        (KeyError("\udcff"), 4),
    ],
    ids=lambda each: type(each).__name__,
)
def test_kinds_of_unexpected_errors_have_their_exit_code(error, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(error_report.tempfile, "gettempdir", lambda: str(tmp_path))
    text, found = unexpected(error, [])
    assert found == code
    assert str(tmp_path) in text


def test_a_terminal_that_knows_ascii_alone_ends_nothing(small_nwb, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    code = "from nwb_latents.pipeline.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "ingest", "--path", str(small_nwb)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["nwb_latents.pipeline.cli.main", "nwb_latents.pipeline.stages.ingest"])
def test_an_interruption_that_became_another_error_is_one(small_nwb, tmp_path, module):
    code = f"""
import builtins
from nwb_latents.pipeline.cli.start import main
load = builtins.__import__
def loading(name, *rest):
    if name == {module!r}:
        # What Python makes of an interruption while a class is made.
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()
    return load(name, *rest)
builtins.__import__ = loading
main()
"""
    words = ["run", "ingest", "--path", str(small_nwb)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "interrupted" in done.stderr


@pytest.mark.parametrize("when_s", [0.1, 0.8, 1.4, 2.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_processes_start_is_clean(make_nwb, make_reaches, tmp_path, when_s, number):
    for k in range(2):
        make_nwb(tmp_path / "nwb" / f"sub-T_ses-{k}.nwb", make_reaches(seed=k), session=str(k))
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from nwb_latents.pipeline.cli.start import main\nprint('up', flush=True)\nmain()\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, "run", "ingest", "--path", "nwb", "--cluster", "local:2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert run.stdout.readline() == "up\n"
    time.sleep(when_s)
    # A terminal sends Ctrl-C to all processes, a batch system its signal to the one it started.
    (os.killpg if number == signal.SIGINT else os.kill)(run.pid, number)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    assert "interrupted" in said
    # What is started is ended too, in its own time.
    for _ in range(100):
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("processes were left behind")


def test_no_module_prints_names_as_markup():
    folder = Path(error_report.__file__).parents[1]
    texts = {path: path.read_text() for path in folder.rglob("*.py")}
    lines = [line for text in texts.values() for line in text.splitlines() if " Console(" in line]
    loose = [line for line in lines if "markup=False" not in line]
    assert lines
    assert not loose


@pytest.mark.parametrize(("words", "code"), [(["models", "--json"], 0), (["run", "--json"], 130)])
def test_a_reader_that_leaves_early_ends_what_is_read_and_stops_what_works(words, code, monkeypatch, capsys):
    from nwb_latents.pipeline.cli import main  # the command line takes a while

    def gone(*_, **__):
        # As the parser of the command line ends where writing fails.
        try:
            raise BrokenPipeError(32, "Broken pipe")
        except OSError:
            sys.exit(1)

    monkeypatch.setattr(main, "app", gone)
    monkeypatch.setattr(main.os, "dup2", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["pipeline", *words])
    assert main._run() == code
    assert ("what is done is kept" in capsys.readouterr().err) == (code != 0)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_while_python_puts_itself_away_ends_it_without_a_word(name):
    code = (
        "import atexit, os, signal, sys\n"
        f"atexit.register(lambda: os.kill(os.getpid(), signal.{name}))\n"
        "from nwb_latents.pipeline.cli.start import main\n"
        "sys.argv = ['pipeline', '--version']\nmain()\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == -getattr(signal, name)
    assert shown.stderr == ""
