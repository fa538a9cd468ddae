from __future__ import annotations

import depot_lite

project = "depot_lite"
author = "depot_lite contributors"
copyright = f"2026, {author}"
version = release = depot_lite.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"depot_lite {release}"

# Single backquotes in docstrings name something of ours: a link where it can be found, plain code where not.
default_role = "py:obj"
# Links to headings of other pages, as in [savepoints](transactions.md#savepoints).
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
# `bytes` of the reports of maintenance: each mention of the type elsewhere would be a link to all of them.
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "bytes"}
# As they are written: some annotations name modules that are only there for type checkers.
autodoc_typehints = "signature"
