"""Parts of other distributions: whatever is wrong with one is named, and harms nothing else."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import pytest

from nwb_latents.schemas import json_schema, registry
from nwb_latents.schemas.registry import (
    DECODERS,
    EXPORTERS,
    LAYOUTS,
    MODELS,
    BrokenPartError,
    PartWarning,
    remedy_of,
)

FAULTS = {
    "raise RuntimeError('no licence')": "RuntimeError: no licence",
    "import sys; sys.exit('needs MATLAB')": "SystemExit: needs MATLAB",
    "import nothing_of_that_name": "ModuleNotFoundError",
    "def broken(:": "SyntaxError",
    "OTHER = 1": "AttributeError",
}


@pytest.mark.parametrize("source", FAULTS)
def test_a_part_that_cannot_be_imported_is_named_whatever_stops_it(plug, source):
    plug("lab_part", source, decoders={"mine": "lab_part:Mine"})
    message = rf"the decoder 'mine' of lab_part 1\.0 .*{re.escape(FAULTS[source])}.*Mend or uninstall"
    with pytest.raises(BrokenPartError, match=message):
        DECODERS.load("mine")
    assert DECODERS.load("ridge")


def test_an_installation_older_than_its_files_is_told_as_such(plug):
    plug("lab_part", "Mine = 1", novelties={"mine": "lab_part:Mine"})
    novelties = registry.Registry("noveltie")
    assert novelties.load("mine") == 1
    with pytest.raises(
        registry.UnknownPartError, match=r"no noveltie is called 'ours', nor .* Install it again"
    ):
        novelties.check("ours")


def test_what_is_said_of_a_part_is_one_paragraph(plug):
    plug("lab_part", "raise RuntimeError('no\\n\\nlicence')", decoders={"mine": "lab_part:Mine"})
    with pytest.raises(BrokenPartError, match=r"RuntimeError: no licence\. Mend"):
        DECODERS.load("mine")


def test_what_is_printed_on_import_does_not_get_among_results(plug, capsys):
    plug("lab_part", "print('welcome')\nMine = 1", decoders={"mine": "lab_part:Mine"})
    DECODERS.load("mine")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "welcome\n")


def test_a_built_in_part_counts_before_one_of_its_name_and_that_is_said(plug):
    built_in = DECODERS.load("ridge")
    plug("lab_part", "Mine = 1", decoders={"ridge": "lab_part:Mine"})
    with pytest.warns(PartWarning, match=r"'ridge' of lab_part 1\.0 is not used: nwb-latents .* counts"):
        assert DECODERS.load("ridge") is built_in
    assert "lab_part" not in DECODERS.owner("ridge")
    assert DECODERS.distributions("ridge") == ("nwb-latents",)


def test_two_others_of_one_name_are_refused(plug):
    plug("lab_one", "Mine = 1", decoders={"mine": "lab_one:Mine"})
    plug("lab_two", "Mine = 2", decoders={"mine": "lab_two:Mine"})
    with pytest.raises(BrokenPartError, match=r"claimed by lab_one 1\.0 and lab_two 1\.0"):
        DECODERS.load("mine")


def test_an_entry_point_of_this_project_that_leads_nowhere_asks_for_another_installation(monkeypatch):
    (known,) = registry._by_name(MODELS.group)["lfads"]
    stale = EntryPoint("lfads", "nwb_latents.schemas.models:LFADS", known.group)._for(known.dist)
    monkeypatch.setattr(registry, "_by_name", lambda group: {"lfads": (stale,)})
    monkeypatch.setattr(MODELS, "_loaded", {})
    with pytest.raises(BrokenPartError, match=r"'lfads' of nwb-latents .* Install nwb-latents again"):
        MODELS.load("lfads")
    assert "uninstall" not in remedy_of(stale)


@pytest.mark.parametrize("source", ["Mine = 3", "class Mine: pass", "class Mine: settings_type = int"])
def test_the_schema_of_an_exporter_that_is_none_is_refused_by_name(plug, source):
    plug("lab_part", source, exporters={"mine": "lab_part:Mine"})
    with pytest.raises(BrokenPartError, match=r"'mine' of lab_part 1\.0 does not say its settings"):
        json_schema("export_mine")
    assert EXPORTERS.is_own("lfads")
    assert not EXPORTERS.is_own("mine")
    assert not LAYOUTS.is_own("nothing")
