"""Names in pictures, tables and files of other programs: no formula, no layout, no size that is believed."""

from pathlib import Path

import h5py
import matplotlib as mpl
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.escaped_text import for_csv, for_markdown
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.pipeline.evaluation.figures.style import STYLE, new_figure
from nwb_latents.pipeline.evaluation.nlb.files import RATES, read_submission
from nwb_latents.pipeline.evaluation.nlb.scores import read_targets
from nwb_latents.pipeline.evaluation.nlb.submission import check_submission
from nwb_latents.pipeline.stores.importers.lfads_h5 import read_lfads
from nwb_latents.schemas.imports import LfadsH5Import

HUGE = (10**12, 10, 10)


@pytest.mark.parametrize("name", ["$x_{$", "[/red]", r"\frac{", "$$", "a_b^c$", "%d"])
def test_pictures_show_names_as_they_stand(tmp_path: Path, name: str) -> None:
    with mpl.rc_context(STYLE):
        figure, panels = new_figure(rows=1, columns=1, size=(2, 2))
        panels[0, 0].plot([0, 1], [0, 1], label=name)
        panels[0, 0].set_title(name)
        panels[0, 0].legend()
        save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_spreadsheet_takes_a_name_for_a_formula(name: str) -> None:
    assert for_csv(name) == "'" + name


@pytest.mark.parametrize("text", ["-0.5", "+1e-3", "sub-A", "", "0.2", "-inf", "a=b"])
def test_numbers_and_plain_names_stay_what_they_are(text: str) -> None:
    assert for_csv(text) == text


def test_a_name_stays_in_its_cell_of_a_markdown_table() -> None:
    assert for_markdown("a|b\n<script>") == r"a\|b \<script\>"


def huge(path: Path, *names: str) -> Path:
    """Write a small file of datasets that state a shape of a trillion rows."""
    with h5py.File(path, "w") as h5:
        for name in names:
            h5.create_dataset(name, HUGE, "f4", chunks=(1, 10, 10))
    assert path.stat().st_size < 1 << 20
    return path


def test_a_shape_no_machine_can_hold_is_refused_before_it_is_read(tmp_path: Path) -> None:
    parts = [f"{part}_{kind}_data" for part in ("train", "valid") for kind in ("encod", "recon")]
    with pytest.raises(DataError, match="has the shape"):
        read_lfads(huge(tmp_path / "lfads.h5", *parts), LfadsH5Import(bin_ms=20))
    submission = huge(tmp_path / "s.h5", *(f"mine/{name}" for name in RATES))
    # A command without --force does not offer it.
    with pytest.raises(DataError, match=r"has the shape .*needs a larger machine\.$"):
        read_submission(submission)
    with pytest.raises(DataError, match="has the shape"):
        read_targets(submission)
    assert any("has the shape" in str(each) for each in check_submission(submission))
