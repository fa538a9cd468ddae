"""Markup: HTML, SVG and XML recognised by their bytes, because a browser would execute what is in them.

It is found behind white space, comments, instructions, document types and byte order marks, in UTF-8 and UTF-16. A
browser that is told ``image/png`` executes it all the same unless ``nosniff`` is sent along, and who stores a file does
not know how it will be served.
"""

from __future__ import annotations

import re
from typing import Final

_BYTE_ORDER_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    # XML without a mark (XML 1.0, appendix F.1).
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
# What may stand before the first element. The groups are atomic (?>...) and the repetition is possessive, since what
# comes in is hostile: a thousand comments would take for ever if each could end at any later "-->".
_PROLOG: Final = r"(?>\s+|<!--.*?-->|<\?.*?\?>)*+"
_DOCTYPE: Final = re.compile(_PROLOG + r"<!doctype\s+(html|svg)(?=[\s>\[])", re.DOTALL | re.IGNORECASE)
_ROOT: Final = re.compile(
    _PROLOG
    + r"(?><!doctype\s[^>\[]*+(?:\[.*?\]\s*)?>)?"
    + _PROLOG
    + r"<(?:[a-z_][\w.-]*:)?([a-z_][\w.-]*)(?=[\s/>])([^>]*)",
    re.DOTALL | re.IGNORECASE,
)

# The elements that make a browser take a file without a type for HTML (WHATWG MIME Sniffing, section 7.1). Markdown and
# templates begin with some of them too, so these give way to a claim of text.
_HTML: Final = frozenset({"html", "head", "body", "script", "iframe"})
_MAYBE_HTML: Final = frozenset({"h1", "div", "font", "table", "a", "style", "title", "b", "br", "p"})
_XML: Final = re.compile(r".+\+xml|(?:application|text)/xml(?:-dtd|-external-parsed-entity)?")
_TEXT: Final = re.compile(
    r"text/(?!html).+|application/(?:json|javascript|x-httpd-php|x-sh|yaml|toml|sql|typescript)|.+\+xml"
)


def markup_type(head: bytes, claims: list[str]) -> str | None:
    r"""Return the media type of what a browser would execute, None if this is something else.

    ``claims`` are the declared type and that of the name; one of XML or text may refine what is found, never hide it.

    >>> markup_type(b"\xef\xbb\xbf <!-- logo --> <svg onload='...'>", ["image/png"])
    'image/svg+xml'
    """
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if encoding is None and not head.lstrip().startswith(b"<"):
        return None
    text = head.decode(encoding or "utf-8", "replace").lstrip("\ufeff \t\r\n\f")
    root, doctype = _ROOT.match(text), _DOCTYPE.match(text)
    name, attributes = (root[1].lower(), root[2]) if root else ("", "")
    kind = doctype[1].lower() if doctype else ""
    if "svg" in (name, kind):
        return "image/svg+xml"
    is_xml = text.startswith("<?xml")
    if is_xml or "xmlns" in attributes:
        return _xml_type(name, claims, is_xml=is_xml)
    if name in _HTML or kind == "html":
        return "text/html"
    # A comment that does not end here hides the rest.
    if name in _MAYBE_HTML or (not name and text.startswith("<!--")):
        return next((claim for claim in claims[:1] if _TEXT.fullmatch(claim)), "text/html")
    return None


def _xml_type(root: str, claims: list[str], *, is_xml: bool) -> str:
    if root == "html":
        return "application/xhtml+xml" if is_xml else "text/html"
    # With another element at its root it is no SVG image, whoever says so.
    fitting = (claim for claim in claims if _XML.fullmatch(claim) and (not root or claim != "image/svg+xml"))
    return next(fitting, "application/xml")
