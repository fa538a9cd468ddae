"""The headers that limit what a browser may do with a file of a given type."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from depot_lite.io.disposition import INLINE_TYPES
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.detection import valid_media_type

# A sandboxed document has no origin. If a bug of ours or of a browser lets it execute code, that code has no cookies
# and no access to the site. 'self' and the styles are for the page that a browser builds around an image or a video
# that is opened on its own.
_SANDBOX: Final = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
# Chrome and Safari apply a PDF's policy to their viewer. They show nothing in any sandbox, or without scripts and
# styles (https://github.com/whatwg/html/issues/3958). The viewer does not run in the name of the site.
_PDF_POLICY: Final = "base-uri 'none'; form-action 'none'"


@lru_cache
def inline_type(content_type: str) -> str | None:
    """Return the type, None if a browser might execute it."""
    media_type = valid_media_type(content_type)
    return media_type if media_type in INLINE_TYPES else None


@lru_cache
def headers_of_type(content_type: str) -> tuple[tuple[str, str], ...]:
    """Return the content type and the headers that limit what a browser may do with the file."""
    inline = inline_type(content_type)
    # Text is UTF-8, or has a byte order mark, which takes precedence. Without a charset, browsers guess by locale.
    sent = "text/plain; charset=utf-8" if inline == "text/plain" else inline or OCTET_STREAM
    return (
        ("Content-Type", sent),
        ("Accept-Ranges", "bytes"),
        # A browser must not discover that an image is HTML.
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", _PDF_POLICY if inline == "application/pdf" else _SANDBOX),
        # Pages of other sites cannot load a user's files into their process. Not `same-origin`: files are often served
        # from a host name of their own, next to that of the pages that show them.
        ("Cross-Origin-Resource-Policy", "same-site"),
    )
