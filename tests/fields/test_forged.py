"""Rows that somebody has forged: whoever can write to a column cannot reach further than the files of its depots."""

from __future__ import annotations

import copy
import io
import itertools
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from depot_lite.contrib.admin.display import file_data
from depot_lite.errors import DamagedReference, DepotError, MetaRefused
from depot_lite.fields.edits import ids_of
from depot_lite.fields.frozen import DEEPEST
from depot_lite.fields.meta import plain_meta
from depot_lite.fields.specialized.image import UploadedImage, UploadedImageWithThumb, outdated
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.fileid import check_file_id, new_file_id
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.support.models import Base, Document


@pytest.fixture
def depots() -> Iterator[dict[str, MemoryFileStorage]]:
    with temporary_depots():
        found = {name: MemoryFileStorage() for name in ("default", "other", "private")}
        for name, storage in found.items():
            DepotManager.configure(name, storage, visibility="private" if name == "private" else None)
        DepotManager.alias("elsewhere", "default")
        DepotManager.configure_signing("the key of these tests")
        DepotManager.make_middleware(lambda environ, start_response: [])
        yield found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def forge(engine: Engine, **keys: Any) -> dict[str, Any]:
    """Store a document, change keys of its row past us, and return its value."""
    with Session(engine) as session:
        document = Document(content=b"ours")
        session.add(document)
        session.commit()
        assert document.content is not None
        held = {**document.content, **keys}
        session.execute(text("UPDATE document SET content = :held"), {"held": json.dumps(held)})
        session.commit()
        return held


def delete(session: Session) -> None:
    session.delete(session.query(Document).one())


def replace(session: Session) -> None:
    session.query(Document).one().content = UploadedFile(b"new")


def clear(session: Session) -> None:
    session.query(Document).one().content = None


class TestFilesOfOtherDepots:
    """``files`` of a row names files that are not its own."""

    @pytest.mark.parametrize("action", [delete, replace, clear])
    def test_they_are_kept_and_logged(
        self,
        engine: Engine,
        depots: dict[str, MemoryFileStorage],
        caplog: pytest.LogCaptureFixture,
        action: Callable[[Session], None],
    ) -> None:
        theirs = depots["other"].create(b"theirs")
        second, aliased = depots["default"].create(b"second"), depots["default"].create(b"under an alias")
        held = forge(
            engine,
            files=[f"other/{theirs}", "nowhere/1", "default/../../x", f"default/{second}", f"elsewhere/{aliased}"],
        )
        with Session(engine) as session, caplog.at_level(logging.WARNING):
            action(session)
            session.commit()
        assert list(depots["other"].list()) == [theirs]
        left = set(depots["default"].list())
        assert left.isdisjoint({second, aliased, held["file_id"]})
        assert len(left) == (1 if action is replace else 0)
        assert f"names files that are not its own, which are kept: ['other/{theirs}', 'nowhere/1'" in caplog.text

    def test_they_are_not_copied(self, engine: Engine, depots: dict[str, MemoryFileStorage]) -> None:
        theirs = depots["other"].create(b"theirs")
        forge(engine, files=[f"other/{theirs}"])
        with Session(engine) as session:
            session.add(Document(content=session.query(Document).one().content))
            session.commit()
            copied = session.query(Document).order_by(Document.id.desc()).first()
            assert copied is not None
            assert copied.content is not None
            assert (copied.content.file.read(), copied.content.foreign_paths) == (b"ours", [f"other/{theirs}"])
        assert len(list(depots["other"].list())) == 1


ODD: Final[dict[str, dict[str, Any]]] = {
    "files is a number": {"files": 5},
    "files is text": {"files": "default/1"},
    "files has no text": {"files": [None, 5, {}, [], True]},
    "files is a dictionary": {"files": {"a": "b"}},
    "path is a number": {"path": 5},
    "path is a list": {"path": ["default/1"]},
    "path leads out": {"path": "default/../../etc/passwd"},
    "path is of no depot": {"path": "nowhere/1"},
    "a depot with a slash": {"depot_name": "a/b", "path": "a/b/c"},
    "id is a number": {"file_id": 7},
    "id has a NUL": {"file_id": "x\0"},
    "other keys of wrong types": {"filename": 5, "uploaded_at": 5, "size": "x", "meta": "x", "variants": "x"},
    "lone surrogates": {"filename": "\ud800.txt", "content_type": "\ud800", "meta": {"\ud800": "\ud800"}},
}


@pytest.mark.parametrize("keys", ODD.values(), ids=list(ODD))
@pytest.mark.parametrize(
    "action", [replace, *(pytest.param(each, marks=pytest.mark.matrix) for each in (delete, clear))]
)
def test_a_row_with_odd_values_can_be_replaced_and_deleted(
    engine: Engine, depots: dict[str, MemoryFileStorage], keys: dict[str, Any], action: Callable[[Session], None]
) -> None:
    """No other file goes with it."""
    others = {depots["default"].create(b"another"), depots["other"].create(b"theirs")}
    forge(engine, **keys)
    with Session(engine) as session:
        action(session)
        session.commit()
    assert others <= {*depots["default"].list(), *depots["other"].list()}


def test_a_value_without_a_file_of_its_own_is_not_copied(engine: Engine, depots: dict[str, MemoryFileStorage]) -> None:
    forge(engine, path="default/../../etc/passwd")
    with Session(engine) as session:
        session.add(Document(content=session.query(Document).one().content))
        with pytest.raises((DamagedReference, DepotError)):
            session.flush()


# --- keys of wrong types ----------------------------------------------------------------------------------------------


@pytest.fixture
def stored(depots: dict[str, MemoryFileStorage]) -> dict[str, Any]:
    """The keys of a stored image with a variant."""
    image = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(image, "PNG")
    value = UploadedImage(image.getvalue(), filename="a.png")
    value.store(variants={"small": Thumbnail(8, 8)})
    return dict(value)


def loaded(keys: dict[str, Any], **changed: Any) -> UploadedImage:
    """Return the value of a row with these keys; None leaves one out."""
    held = {key: each for key, each in {**keys, **changed}.items() if each is not None}
    load: Callable[[str], Any] = UploadedImage.loader()
    value = load(json.dumps(held))
    assert isinstance(value, UploadedImage)
    return value


@pytest.mark.parametrize(
    ("key", "found"),
    [
        *(("filename", each) for each in (None, 5, ["a"])),
        *(("content_type", each) for each in (None, True)),
        *(("uploaded_at", each) for each in (5, "yesterday", "")),
        *itertools.product(("size", "width", "height"), ("9", float("nan"), 1.5, True, [])),
        *(("checksum", each) for each in (1, {"a": 1})),
        *itertools.product(("meta", "facts"), ("x", [1], {"a": float("nan")}, {"a": [float("inf")]})),
    ],
)
def test_a_key_of_a_wrong_type_is_an_error_with_its_name(stored: dict[str, Any], key: str, found: Any) -> None:
    with pytest.raises(DamagedReference, match=f"^{stored['path']}: expected {key} ") as caught:
        loaded(stored, **{key: found}).as_dict()
    assert repr(caught.value.found) == repr(found)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("found", ["x", [1], {"small": {}}, {"small": "x"}, {"small": {"width": "9"}}])
def test_variants_of_a_wrong_type_are_an_error(stored: dict[str, Any], found: Any) -> None:
    if isinstance(found, dict) and "width" in found["small"]:
        found = {"small": {**stored["variants"]["small"], **found["small"]}}
    value = loaded(stored, variants=found)
    actions: list[Callable[[], object]] = [
        value.as_dict,
        lambda: value.variants,
        lambda: outdated(value, {}),
        lambda: UploadedImage.copy_of(value).store(),
    ]
    for action in actions:
        with pytest.raises(DamagedReference, match=f"{stored['path']}: expected variants "):
            action()


def test_lone_surrogates_are_replaced_wherever_a_file_is_shown(stored: dict[str, Any]) -> None:
    odd = "\ud800.png"
    small = {**stored["variants"]["small"], "filename": odd, "content_type": odd}
    value = loaded(
        stored,
        **dict.fromkeys(("filename", "content_type", "checksum"), odd),
        variants={"small": small},
        meta={odd: [odd]},
        facts={odd: odd, "title": odd},
        _public_url=f"https://a.example/{odd}",
    )
    shown = value.as_dict()
    assert (str(value), value.filename, shown["filename"], shown["meta"]) == (
        *["\ufffd.png"] * 3,
        {"\ufffd.png": ["\ufffd.png"]},
    )
    assert shown["url"] == f"/depot/{stored['path']}"
    assert json.dumps(shown, ensure_ascii=False).encode()
    card = file_data(value, "1")
    assert (card["name"], card["kind"]) == ("\ufffd.png", "other")
    for each in (value, loaded(stored, file_id=odd, path=f"default/{odd}"), UploadedFile.damaged({odd: odd})):
        assert json.dumps([ids_of([each]), file_data(each, "1"), str(each)], ensure_ascii=False).encode()


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "//evil.example/x",
        "/\\evil.example/x",
        "/\t/evil.example",
        "/\n/evil.example",
        " https://evil.example",
        "https:evil.example",
        "http:/evil.example",
        "https://a.example/\r\nSet-Cookie: x",
        "ftp://a.example/x",
        "x",
        "",
        5,
        ["https://a.example"],
        {"a": 1},
    ],
)
def test_a_public_url_that_is_no_address_of_the_web_is_not_used(depots: dict[str, MemoryFileStorage], url: Any) -> None:
    thumb, small = new_file_id(), new_file_id()
    value = UploadedImageWithThumb(
        {
            **UploadedFile(b"x", "default"),
            "_public_url": url,
            "thumb_id": thumb,
            "_thumb_public_url": url,
            "small_path": f"default/{small}",
            "small_url": url,
        }
    )
    ours = f"/depot/default/{value.file_id}"
    assert (value.url, value.as_dict()["url"], value.thumb_url) == (ours, ours, f"/depot/default/{thumb}")
    assert value.small_url == f"/depot/default/{small}"


@pytest.mark.parametrize(
    "url", ["https://a.example/x?y=1#z", "http://a.example", "HTTPS://A.example/é", "/files/1", "/"]
)
def test_an_address_of_the_web_is_used(depots: dict[str, MemoryFileStorage], url: str) -> None:
    file_id = new_file_id()
    assert url_of("default", file_id, url) == url
    assert url_of("private", file_id, url).startswith(f"/depot/private/{file_id}?")


def test_a_thumbnail_that_the_row_lacks_is_damage(depots: dict[str, MemoryFileStorage]) -> None:
    keys: dict[str, Any] = {"depot_name": "default", "file_id": new_file_id(), "path": "default/x"}
    for odd in ({}, {"thumb_id": 5, "thumb_path": None}):
        value = UploadedImageWithThumb.of_data({**keys, **odd})
        for name in ("thumb_id", "thumb_path", "thumb_url", "thumb_file"):
            with pytest.raises(DamagedReference, match="expected thumb_"):
                getattr(value, name)


# --- JSON -------------------------------------------------------------------------------------------------------------


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_a_value_has_a_limited_number_of_levels(depots: dict[str, MemoryFileStorage]) -> None:
    """So that it can be copied and encoded wherever it was loaded."""
    keys = json.dumps({"depot_name": "default", "file_id": "1", "path": "default/1"})[:-1]
    load: Callable[[str], Any] = UploadedFile.loader()
    assert not load(f'{keys}, "meta": {deep(DEEPEST)}}}').is_damaged
    for levels in (DEEPEST + 1, 900, 100_000):
        assert load(f'{keys}, "meta": {deep(levels)}}}').is_damaged
    plain_meta({"a": json.loads(deep(DEEPEST - 1))})
    with pytest.raises(MetaRefused, match="levels"):
        plain_meta({"a": json.loads(deep(DEEPEST))})


def test_what_the_driver_has_parsed_may_be_deep_too() -> None:
    found: Any = json.loads(deep(900))
    value: Any = UploadedFile.loader()(found)
    assert (value.is_damaged, value["damaged"]) == (True, f"JSON of more than {DEEPEST} levels")


# --- anything ---------------------------------------------------------------------------------------------------------

_NAMES: Final = st.sampled_from(
    [
        *("depot_name", "file_id", "path", "files", "filename", "content_type", "size", "checksum", "uploaded_at"),
        *(
            "_public_url",
            "variants",
            "width",
            "height",
            "meta",
            "facts",
            "thumb_id",
            "thumb_path",
            "renamed",
            "damaged",
        ),
    ]
)
_ID: Final = new_file_id()
_TEXTS: Final = st.sampled_from(
    [
        "default",
        "other",
        "elsewhere",
        _ID,
        f"default/{_ID}",
        f"other/{_ID}",
        f"elsewhere/{_ID}",
        "default/../x",
        "\0",
        "/",
    ]
)
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | _TEXTS,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(_NAMES | st.text(max_size=3), each, max_size=4),
    max_leaves=12,
)
_ROWS: Final = _JSON | st.builds(
    lambda odd: {"depot_name": "default", "file_id": _ID, "path": f"default/{_ID}", **odd},
    st.dictionaries(_NAMES, _JSON, max_size=6),
)


@given(row=_ROWS)
def test_any_json_is_a_value_that_owns_files_of_its_own_depot_only(row: Any) -> None:
    with temporary_depots():
        for name in ("default", "other"):
            DepotManager.configure(name, MemoryFileStorage())
        DepotManager.alias("elsewhere", "default")
        load: Callable[[str], Any] = UploadedImageWithThumb.loader()
        value = load(json.dumps(row))
        if value is None:
            return
        own = {str(value.get("path")).partition("/")[0]}
        own |= {"default", "elsewhere"} if own & {"default", "elsewhere"} else set()
        for path in value.paths:
            depot_name, _, file_id = path.partition("/")
            assert depot_name in own
            assert check_file_id(file_id)
        assert set(value.paths) | set(value.foreign_paths) == set(value.named_paths)
        str(value).encode()  # there may be no name, and half a character is replaced
        assert copy.deepcopy(value) == value
        for key in ("url", "file"):
            with suppress(DepotError):
                assert getattr(value, key)
        with suppress(DepotError):
            assert json.dumps(value.as_dict(), allow_nan=False, ensure_ascii=False).encode()
