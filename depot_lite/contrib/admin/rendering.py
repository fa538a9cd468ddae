"""The macros of the admins as functions, for frameworks with template engines of their own; and their assets.

Assets are served from here, by their content's hash, so that a browser keeps them and a page needs nothing of any
other machine.
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

#: For who keeps an asset: its URL changes with its content.
FOR_EVER: Final = "private, max-age=31536000, immutable"


def thumbnails(held: object) -> Markup:
    """Return what a list shows of the files of an attribute."""
    files = display.all_shown(held)
    return _macro("thumbnails")(files) if files else Markup()


def viewer(held: object, label: str = "") -> Markup:
    """Return what a detail page shows of the files of an attribute."""
    files = display.all_shown(held)
    return _macro("viewer")(files, label) if files else Markup()


def editor(name: str, field_id: str, **options: Any) -> Markup:
    """Return the field of a form; the options are those of the macro."""
    return _macro("editor")(name, field_id, **options)


def _macro(name: str) -> Callable[..., Markup]:
    return cast("Callable[..., Markup]", getattr(_ENVIRONMENT.get_template("plugins/depot/macros.html").module, name))


class Asset(NamedTuple):
    """A script or a style."""

    content: bytes
    content_type: str
    version: str


@cache
def asset(name: str) -> Asset | None:
    """Return ``files.css`` or ``files.js``; None for anything else, whatever path it may be."""
    if name not in _TYPES:
        return None
    content = resources.files("depot_lite.contrib").joinpath("static", "plugins", "depot", name).read_bytes()
    return Asset(content, _TYPES[name], hashlib.sha256(content).hexdigest()[:16])


def tags(url: Callable[[str, str], str]) -> Markup:
    """Return what loads the assets, for a page to have once.

    Args:
        url: gives the URL of an asset, from its name and its version.
    """
    style, script = (url(name, found.version) for name in _TYPES if (found := asset(name)))
    return Markup('<link rel="stylesheet" href="{}"><script src="{}" defer></script>').format(style, script)
