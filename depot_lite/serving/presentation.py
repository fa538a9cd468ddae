"""Presentation: the headers by which a browser shows a file, or saves it, and lets nothing in it run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from depot_lite.io.media_types import OCTET_STREAM, valid_media_type

# A sandboxed document has no origin. If a bug of ours or of a browser lets it execute code, that code has no cookies
# and no access to the site. 'self' and the styles are for the page that a browser builds around an image or a video
# that is opened on its own. SVG depends on it.
_SANDBOX: Final = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
# Chrome and Safari apply a PDF's policy to their viewer. They show nothing in any sandbox, or without scripts and
# styles (https://github.com/whatwg/html/issues/3958). The viewer does not run in the name of the site.
_PDF_POLICY: Final = "base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a browser presents files of one content type."""

    #: Whether it shows them, instead of saving them.
    is_inline: bool
    #: The type that is sent: that of the file only if it is shown.
    sent_type: str
    #: The type, and the headers that restrict a browser's use of the file.
    headers: tuple[tuple[str, str], ...]

    def disposition(self, *, download: bool) -> str:
        """Return ``inline`` or ``attachment``."""
        return "inline" if self.is_inline and not download else "attachment"


@lru_cache(maxsize=512)
def presentation_of(content_type: str, inline_types: frozenset[str]) -> Presentation:
    """Return the presentation of files of a type.

    Args:
        content_type: as the storage has it, which may be anything.
        inline_types: the types that are shown.
    """
    media_type = valid_media_type(content_type)
    inline = media_type if media_type in inline_types else None
    # Text is UTF-8, or has a byte order mark, which takes precedence. Without a charset, browsers guess by locale.
    sent = f"{inline}; charset=utf-8" if inline is not None and inline.startswith("text/") else inline or OCTET_STREAM
    headers = (
        ("Content-Type", sent),
        ("Accept-Ranges", "bytes"),
        # A browser must not discover that an image is HTML.
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", _PDF_POLICY if inline == "application/pdf" else _SANDBOX),
    )
    return Presentation(inline is not None, sent, headers)
