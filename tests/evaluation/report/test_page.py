"""The page of a report: one file, of a size that was asked for, with no markup of data in it."""

from __future__ import annotations

import re

import pytest
from evaluation.report.pages import HOSTILE, Elements, make_page

from nwb_latents.pipeline.evaluation.report.packing import pack, unpack
from nwb_latents.pipeline.evaluation.report.page import MB, SCRIPTS, STYLES, asset, page_html, plotly_js


def data_of(html, kind, key=None):
    """Return what a page carries of a session, a run, or of the numbers."""
    if key is None:
        found = re.search(rf'<script type="application/gzip" id="{kind}">([^<]*)</script>', html)
        return unpack(found.group(1))
    return {
        key: unpack(packed)
        for key, packed in re.findall(rf'class="{kind}-data" data-key="([^"]*)">([^<]*)</script>', html)
    }


@pytest.fixture(scope="module")
def hostile():
    return page_html(make_page(n_sessions=9, n_runs=9, hostile=True, n_trials=2), max_mb=10).html


@pytest.fixture(scope="module")
def plain():
    return page_html(make_page(n_trials=2), max_mb=10).html


def test_names_of_data_make_no_elements(hostile, plain):
    seen, expected = Elements(hostile), Elements(plain)
    assert set(seen.tags) == set(expected.tags)
    assert not [each for each in seen.attributes if each[1].startswith("on")]
    addresses = [value for _, name, value in seen.attributes if name in {"href", "src"}]
    assert all(value.startswith(("#", "https://", "data:,")) for value in addresses)


def test_names_of_data_are_shown_as_they_stand(hostile):
    text = "".join(Elements(hostile).text)
    for name in HOSTILE:
        assert name in text


def test_nothing_of_a_template_is_carried_out_that_stands_in_data(hostile):
    assert "{{ 7 * 7 }}" in "".join(Elements(hostile).text)


def test_scripts_of_the_page_are_the_program_and_its_library_alone(plain):
    kinds = re.findall(r"<script([^>]*)>", plain)
    assert [kind for kind in kinds if "application/gzip" not in kind] == [""]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', plain).group(1)
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == 2
    assert not re.search(r"script-src[^;]*unsafe", policy)


def test_nothing_is_loaded_from_anywhere():
    for name in (*SCRIPTS, *STYLES):
        assert not re.search(r"https?://|fetch\(|XMLHttpRequest|@import|url\(", asset(name)), name
        assert "</script" not in asset(name)
    # As scripts in a page, these would end where this word stands.
    assert "</script" not in plotly_js()


def test_the_largest_study_there_is_fits_ten_megabytes():
    written = page_html(make_page(n_sessions=44, n_runs=3, run_sessions=2), max_mb=10)
    assert written.not_drawn == ()
    assert written.n_bytes < 10 * MB


def test_what_does_not_fit_is_left_out_and_named():
    page = make_page(n_sessions=12, n_runs=3)
    written = page_html(page, max_mb=3)
    assert written.n_bytes < 3 * MB
    assert written.not_drawn
    drawn = data_of(written.html, "session", key=True) | data_of(written.html, "run", key=True)
    assert {*drawn, *written.not_drawn} == {*(s.key for s in page.sessions), *(r.run for r in page.runs)}
    text = "".join(Elements(written.html).text)
    assert "the page would be larger than 3 MB" in text
    assert written.not_drawn[0] in text
    assert "--set max_mb" in text


def test_drawings_come_out_of_the_page_as_they_went_in(plain):
    page = make_page(n_trials=2)
    found = data_of(plain, "session", key=True)
    assert found == {part.key: part.arrays for part in page.sessions}
    assert data_of(plain, "run", key=True) == {part.run: part.arrays for part in page.runs}
    assert data_of(plain, "numbers") == page.numbers


def test_equal_data_are_equal_text_and_numbers_that_are_none_are_refused():
    assert pack({"a": [1.5]}) == pack({"a": [1.5]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({"a": float("nan")})


def test_an_empty_catalog_makes_a_page_that_says_what_to_do():
    written = page_html(make_page(n_sessions=0, n_runs=0), max_mb=10)
    text = "".join(Elements(written.html).text)
    assert "The catalog holds no sessions" in text
    assert "pipeline run ingest" in text
