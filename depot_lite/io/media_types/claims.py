"""Claimed media types, compared with the types that the bytes allow.

A client declares a type, and the extension of a file name implies one. Neither proves anything.
"""

from __future__ import annotations

from typing import Final

from depot_lite.io.media_types.sample import Finding
from depot_lite.io.media_types.vocabulary import (
    OCTET_STREAM,
    TEXT,
    ancestors,
    canonical,
    is_strict,
    is_text_type,
    matches,
    share_container,
    types_of_name,
    valid_media_type,
)

_XML: Final = "application/xml"


def contradicts_name(finding: Finding, filename: str | None) -> bool:
    """Return whether the extension of a name belongs to other types than the bytes allow.

    >>> from depot_lite.io.media_types.detection import Sample, recognise
    >>> gif = recognise(Sample(b"GIF89a..."))
    >>> contradicts_name(gif, "a.png"), contradicts_name(gif, "a.gif"), contradicts_name(gif, "a")
    (True, False, False)
    """
    types = types_of_name(filename)
    return bool(types) and not any(_agrees(finding, each) for each in types)


def contradicts_declaration(finding: Finding, declared: str | None) -> bool:
    """Return whether a client declared another type than the bytes allow.

    It may declare any text as ``text/plain``, and browsers take the types of texts from the programs of their machine:
    CSV is ``application/vnd.ms-excel`` there.
    """
    claim = valid_media_type(declared)
    if claim is None:
        return False
    claim = canonical(claim)
    if claim == TEXT and is_text_type(finding.media_type):
        return False
    if finding.rest == "text" and claim.startswith("application/") and not is_strict(claim):
        return False
    return not _agrees(finding, claim)


def _agrees(finding: Finding, claim: str) -> bool:
    found = finding.media_type
    return (
        claim == OCTET_STREAM
        or finding.allows(claim)
        or matches(found, claim)
        or (finding.rest is None and found in ancestors(claim))
        or share_container(found, claim)
        # An SVG image may be called drawing.xml: opened as XML, it is the same.
        or (_XML in ancestors(found) and claim == _XML)
    )
