"""Sphinx: ``make docs`` builds the site into ``build/docs`` and ends with an error at the first warning."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "FlairSegExtension"))

import flairseg  # noqa: E402

project = "FlairSeg"
author = "The FlairSeg authors"
copyright = author
version = release = flairseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_copybutton"]
myst_heading_anchors = 3
#: Links into the repository are files of their own there, and pages of none here.
suppress_warnings = ["myst.xref_missing"]
autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
exclude_patterns = ["decisions/template.md"]
smartquotes = False  # options begin with two hyphens
html_theme = "furo"
html_title = f"FlairSeg {release}"
