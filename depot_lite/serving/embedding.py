"""Embedding: the headers by which browsers decide whether pages of other sites may use a response (CORP and CORS).

Cross-Origin-Resource-Policy is for elements without ``crossorigin``: the page shows the image and cannot read it. It
names no origins, so a list of them needs CORS (https://fetch.spec.whatwg.org/#http-cors-protocol): ``fetch``, fonts,
and elements with ``crossorigin``. Scripts of other sites cannot read what was sent for cookies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from depot_lite.origins import ANY, SAME_SITE, CrossOrigin
from depot_lite.registry import Depot

Headers = tuple[tuple[str, str], ...]

#: Response headers that scripts may read, beside those that they may always read.
_EXPOSED: Final = (
    "Access-Control-Expose-Headers",
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After",
)

#: Of the answer to a preflight request, which ranges from the end and all conditions need. Chromium keeps it no longer.
_PREFLIGHT: Final = (
    ("Access-Control-Allow-Methods", "GET, HEAD"),
    (
        "Access-Control-Allow-Headers",
        "If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range",
    ),
    ("Access-Control-Max-Age", "7200"),
)


def cross_origin_of(depot: Depot, *, checked: bool) -> CrossOrigin:
    """Return the origins that may use the files of a depot: by default any for public files, else the same site.

    Args:
        checked: access was checked for the user, so that the file is not everybody's.
    """
    if depot.cross_origin is not None:
        return depot.cross_origin
    return ANY if depot.visibility == "public" and not checked else SAME_SITE


def embedding_headers(allowed: CrossOrigin, request_headers: Mapping[str, str], status: int) -> Headers:
    """Return the headers of a response with this status.

    Errors have them too, or a script could not tell a 404 from a broken connection; 304, because a browser puts them in
    place of those that it keeps; and redirects, which a browser would not follow.
    """
    shared = _shared(allowed, request_headers.get("origin"))
    if allowed.any or status not in {200, 206}:
        return shared
    # Pages of other sites cannot load a user's files into their process. Not `same-origin`: files are often served from
    # a host name of their own, next to that of the pages that show them.
    return *shared, ("Cross-Origin-Resource-Policy", "same-site")


def preflight_headers(allowed: CrossOrigin, request_headers: Mapping[str, str]) -> Headers | None:
    """Return the headers for a browser that asks whether a page may send a request; None if it does not, or may not."""
    shared = _shared(allowed, request_headers.get("origin"))
    is_allowed = any(name == "Access-Control-Allow-Origin" for name, _ in shared)
    return (*shared, *_PREFLIGHT) if is_allowed and "access-control-request-method" in request_headers else None


def _shared(allowed: CrossOrigin, origin: str | None) -> Headers:
    if allowed.any:
        # The same for every origin, so that caches need not keep a response for each.
        return ("Cross-Origin-Resource-Policy", "cross-origin"), ("Access-Control-Allow-Origin", "*"), _EXPOSED
    if not allowed.origins:
        return ()
    varies = ("Vary", "Origin")
    if origin is None or origin not in allowed.origins:
        return (varies,)
    return varies, ("Access-Control-Allow-Origin", origin), _EXPOSED
