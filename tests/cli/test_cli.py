"""The command line: words, exit codes, JSON, help."""

import json
import re
import subprocess
import sys

import pytest
import yaml

import nwb_latents
from nwb_latents.schemas.models import known_models

HEAVY = {
    "dask",
    "h5py",
    "matplotlib",
    "numpy",
    "pandas",
    "pydantic",
    "pyarrow",
    "scipy",
    "torch",
    "xarray",
    "zarr",
}
"""Packages that take long to load."""


def test_help_loads_nothing_heavy(pipeline_command):
    code = (
        "import sys\nsys.argv = ['pipeline', '--help']\nfrom nwb_latents.pipeline.cli.main import main\n"
        "try: main()\nexcept SystemExit: print('LOADED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.partition("LOADED")[2].split()}
    assert "typer" in loaded
    assert not HEAVY & loaded
    shown = pipeline_command("--help")
    assert shown.returncode == 0
    assert {"run", "simulate", "catalog", "schema", "models", "dandisets", "doctor"} <= set(
        re.findall(r"\w+", shown.stdout)
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["run", "train", "--model", "lfads", "--help"],
        ["run", "decode", "--help"],
        ["catalog", "--help"],
        ["schema"],
        ["models"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(words):
    import subprocess
    import sys

    code = (
        f"import sys; sys.argv = ['pipeline', *{words}]\n"
        "import nwb_latents.pipeline.cli.main as m\n"
        "try:\n    m.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'dandi', 'pynwb', 'matplotlib', 'distributed', 'xarray'} & "
        "set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["run", "ingest"], ["bin_size_s [0.02]", "Width of a time bin, s.", "--dandiset", "--path"]),
        (["run", "train"], ["optimiser.lr [0.001]", "--device", "--resume", "Models (--model NAME"]),
        (
            ["run", "decode"],
            [
                "lag_ms [100.0]",
                "ms, a whole number of bins; default: 100.",
                "--lag-scan",
                "--decoder",
                "--transfer",
            ],
        ),
        (
            ["run", "forecast"],
            ["seen_bins [13]", "--bins", "Bins forecast and scored after those seen; default: 20."],
        ),
        (["run", "embed"], ["grid_size [3]", "--to", "--colour-by"]),
        (["run", "report"], ["max_mb [10.0]", "--out", "report.html beside the catalog"]),
        (["simulate"], ["kinematics_rate_hz [100.0]", "Hz"]),
    ],
)
def test_help_of_a_stage_states_defaults_and_units(pipeline_command, words, needed):
    shown = pipeline_command(*words, "--help")
    assert shown.returncode == 0
    told = " ".join(shown.stdout.split())
    for text in needed:
        assert text in told


@pytest.mark.parametrize(
    ("stage", "beginning"), [(["run", "train"], "model."), (["run", "sweep"], "train.model.")]
)
def test_help_lists_the_settings_of_the_model_that_is_named_and_otherwise_the_models(
    pipeline_command, stage, beginning
):
    plain = pipeline_command(*stage, "--help").stdout
    assert f"  {beginning}" not in plain
    for name, kind in known_models().items():
        assert re.search(rf"^  {name} +\S", plain, re.MULTILINE), name
        assert " ".join(kind.__doc__.splitlines()[0].split()[:3]) in " ".join(plain.split())
    lfads = pipeline_command(*stage, "--model", "lfads", "--help").stdout
    assert f"{beginning}generator_dim [" in lfads
    assert f"{beginning}rank [" not in lfads
    common = "train.optimiser.lr [0.001]" if "sweep" in stage else "optimiser.lr [0.001]"
    assert common in plain
    assert common in lfads
    assert pipeline_command(*stage, "--set", f"{beginning}name=lfads", "--help").stdout == lfads


def test_help_on_a_model_that_is_not_there_names_the_near_one(pipeline_command):
    shown = pipeline_command("run", "train", "--model", "lfds", "--help")
    assert shown.returncode == 2
    assert "did you mean lfads?" in shown.stderr


def test_the_version_is_said(pipeline_command):
    shown = pipeline_command("--version")
    assert (shown.returncode, shown.stdout) == (0, f"nwb-latents {nwb_latents.__version__}\n")


def test_schemas_are_printed_as_json(pipeline_command):
    names = pipeline_command("schema").stdout.split()
    assert {"catalog", "recipe", "store", "train", "decode"} <= set(names)
    recipe = json.loads(pipeline_command("schema", "recipe").stdout)
    assert recipe["additionalProperties"] is False
    assert all("description" in field for field in recipe["properties"].values())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "ingest"], 2, "Give either --path"),
        (["run", "ingets"], 2, "ingest"),
        (["run", "ingest", "--path", "x", "--nope"], 2, "--nope"),
        (["schema", "nope"], 2, "expected one of"),
        (["run", "ingest", "--path", "nowhere"], 4, "nowhere"),
        (["run", "ingest", "--path", ".", "--set", "bin_sise_s=1"], 4, "did you mean bin_size_s"),
        (
            ["run", "ingest", "--path", ".", "--set", "bin_size_s=0.05"],
            4,
            "nearest window that is: [-0.25, 0.45]",
        ),
        (["run", "ingest", "--path", "."], 4, "No NWB file"),
        (
            ["run", "train", "--seed", "-1"],
            4,
            "error: --seed -1: expected a number greater than or equal to 0",
        ),
        (
            ["run", "train", "--model", "lfds"],
            4,
            "error: --model lfds: no model is called 'lfds'; did you mean lfads?",
        ),
        (
            ["run", "decode", "--decoder", "rigde"],
            4,
            "error: --decoder rigde: no decoder is called 'rigde'; did you",
        ),
        (
            ["run", "decode", "--lag-ms", "1", "--set", "lag_ms=2"],
            4,
            "--lag-ms 1 and --set lag_ms=2 say two things",
        ),
        (["run", "train", "--sed", "1"], 2, "No such option: --sed"),
        (["catalog", "shw"], 2, "Did you mean 'show'?"),
        (["run", "ingest", "--path", ".", "--cluster", "x"], 2, "expected serial"),
        (["run", "decode"], 4, "holds no sessions"),
        (["run", "train"], 4, "holds no sessions"),
        (["run", "train", "--model", "nope"], 4, "mdssm"),
        (["run", "decode", "--source", "spikes"], 4, "rates"),
        (["run", "decode", "--decoder", "kalman"], 4, "wiener"),
        (["run", "decode", "--lag-scan", "0:200"], 4, "FIRST:LAST:STEP"),
        (["run", "decode", "--lag-scan", "200:0:20"], 4, "such as 0:200:20"),
        (["run", "decode", "--lag-scan", "100"], 4, "at least two lags"),
        (["run", "forecast"], 4, "holds no sessions"),
        (["run", "forecast", "--device", "tpu"], 4, "expected auto, cpu or cuda"),
        (["run", "embed"], 2, "--run"),
        (["run", "embed", "--run", "nope"], 4, "No run is called nope"),
        (["catalog", "list"], 4, "no such catalog"),
    ],
)
def test_wrong_uses_have_their_exit_code_and_one_paragraph(pipeline_command, words, code, says):
    shown = pipeline_command(*words)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr


def test_ingest_prints_json_lines_and_nothing_else(pipeline_command, small_nwb):
    shown = pipeline_command("run", "ingest", "--path", small_nwb.parent, "--json")
    assert shown.returncode == 0, shown.stderr
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    sessions = [e for e in events if e["event"] == "session"]
    assert [(e["session"], e["status"]) for e in sessions] == [("sub-T_ses-CO-1", "done")]
    assert {"store", "n_trials", "n_units", "seconds", "reason"} <= set(sessions[0])


def test_ingest_prints_a_table_and_the_catalog_is_listed_shown_and_verified(pipeline_command, small_nwb):
    shown = pipeline_command("run", "ingest", "--path", small_nwb.parent)
    assert shown.returncode == 0, shown.stderr
    assert "sub-T_ses-CO-1" in shown.stdout
    assert "36 × 20 ms" in shown.stdout
    assert "sub-T_ses-CO-1" in pipeline_command("catalog", "list").stdout
    detail = json.loads(pipeline_command("catalog", "show", "sub-T_ses-CO-1", "--json").stdout)
    assert detail["attributes"]["provenance"]["layout"] == "generic"
    assert pipeline_command("catalog", "show", "sub-X").returncode == 4
    assert pipeline_command("catalog", "verify").returncode == 0


def test_the_catalog_shows_what_a_session_was_read_from_and_the_settings_as_they_are_typed(
    pipeline_command, small_nwb
):
    words = ["--set", "columns.tolerance_deg=5", "--set", "onset.min_rt_s=0.05"]
    assert pipeline_command("run", "ingest", "--path", small_nwb.parent, *words).returncode == 0
    shown = pipeline_command("catalog", "show", "sub-T_ses-CO-1").stdout
    choices = json.loads(pipeline_command("catalog", "show", "sub-T_ses-CO-1", "--json").stdout)
    for choice in choices["attributes"]["provenance"]["choices"]:
        assert choice["what"] in shown
        assert choice["value"].split()[0] in shown
    assert "columns.tolerance_deg=5.0" in shown
    assert "onset.min_rt_s=0.05" in shown
    assert "go_cue=None" not in shown


def test_verify_finds_a_damaged_store(pipeline_command, small_nwb, tmp_path):
    pipeline_command("run", "ingest", "--path", small_nwb.parent)
    entry = next(iter(yaml.safe_load((tmp_path / "catalog.yaml").read_text())["sessions"].values()))
    shard = tmp_path / entry["store"] / "trials" / "rates" / "c" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:100])
    shown = pipeline_command("catalog", "verify")
    assert shown.returncode == 4
    assert "sub-T_ses-CO-1: damaged" in shown.stdout


def test_verify_finds_a_single_flipped_byte(pipeline_command, small_nwb, tmp_path):
    pipeline_command("run", "ingest", "--path", small_nwb.parent)
    shard = next(tmp_path.glob("stores/*/*/continuous/rates/c/0/0"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    assert pipeline_command("catalog", "verify").returncode == 4


def test_a_misspelt_key_of_a_catalog_is_kept_and_the_near_one_named(pipeline_command, small_nwb, tmp_path):
    (tmp_path / "catalog.yaml").write_text("schema_version: 2\nsesions: {a: {}}\n")
    shown = pipeline_command("run", "ingest", "--path", small_nwb.parent)
    assert shown.returncode == 0
    assert "key sesions of the file is not known here; it is kept" in shown.stderr
    assert "Did you mean sessions?" in shown.stderr
    assert "sesions:\n  a: {}\n" in (tmp_path / "catalog.yaml").read_text()


def test_a_dandiset_whose_own_entry_is_wrong_is_not_replaced_by_the_packaged_one(pipeline_command, tmp_path):
    (tmp_path / "catalog.yaml").write_text("dandisets: {'000070': {version: 0.1, layout: mine}}\n")
    shown = pipeline_command("run", "ingest", "--dandiset", "000070")
    assert shown.returncode == 4
    assert "dandisets: 000070 cannot be read: title: field required" in shown.stderr
    assert pipeline_command("dandisets", "000070").returncode == 4
    assert pipeline_command("dandisets", "000688").returncode == 0


def test_known_dandisets_are_listed_with_their_pins(pipeline_command):
    shown = pipeline_command("dandisets", "--json")
    entries = {e["dandiset"]: e for e in map(json.loads, shown.stdout.splitlines())}
    assert entries["000688"]["version"] == "0.250122.1735"
    assert entries["000070"]["version"] == "draft"


def test_kernels_that_cannot_be_built_are_the_machines_fault(pipeline_command, tmp_path):
    env = {"CC": "no-such-cc", "XDG_CACHE_HOME": str(tmp_path)}
    done = pipeline_command("doctor", "--build-kernels", env=env)
    assert done.returncode == 5
    assert "no C compiler found (looked for no-such-cc)" in done.stderr


def test_a_command_by_its_former_name_is_told_the_present_one(pipeline_command):
    shown = pipeline_command("run", "realign", "--session", "x")
    assert shown.returncode == 2
    assert shown.stderr == "error: run realign is called run recut: pipeline run recut --help.\n"


def test_a_schema_that_is_misspelt_is_told_the_nearest(pipeline_command):
    shown = pipeline_command("schema", "trian")
    assert shown.returncode == 2
    assert "did you mean train?" in shown.stderr
