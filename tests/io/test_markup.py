"""Markup that a browser would execute is found, however it is declared, called or hidden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.io.media_types.detection import content_type_of

_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"<!DOCTYPE html><p>hi", "text/html"),
        (b"\r\n\t <!doctype HTML public>", "text/html"),
        (b"<html lang=en>", "text/html"),
        (b"<HTML>", "text/html"),
        (b"<script>alert(1)</script>", "text/html"),
        (b"<!-- a --><!-- b -->\n<iframe src=x>", "text/html"),
        (b"<h1>hi</h1>", "text/html"),
        (b"<!-- never closed <script>", "text/html"),
        (b"\xef\xbb\xbf<body onload=alert(1)>", "text/html"),
        ("\ufeff<html>".encode("utf-16-le"), "text/html"),
        ("\ufeff<script>x</script>".encode("utf-16-be"), "text/html"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml">', "text/html"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', "application/xhtml+xml"),
        (_SVG, "image/svg+xml"),
        (b'<?xml version="1.0"?>\n<!-- Generator -->\n' + _SVG, "image/svg+xml"),
        (
            b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd" [<!ENTITY a "b">]>' + _SVG,
            "image/svg+xml",
        ),
        (b'<s:svg xmlns:s="http://www.w3.org/2000/svg">', "image/svg+xml"),
        (b"\xef\xbb\xbf \n<SVG>", "image/svg+xml"),
        (_SVG.decode().encode("utf-16-le"), "image/svg+xml"),
        (_SVG.decode().encode("utf-16-be"), "image/svg+xml"),
        (b"<!-- " + b"x" * 3000 + b" -->" + _SVG, "image/svg+xml"),
        (b'<?xml version="1.0"?><rss version="2.0">', "application/rss+xml"),
        (b'<gpx xmlns="http://www.topografix.com/GPX/1/1">', "application/gpx+xml"),
        (b'<?xml version="1.0"?><anything>', "application/xml"),
        (b'<?xml-stylesheet href="x"?><!-- never closed ', "application/xml"),
    ],
    ids=repr,
)
def test_markup_that_is_declared_as_an_image_is_found_out(head: bytes, expected: str) -> None:
    """Markup that a browser would execute never passes as a PNG."""
    assert content_type_of(head, "image/png", "photo.png") == expected
    assert content_type_of(head, None, None) == expected


def test_xml_may_be_refined_by_what_is_declared_but_not_into_an_image() -> None:
    """A feed is a feed, whatever it is declared; only an SVG image is one."""
    feed = b'<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom">'
    assert content_type_of(feed, "application/atom+xml", None) == "application/atom+xml"
    assert content_type_of(feed, "image/svg+xml", "feed.svg") == "application/atom+xml"
    assert content_type_of(b'<?xml version="1.0"?><a/>', "application/x-mine+xml", None) == "application/x-mine+xml"
    assert content_type_of(b'<?xml version="1.0"?><a/>', "image/svg+xml", "a.svg") == "application/xml"
    assert content_type_of(_SVG, "application/atom+xml", "feed.xml") == "image/svg+xml"


def test_markdown_that_begins_with_an_element_stays_markdown() -> None:
    """Many READMEs begin with a centred paragraph; a whole page of HTML is one all the same."""
    assert content_type_of(b'<p align="center">', "text/markdown", None) == "text/markdown"
    assert content_type_of(b'<p align="center">', None, "README.md") == "text/markdown"
    assert content_type_of(b'<p align="center">', "image/png", "README.md") == "text/markdown"
    assert content_type_of(b'<p align="center">', "image/png", "photo.png") == "text/html"
    assert content_type_of(b"<!doctype html><p>", "text/markdown", "README.md") == "text/html"


@given(
    before=st.text(alphabet=" \t\r\n\f", max_size=20),
    comments=st.lists(st.text(alphabet="ab -<>!", max_size=10).filter(lambda text: "--" not in text), max_size=5),
    mark=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    element=st.sampled_from(["html", "HTML", "svg", "Svg", "script", "iframe", "body"]),
    declared=st.sampled_from([None, "image/png", "text/plain", "application/json", "text/markdown"]),
)
def test_no_white_space_comment_or_encoding_hides_markup(
    before: str, comments: list[str], mark: str, element: str, declared: str | None
) -> None:
    """The elements that are surely markup are found behind anything that browsers skip."""
    comments = [each.strip("->") for each in comments]
    text = before + "".join(f"<!--{each} -->\n" for each in comments) + f"<{element} onload=x>"
    expected = "image/svg+xml" if element.lower() == "svg" else "text/html"
    assert content_type_of(text.encode(mark), declared, None) == expected
