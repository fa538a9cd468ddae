"""Uploads: the objects that the parsers of web frameworks make of a form can be stored."""

from __future__ import annotations

import asyncio
import gc
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django.conf
import multipart
import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile
from starlette.datastructures import FormData
from starlette.requests import Request
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import parse_form_data

from depot_lite.errors import InvalidContent
from depot_lite.io.content import Content, FileIntent, is_empty_upload
from tests.support.streams import DATA, PieceStream, bytes_of

if not django.conf.settings.configured:
    django.conf.settings.configure(DEFAULT_CHARSET="utf-8")


def _form(filename: str | None, data: bytes, content_type: str = "text/csv") -> tuple[bytes, str]:
    """Return the body and the type of a request with one part, as browsers send it."""
    name = "" if filename is None else f'; filename="{filename}"'
    head = f'--sep\r\nContent-Disposition: form-data; name="file"{name}\r\nContent-Type: {content_type}\r\n\r\n'
    return head.encode() + data + b"\r\n--sep--\r\n", "multipart/form-data; boundary=sep"


def _werkzeug(filename: str, data: bytes) -> Any:
    body, content_type = _form(filename, data)
    environ = {
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": content_type,
        "REQUEST_METHOD": "POST",
    }
    return parse_form_data(environ)[2]["file"]


def _starlette_form(filename: str | None, data: bytes) -> FormData:
    body, content_type = _form(filename, data)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def parse() -> FormData:
        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
        return await Request(scope, receive).form()

    return asyncio.run(parse())


def _starlette(filename: str, data: bytes) -> Any:
    return _starlette_form(filename, data)["file"]


def _multipart(filename: str, data: bytes) -> Any:
    body, _ = _form(filename, data)
    return multipart.MultipartParser(io.BytesIO(body), b"sep").get("file")


def _django(filename: str, data: bytes) -> Any:
    return InMemoryUploadedFile(io.BytesIO(data), "file", filename, "text/csv", len(data), None)


class FieldStorage:
    """What cgi.FieldStorage looks like: no truth, the field as ``name``, a file that dies with it."""

    def __init__(self, filename: str | None, data: bytes) -> None:
        self.name = "field"
        self.filename = filename
        self.type = "text/csv"
        self.list = None
        self.file = io.BytesIO(data)

    def __bool__(self) -> bool:
        raise TypeError("Cannot be converted to bool.")

    def __del__(self) -> None:
        self.file.close()


_FRAMEWORKS = [_werkzeug, _starlette, _multipart, _django, FieldStorage]
# Django gives nothing for a part without a name, and refuses to make an upload of it.
_WITHOUT_NAMES = [each for each in _FRAMEWORKS if each is not _django]


def _close(upload: Any) -> None:
    for holder in ("stream", "file"):
        if (file := getattr(upload, holder, None)) is not None:
            file.close()


@pytest.mark.parametrize("make", _FRAMEWORKS, ids=lambda make: make.__name__.strip("_"))
@pytest.mark.parametrize("size", [3, 2_000_000], ids=["small", "large"])
def test_the_upload_of_every_framework_is_taken(make: Callable[[str, bytes], Any], size: int) -> None:
    """With its bytes, name and type; the large one lies in a temporary file, whose descriptor is given."""
    data = b"a,b" * (size // 3)
    upload = make("table.csv", data)
    content = Content.of(upload)
    assert (content.filename, content.content_type, content.size) == ("table.csv", "text/csv", len(data))
    assert bytes_of(content) == bytes_of(upload) == data
    assert not is_empty_upload(upload)
    on_disk = size > 1_500_000 and make in (_werkzeug, _starlette, _multipart)
    with content.descriptor() as descriptor:
        assert (descriptor is not None) == on_disk
        assert descriptor is None or os.pread(descriptor, 6, 0) == b"a,ba,b"
    _close(upload)


@pytest.mark.parametrize("make", _WITHOUT_NAMES, ids=lambda make: make.__name__.strip("_"))
def test_a_form_that_was_sent_with_nothing_chosen_is_an_empty_upload(make: Callable[[str, bytes], Any]) -> None:
    """No name, no bytes. With either of them it is a file; so is its wrapper's."""
    for filename, data, empty in [("", b"", True), ("empty.csv", b"", False), ("", b"x", False)]:
        upload = make(filename, data)
        assert is_empty_upload(upload) is empty
        assert is_empty_upload(FileIntent(upload, "chosen.csv")) is empty
        _close(upload)


def test_what_is_no_upload_is_never_an_empty_one(tmp_path: Path) -> None:
    """``b""`` is an empty file; so are a file, a path and Django's ContentFile without bytes or names."""
    (tmp_path / "empty").touch()
    contents: list[object] = [
        b"",
        None,
        io.BytesIO(),
        tmp_path / "empty",
        ContentFile(b""),
        FileIntent(b""),
        "text",
        0,
        [],
    ]
    for content in contents:
        assert not is_empty_upload(content)


def test_an_upload_by_stream_that_cannot_be_measured_is_not_called_empty() -> None:
    """In doubt the file is kept."""
    assert not is_empty_upload(FileStorage(PieceStream(b""), ""))  # type: ignore[arg-type]  # a stream is what it is about
    assert is_empty_upload(FileStorage())
    assert is_empty_upload("")


def test_a_file_of_the_user_in_werkzeugs_wrapper_keeps_its_position() -> None:
    """The bare wrapper is what Flask's tests build."""
    stream = io.BytesIO(DATA)
    stream.seek(5)
    upload = FileStorage(stream, "C:\\fakepath\\a.bin", content_type="application/x-a; charset=x")
    content = Content.of(upload)
    assert (content.filename, content.content_type) == ("a.bin", "application/x-a")
    assert bytes_of(content) == DATA
    assert stream.tell() == 5


def test_djangos_files_of_every_kind_are_taken(path: Path) -> None:
    """Large uploads, those of tests, files made by hand."""
    with TemporaryUploadedFile("big.csv", "text/csv", len(DATA), None) as big:
        big.write(DATA)
        content = Content.of(big)
        assert (content.filename, content.size) == ("big.csv", len(DATA))
        with content.descriptor() as descriptor:
            assert os.pread(descriptor or -1, len(DATA), 0) == DATA
    simple = SimpleUploadedFile("a.csv", b"a,b", "text/csv")
    assert (Content.of(simple).filename, Content.of(simple).content_type) == ("a.csv", "text/csv")
    assert bytes_of(ContentFile(b"by hand", "hand.txt")) == b"by hand"
    with path.open("rb") as file:
        assert Content.of(File(file, "renamed.bin")).filename == "renamed.bin"
        assert Content.of(File(file)).path == path
    with pytest.raises(InvalidContent, match="gives text"):
        Content.of(ContentFile("text"))


def test_an_upload_whose_file_fails_says_why() -> None:
    """Django's FieldFile raises where no file belongs to it."""

    class FieldFile:
        name = None

        @property
        def file(self) -> Any:
            raise ValueError("The 'photo' attribute has no file associated with it.")

        def chunks(self) -> Iterator[bytes]:
            yield b""

    assert not is_empty_upload(FieldFile())
    with pytest.raises(InvalidContent, match="no file associated"):
        Content.of(FieldFile())


def test_the_field_of_a_form_that_holds_no_file_is_refused() -> None:
    """A text field of cgi's has no file; a part of multipart's that was closed neither."""

    class MiniFieldStorage:
        filename = None
        file = None
        type = None

    assert not is_empty_upload(MiniFieldStorage())
    with pytest.raises(InvalidContent, match="contains no file"):
        Content.of(MiniFieldStorage())


def test_the_wrapper_lives_as_long_as_its_content() -> None:
    """cgi.FieldStorage closes its file when it is collected."""
    content = Content.of(FieldStorage("a.csv", b"a,b"))
    again = Content.of(content, "b.csv")
    del content
    gc.collect()
    assert bytes_of(again) == b"a,b"
