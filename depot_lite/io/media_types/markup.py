"""Detection of HTML, SVG and XML, whose scripts a browser would execute.

They are recognised after white space, comments, instructions, document types and byte order marks, in UTF-8 and UTF-16.
Without ``nosniff``, a browser executes them even if they are served as ``image/png``, and a storage cannot know how its
files will be served.
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
# Everything that may precede the first element. The groups are atomic (?>...) and the repetition is possessive, because
# the input may be hostile: a thousand comments would take for ever if each could end at any later "-->".
_PROLOG: Final = r"(?>\s+|<!--.*?-->|<\?.*?\?>)*+"
_DOCTYPE: Final = re.compile(_PROLOG + r"<!doctype\s+(html|svg)(?=[\s>\[])", re.DOTALL | re.IGNORECASE)
_ROOT: Final = re.compile(
    _PROLOG
    + r"(?><!doctype\s[^>\[]*+(?:\[.*?\]\s*)?>)?"
    + _PROLOG
    + r"<(?:[a-z_][\w.-]*:)?([a-z_][\w.-]*)(?=[\s/>])([^>]*)",
    re.DOTALL | re.IGNORECASE,
)

# The elements by which a browser recognises HTML in a file without a type (WHATWG MIME Sniffing, section 7.1). Markdown
# and templates may begin with those in the second set, so a claim of text has precedence over them.
_HTML: Final = frozenset({"html", "head", "body", "script", "iframe"})
_MAYBE_HTML: Final = frozenset({"h1", "div", "font", "table", "a", "style", "title", "b", "br", "p"})
_XML: Final = re.compile(r".+\+xml|(?:application|text)/xml(?:-dtd|-external-parsed-entity)?")
_TEXT_TYPES: Final = re.compile(
    r"text/(?!html).+|application/(?:json|javascript|x-httpd-php|x-sh|yaml|toml|sql|typescript)|.+\+xml"
)


def markup_type(head: bytes, claims: list[str]) -> str | None:
    r"""Return the media type of markup, or None for anything else.

    ``claims`` are the declared type and the type by the name; an XML or text type among them may refine the result.

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
    # A comment without an end in these bytes hides the rest.
    if name in _MAYBE_HTML or (not name and text.startswith("<!--")):
        return next((claim for claim in claims[:1] if _TEXT_TYPES.fullmatch(claim)), "text/html")
    return None


def _xml_type(root: str, claims: list[str], *, is_xml: bool) -> str:
    if root == "html":
        return "application/xhtml+xml" if is_xml else "text/html"
    # With another root element it is not an SVG image, even if claimed to be.
    fitting = (claim for claim in claims if _XML.fullmatch(claim) and (not root or claim != "image/svg+xml"))
    return next(fitting, "application/xml")
