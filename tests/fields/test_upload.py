"""The value: pending, stored, read from a row; a dictionary in every respect, frozen once its bytes have moved."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depot_lite import DepotManager, FileIntent, InvalidContent, StoredFileNotFound, UnknownDepot
from depot_lite.errors import DamagedReference
from depot_lite.fields import parsing
from depot_lite.fields.frozen import FrozenDict, FrozenList
from depot_lite.fields.lists import FileList
from depot_lite.fields.reference import OTHERS, Reference
from depot_lite.fields.upload import UploadedFile, at_hand
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.testing import temporary_depots
from tests.support.streams import Stream


@pytest.fixture
def depot() -> Iterator[FileStorage]:
    """A default depot in memory, beside one called ``archive`` with an alias ``old``."""
    with temporary_depots():
        default = DepotManager.configure("default", MemoryFileStorage())
        DepotManager.configure("archive", MemoryFileStorage())
        DepotManager.alias("old", "archive")
        yield default


@pytest.fixture
def pending(depot: FileStorage) -> UploadedFile:
    return UploadedFile(b"Dear Sir,", filename="letter.txt", content_type="text/plain")


@pytest.fixture
def stored(pending: UploadedFile) -> UploadedFile:
    pending["note"] = {"pages": [1, 2]}
    pending.store()
    return pending


@pytest.fixture
def loaded(stored: UploadedFile) -> Callable[[], UploadedFile]:
    """Make a value as it comes from a row."""
    load, text = UploadedFile.loader(), json.dumps(stored)

    def _load() -> UploadedFile:
        value = load(text)
        assert value is not None
        return value

    return _load


# --- pending ----------------------------------------------------------------------------------------------------------


def test_a_pending_value_knows_what_it_will_be_and_no_byte_has_moved(depot: FileStorage, pending: UploadedFile) -> None:
    assert pending.pending
    assert (pending.filename, pending.content_type, pending.size) == ("letter.txt", "text/plain", 9)
    assert pending.path == f"default/{pending.file_id}"
    assert (pending.depot_name, pending.files, pending.checksum, pending.uploaded_at) == ("default", [], None, None)
    assert pending.paths == []
    assert list(depot.list()) == []


def test_a_pending_value_gives_its_content_and_no_file(pending: UploadedFile) -> None:
    """``original_content`` is the assigned content, with its name and type; ``file`` says that nothing is stored."""
    assert UploadedFile(b"bytes").original_content == b"bytes"
    assert pending.original_content.fileinfo == (b"Dear Sir,", "letter.txt", "text/plain")
    with pytest.raises(StoredFileNotFound, match=r"'letter\.txt' is not stored yet"):
        _ = pending.file


def test_name_type_and_size_come_from_whatever_was_given(depot: FileStorage, tmp_path: Path) -> None:
    path = tmp_path / "plan.txt"
    path.write_bytes(b"a plan")
    with path.open("rb") as opened:
        for content in (path, opened, FileIntent(b"a plan", "plan.txt", "text/plain")):
            value = UploadedFile(content)
            assert (value.filename, value.content_type, value.size) == ("plan.txt", "text/plain", 6)
    assert UploadedFile(path, filename="other.txt").filename == "other.txt"
    assert UploadedFile(b"").size == 0


def test_a_stream_has_no_size_until_it_is_stored(depot: FileStorage) -> None:
    with Stream(b"streamed") as stream:
        value = UploadedFile(stream)
        assert value.size is None
        value.store()
    assert value.size == 8
    assert value.file.read() == b"streamed"


def test_a_pending_value_takes_more_keys(pending: UploadedFile) -> None:
    """By key and by attribute; both ways go into the row, and both can be taken back."""
    pending["note"] = "first"
    pending.author = "N. N."
    pending.update(pages=3)
    assert pending.setdefault("pages", 4) == 3
    pending |= {"late": True}
    assert pending.pop("late") is True
    del pending.author
    pending.author = "A. B."
    pending.store()
    assert (pending.note, pending["author"], pending.pages) == ("first", "A. B.", 3)
    assert {"note": "first", "author": "A. B.", "pages": 3}.items() <= json.loads(pending.encode()).items()


def test_what_cannot_be_stored_is_refused_at_once(depot: FileStorage) -> None:
    for content in ("text", None, 5, ["list"]):
        with pytest.raises(InvalidContent, match=f"^{type(content).__name__} cannot be stored"):
            UploadedFile(content)
    with pytest.raises(UnknownDepot, match="no depot 'attic'; configured: 'default', 'archive', 'old'"):
        UploadedFile(b"", "attic")


def test_an_alias_is_resolved_when_the_value_is_made(depot: FileStorage) -> None:
    """The row names the real depot, so the alias may lead to another one tomorrow."""
    value = UploadedFile(b"in the archive", "old")
    assert (value.depot_name, value.path) == ("archive", f"archive/{value.file_id}")
    value.store()
    assert list(DepotManager.get("archive").list()) == [value.file_id]


# --- stored -----------------------------------------------------------------------------------------------------------


def test_a_stored_value_tells_what_was_stored(depot: FileStorage, pending: UploadedFile) -> None:
    """The id and the path are those that were known before."""
    path = pending.path
    before = datetime.now(UTC).replace(microsecond=0)
    pending.store()
    assert not pending.pending
    assert pending.path == path
    assert (pending.files, pending.paths) == ([path], [path])
    assert pending.original_content is None
    assert pending.uploaded_at is not None
    assert before <= pending.uploaded_at <= datetime.now(UTC)
    with pending.file as file:
        assert pending.checksum == file.checksum
        assert (pending.size, file.read()) == (9, b"Dear Sir,")
    assert list(depot.list()) == [pending.file_id]
    assert pending.depot is depot


def test_storing_twice_stores_once(depot: FileStorage, stored: UploadedFile) -> None:
    stored.store()
    assert len(list(depot.list())) == 1


def test_the_keys_are_those_of_filedepot_and_two_more(stored: UploadedFile) -> None:
    assert set(stored) == OF_FILEDEPOT | {"size", "checksum", "note"}
    assert stored["uploaded_at"] == f"{stored.uploaded_at:%Y-%m-%d %H:%M:%S}"


CHANGES: dict[str, Callable[[Any], object]] = {
    "set key": lambda value: value.__setitem__("note", 1),
    "set new key": lambda value: value.__setitem__("new", 1),
    "delete key": lambda value: value.__delitem__("note"),
    "set attribute": lambda value: setattr(value, "note", 1),
    "set property": lambda value: setattr(value, "filename", "other"),
    "delete attribute": lambda value: delattr(value, "note"),
    "update": lambda value: value.update(note=1),
    "update with nothing": lambda value: value.update(),
    "ior": lambda value: value.__ior__({"note": 1}),
    "pop": lambda value: value.pop("note"),
    "pop with default": lambda value: value.pop("absent", None),
    "popitem": lambda value: value.popitem(),
    "clear": lambda value: value.clear(),
    "setdefault": lambda value: value.setdefault("note", 1),
    "init": lambda value: value.__init__(b"other"),
    "init with keys": lambda value: value.__init__({"path": "default/other"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_stored_value_is_frozen(stored: UploadedFile, loaded: Any, change: Callable[[Any], object]) -> None:
    """Whether it was stored here or comes from a row, nothing of it changes."""
    before = dict(stored)
    for value in (stored, loaded(), copy.copy(stored), pickle.loads(pickle.dumps(stored))):
        with pytest.raises(TypeError, match="a stored file cannot be changed: assign a new one"):
            change(value)
        assert value == before


def test_no_mutating_method_was_forgotten(stored: UploadedFile) -> None:
    """A method that a later Python adds shows here."""
    reading = {*dir(object), "__class_getitem__", "__contains__", "__getitem__", "__iter__", "__len__", "__reversed__"}
    of_dict = {"__or__", "__ror__", "copy", "fromkeys", "get", "items", "keys", "values"}
    of_list = {"__add__", "__mul__", "__rmul__", "copy", "count", "index"}
    for kind, plain, harmless in (
        (Reference, dict, of_dict),
        (FrozenDict, dict, of_dict),
        (FrozenList, list, of_list),
    ):
        assert set(dir(plain)) - set(vars(kind)) <= reading | harmless


NESTED_CHANGES: dict[str, Callable[[Any], object]] = {
    "set": lambda note: note.__setitem__("pages", 1),
    "set in a list": lambda note: note["pages"].__setitem__(0, 1),
    "delete": lambda note: note.__delitem__("pages"),
    "delete from a list": lambda note: note["pages"].__delitem__(0),
    "update": lambda note: note.update(pages=1),
    "ior": lambda note: note.__ior__({"pages": 1}),
    "pop": lambda note: note.pop("pages"),
    "popitem": lambda note: note.popitem(),
    "clear": lambda note: note.clear(),
    "setdefault": lambda note: note.setdefault("new", 1),
    "append": lambda note: note["pages"].append(3),
    "extend": lambda note: note["pages"].extend([3]),
    "iadd": lambda note: note["pages"].__iadd__([3]),
    "imul": lambda note: note["pages"].__imul__(2),
    "insert": lambda note: note["pages"].insert(0, 3),
    "remove": lambda note: note["pages"].remove(1),
    "pop from a list": lambda note: note["pages"].pop(),
    "clear a list": lambda note: note["pages"].clear(),
    "sort": lambda note: note["pages"].sort(),
    "reverse": lambda note: note["pages"].reverse(),
    "init": lambda note: note.__init__({"pages": 1}),
    "init of a list": lambda note: note["pages"].__init__([3]),
}


@pytest.mark.parametrize("change", NESTED_CHANGES.values(), ids=list(NESTED_CHANGES))
def test_dictionaries_and_lists_of_a_stored_value_are_frozen_too(
    stored: UploadedFile, loaded: Any, change: Callable[[Any], object]
) -> None:
    copies = (copy.copy(stored), copy.deepcopy(stored), pickle.loads(pickle.dumps(stored)), UploadedFile(dict(stored)))
    for value in (stored, loaded(), *copies):
        with pytest.raises(TypeError, match="a stored file cannot be changed"):
            change(value["note"])
        with pytest.raises(TypeError, match="a stored file cannot be changed"):
            value.files.append("default/other")
        assert value["note"] == {"pages": [1, 2]}


def test_containers_of_any_class_are_frozen_as_a_row_would_give_them(pending: UploadedFile) -> None:
    pending["notes"] = {"pages": ({"a": 1}, [2]), "more": OrderedDict(b=defaultdict(list, c=[3]))}
    pending["others"] = OrderedDict(d=())
    pending.store()
    loaded = UploadedFile.loader()(json.dumps(pending))
    assert pending == loaded
    notes = pending["notes"]
    changes: list[Callable[[], object]] = [
        lambda: notes["pages"][0].update(a=2),
        lambda: notes["pages"].clear(),
        lambda: notes["more"].clear(),
        lambda: notes["more"]["b"]["c"].append(4),
        lambda: notes["more"]["b"]["new"],
        lambda: pending["others"]["d"].append(4),
    ]
    for change in changes:
        with pytest.raises((TypeError, KeyError)):
            change()
    assert pending == loaded


def test_copies_of_the_dictionaries_and_lists_can_be_changed(stored: UploadedFile) -> None:
    note = stored["note"]
    for copied in (copy.deepcopy(note), pickle.loads(pickle.dumps(note)), copy.deepcopy(dict(stored))["note"]):
        copied["pages"] = [*copied["pages"], 3]
        assert copied == {"pages": [1, 2, 3]}
    for shallow in (copy.copy(note), note.copy()):
        shallow["new"] = True
        assert type(shallow) is dict
    pages = copy.copy(note["pages"])
    pages.append(3)
    assert (type(pages), stored["note"]) == (list, {"pages": [1, 2]})
    assert type(pickle.loads(pickle.dumps(note["pages"]))) is list


# --- from a row -------------------------------------------------------------------------------------------------------


DAMAGED = {
    "a name": "h.txt",
    "JSON that breaks off": '{"filename": "broken',
    "text after the JSON": '{"depot_name": "a", "file_id": "b", "path": "a/b"} x',
    "a list": "[1]",
    "a number": "5",
    "text": '"h.txt"',
    "keys of another library": '{"file_id": "1", "path": "default/1", "files": ["default/1"]}',
    "keys of other types": '{"depot_name": "a", "file_id": 1, "path": ["a/b"]}',
    "deep": "[" * 100_000,
    "parsed by the driver": {"filename": "a"},
    "a list from the driver": [1],
}


@pytest.mark.parametrize("found", DAMAGED.values(), ids=list(DAMAGED))
def test_a_row_without_a_reference_gives_a_damaged_value(found: Any) -> None:
    """It is loaded, so that it can be replaced; the error comes when its file is asked for, and owns no files."""
    value = UploadedFile.loader()(found)
    assert isinstance(value, UploadedFile)
    assert (value.is_damaged, value.pending, value.paths, bool(value)) == (True, False, [], True)
    for same in (value, copy.copy(value), pickle.loads(pickle.dumps(value))):
        for use in ("filename", "path", "url", "file", "depot"):
            with pytest.raises(
                DamagedReference, match="expected JSON with depot_name, file_id and path, got"
            ) as raised:
                getattr(same, use)
            assert raised.value.found == value["damaged"]
    with pytest.raises(TypeError, match="a stored file cannot be changed"):
        value["path"] = "default/1"
    assert json.loads(json.dumps(value)) == {"damaged": found}
    assert not hasattr(value, "__html__")
    for change in ({"filename": "a.txt"}, {"meta": {"alt": "A cat"}}):
        with pytest.raises(DamagedReference, match="expected JSON with"):
            value.with_(**change)


def test_a_dataclass_with_a_damaged_value_becomes_a_dictionary() -> None:
    @dataclasses.dataclass
    class Row:
        file: UploadedFile

    value = UploadedFile.damaged("h.txt")
    copied = dataclasses.asdict(Row(value))["file"]
    assert (copied, copied.is_damaged) == (value, True)


HARD_TO_READ = {
    "a number that is none": "NaN",
    "an endless number": "-Infinity",
    "a number beyond floats": "1e400",
    "an integer of more than 64 bits": "123456789012345678901234567890",
    "the same in a list": "[18446744073709551616, -9223372036854775809]",
    "a float": "[0.1, -0.0, 5e-324, 9007199254740993.0]",
    "half a character": '"\\ud83d"',
    "characters": '"\\ud83d\\ude00 \u00e9 \\u0000 \\/"',
    "a key twice": '{"a": 1, "b": [{}], "a": {"c": []}}',
    "nested lists": '[[{"a": [1]}], []]',
    "constants": "[true, false, null]",
    "a control character": '"a\tb"',
    "a number with a zero": "01",
    "depth": "[" * 90 + "]" * 90,
}


@pytest.mark.parametrize("text", HARD_TO_READ.values(), ids=list(HARD_TO_READ))
@pytest.mark.parametrize("parse", [parsing.parse, parsing.parse_by_json])
def test_rows_are_read_as_json_reads_them(monkeypatch: pytest.MonkeyPatch, parse: Any, text: str) -> None:
    """With msgspec and without it."""
    row = f'{{"depot_name": "a", "file_id": "b", "path": "a/b", "files": ["a/b"], "note": {text}}}'
    try:
        expected: Any = json.loads(row)
    except ValueError:
        expected = {"damaged": row}
    monkeypatch.setattr(parsing, "parse", parse)
    if parse is parsing.parse_by_json:
        monkeypatch.setattr(parsing, "parse_plain", None)
    value = UploadedFile.loader()(row)
    assert value is not None
    assert repr(dict(value)) == repr(expected)
    if isinstance(value.get("note"), list | dict):
        with pytest.raises(TypeError, match="cannot be changed"):
            value["note"].clear()


PLAIN = {
    "depot_name": "default",
    "files": ["default/1"],
    "file_id": "1",
    "path": "default/1",
    "filename": "a.txt",
    "content_type": "text/plain",
    "size": 5,
    "checksum": "crc32:00000000",
    "uploaded_at": "2026-01-31 18:30:00",
    "_public_url": None,
}


@pytest.mark.parametrize("key", PLAIN)
def test_rows_with_the_usual_keys_are_read_as_all_others(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Whatever the value of a key is, and if one is missing or repeated, or others are there."""
    as_text = {name: json.dumps(each) for name, each in PLAIN.items()}
    odd = [*HARD_TO_READ.values(), "null", "true", "1", "1.0", '""', '"x"', "[]", '["a", "b"]', '["a", 1]', "{}"]
    rows = [{**as_text, key: each} for each in odd] + [{name: each for name, each in as_text.items() if name != key}]
    texts = ["{" + ", ".join(f'"{name}": {each}' for name, each in row.items()) + "}" for row in rows]
    texts += [f'{json.dumps(PLAIN)[:-1]}, "{key}": {each}}}' for each in odd]
    found = [UploadedFile.loader()(each) for each in texts]
    monkeypatch.setattr(parsing, "parse_plain", None)
    assert list(map(repr, found)) == [repr(UploadedFile.loader()(each)) for each in texts]
    for each in found:
        assert each is not None
        if isinstance(each.get("files"), list):
            with pytest.raises(TypeError, match="cannot be changed"):
                each.files.append("default/2")


def test_rows_with_other_keys_do_not_change_how_the_rows_after_them_are_read() -> None:
    load: Any = UploadedFile.loader()
    rows = [PLAIN, None, {**PLAIN, "meta": {"alt": "A cat"}}, *[PLAIN] * (OTHERS + 2)]
    values = [load(None if each is None else json.dumps(each)) for each in rows]
    assert values == rows
    assert {type(each) for each in values} == {UploadedFile, type(None)}
    for value in (values[2]["meta"], values[0].files, values[-1].files):
        with pytest.raises(TypeError, match="cannot be changed"):
            value.clear()


def test_lists_and_dictionaries_are_frozen_wherever_they_are() -> None:
    keys = {"depot_name": "a", "file_id": "b", "path": "a/b"}
    others: list[dict[str, Any]] = [{"files": ["a/b"], "note": []}, {"files": [["a/b"]]}, {"files": {"a": {}}}]
    for more in [*others, {"filename": [{}]}]:
        for found in (json.dumps({**keys, **more}), {**keys, **more}):
            value = UploadedFile.loader()(found)
            assert value == {**keys, **more}
            containers = [each for each in value.values() if isinstance(each, list | dict)]
            containers += [each for one in containers for each in (one.values() if isinstance(one, dict) else one)]
            for each in containers:
                if not isinstance(each, str):
                    with pytest.raises(TypeError, match="cannot be changed"):
                        each.clear()


def test_blanks_around_the_json_of_a_row_do_not_matter(stored: UploadedFile) -> None:
    assert UploadedFile.loader()(f"\n {json.dumps(stored)} ") == stored


def test_a_value_with_a_key_of_that_name_is_not_damaged(stored: UploadedFile) -> None:
    assert not stored.is_damaged
    assert not UploadedFile({**stored, "damaged": "in the post"}).is_damaged


@pytest.mark.parametrize("nothing", [None, "", " ", "null", " null"])
def test_a_row_without_a_file_gives_none(nothing: str | None) -> None:
    """Text columns of filedepot may hold an empty text, other JSON columns JSON's null."""
    assert UploadedFile.loader()(nothing) is None
    assert FileList.loader(UploadedFile)(nothing) == []


def test_a_driver_may_have_parsed_the_row_already(stored: UploadedFile) -> None:
    value = UploadedFile.loader()(dict(stored))
    assert value == stored
    assert type(value) is UploadedFile


READINGS: dict[str, Callable[[Any], object]] = {
    "attribute": lambda value: value.filename,
    "property": lambda value: (value.size, value.uploaded_at, value.paths, value.checksum),
    "getitem": lambda value: value["filename"],
    "get": lambda value: (value.get("filename"), value.get("absent"), value.get("absent", 5)),
    "contains": lambda value: ("filename" in value, "absent" in value, 5 in value),
    "len": len,
    "bool": bool,
    "iter": list,
    "reversed": lambda value: list(reversed(value)),
    "keys": lambda value: list(value.keys()),
    "values": lambda value: list(value.values()),
    "items": lambda value: list(value.items()),
    "dict": lambda value: dict(value) if value else None,
    "unpacked": lambda value: {**value, "more": 1},
    "arguments": lambda value: (lambda **given: given)(**value),
    "or": lambda value: value | {"more": 1},
    "ror": lambda value: {"more": 1} | value,
    "updated": lambda value: _updated({"more": 1}, value),
    "repr": repr,
    "str": str,
    "copy method": lambda value: value.copy(),
    "copy": copy.copy,
    "deepcopy": lambda value: copy.deepcopy([value]),
    "encode": lambda value: value.encode(),
    "template": lambda value: Template("$filename").substitute(value),
    "format": lambda value: "{filename}".format_map(value),
    "match": lambda value: _matched(value),
}


def _updated(plain: dict[str, Any], value: Any) -> dict[str, Any]:
    plain |= value
    return plain


def _matched(value: Any) -> object:
    match value:
        case {"filename": name, "note": {"pages": [first, *_]}}:
            return name, first
    return None


@pytest.mark.parametrize("read", READINGS.values(), ids=list(READINGS))
def test_a_value_from_a_row_is_the_dictionary_that_it_was(
    stored: UploadedFile, loaded: Any, read: Callable[[Any], object]
) -> None:
    """Whatever it is asked first, it answers as the plain dictionary would."""
    found = read(loaded())
    assert found == read(stored)
    assert found is not None


def test_values_are_compared_by_what_they_hold(stored: UploadedFile, loaded: Any) -> None:
    """Unread ones on either side too; a value equals the plain dictionary and nothing else."""
    plain, other = dict(stored), {**stored, "note": None}
    assert loaded() == loaded()
    assert loaded() == plain
    assert plain == loaded()
    assert loaded() == stored
    assert stored == loaded()
    assert (loaded() != plain) is False
    assert loaded() != other
    assert other != loaded()
    assert loaded() != "text"
    assert loaded() in [other, plain]
    with pytest.raises(TypeError, match="unhashable"):
        hash(loaded())


def test_an_attribute_that_is_no_key_is_an_attribute_error(stored: UploadedFile, loaded: Any) -> None:
    with pytest.raises(AttributeError, match="'UploadedFile' object has no attribute 'nothing'"):
        _ = loaded().nothing
    assert not hasattr(stored, "nothing")
    assert loaded().note == {"pages": [1, 2]}


def test_reading_a_value_touches_no_storage(loaded: Any, depot: FileStorage) -> None:
    """Its depot may be configured nowhere, as in a program that only reports."""
    value = loaded()
    with temporary_depots():
        assert (value.filename, value.size, value.checksum) == ("letter.txt", 9, value["checksum"])
        with pytest.raises(UnknownDepot, match="no depot 'default'"):
            _ = value.file


# --- JSON -------------------------------------------------------------------------------------------------------------


def _in_python(value: object) -> str:
    """Encode with the encoder that is written in Python; ``indent`` is what chooses it."""
    return json.dumps(value, indent=2)


@pytest.mark.parametrize("encode", [json.dumps, _in_python], ids=["in C", "in Python"])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"a": [{"b": value}]}])
def test_an_unread_value_is_json_of_its_keys(
    stored: UploadedFile, loaded: Any, encode: Callable[[object], str], wrap: Callable[[object], object]
) -> None:
    assert encode(wrap(loaded())) == encode(wrap(dict(stored)))
    assert json.loads(encode(wrap(loaded()))) == wrap(dict(stored))


def test_an_unread_value_is_json_with_every_option(stored: UploadedFile, loaded: Any) -> None:
    plain = dict(stored)
    for options in (
        {"sort_keys": True},
        {"separators": (",", ":")},
        {"ensure_ascii": False},
        {"check_circular": False},
    ):
        assert json.dumps(loaded(), **options) == json.dumps(plain, **options)
    assert "".join(json.JSONEncoder().iterencode([loaded()])) == json.dumps([plain])
    target = io.StringIO()
    json.dump({"content": loaded()}, target)
    assert target.getvalue() == json.dumps({"content": plain})


@pytest.mark.server
@pytest.mark.server
def test_encoders_in_c_write_the_keys_of_a_loaded_value(stored: UploadedFile, loaded: Any) -> None:
    import msgspec
    import orjson

    for encode in (orjson.dumps, msgspec.json.encode):
        assert json.loads(encode(loaded())) == json.loads(encode([stored]))[0] == dict(stored)


def test_encode_and_decode_are_each_others_inverse(stored: UploadedFile, loaded: Any) -> None:
    for value in (stored, loaded()):
        decoded = UploadedFile.decode(value.encode())
        assert decoded == stored
        assert (type(decoded), decoded.pending) == (UploadedFile, False)
        assert decoded.file.read() == b"Dear Sir,"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OF_FILEDEPOT = {"depot_name", "files", "file_id", "path", "filename", "content_type", "uploaded_at", "_public_url"}
OWN_KEYS = OF_FILEDEPOT | {"size", "checksum"}
EXTRA = st.dictionaries(st.text().filter(lambda key: key not in OWN_KEYS), JSON_VALUES, max_size=5)


@pytest.mark.matrix
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(extra=EXTRA)
def test_extra_keys_survive_the_round_trip(depot: FileStorage, extra: dict[str, Any]) -> None:
    """Whatever JSON can say comes back from the row, from a copy and from a pickle."""
    value = UploadedFile(b"", filename="empty")
    value.update(extra)
    value.store()
    back = UploadedFile.loader()(value.encode())
    assert back is not None
    for each in (back, copy.deepcopy(back), pickle.loads(pickle.dumps(back))):
        assert {key: each[key] for key in extra} == extra
        assert each == value


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_stored_value_is_pickled(stored: UploadedFile, loaded: Any, protocol: int) -> None:
    """With every protocol; the copy is frozen, reads its file, and is of the same class."""
    for value in (stored, loaded()):
        loaded = pickle.loads(pickle.dumps({"content": value}, protocol))["content"]
        assert loaded == stored
        assert (type(loaded), loaded.pending) == (UploadedFile, False)
        assert loaded.file.read() == b"Dear Sir,"


def test_copies_of_a_stored_value_name_the_same_file(stored: UploadedFile, loaded: Any) -> None:
    """A deep copy shares nothing; ``.copy()`` is a plain dictionary, as a copy of one that may be changed."""
    for value in (stored, loaded()):
        shallow, deep, plain = copy.copy(value), copy.deepcopy(value), value.copy()
        assert shallow == deep == plain == stored
        assert (type(shallow), type(deep), type(plain)) == (UploadedFile, UploadedFile, dict)
        assert shallow["note"] is value["note"]
        assert deep["note"] is not value["note"]
        plain["note"] = None
        assert value["note"] == {"pages": [1, 2]}


def test_a_deep_copy_keeps_what_is_shared(stored: UploadedFile) -> None:
    """Two places that hold one value hold one copy of it."""
    one, two = copy.deepcopy([stored, stored])
    assert one is two
    assert one is not stored


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_pending_value_has_an_id_of_its_own(pending: UploadedFile, make: Callable[..., Any]) -> None:
    """With one id for both, the second flush would store over the file of the first."""
    made = make(pending)
    assert made.pending
    assert made.path != pending.path
    made.store()
    pending.store()
    assert made.file.read() == pending.file.read()


def test_a_pending_value_is_not_pickled(pending: UploadedFile) -> None:
    with pytest.raises(TypeError, match="a pending file cannot be pickled: its bytes have not been stored yet"):
        pickle.dumps(pending)


def test_a_twin_has_an_id_of_its_own(depot: FileStorage, pending: UploadedFile) -> None:
    pending["note"] = [1]
    twin = pending.twin()
    twin["note"].append(2)
    pending.store()
    twin.store()
    assert twin.file_id != pending.file_id
    assert (pending["note"], twin["note"]) == ([1], [1, 2])
    assert {pending.file.read(), twin.file.read()} == {b"Dear Sir,"}
    assert len(list(depot.list())) == 2


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_copy_of_a_value_that_was_rolled_back_is_stored_from_the_same_content(pending: UploadedFile) -> None:
    """Reading its content and its state changes nothing: until the copy is stored, its original may be stored first."""
    state = pending.snapshot()
    assert state is not None
    pending.store()
    copied = UploadedFile.copy_of(pending)
    pending.depot.delete(pending.file_id)
    pending.revert(*state)
    before = dict(copied)
    assert UploadedFile(copied.original_content).size == 9
    waiting = copied.snapshot()
    assert waiting is not None
    assert waiting[0].original is pending
    assert dict(copied) == before
    copied.store()
    assert copied.file.read() == b"Dear Sir,"
    assert pending.pending
    assert copied.path == before["path"] != pending.path


def test_a_value_whose_storing_failed_is_pending_again(depot: FileStorage) -> None:
    """Nothing is left of the attempt; with a new id and the same keys it can be stored after all."""

    class Twice(UploadedFile):
        """Stores a second file, and then fails."""

        fails = True

        def process_content(self, content: Any, filename: str | None = None, content_type: str | None = None) -> None:
            super().process_content(content, filename, content_type)
            self["second"] = self.store_content(b"second")[1]
            if type(self).fails:
                raise RuntimeError("no")

    value = Twice(b"first", filename="first.txt")
    value["note"] = "kept"
    former = value.file_id
    with pytest.raises(RuntimeError, match="no"):
        value.store()
    assert list(depot.list()) == []
    assert value.pending
    assert value.file_id != former
    assert (value.note, value.files, "second" in value) == ("kept", [], False)
    Twice.fails = False
    value.store()
    assert sorted(depot.list()) == sorted([value.file_id, value["second"]])
    assert sorted(value.paths) == sorted(value.files)


def test_a_frozen_value_refuses_each_way_to_change_it_and_a_pending_one_takes_them() -> None:
    with temporary_depots():
        DepotManager.configure("default", MemoryFileStorage())
        value = UploadedFile(b"x", filename="a.txt")
        value["note"], value["more"] = "n", "m"
        assert value.setdefault("note", "other") == "n"
        assert (value.pop("more"), value.popitem()) == ("m", ("note", "n"))
        value.caption = "c"
        del value.caption
        with pytest.raises(AttributeError, match="caption"):
            del value.caption
        value.store()
        changes: list[Callable[[], object]] = [
            value.clear,
            value.popitem,
            lambda: value.pop("path"),
            lambda: value.setdefault("note", "n"),
            lambda: value.update(note="n"),
            lambda: value.__delitem__("path"),
        ]
        for change in changes:
            with pytest.raises(TypeError, match="stored"):
                change()
        assert value.file.read() == b"x"


def test_content_is_at_hand_as_often_as_it_is_needed() -> None:
    """Itself if it can be read again; a stream, and a file in a remote storage, as a copy."""
    storage = MemoryFileStorage()
    with storage.get(storage.create(b"stored", "a.txt", "text/plain")) as stored:
        for given, is_copied in ((b"bytes", False), (io.BufferedReader(io.BytesIO(b"file")), False), (stored, True)):
            content = Content.of(given)
            with at_hand(content) as found:
                assert (found is not content) is is_copied
                assert (found.filename, found.declared_type) == (content.filename, content.declared_type)
                read = []
                for _ in range(2):
                    with found.open() as file:
                        read.append(file.read())
                assert read[0] == read[1] != b""


@pytest.mark.parametrize("options", [{"filename": "b.txt"}, {"content_type": "text/csv"}, {"meta": {"alt": "A cat"}}])
def test_a_name_that_is_given_to_a_stored_value_is_not_dropped(options: dict[str, Any]) -> None:
    """The message says how to change it, and how to copy it."""
    with temporary_depots():
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        value = UploadedFile(b"x", filename="a.txt")
        value.store()
        with pytest.raises(InvalidContent, match=r"'a\.txt' is stored: .*value\.with_\(\.\.\.\).*FileIntent"):
            UploadedFile(value, **options)
        copied = UploadedFile(FileIntent(value, "b.txt", "text/csv", meta={"alt": "A cat"}))
        copied.store()
        assert (copied.filename, copied.content_type, copied.meta) == ("b.txt", "text/csv", {"alt": "A cat"})
        assert copied.file_id != value.file_id
