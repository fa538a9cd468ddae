"""HTML for an image and its variants: ``srcset``, and a ``<picture>`` that shows its placeholder while it loads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Final, Protocol


class Html(str):
    """HTML that template engines insert as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the HTML, as markupsafe and so Jinja ask for it."""
        return str(self)


class Source(Protocol):
    """A file that a browser can choose: an image or a variant of it."""

    @property
    def url(self) -> str | None:
        """The URL; None if there is no file yet."""

    @property
    def content_type(self) -> str | None:
        """The media type, None if it is not known."""

    @property
    def width(self) -> int | None:
        """The width in pixels, None if it is not known."""


#: Formats that every browser shows, so that they may stand in ``<img>``.
_EVERYWHERE: Final = ("image/jpeg", "image/png", "image/gif")


def srcset(sources: Iterable[Source]) -> str:
    """Return the value of a ``srcset`` attribute, the narrowest file first. It has to be escaped in HTML.

    A browser chooses by width: of files of one width the first is kept, and files whose width is not known are left
    out. If none is known, the first file is the only one.
    """
    found: dict[int | None, str] = {}
    for each in sources:
        if each.width not in found and (url := each.url) is not None:
            found[each.width] = url if not url.endswith(",") else f"{url[:-1]}%2C"  # it would end the candidate
    by_width = {width: url for width, url in found.items() if width is not None}
    if not by_width:
        return found.get(None, "")
    return ", ".join(f"{url} {width}w" for width, url in sorted(by_width.items()))


def picture(
    sources: Iterable[Source], original: Source, *, sizes: str | None, attributes: Mapping[str, object]
) -> Html:
    """Return ``<picture>`` with a ``<source>`` for each format that not every browser shows, and an ``<img>``.

    Empty if there are no sources and the original is no image, such as sound.

    Args:
        sources: the files to choose from.
        original: shown by browsers that know none of the formats; the widest source if it is of such a format itself.
        sizes: the ``sizes`` attribute, such as ``"(min-width: 60em) 50vw, 100vw"``.
        attributes: those of the ``<img>``; None leaves one out.
    """
    by_type: dict[str | None, list[Source]] = {}
    given = [each for each in sources if each.url is not None]
    if not given and not (original.content_type or "").startswith("image/"):
        return Html()
    for each in given:
        by_type.setdefault(None if each.content_type in _EVERYWHERE else each.content_type, []).append(each)
    plain = by_type.pop(None, [])
    fallback = plain or (given if original.content_type not in _EVERYWHERE else [])
    shown = max(fallback, key=lambda each: each.width or 0, default=original)
    parts = [
        _tag("source", {"type": kind, "srcset": srcset(some), "sizes": sizes if _has_widths(some) else None})
        for kind, some in by_type.items()
    ]
    choice = {"srcset": srcset(plain), "sizes": sizes} if _has_widths(plain) else {}
    parts.append(_tag("img", {"src": shown.url, **choice, **attributes}))
    return Html(f"<picture>{''.join(parts)}</picture>")


def _has_widths(sources: Iterable[Source]) -> bool:
    return any(each.width is not None for each in sources)


_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


def attributes_of(given: Mapping[str, object]) -> dict[str, object]:
    """Return HTML attributes from keyword arguments: ``class_`` is ``class``, and ``data_id`` is ``data-id``.

    Raises:
        ValueError: a name is none of an attribute.
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in given.items()}
    for name in named:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r}: expected the name of an HTML attribute, such as class_ or data_id")
    return named


def _tag(name: str, attributes: Mapping[str, object]) -> str:
    parts = [name, *(f'{key}="{escape(str(each))}"' for key, each in attributes.items() if each is not None)]
    return f"<{' '.join(parts)}>"
