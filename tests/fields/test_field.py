"""The column type: values written and read on each database, refusals, and conditions in SQL."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from operator import eq, ne
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version
from sqlalchemy import (
    Engine,
    MetaData,
    Table,
    Text,
    case,
    cast,
    create_engine,
    exists,
    func,
    insert,
    inspect,
    literal,
    null,
    select,
    text,
    union,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import column as bare_column
from sqlalchemy.sql import table as bare_table

from depot_lite import (
    ConfigurationError,
    DepotManager,
    FileFilter,
    FileIntent,
    InvalidContent,
    StorageFailed,
    Thumbnail,
    UnknownDepot,
    UploadedFile,
    UploadedFileField,
    ValidationError,
)
from depot_lite.errors import DamagedReference, DepotError
from depot_lite.fields.validators import Candidate, Size, Validator
from tests.conftest import World
from tests.support.models import Document, Plate

PNG = b"\x89PNG\r\n\x1a\n"


class Fields(DeclarativeBase):
    """The parent of the models that only these tests need."""


class Scan(UploadedFile):
    """A class of values beside `UploadedFile`."""

    __slots__ = ()


@dataclass
class Numbered(FileFilter):
    """Adds a number; a dataclass that can be compared cannot be hashed."""

    number: int

    def on_save(self, uploaded_file: Any) -> None:
        uploaded_file["number"] = self.number


class Several(Fields):
    """One column for each option."""

    __tablename__ = "several"
    id: Mapped[int] = mapped_column(primary_key=True)
    plain: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    scan: Mapped[Scan | None] = mapped_column(UploadedFileField(upload_type=Scan))
    first: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(filters=[Numbered(1)]))
    second: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(filters=[Numbered(2)]))
    words: Mapped[Scan | None] = mapped_column(UploadedFileField(upload_type=Scan, text=True))
    aliased: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="cellar"))


class Twin(Fields):
    """The same table name and columns of other types would share a cached statement if their keys did not differ."""

    __tablename__ = "twin"
    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[Any] = mapped_column(UploadedFileField)


@pytest.fixture
def several(engine: Engine, world: World) -> Iterator[World]:
    """The tables of `Several` and `Twin`, empty; ``cellar`` is an alias of the depot ``archive``."""
    DepotManager.alias("cellar", "archive")
    Fields.metadata.create_all(engine)
    yield world
    Fields.metadata.drop_all(engine)


@pytest.fixture
def three(world: World) -> World:
    """A row with a picture, one with a text, and one without a file."""
    with world.session() as session:
        session.add_all(
            [
                Document(id=1, name="picture", content=FileIntent(PNG, "a.png", "image/png")),
                Document(id=2, name="text", content=FileIntent(b"hello", "b.txt", "text/plain")),
                Document(id=3, name="nothing"),
                Plate(number=1, part=1, original=FileIntent(PNG, "a.png", "image/png")),
                Plate(number=2, part=1),
            ]
        )
        session.commit()
    return world


def kinds(values: Any) -> list[str]:
    """Return the names of the classes, in order: NULLs come first or last, as the database likes it."""
    return sorted(type(each).__name__ for each in values)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_the_row_holds_json_as_text_or_binary(three: World) -> None:
    """JSONB on PostgreSQL, JSON elsewhere, text where it was asked for; the keys are those of the value."""
    raw = text("SELECT content FROM document WHERE id = 1"), text("SELECT original_col FROM plate WHERE number = 1")
    with three.session() as session:
        values = session.get_one(Document, 1).content, session.get_one(Plate, (1, 1)).original
        for statement, value in zip(raw, values, strict=True):
            found = session.scalar(statement)
            assert value is not None
            assert (json.loads(found) if isinstance(found, str) else found) == dict(value)
        assert isinstance(session.scalar(raw[1]), str)


def test_none_is_null(three: World) -> None:
    """SQL's NULL and never JSON's, in columns of either kind, so that IS NULL finds it on every database."""
    with three.session() as session:
        assert session.scalars(text("SELECT id FROM document WHERE content IS NULL")).all() == [3]
        assert session.scalars(text("SELECT number FROM plate WHERE original_col IS NULL")).all() == [2]
        session.get_one(Document, 1).content = None
        session.get_one(Plate, (1, 1)).original = None
        session.commit()
        assert len(session.scalars(text("SELECT id FROM document WHERE content IS NULL")).all()) == 2
        assert len(session.scalars(text("SELECT number FROM plate WHERE original_col IS NULL")).all()) == 2
    three.check(b"hello")


def test_the_columns_are_made_as_the_database_calls_them(engine: Engine, world: World) -> None:
    """``create_all`` has made them; reflection finds them (MariaDB calls its JSON longtext)."""
    wanted = {"sqlite": ("JSON", "TEXT"), "postgresql": ("JSONB", "TEXT"), "mysql": ("LONGTEXT", "TEXT")}
    wanted["mariadb"] = wanted["mysql"]
    found = {each["name"]: type(each["type"]).__name__ for each in inspect(engine).get_columns("plate")}
    assert (found["image_col"], found["original_col"]) == wanted[engine.dialect.name]
    ddl = str(CreateTable(Table("plate", MetaData(), autoload_with=engine)).compile(engine))
    assert "image_col" in ddl
    assert "VARCHAR" not in str(CreateTable(Plate.metadata.tables["plate"]).compile(engine)).replace("VARCHAR(100)", "")


JSON_VALUES = st.recursive(
    # PostgreSQL's JSONB has no NUL, and no database a lone surrogate; JSONB rounds no integer, floats it prints anew.
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.matrix
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25, derandomize=True)
@given(extra=JSON_VALUES, where=st.sampled_from(["content", "original"]))
def test_extra_keys_survive_the_database(world: World, extra: Any, where: str) -> None:
    """In columns of both kinds, with quotes, backslashes, percent signs and every plane of Unicode."""
    with world.session() as session:
        row: Any = Document() if where == "content" else Plate(number=1, part=1)
        setattr(row, where, b"")
        getattr(row, where)["extra"] = extra
        session.add(row)
        session.flush()
        written = dict(getattr(row, where))
        session.expire_all()
        assert dict(getattr(row, where)) == written
        assert written["extra"] == extra


def test_what_is_no_json_stops_the_flush_and_leaves_nothing(world: World) -> None:
    with world.session() as session:
        document = Document(content=b"bytes")
        assert document.content is not None
        document.content["when"] = object()
        session.add(document)
        with pytest.raises(Exception, match="not JSON serializable"):
            session.commit()
    world.check()


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repair", ["replace", "clear", "delete"])
@pytest.mark.parametrize("found", ["{broken", "h.txt", '{"file_id": "1", "path": "default/1", "files": ["default/1"]}'])
def test_a_row_of_something_else_says_where_it_is_and_can_be_repaired(several: World, found: str, repair: str) -> None:
    with several.session() as session:
        session.execute(text("INSERT INTO several (id, words) VALUES (1, :found)"), {"found": found})
        row = session.get_one(Several, 1)
        assert isinstance(row.words, Scan)
        with pytest.raises(
            DamagedReference, match=r"several\.words of the row with the primary key \(1,\): expected JSON"
        ):
            _ = row.words.filename
        with pytest.raises(DamagedReference, match=r"several\.words of the row"):
            session.add(Several(id=2, words=row.words))
        if repair == "delete":
            session.delete(row)
        else:
            row.words = b"new" if repair == "replace" else None  # type: ignore[assignment]  # bytes are accepted too
        session.commit()
        kept = session.get(Several, 1)
        assert (kept and kept.words and kept.words.file.read()) == (b"new" if repair == "replace" else None)
    assert len(several.stored()) == (repair == "replace")


def test_an_old_text_column_may_hold_empty_text(several: World) -> None:
    with several.session() as session:
        session.execute(text("INSERT INTO several (id, words) VALUES (1, '')"))
        assert session.get_one(Several, 1).words is None


def test_every_way_to_select_gives_the_value(three: World) -> None:
    """ORM and Core, aliases, subqueries, CTEs, unions, expressions: a file is a file, and NULL is None."""
    two = ["NoneType", "UploadedFile", "UploadedFile"]
    alias = aliased(Document)
    inner = select(Document.id, Document.content).subquery()
    common = select(Document.id, Document.content).cte()
    both = union_all(select(Document.content), select(Document.content))
    with three.session() as session:
        assert kinds(session.scalars(select(Document.content))) == two
        assert kinds(row.content for row in session.execute(select(Document.__table__))) == two
        assert kinds(row.content for row in session.connection().execute(select(Document.__table__))) == two
        assert kinds(session.scalars(select(alias.content))) == two
        assert kinds(session.scalars(select(inner.c.content))) == two
        assert kinds(session.scalars(select(common.c.content))) == two
        assert kinds(session.scalars(both)) == sorted(two * 2)
        assert kinds(session.scalars(select(both.subquery()))) == sorted(two * 2)
        assert kinds(session.scalars(select(Document.content.label("file")))) == two
        assert kinds(session.scalars(select(func.coalesce(Document.content, Document.report)))) == two
        assert kinds(session.scalars(select(case((Document.id == 3, None), else_=Document.content)))) == two
        assert (
            kinds([session.scalar(select(select(Document.content).where(Document.id == 1).scalar_subquery()))])
            == two[1:2]
        )
        by_text = text("SELECT content FROM document").columns(content=Document.__table__.c.content.type)
        assert kinds(session.scalars(by_text)) == two
        assert (
            kinds(
                each.content
                for each in session.scalars(select(Document).from_statement(text("SELECT * FROM document")))
            )
            == two
        )


def test_equal_references_are_one_where_sql_says_distinct(three: World) -> None:
    """Which PostgreSQL could not do with columns of its type JSON."""
    two = ["NoneType", "UploadedFile", "UploadedFile"]
    with three.session() as session:
        assert kinds(session.scalars(select(Document.content).distinct())) == two
        assert kinds(session.scalars(union(select(Document.content), select(Document.content)))) == two
        assert [each.id for each in session.scalars(select(Document).distinct().order_by(Document.id))] == [1, 2, 3]
        grouped = session.execute(select(Document.content, func.count()).group_by(Document.content)).all()
        assert kinds(each for each, _ in grouped) == two
        assert [count for _, count in grouped] == [1, 1, 1]
        kind = Document.content["content_type"].as_string().label("kind")
        counted = session.execute(select(kind, func.count()).group_by("kind"))
        assert {row[0]: row[1] for row in counted} == {"image/png": 1, "text/plain": 1, None: 1}


def test_returning_gives_the_value(three: World) -> None:
    """From inserts of several rows and from updates, of columns of both kinds."""
    with three.session() as session:
        rows: list[dict[str, Any]] = [{"id": 10, "content": b"x"}, {"id": 11, "content": None}]
        assert kinds(session.scalars(insert(Document).returning(Document.content), rows)) == [
            "NoneType",
            "UploadedFile",
        ]
        if session.get_bind().dialect.name == "mysql" or not session.get_bind().dialect.update_returning:
            return  # MariaDB has RETURNING for INSERT and DELETE only
        renamed = update(Document).where(Document.id == 1).values(name="new").returning(Document.content)
        assert kinds(session.scalars(renamed)) == ["UploadedFile"]


# --- what SQL can ask -------------------------------------------------------------------------------------------------


def test_keys_are_asked_in_sql(three: World) -> None:
    """By name and by path, as text and as number, in JSON and in text columns, on every database."""
    content, original = Document.content, Plate.original
    with three.session() as session:
        ids = select(Document.id).order_by(Document.id)
        assert session.scalars(ids.where(content["content_type"].as_string() == "image/png")).all() == [1]
        assert session.scalars(ids.where(content["filename"].as_string().like("%.txt"))).all() == [2]
        assert session.scalars(ids.where(content["size"].as_integer() > 5)).all() == [1]
        assert session.scalars(select(original["content_type"].as_string()).where(original.is_not(None))).all() == [
            "image/png"
        ]
        numbers = select(Plate.number)
        assert session.scalars(numbers.where(original["content_type"].as_string() == "image/png")).all() == [1]
        assert session.scalars(numbers.where(original["size"].as_integer() == len(PNG))).all() == [1]
        for column, class_, key in ((content, Document, 1), (original, Plate, (1, 1))):
            value = getattr(session.get_one(class_, key), column.key)
            found = select(column["files"], column["filename"], column[("files", 0)].as_string(), column["absent"])
            row = session.execute(found.where(column["path"].as_string() == value.path)).one()
            assert tuple(row) == (value.files, value.filename, value.path, None)


def test_keys_are_asked_of_aliases_and_subqueries(three: World) -> None:
    alias = aliased(Document)
    inner = select(Document.id, Document.content).subquery()
    with three.session() as session:
        assert session.scalars(select(alias.id).where(alias.content["size"].as_integer() == 5)).all() == [2]
        assert session.scalars(select(inner.c.id).where(inner.c.content["filename"].as_string() == "a.png")).all() == [
            1
        ]
        has = exists().where(alias.id == Document.id, alias.content["filename"].as_string() == "b.txt")
        assert session.scalars(select(Document.id).where(has)).all() == [2]
        by_name = (
            select(Document.id)
            .where(Document.content.is_not(None))
            .order_by(Document.content["filename"].as_string().desc())
        )
        assert session.scalars(by_name).all() == [2, 1]
        assert session.scalars(select(Document.id).where(cast(Document.content, Text).like("%b.txt%"))).all() == [2]


def test_comparisons_with_none_are_about_null(three: World) -> None:
    with three.session() as session:
        ids = select(Document.id).order_by(Document.id)
        numbers = select(Plate.number)
        for missing in (Document.content == None, Document.content.is_(None), Document.content == null()):  # noqa: E711  # SQL
            assert session.scalars(ids.where(missing)).all() == [3]
        for there in (Document.content != None, Document.content.is_not(None)):  # noqa: E711  # SQL
            assert session.scalars(ids.where(there)).all() == [1, 2]
        assert session.scalars(numbers.where(Plate.original == None)).all() == [2]  # noqa: E711  # SQL
        assert session.scalars(numbers.where(Plate.original != None)).all() == [1]  # noqa: E711  # SQL
        assert session.scalars(ids.where(Document.content["absent"].as_string() == None)).all() == [1, 2, 3]  # noqa: E711  # SQL


def test_a_column_is_compared_with_a_value(three: World) -> None:
    """With ``==`` and with IN; a value that comes from the row finds the row."""
    with three.session() as session:
        document, plate = session.get_one(Document, 1), session.get_one(Plate, (1, 1))
        assert session.scalars(select(Document.id).where(Document.content == document.content)).all() == [1]
        assert session.scalars(select(Document.id).where(Document.content.in_([document.content]))).all() == [1]
        assert session.scalars(select(Plate.number).where(Plate.original == plate.original)).all() == [1]


@pytest.mark.skipif(Version(sqlalchemy.__version__) < Version("2.0.56"), reason="SQLAlchemy doubles percent signs")
def test_a_value_can_be_rendered_into_the_statement(three: World) -> None:
    """As a debugger or an offline migration does it; quotes and backslashes in names come through."""
    with three.session() as session:
        for column, class_, key in ((Document.report, Document, 3), (Plate.original, Plate, (2, 1))):
            row = session.get_one(class_, key)
            setattr(row, column.key, FileIntent(b"x", 'O\'Hara "50%".txt', "text/plain"))
            value = getattr(row, column.key)
            value["note"] = "C:\\new :name %(x)s"
            session.flush()
            for statement in (select(literal(value, column.type)), select(column).where(column == value)):
                compiled = statement.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
                found = session.connection().exec_driver_sql(str(compiled)).scalar()
                assert (json.loads(found) if isinstance(found, str) else found) == dict(value)


# --- options ----------------------------------------------------------------------------------------------------------


def test_each_column_has_its_own_options(several: World) -> None:
    """Statements of two columns are cached apart, although they look the same."""
    with several.session() as session:
        session.add(Several(id=1, plain=b"1", scan=b"2", first=b"3", second=b"4", words=b"5", aliased=b"6"))
        session.commit()
        for _ in range(2):
            session.expire_all()
            row = session.get_one(Several, 1)
            assert [type(each) for each in (row.plain, row.scan, row.words)] == [UploadedFile, Scan, Scan]
            assert (row.first["number"], row.second["number"]) == (1, 2)  # type: ignore[index]  # they were set above
            for column, class_ in ((Several.plain, UploadedFile), (Several.scan, Scan), (Several.words, Scan)):
                assert type(session.scalar(select(column))) is class_


def test_a_cached_statement_is_not_used_for_another_type(several: World) -> None:
    """Two statements that differ in nothing but the class of the values share no compiled form."""
    types = UploadedFileField(), UploadedFileField(upload_type=Scan), UploadedFileField(upload_type=Scan, text=True)
    statements = [select(bare_table("twin", bare_column("id"), bare_column("content", each))) for each in types]
    with several.session() as session:
        session.add(Twin(id=1, content=b"1"))
        session.flush()
        found = [type(session.connection().execute(each).one().content) for each in statements * 2]
        assert found == [UploadedFile, Scan, Scan] * 2
    keys = [each._generate_cache_key() for each in statements]
    assert len({key.key for key in keys if key is not None}) == 3


def test_statements_are_cached(several: World, engine: Engine) -> None:
    """The type says that it may be, so a second session compiles nothing: no filter, hashable or not, is in the way."""
    assert UploadedFileField.cache_ok is True
    for column in Several.__table__.columns:
        key = select(column)._generate_cache_key()
        assert key is not None
        hash(key.key)
    with several.session() as session:
        session.scalars(select(Several)).all()
        before = len(engine._compiled_cache or ())
        session.scalars(select(Several)).all()
        assert len(engine._compiled_cache or ()) == before


def test_the_depot_of_the_column_takes_the_files(several: World) -> None:
    """An alias is resolved at assignment: the row names the real depot and survives a change of the alias."""
    with several.session() as session:
        row = Several(id=1, plain=b"1", aliased=b"2")
        assert row.plain is not None
        assert row.aliased is not None
        assert (row.plain.depot_name, row.aliased.depot_name) == ("default", "archive")
        session.add(row)
        session.commit()
        assert row.aliased.path == f"archive/{row.aliased.file_id}"
        assert several.stored() == {row.plain.path, row.aliased.path}
        DepotManager.alias("cellar", "default")
        session.expire_all()
        assert row.aliased.file.read() == b"2"


def test_a_value_that_names_a_depot_goes_there(world: World) -> None:
    """``upload_storage`` takes the place of the default, not of the depot given for this one file."""
    with world.session() as session:
        document = Document(content=UploadedFile(b"1", "archive"), report=UploadedFile(b"2", "default"))
        session.add(document)
        session.add(Document(report=UploadedFile(b"3")))
        session.commit()
        assert [each.split("/")[0] for each in sorted(world.rows())] == ["archive", "archive", "default"]
    world.check(b"1", b"2", b"3")


@pytest.mark.parametrize("wrong", [dict, str, "UploadedFile", None, UploadedFile({})])
def test_a_class_that_is_no_file_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"upload_type=.*: expected a subclass of DepotFileInfo"):
        UploadedFileField(upload_type=wrong)


def test_a_filter_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"filters=.*<built-in function len> is not a FileFilter"):
        UploadedFileField(filters=[len])


class NoExe(Validator):
    """A rule of an application."""

    def __call__(self, file: Candidate) -> None:
        """Look at the name."""
        if file.filename.endswith(".exe"):
            raise ValidationError("is a program", rule="no_exe")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validators": [NoExe]}, r"validators=\[<class .*NoExe'>\]: NoExe is a class; .* such as NoExe\(\)"),
        ({"validators": NoExe()}, r"validators=<.*NoExe object .*>: expected a list"),
        ({"validators": Size(3)}, r"validators=Size\(max=3, min=None\): expected a list"),
        ({"filters": FileFilter}, r"filters=<class .*FileFilter'>: expected a list"),
        ({"variants": [Thumbnail(8, 8)]}, r"variants=\[Thumbnail\(.*\)\]: expected a dictionary of names to recipes"),
        ({"upload_storage": 3}, r"upload_storage=3: expected the name of a depot or of an alias"),
        ({"upload_storage": ""}, r"upload_storage='': expected the name of a depot"),
    ],
)
def test_options_of_a_column_are_checked_when_it_is_declared(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UploadedFileField(**options)


# --- assignment -------------------------------------------------------------------------------------------------------


def test_a_list_for_one_file_is_refused_with_the_option_for_lists() -> None:
    files: Any = [b"1", b"2"]
    with pytest.raises(InvalidContent, match=r"Document\.content: list .*; a column of several files .* multiple=True"):
        Document(content=files)
    number: Any = 3
    with pytest.raises(InvalidContent, match=r"Document\.content: int ") as caught:
        Document(content=number)
    assert "multiple" not in str(caught.value)


def test_assignment_makes_a_pending_value(world: World, queries: list[str]) -> None:
    """Known at once; nothing moves, and the database is asked nothing."""
    with world.session() as session:
        document = Document()
        session.add(document)
        upload: Any = FileIntent(b"hello", "a.txt", "text/plain")
        document.content = upload
        assert document.content is not None
        assert document.content.pending
        assert (document.content.filename, document.content.size) == ("a.txt", 5)
        assert not world.stored()
        assert not queries


def test_empty_bytes_are_an_empty_file(world: World) -> None:
    with world.session() as session:
        document = Document(content=b"")
        session.add(document)
        session.commit()
        assert document.content is not None
        assert (document.content.size, document.content.file.read()) == (0, b"")
    world.check(b"")


def test_none_clears(three: World) -> None:
    with three.session() as session:
        session.get_one(Document, 1).content = None
        session.commit()
        assert session.get_one(Document, 1).content is None
    three.check(b"hello", PNG)


def test_a_dictionary_is_refused(three: World) -> None:
    """One that came with a request could name the file of somebody else; the old file stays."""
    with three.session() as session:
        document = session.get_one(Document, 1)
        assert document.content is not None
        before = document.content.path
        dictionaries: list[Any] = [{}, dict(document.content), {"path": before}]
        for dictionary in dictionaries:
            with pytest.raises(InvalidContent, match=r"^Document\.content: a dictionary is not a file: expected bytes"):
                document.content = dictionary
        assert document.content.path == before
        assert not session.dirty


def test_text_is_refused_with_a_hint(world: World) -> None:
    for assign in (lambda: Document(content="/etc/passwd"), lambda: setattr(Document(), "content", "hello")):
        with pytest.raises(
            InvalidContent, match=r"^Document\.content: str cannot be stored: encode it .*pathlib\.Path"
        ):
            assign()
    with pytest.raises(TypeError, match=r"^Document\.report: int cannot be stored"):
        Document(report=5)


def test_an_unknown_depot_is_an_error_of_the_configuration(depots: Any) -> None:
    """At assignment, not at the commit: the name is told, and what there is."""
    with pytest.raises(ConfigurationError, match="no depot 'cellar'; configured: 'default', 'archive'"):
        Several(aliased=b"1")
    with pytest.raises(UnknownDepot, match="'attic'"):
        Document(content=UploadedFile(b"1", "attic"))
    assert Several(aliased=None).aliased is None


def test_without_any_depot_the_error_says_what_to_call() -> None:
    before = DepotManager._snapshot()
    DepotManager._clear()
    try:
        with pytest.raises(ConfigurationError, match=r"call DepotManager\.configure"):
            Document(content=b"1")
    finally:
        DepotManager._restore(before)


def test_a_value_of_another_class_becomes_one_of_the_columns(several: World) -> None:
    """A typed program assigns a pending `UploadedFile`; of a stored one the content is stored anew."""
    with several.session() as session:
        row = Several(id=1, scan=UploadedFile(b"1", filename="a.txt"), plain=b"2")
        assert type(row.scan) is Scan
        session.add(row)
        session.commit()
        assert (type(row.scan), row.scan.filename) == (Scan, "a.txt")
        row.scan = row.plain  # type: ignore[assignment]  # a type checker cannot know that the column copies
        session.commit()
        assert type(row.scan) is Scan
        assert row.plain is not None
        assert row.scan.path != row.plain.path
        assert row.scan.file.read() == row.plain.file.read() == b"2"
        assert several.stored() == {row.scan.path, row.plain.path}


def test_core_refuses_a_fresh_file(world: World) -> None:
    """No session sees such a statement, so nobody could take the file back."""
    with world.engine.connect() as connection:
        for value, message in (
            (
                UploadedFile(b"1"),
                r"not stored yet\. Files are stored by an assignment .* not by .* connection\.execute\(\)",
            ),
            (
                b"1",
                r"bytes is not a stored file\. Files are stored by an assignment .* not by .* connection\.execute\(\)",
            ),
            ({"path": "x"}, "a dictionary is not a file"),
        ):
            with pytest.raises(InvalidContent, match=message):
                connection.execute(insert(Document.metadata.tables["document"]).values(content=value))
    world.check()


class OtherBase(DeclarativeBase):
    """Models that are never created in a database."""


class Titled:
    """A column that SQLAlchemy copies for each model."""

    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


_shared = UploadedFileField(upload_storage="archive")


class Book(Titled, OtherBase):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True))
    one: Mapped[UploadedFile | None] = mapped_column(_shared)
    two: Mapped[UploadedFile | None] = mapped_column(_shared)


class Record(Titled, OtherBase):
    __tablename__ = "record"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.mark.parametrize(
    ("table", "name", "place"),
    [
        ("book", "text", "book.text: "),
        ("book", "cover", "book.cover: "),
        ("record", "cover", "record.cover: "),
        ("book", "one", "book.one or book.two: "),
    ],
)
def test_core_names_the_column_that_refuses(table: str, name: str, place: str) -> None:
    statement = insert(OtherBase.metadata.tables[table]).values({name: b"1"})
    with create_engine("sqlite://").connect() as connection, pytest.raises(InvalidContent) as caught:
        connection.execute(statement)
    connection.engine.dispose()
    assert str(caught.value).startswith(f"{place}bytes is not a stored file. Files are stored by an assignment")


def test_metadata_with_file_columns_can_be_pickled() -> None:
    restored = pickle.loads(pickle.dumps(OtherBase.metadata))
    assert repr(restored.tables["book"].c.one.type) == "UploadedFileField(upload_storage='archive')"


@pytest.mark.parametrize("content", [b"1", bytearray(b"1"), memoryview(b"1"), Path("1"), io.BytesIO(b"1")])
def test_a_condition_with_content_is_refused(content: Any) -> None:
    """It would be true for no row: rows hold references."""
    kind = type(content).__name__
    for column in (Document.content, Document.__table__.c.content):
        for compare in (eq, ne):
            with pytest.raises(InvalidContent, match=rf"document\.content: {kind} is not a stored file"):
                compare(column, content)


def test_errors_of_the_column_are_those_of_the_library() -> None:
    """Whoever catches `DepotError` catches them all."""
    for each in (InvalidContent, ConfigurationError, UnknownDepot, StorageFailed):
        assert issubclass(each, DepotError)


# --- migrations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (UploadedFileField(), "UploadedFileField()"),
        (UploadedFileField(text=True), "UploadedFileField(text=True)"),
        (
            UploadedFileField([Numbered(1)], Scan, "old", text=True),
            "UploadedFileField(upload_storage='old', text=True)",
        ),
    ],
)
def test_the_type_shows_what_makes_the_same_column(engine: Engine, field: UploadedFileField, shown: str) -> None:
    """Alembic writes ``repr(type)`` into migrations: it must run there, and give the same DDL."""
    assert repr(field) == shown
    again = eval(shown, {"UploadedFileField": UploadedFileField})  # as a migration would
    assert again.compile(engine.dialect) == field.compile(engine.dialect)
    assert f"type={shown}" not in repr(mapped_column(field).column)
    assert shown in repr(mapped_column(field).column)


def test_columns_can_be_copied(several: World) -> None:
    """As mixins and ``Table.to_metadata`` do."""
    copied = Several.metadata.tables["several"].to_metadata(MetaData())
    for column in Several.__table__.columns:
        other = copied.c[column.key].type
        if isinstance(column.type, UploadedFileField):
            assert isinstance(other, UploadedFileField)
            assert (other.filters, other.upload_type, other.upload_storage, other.text) == (
                column.type.filters,
                column.type.upload_type,
                column.type.upload_storage,
                column.type.text,
            )
            assert other.python_type is column.type.upload_type


def test_a_session_bound_to_nothing_can_still_be_assigned_to() -> None:
    """Objects need no session and no engine: None is all that can be assigned without a depot."""
    document = Document(content=None)
    assert document.content is None
    with Session() as session:
        session.add(document)
        assert document in session.new


def test_on_postgresql_the_column_is_jsonb_and_is_cast_in_expressions() -> None:
    """Compiled without a server, as Alembic does offline."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    assert isinstance(UploadedFileField().load_dialect_impl(dialect), postgresql.JSONB)
    assert isinstance(UploadedFileField(text=True).load_dialect_impl(dialect), Text)
    statement = str(CreateTable(Document.metadata.tables["document"]).compile(dialect=dialect))
    assert "content JSONB" in statement
    assert "CAST(document.content AS TEXT)" in str(select(Document.content).compile(dialect=dialect))
    name = Plate.original["filename"]
    assert "CAST(plate.original_col AS JSONB)" in str(select(name).compile(dialect=dialect))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"path": "default/x"}, "a dictionary is not a file"),
        (7, "int cannot be stored"),
        (b"x", "bytes is not a stored file"),
    ],
)
def test_only_stored_files_become_parameters(value: object, reason: str) -> None:
    process = UploadedFileField().process_bind_param
    with pytest.raises(InvalidContent, match=reason):
        process(value, postgresql.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy's
