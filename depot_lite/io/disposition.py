"""What a browser may do with a file: show it or only save it, and under which name (RFC 6266)."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from depot_lite.io.content import clean_filename

_PASSIVE: Final = {
    "application": "pdf",
    "text": "plain",
    "image": "apng avif bmp gif heic heif jpeg jpg jxl png tiff vnd.microsoft.icon webp x-icon",
    "audio": "aac flac mp3 mp4 mpeg ogg opus wav webm x-m4a x-wav",
    "video": "3gpp mp4 mpeg ogg quicktime webm x-m4v x-matroska",
}
#: The types that a browser shows without executing anything. SVG is not one of them: it is XML, and holds scripts.
INLINE_TYPES: Final = frozenset(f"{kind}/{name}" for kind, names in _PASSIVE.items() for name in names.split())


@lru_cache(maxsize=256)
def content_disposition(disposition: str, filename: str) -> str:
    r"""Return the value of a ``Content-Disposition`` header (RFC 6266), safe for any name that a user thought of.

    ``filename`` is plain ASCII, for old clients; where the name is more than that, ``filename*`` tells it (RFC 8187).

    >>> content_disposition("inline", "plan.pdf")
    'inline; filename="plan.pdf"'
    >>> content_disposition("attachment", 'Zoë "7%"\r\n.pdf')
    'attachment; filename="Zoe _7__.pdf"; filename*=UTF-8\'\'Zo%C3%AB%20%227%25%22.pdf'
    """
    name = clean_filename(filename)
    if name is None:
        return disposition
    plain = "".join(_plain(character) for character in name)
    value = f'{disposition}; filename="{plain}"'
    # Safe are RFC 8187's attr-char that quote() does not know; the others it leaves alone anyway.
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='!#$&+^`|')}"


def _plain(character: str) -> str:
    """Return a character as it may stand in a quoted string, without its accents; ``_`` for what may not."""
    base = unicodedata.normalize("NFKD", character)[0]
    # A quote or a backslash ends or escapes something; some browsers take a percent sign for an escape (RFC 6266, D).
    return base if " " <= base <= "~" and base not in '"\\%' else "_"
