"""Files of pictures: their formats, resolution and size at print, and that equal pictures are equal files."""

from __future__ import annotations

import struct

import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.figures.page import caption, page, settled
from nwb_latents.pipeline.evaluation.figures.saving import save_figure
from nwb_latents.schemas.pictures import PictureSettings

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-", "svg": b"<?xml"}


def drawn():
    made, grid = page(width="one", rows=1, columns=1, row_mm=30.0)
    grid[0, 0].plot([0, 1], [0, 1], marker="o")
    grid[0, 0].imshow([[0, 1], [1, 0]], aspect="auto")
    caption(made, "Zoë's session: n = 3 trials, −0.5 µV")
    return settled(made)


@pytest.fixture
def figure():
    return drawn()


def test_every_format_is_written_and_is_what_its_name_says(tmp_path, figure):
    files = save_figure(figure, tmp_path / "new" / "a.png", PictureSettings(formats=("svg", "png", "pdf")))
    assert [file.name for file in files] == ["a.svg", "a.png", "a.pdf"]
    for file in files:
        assert file.read_bytes().startswith(MAGIC[file.suffix[1:]])
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["a.pdf", "a.png", "a.svg"]


@pytest.mark.parametrize("dpi", [72, 300, 600])
def test_a_png_has_its_resolution_and_the_width_of_a_column(tmp_path, figure, dpi):
    (file,) = save_figure(figure, tmp_path / "a.png", PictureSettings(dpi=dpi))
    content = file.read_bytes()
    width, _ = struct.unpack(">II", content[16:24])
    assert 85 <= 25.4 * width / dpi <= 90
    at = content.index(b"pHYs") + 4
    per_metre, _, unit = struct.unpack(">IIB", content[at : at + 9])
    assert unit == 1
    assert per_metre == pytest.approx(dpi / 0.0254, abs=1)


def test_a_caption_that_fits_fits_at_every_resolution():
    words = "Rates of each condition, smoothed (gaussian kernel of 25 ms); bands: 95 % interval of the mean"
    for width in ("one", "two"):
        made, _ = page(width=width, rows=1, columns=1, row_mm=30.0)
        caption(made, *(f"{words}, {'none of fewer than 3 trials; ' * more}" for more in range(3)))
        settled(made)
        for dpi in (60, 72, 100, 110, 150, 300):
            made.set_dpi(dpi)
            made.canvas.draw()
            assert made._suptitle.get_window_extent().x1 <= made.bbox.width, (width, dpi)


def test_pages_of_vector_files_have_the_width_of_a_column(tmp_path, figure):
    pdf, svg = save_figure(figure, tmp_path / "a.png", PictureSettings(formats=("pdf", "svg")))
    box = pdf.read_bytes().partition(b"/MediaBox [")[2].partition(b"]")[0].split()
    assert 85 <= float(box[2]) / 72 * 25.4 <= 90
    width = svg.read_text().partition('width="')[2].partition('pt"')[0]
    assert 85 <= float(width) / 72 * 25.4 <= 90


@pytest.mark.parametrize("form", MAGIC)
def test_equal_pictures_are_equal_files_without_a_date(tmp_path, form):
    first, second = (
        save_figure(drawn(), tmp_path / f"{name}.png", PictureSettings(formats=(form,)))[0].read_bytes()
        for name in "ab"
    )
    assert first == second
    assert b"CreationDate" not in first
    assert b"<dc:date>" not in first


def test_text_of_vector_files_stays_text(tmp_path, figure):
    pdf, svg = save_figure(figure, tmp_path / "a.png", PictureSettings(formats=("pdf", "svg")))
    assert "Zoë's session: n = 3 trials, −0.5 µV" in svg.read_text(encoding="utf-8")
    assert b"/Type3" not in pdf.read_bytes()


def test_a_figure_that_a_person_saves_or_shows_has_the_same_style(tmp_path, figure):
    figure.savefig(tmp_path / "mine.svg")
    assert "n = 3 trials" in (tmp_path / "mine.svg").read_text(encoding="utf-8")
    assert figure._repr_png_().startswith(MAGIC["png"])


def test_a_folder_in_the_place_of_a_file_is_an_error_with_its_name(tmp_path, figure):
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(DataError, match=r"a\.svg"):
        save_figure(figure, tmp_path / "a.png", PictureSettings(formats=("svg",)))


def test_a_caption_is_broken_where_the_page_ends():
    made, _ = page(width="one", rows=1, columns=1, row_mm=30.0)
    caption(made, "word " * 60)
    lines = made._suptitle.get_text().splitlines()
    assert len(lines) > 2
    box = made._suptitle.get_window_extent(made.canvas.get_renderer())
    assert box.x1 <= made.bbox.width
