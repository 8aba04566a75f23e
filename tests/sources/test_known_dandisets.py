"""The dandisets that come with the program."""

import pytest

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.nwb.read import LAYOUTS
from nwb_latents.pipeline.sources.known_dandisets import known_dandisets, parse_dandisets


def test_all_of_them_are_there():
    assert list(known_dandisets()) == [
        *["000070", "000121", "000127", "000128", "000129", "000130", "000138", "000139", "000140"],
        *["000688", "000941", "000953", "000954"],
    ]


@pytest.mark.parametrize("dandiset", list(known_dandisets()))
def test_content_is_pinned_one_way_or_the_other(dandiset):
    entry = known_dandisets()[dandiset]
    assert entry.layout in LAYOUTS
    assert entry.tasks
    if entry.version == "draft":
        assert entry.pins
        assert f"dandiset/{dandiset}/draft" in entry.citation
    else:
        assert not entry.pins
        assert entry.citation == f"https://doi.org/10.48324/dandi.{dandiset}/{entry.version}"


@pytest.mark.parametrize(
    ("dandiset", "n_files", "n_bytes"),
    [("000070", 9, 45.9e9), ("000941", 11, 0.31e9), ("000953", 20, 15.9e9), ("000954", 40, 0.10e9)],
)
def test_every_file_of_a_draft_is_pinned(dandiset, n_files, n_bytes):
    pins = known_dandisets()[dandiset].pins
    assert len(pins) == len({pin.path for pin in pins}) == len({pin.asset_id for pin in pins}) == n_files
    assert sum(pin.size for pin in pins) == pytest.approx(n_bytes, rel=0.03)


@pytest.mark.parametrize(
    ("dandiset", "n_files", "n_bytes"),
    [
        ("000121", 15, 187_534_957_634),
        ("000127", 2, 1_823_368_810),
        ("000128", 2, 694_004_935),
        ("000129", 2, 50_965_512),
        ("000138", 2, 149_392_888),
        ("000139", 2, 77_300_692),
        ("000140", 2, 29_896_840),
    ],
)
def test_the_size_of_a_published_version_is_known_before_it_is_fetched(dandiset, n_files, n_bytes):
    entry = known_dandisets()[dandiset]
    assert (entry.n_files, entry.n_bytes) == (n_files, n_bytes)


def test_only_the_dandisets_of_a_catalog_are_looked_at():
    assert parse_dandisets("sessions: {whatever: 1}\nruns: 3", source="c.yaml") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dandisets: {'000688': {title: t}}", "c.yaml: dandisets.000688.version: Field required"),
        ("dandisets: {688: {}}", "quote them"),
        ("dandisets: [", "not readable as YAML"),
    ],
)
def test_damaged_catalog_is_told(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_dandisets(text, source="c.yaml")
