"""Template macros of the admins as functions, and their assets, for frameworks with another template engine.

Assets have a hash of their content in their URL, so that browsers can cache them; pages load nothing from other hosts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple, cast

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from depot_lite.contrib.admin import display

_ENVIRONMENT: Final = Environment(loader=PackageLoader("depot_lite.contrib"), autoescape=True)
_TYPES: Final = {"files.css": "text/css", "files.js": "text/javascript"}

#: The Cache-Control header of assets, whose URLs change with their content.
CACHE_FOREVER: Final = "private, max-age=31536000, immutable"


def thumbnails(held: object) -> Markup:
    """Return the thumbnails of an attribute's files, for lists."""
    files = display.files_data(held)
    return _macro("thumbnails")(files) if files else Markup()


def viewer(held: object, label: str = "") -> Markup:
    """Return the viewer of an attribute's files, for detail pages."""
    files = display.files_data(held)
    return _macro("viewer")(files, label) if files else Markup()


def editor(name: str, field_id: str, **options: Any) -> Markup:
    """Return the editor of a form field; it takes the options of the macro."""
    return _macro("editor")(name, field_id, **options)


def _macro(name: str) -> Callable[..., Markup]:
    return cast("Callable[..., Markup]", getattr(_ENVIRONMENT.get_template("plugins/depot/macros.html").module, name))


class Asset(NamedTuple):
    """A script or a style sheet."""

    content: bytes
    content_type: str
    version: str


@cache
def asset(name: str) -> Asset | None:
    """Return ``files.css`` or ``files.js``; None for any other name or path."""
    if name not in _TYPES:
        return None
    content = resources.files("depot_lite.contrib").joinpath("static", "plugins", "depot", name).read_bytes()
    return Asset(content, _TYPES[name], hashlib.sha256(content).hexdigest()[:16])


def tags(url: Callable[[str, str], str]) -> Markup:
    """Return the tags that load the assets; a page needs them once.

    Args:
        url: returns the URL of an asset, from its name and its version.
    """
    style, script = (url(name, found.version) for name in _TYPES if (found := asset(name)))
    return Markup('<link rel="stylesheet" href="{}"><script src="{}" defer></script>').format(style, script)
