"""Markup: HTML, SVG and XML by their first element.

Browsers execute the scripts of HTML, SVG and XML; without ``nosniff`` also if they are served as ``image/png``, and a
storage cannot know how its files will be served. They are recognised after white space, comments, instructions,
document types and byte order marks, in UTF-8, UTF-16 and UTF-32.
"""

from __future__ import annotations

import re
from typing import Final

from depot_lite.io.media_types.sample import Finding

_XML: Final = "application/xml"
_BYTE_ORDER_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    # XML without a mark (XML 1.0, appendix F.1).
    (b"<\x00\x00\x00", "utf-32-le"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
# Everything that may precede the first element. The groups are atomic (?>...) and the repetition is possessive, because
# the input may be hostile: a thousand comments would take for ever if each could end at any later "-->".
_PROLOG: Final = r"(?>\s+|<!--(?:-?>|.*?-->)|<\?.*?\?>)*+"
_DOCTYPE: Final = re.compile(_PROLOG + r"<!doctype\s+(html|svg)(?=[\s>\[])", re.DOTALL | re.IGNORECASE)
_ROOT: Final = re.compile(
    _PROLOG
    + r"(?><!doctype\s[^>\[]*+(?:\[.*?\]\s*)?>)?"
    + _PROLOG
    + r"<(?:[a-z_][\w.-]*:)?([a-z_][\w.-]*)(?=[\s/>])([^>]*)",
    re.DOTALL | re.IGNORECASE,
)

# The elements by which a browser recognises HTML in a file without a type (WHATWG MIME Sniffing, section 7.1). Markdown
# and templates may begin with those in the second set, so a name or a claim of text has precedence over them.
_HTML: Final = frozenset({"html", "head", "body", "script", "iframe"})
_MAYBE_HTML: Final = frozenset({"h1", "div", "font", "table", "a", "style", "title", "b", "br", "p"})

#: The kinds of XML whose root element nothing else has, or has with another namespace: (root, part of the namespace).
ROOTS: Final = {
    ("rss", ""): "application/rss+xml",
    ("feed", "w3.org/2005/Atom"): "application/atom+xml",
    ("rdf", ""): "application/rdf+xml",
    ("opml", ""): "text/x-opml+xml",
    ("mpd", "dash:schema"): "application/dash+xml",
    ("kml", ""): "application/vnd.google-earth.kml+xml",
    ("gpx", ""): "application/gpx+xml",
    ("trainingcenterdatabase", ""): "application/vnd.garmin.tcx+xml",
    ("osm", ""): "application/vnd.openstreetmap.data+xml",
    ("stylesheet", "1999/XSL/Transform"): "application/xslt+xml",
    ("transform", "1999/XSL/Transform"): "application/xslt+xml",
    ("math", ""): "application/mathml+xml",
    ("collada", ""): "model/vnd.collada+xml",
    ("x3d", ""): "model/x3d+xml",
    ("playlist", "xspf.org"): "application/xspf+xml",
    ("score-partwise", ""): "application/vnd.recordare.musicxml+xml",
    ("score-timewise", ""): "application/vnd.recordare.musicxml+xml",
    ("tt", "ns/ttml"): "application/ttml+xml",
    ("fictionbook", ""): "application/x-fictionbook+xml",
    ("ncx", ""): "application/x-dtbncx+xml",
    ("package", "idpf.org"): "application/oebps-package+xml",
    ("xliff", ""): "application/xliff+xml",
    ("tmx", ""): "application/x-tmx+xml",
    ("smil", ""): "application/smil+xml",
    ("definitions", "schemas.xmlsoap.org/wsdl"): "application/wsdl+xml",
    ("plist", ""): "application/x-plist",
    ("abiword", ""): "application/x-abiword",
    ("mxfile", ""): "application/vnd.jgraph.mxfile",
    ("scribusutf8new", ""): "application/vnd.scribus",
    ("xfdf", ""): "application/vnd.adobe.xfdf",
    ("amf", ""): "application/x-amf",
    ("jnlp", ""): "application/x-java-jnlp-file",
    ("sbml", ""): "application/x-sbml+xml",
    ("mzml", ""): "application/x-mzml+xml",
    ("nzb", ""): "application/x-nzb",
    ("fcpxml", ""): "application/x-final-cut",
    ("tei", ""): "application/tei+xml",
    ("ts", ""): "text/vnd.trolltech.linguist",
    ("sparql", ""): "application/sparql-results+xml",
    ("xbel", ""): "application/x-xbel",
    ("application", "wadl"): "application/vnd.sun.wadl+xml",
    ("qgis", ""): "application/x-qgis-project",
    ("smi", "realnetworks"): "application/smil+xml",
}
# Flat OpenDocument files name their type themselves.
_FLAT: Final = re.compile(r'office:mimetype\s*=\s*["\'](application/vnd\.oasis\.opendocument\.[a-z]+)["\']')


def markup(head: bytes) -> Finding | None:
    """Return the type of HTML, SVG or XML, None for any other text."""
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if encoding is None and not head.lstrip().startswith(b"<"):
        return None
    text = head.decode(encoding or "utf-8", "replace").lstrip("\ufeff \t\r\n\f")
    root, doctype = _ROOT.match(text), _DOCTYPE.match(text)
    name, attributes = (root[1].lower(), root[2]) if root else ("", "")
    kind = doctype[1].lower() if doctype else ""
    if "svg" in (name, kind):
        return Finding("image/svg+xml")
    is_xml = text.startswith("<?xml")
    if is_xml or "xmlns" in attributes:
        return _xml(name, attributes, is_xml=is_xml)
    if name in _HTML or kind == "html":
        return Finding("text/html", ("application/xhtml+xml",))
    known = ROOTS.get((name, "")) if name in _BARE_ROOTS else None
    if known is not None:
        return Finding(known, (known,))
    # A comment without an end in these bytes hides the rest.
    if name in _MAYBE_HTML or (not name and text.startswith("<!--")):
        return Finding("text/html", rest="text")
    return None


# Roots that are written without a declaration and a namespace.
_BARE_ROOTS: Final = frozenset(
    {"rss", "opml", "kml", "gpx", "osm", "plist", "mxfile", "math", "score-partwise", "smil", "ts"}
)


def _xml(root: str, attributes: str, *, is_xml: bool) -> Finding:
    if root == "html":
        # Which of both parsers a browser takes depends on the type that it is told; the pages are the same.
        return Finding("application/xhtml+xml" if is_xml else "text/html", ("application/xhtml+xml", "text/html"))
    flat = _FLAT.search(attributes)
    if flat is not None:
        flat_type = f"{flat[1]}-flat-xml"
        return Finding(flat_type, (flat_type, _XML))
    known = next((each for (name, part), each in ROOTS.items() if name == root and part in attributes), None)
    # Any other kind of XML may be named or declared, and text that begins with XML; no SVG, which has its root element.
    return Finding(known, (known,)) if known else Finding(_XML, rest="text")
