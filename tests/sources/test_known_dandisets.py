"""The dandisets that come with the program."""

import re

import pytest

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.sources.known_dandisets import known_dandisets, parse_dandisets
from nwb_latents.schemas.catalog import DandisetEntry
from nwb_latents.schemas.registry import LAYOUTS


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


ENTRY = {"title": "Reaches of a lab", "version": "0.1", "layout": "generic", "tasks": ["CO"]}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("ONE = {entry}", "000999"),
        ("from nwb_latents.schemas.catalog import DandisetEntry\nONE = DandisetEntry(**{entry})", "000999"),
        ("ONE = {{'000999': {entry}}}", "lab"),
        ("def ONE(): return {{'000999': {entry}}}", "lab"),
    ],
)
def test_another_distribution_enters_a_dandiset(plug, source, name):
    plug("lab_dandisets", source.format(entry=ENTRY), dandisets={name: "lab_dandisets:ONE"})
    known = known_dandisets()
    assert known["000999"] == DandisetEntry(**ENTRY)
    assert "000688" in known


def test_the_entry_of_the_users_catalog_counts_and_that_is_said(plug, caplog):
    plug("lab_dandisets", f"ONE = {ENTRY}", dandisets={"000999": "lab_dandisets:ONE"})
    own = DandisetEntry(**{**ENTRY, "version": "0.2"})
    assert known_dandisets({"000999": own})["000999"].version == "0.2"
    assert "000999: the entry of your catalog counts, not the other one of lab_dandisets 1.0" in caplog.text
    caplog.clear()
    assert known_dandisets({"000688": known_dandisets()["000688"]})
    assert not caplog.text


def test_two_distributions_that_differ_over_a_dandiset_are_refused_unless_the_user_decides(plug, caplog):
    plug("lab_dandisets", f"ONE = {ENTRY}", dandisets={"000688": "lab_dandisets:ONE"})
    message = r"000688: nwb-latents .* and lab_dandisets 1.0 give different"
    with pytest.raises(SettingsError, match=message):
        known_dandisets(wanted=["000688"])
    others = known_dandisets(wanted=["000070"])
    assert "000070" in others
    assert "000688" not in others, "neither of the two is taken in place of the other"
    assert re.search(message, caplog.text)
    assert known_dandisets({"000688": DandisetEntry(**ENTRY)})["000688"].title == "Reaches of a lab"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**ENTRY, "layout": "generik"}, "lab_dandisets 1.0, .*000999: no layout is called 'generik'"),
        ({**ENTRY, "versoin": "1"}, "lab_dandisets 1.0, .*000999.versoin"),
        (3, "lab_dandisets 1.0, .*Expected an entry as in catalog.yaml"),
    ],
)
def test_an_entry_that_cannot_be_used_names_the_distribution_it_is_of(plug, caplog, entry, message):
    plug("lab_dandisets", f"ONE = {entry}", dandisets={"000999": "lab_dandisets:ONE"})
    with pytest.raises(MachineError, match=message):
        known_dandisets(wanted=["000999"])
    assert "000688" in known_dandisets(wanted=["000688"])
    assert re.search(message, caplog.text)


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('no licence')", "import sys; sys.exit(3)", "ONE = len", "TWO = {}"]
)
def test_a_distribution_whose_dandisets_cannot_be_had_leaves_the_others(plug, caplog, source):
    plug("lab_dandisets", source, dandisets={"000999": "lab_dandisets:ONE"})
    with pytest.raises(MachineError, match=r"lab_dandisets 1\.0"):
        known_dandisets(wanted=["000999"])
    assert {"000070", "000688"} < set(known_dandisets())
    assert "lab_dandisets 1.0" in caplog.text
