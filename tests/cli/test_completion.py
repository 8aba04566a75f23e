"""What a shell offers while somebody types."""

import os
import subprocess
import sys

import pytest
import yaml

from nwb_latents.pipeline.cli import completion

RUN = "import sys; from nwb_latents.pipeline.cli.main import main; main()"


@pytest.fixture
def offered(tmp_path):
    """Return a function that completes the last word of a line as bash asks for it."""

    def complete(line, code=RUN):
        environment = {
            **os.environ,
            "_PIPELINE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        shown = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stderr == ""
        return shown.stdout.split()

    return complete


@pytest.fixture
def catalog(tmp_path):
    entries = {"sub-A_ses-1@20ms-0": {}, "sub-A_ses-1@10ms-0": {}, "sub-B_ses-1@20ms-0": {}}
    path = tmp_path / "catalog.yaml"
    path.write_text(yaml.safe_dump({"sessions": entries, "runs": {"mdssm-1": {}, "lfads-1": {}}}))
    return path


def test_commands_options_and_parts_are_offered(offered):
    assert offered("pipeline run tr") == ["train"]
    assert "--lag-scan" in offered("pipeline run decode --la")
    assert offered("pipeline run train --model lf") == ["lfads"]
    assert offered("pipeline run decode --decoder ridge,wi") == ["ridge,wiener"]
    assert offered("pipeline schema eve") == ["events"]


def test_settings_are_offered_with_those_of_the_model_that_is_named(offered):
    assert offered("pipeline run train --model lfads --set model.gen") == ["model.generator_dim"]
    assert offered("pipeline run train --model=lfads --set model.gen") == ["model.generator_dim"]
    assert offered("pipeline run train --set model.gen") == []
    assert offered("pipeline run train --model nosuch --set max_st") == []
    assert "bin_size_s" in offered("pipeline run ingest --set bin_")
    assert "lag_ms" in offered("pipeline run evaluate --set la")


def test_names_come_from_the_catalog(offered, catalog):
    assert offered("pipeline run decode --run ") == ["lfads-1", "mdssm-1"]
    assert offered("pipeline run train --session sub-") == ["sub-A_ses-1", "sub-B_ses-1"]
    assert offered("pipeline catalog show m") == ["mdssm-1"]
    assert offered("pipeline run train --recipe-id 2") == ["20ms-0"]
    other = catalog.rename(catalog.with_name("other.yaml"))
    assert offered("pipeline run decode --run ") == []
    assert offered(f"pipeline run decode --catalog {other} --run l") == ["lfads-1"]


def test_a_catalog_that_cannot_be_read_offers_nothing(offered, catalog):
    catalog.write_text("runs: [1\n")
    assert offered("pipeline run decode --run ") == []


def test_completing_imports_nothing_heavy(offered, catalog):
    heavy = {"torch", "numpy", "xarray", "dandi", "pandas"}
    code = f"""
import atexit, sys
atexit.register(lambda: print(*({heavy} & set(sys.modules))))
{RUN}
"""
    assert offered("pipeline run decode --run l", code=code) == ["lfads-1"]
    assert offered("pipeline run train --model hn", code=code) == ["hnet"]


def test_what_is_registered_is_offered_by_its_beginning():
    assert list(completion.registered("MODELS")("l")) == ["lfads"]
