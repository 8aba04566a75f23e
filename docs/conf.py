"""How the manual is built; its reference pages are generated from the program and its schemas."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nwb_latents

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "nwb-latents"
author = "The nwb-latents developers"
copyright = author
release = version = nwb_latents.__version__

extensions = [
    "generated_pages",
    "mathml",
    "myst_nb",
    "notebooks",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "reference/generated"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Tutorials are executed in every build, each in a folder of its own; a cell that fails fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

# `make linkcheck` asks the hosts; tests/docs/test_links.py checks what can be known without a network.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost)", r"https://storage\.example\.org"]

# Single backticks in docstrings name things of the code.
default_role = "code"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False
napoleon_use_admonition_for_examples = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"nwb-latents {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_show_copyright = False
html_show_sphinx = False

_NAMES = re.compile(r"\w+(?:, \w+)+")


def _one_attribute_each(*event: object) -> None:
    """Repeat a description that several attributes share; napoleon takes ``a, b`` for a type and a name."""
    lines = event[-1]
    assert isinstance(lines, list)
    for at in reversed(range(len(lines))):
        if _NAMES.fullmatch(lines[at]) and "Attributes" in lines[:at]:
            end = at + 1
            while end < len(lines) and lines[end].startswith(" "):
                end += 1
            described = lines[at + 1 : end]
            lines[at:end] = [line for name in lines[at].split(", ") for line in (name, *described)]


def setup(sphinx: Sphinx) -> None:
    """Mend docstrings before napoleon reads them."""
    sphinx.connect("autodoc-process-docstring", _one_attribute_each, priority=400)
