"""What to cite, as BibTeX: the program and the papers of `CITATION.cff`, and the dandisets."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nwb_latents.schemas.catalog import DandisetEntry

CITATION = "citation.cff"
_KINDS = {"conference-paper": "inproceedings", "article": "article", "software": "software"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def bibtex(models: Mapping[str, str], dandisets: Mapping[str, DandisetEntry | None]) -> str:
    r"""Return the entries to cite.

    Parameters
    ----------
    models
        Model → its paper in a few words, for those that `CITATION.cff` has no entry of.
    dandisets
        ``ID@VERSION`` → what is known of it; None: nothing is.

    Examples
    --------
    >>> print(bibtex({}, {"000688@0.1": None}).split("\n\n")[1])
    @misc{dandi_000688,
      title = {Dandiset 000688},
      version = {0.1},
      howpublished = {DANDI Archive},
    }
    <BLANKLINE>
    """
    cited = _cited()
    entries = [_entry("nwb_latents", cited)]
    papers = {_model_of(each): each for each in _listed(cited.get("references"))}
    for model, paper in models.items():
        if model in papers:
            entries.append(_entry(_key(model), papers[model]))
        elif paper != "unpublished":
            note = f"The model {model}: {paper}"
            entries.append(_text("misc", _key(model), {"title": f"The model {model}", "note": note}))
    entries += [_dandiset(name, entry) for name, entry in dandisets.items()]
    return "\n\n".join(entries) + "\n"


def escaped(text: str) -> str:
    r"""Return text as it stands in BibTeX, on one line.

    Examples
    --------
    >>> print(escaped("50 % of {A_1}"))
    50 \% of \{A\_1\}
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


@cache
def _cited() -> Mapping[str, object]:
    text = resources.files("nwb_latents").joinpath(CITATION).read_text(encoding="utf-8")
    content: Mapping[str, object] = yaml.safe_load(text)
    return content


def _dandiset(name: str, entry: DandisetEntry | None) -> str:
    dandiset, _, version = name.partition("@")
    fields = {"title": f"Dandiset {dandiset}" if entry is None else entry.title, "version": version}
    fields["howpublished"] = "DANDI Archive"
    citation = "" if entry is None or entry.version != version else entry.citation
    doi = re.search(r"10\.48324/\S+", citation)
    if doi:
        fields["doi"] = doi.group().rstrip(".")
    elif citation:
        fields["note"] = citation
    return _text("misc", f"dandi_{_key(dandiset)}", fields)


def _entry(key: str, said: Mapping[str, object]) -> str:
    fields = {"title": str(said.get("title", "")), "author": _authors(said)}
    for name, written in (
        ("year", "year"),
        ("journal", "journal"),
        ("collection-title", "booktitle"),
        ("doi", "doi"),
        ("url", "url"),
        ("version", "version"),
        ("license", "note"),
    ):
        if name in said:
            fields[written] = f"{said[name]} licence" if name == "license" else str(said[name])
    return _text(_KINDS.get(str(said.get("type")), "misc"), key, fields)


def _text(kind: str, key: str, fields: Mapping[str, str]) -> str:
    plain = {"doi", "url"}
    lines = [
        f"  {name} = {{{_plain(value) if name in plain else escaped(value)}}},"
        for name, value in fields.items()
        if value
    ]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _plain(text: str) -> str:
    return re.sub(r"[{}\\\s]", "", text)


def _authors(said: Mapping[str, object]) -> str:
    names = []
    for each in _listed(said.get("authors")):
        if "family-names" in each:
            names.append(f"{each['family-names']}, {each.get('given-names', '')}")
        else:
            names.append(str(each.get("name", "")))
    return " and ".join(names)


def _model_of(said: Mapping[str, object]) -> str:
    found = re.fullmatch(r"The model (\w+)\.", str(said.get("notes", "")))
    return found.group(1) if found else ""


def _key(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII)


def _listed(content: object) -> Iterable[Mapping[str, object]]:
    return content if isinstance(content, list) else ()
