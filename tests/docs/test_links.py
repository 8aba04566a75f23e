"""Links of the manual, as far as they can be known without a network; Sphinx checks those between pages.

External links are not asked for here: they have to be well formed and to lead to a host on the list below,
which a person has looked at. `make linkcheck` asks them, where there is a network.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = sorted([*TOP, *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("[!_]*/*.md")])
CODE = re.compile(r"^(`{3,}|~{3,})(?!\{)[^\n]*\n.*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
URL = re.compile(r"https?://[^\s)>\]`'\"|,]+")
ROLE = re.compile(r"\{py:\w+\}`(?:[^`<]*<)?~?([\w.]+)>?`")
HOSTS = {
    "arxiv.org", "citation-file-format.github.io", "dandiarchive.org", "distributed.dask.org", "docs.ray.io",
    "github.com", "jobqueue.dask.org", "keepachangelog.com", "neuroconv.readthedocs.io", "plotly.com",
    "pynwb.readthedocs.io", "pytorch.org", "semver.org", "zarr.dev",
}  # fmt: skip
SHOWN = {"api.dandiarchive.org", "doi.org", "storage.example.org", "HOST", "127.0.0.1", "localhost"}
"""Hosts in commands and examples, which no reader is sent to."""


def prose(page: Path) -> str:
    """Return a page without its code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page: its labels, and its headings as GitHub and MyST name them."""
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in heads)
    return frozenset([*slugs, *re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_files_and_their_anchors_lead_somewhere(page: Path) -> None:
    labels = frozenset().union(*(anchors(other) for other in PAGES if "docs" in other.parts))
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        if "docs" in page.parts and not path.endswith((".md", ".png", ".svg")):
            assert (anchor or path) in labels, f"{page.name}: no label {target}"
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: no file {path}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {path} has no {anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_external_links_are_well_formed_and_of_known_hosts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = [target for target in LINK.findall(prose(page)) if target.startswith("http")]
    for url in [*linked, *URL.findall(text)]:
        parts = urlsplit(url.rstrip(".;:"))
        host = parts.hostname or ""
        assert host in HOSTS | SHOWN or host.upper() in SHOWN, (
            f"{page.name}: {url}: a host nobody has looked at"
        )
    for url in linked:
        assert urlsplit(url).scheme == "https", f"{page.name}: {url} is not https"
        assert urlsplit(url).hostname in HOSTS, f"{page.name}: {url}: an example is no link"


@pytest.mark.parametrize("page", [p for p in PAGES if ROLE.search(p.read_text(encoding="utf-8"))], ids=str)
def test_functions_the_pages_name_exist(page: Path) -> None:
    for name in ROLE.findall(page.read_text(encoding="utf-8")):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), f"{page.name}: no {name}"


def test_every_page_of_the_manual_is_in_a_table_of_contents() -> None:
    listed = set()
    for index in (ROOT / "docs").rglob("index.md"):
        text = index.read_text(encoding="utf-8")
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(index.parent / f"{entry}.md").resolve() for entry in entries}
    pages = {page for page in PAGES if "docs" in page.parts and page != ROOT / "docs" / "index.md"}
    assert listed == pages
