"""What is built holds every file of the program once, under one name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

from address.environments import build, run

LINK = 0o120000


def test_a_wheel_holds_the_program_under_one_name(wheel: Path) -> None:
    names = [PurePosixPath(name) for name in ZipFile(wheel).namelist()]
    assert {name.parts[0].partition("-")[0] for name in names} == {"nwb_latents"}
    assert {str(name) for name in names if name.parts[0] == "nwb_latents" and len(name.parts) == 2} == {
        "nwb_latents/__init__.py",
        "nwb_latents/__main__.py",
        "nwb_latents/citation.cff",
        "nwb_latents/known_dandisets.yaml",
        "nwb_latents/py.typed",
    }


def test_a_wheel_holds_the_files_of_the_checkout_and_no_links(wheel: Path, root: Path) -> None:
    source = root / "src"
    expected = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for folder, _, files in os.walk(source, followlinks=True)
        for path in (Path(folder) / name for name in files)
        if "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    with ZipFile(wheel) as packed:
        assert not [
            each.filename for each in packed.infolist() if each.external_attr >> 16 & 0o170000 == LINK
        ]
        held = {name: packed.read(name) for name in packed.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {"nwb_latents/models/kernels/compiled_gru.c", "nwb_latents/pipeline/cli/main.py"} <= held.keys()
    assert held["nwb_latents/known_dandisets.yaml"] == (root / "catalog.yaml").read_bytes()


def test_a_source_distribution_makes_the_same_wheel(wheel: Path, root: Path, tmp_path: Path) -> None:
    packed = build("sdist", root, tmp_path / "sdist")
    with tarfile.open(packed) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path, filter="data")
    names = Counter(PurePosixPath(member.name) for member in members)
    assert set(names.values()) == {1}
    contents = Counter(
        each.read_bytes() for each in (tmp_path / str(name) for name in names) if each.suffix == ".py"
    )
    assert not [text for text, n in contents.items() if n > 1 and len(text) > 200], "a file is in it twice"
    for member in members:
        assert (
            not member.issym()
            or PurePosixPath(os.path.normpath(PurePosixPath(member.name).parent / member.linkname)) in names
        ), f"{member.name} leads nowhere"
    (unpacked,) = tmp_path.glob("nwb_latents-*/")
    assert {"tests", "docs", "benchmarks", "catalog.yaml"} <= {path.name for path in unpacked.iterdir()}
    again = build("wheel", unpacked, tmp_path / "again")
    with ZipFile(wheel) as first, ZipFile(again) as second:
        assert {each.filename: each.CRC for each in first.infolist()} == {
            each.filename: each.CRC for each in second.infolist()
        }


def test_a_checkout_without_links_is_refused_with_what_to_do(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "src" / "nwb_latents").mkdir(parents=True)
    shutil.copy(root / "src" / "nwb_latents" / "__init__.py", tmp_path / "src" / "nwb_latents")
    for name in ("pipeline", "models", "schemas"):
        (tmp_path / "src" / "nwb_latents" / name).write_text(f"../../{name}")
    for what in ("wheel", "editable", "sdist"):
        done = run(sys.executable, "-c", f"import hatchling.build as b; b.build_{what}('.')", cwd=tmp_path)
        assert done.returncode != 0
        assert "git config core.symlinks true" in done.stderr
    for what in ("import nwb_latents as nl", "from nwb_latents.schemas import recipe"):
        done = run(sys.executable, "-c", what, cwd=tmp_path, PYTHONPATH=str(tmp_path / "src"))
        assert "made without symbolic links" in done.stderr.splitlines()[-1]


def test_a_checkout_keeps_its_links(root: Path) -> None:
    if not (root / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-s", "src"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    modes = {line.rpartition("/")[2]: line.split()[0] for line in listed.splitlines()}
    assert {name for name, mode in modes.items() if mode == "120000"} == {
        "citation.cff", "known_dandisets.yaml", "models", "pipeline", "schemas",
    }  # fmt: skip
