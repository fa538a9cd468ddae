"""`UploadedFileField`: the column type, and the listeners of attributes that have it.

    class Document(Base):
        content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
        report: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))

Importing this module makes every session of the process manage the files of such columns.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any, Final

from sqlalchemy import JSON, Column, Dialect, String, Table, Text, event, types
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, Mapper, attributes
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from depot_lite.errors import DepotError, InvalidContent
from depot_lite.fields import columns, internals
from depot_lite.fields.columns import NOT_LOADED, FileColumn
from depot_lite.fields.file_type import FileType, file_columns, file_type
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.list_binding import begin_empty, track_lists
from depot_lite.fields.lists import FileList
from depot_lite.fields.statements import execution as statements
from depot_lite.fields.tracking import defaults, late
from depot_lite.fields.tracking import flush as tracking
from depot_lite.fields.tracking.births import mark_bound
from depot_lite.fields.tracking.rows import tables_with_files
from depot_lite.io.content import Content


class _AsText(GenericFunction[Any]):
    """The column as text, which we parse faster than drivers and SQLAlchemy do."""

    inherit_cache = True
    _register = False
    name = "reference_text"


class _AsJSON(GenericFunction[Any]):
    """The column as JSON, so that keys can be selected from it."""

    inherit_cache = True
    _register = False
    name = "reference_json"


@compiles(_AsText)
@compiles(_AsJSON)
def _unchanged(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **kw))


@compiles(_AsText, "postgresql")
def _cast_to_text(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    # psycopg would parse JSON into dictionaries that the values copy.
    return f"CAST({_unchanged(element, compiler, **kw)} AS TEXT)"


@compiles(_AsJSON, "postgresql")
def _cast_to_json(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    return f"CAST({_unchanged(element, compiler, **kw)} AS JSONB)"


_STORED_BY: Final = (
    "Files are stored by an assignment to an attribute, and by session.execute() of insert().values() and "
    "update().values(); not by text(), a statement inside of another, a secondary table or connection.execute()"
)


class UploadedFileField(FileType):
    """A column that holds a file: a JSON reference in the row (JSONB on PostgreSQL), the bytes in a depot.

    Args:
        filters: called with each file once it is stored (`FileFilter`).
        upload_type: the class of the values, `UploadedFile` or a subclass.
        upload_storage: the depot for new files, or an alias; the default depot if not given. Existing files in other
            depots stay there and go on working.
        text: whether to keep the reference as text, for existing columns such as filedepot's.
        validators: the rules for each file (`depot_lite.fields.validators`), in the order of the messages.
        variants: recipes of variants by name; needs an ``upload_type`` that makes them (`UploadedImage`).
        multiple: an ordered list of files instead of one.
        meta: the names and types of the metadata of each file, such as ``{"alt": str, "focus": tuple[float, float]}``;
            by default any JSON is accepted.
        analyzers: called with each file before it is stored, or after the COMMIT; their findings are in its ``facts``
            (`depot_lite.fields.analyzers`).
    """

    cache_ok = True
    hashable = False

    def __repr__(self) -> str:
        """Show the arguments without classes and filters, which Alembic could not write into migrations."""
        given = {"upload_storage": self.upload_storage, "text": self.text or None, "multiple": self.multiple or None}
        arguments = ", ".join(f"{name}={each!r}" for name, each in given.items() if each is not None)
        return f"{type(self).__name__}({arguments})"

    @property
    def python_type(self) -> type[Any]:
        """The class of the values of attributes."""
        upload_type: type[Any] = list if self.multiple else self.upload_type
        return upload_type

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose JSONB, JSON or text."""
        if self.is_text_on(dialect.name):
            return Text()  # dialect.type_descriptor() would make it VARCHAR on PostgreSQL
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the JSON of a stored value; store a value that a listener has set during the flush.

        Raises:
            InvalidContent: the value is not a file, or is pending in a statement that no session executes.
        """
        try:
            if value is not None and not isinstance(value, FileList if self.multiple else DepotFileInfo):
                value = late.accept_late(value)
            if self.multiple:
                data: Any = [self._bound(each) for each in ([] if value is None else _checked_list(value))]
                return json.dumps(data) if self.is_text_on(dialect.name) else data
            if value is None:
                return None
            data = self._bound(value)
            return value.encode() if self.is_text_on(dialect.name) else data
        except DepotError as error:
            internals.keep_class(error)
            raise

    def _bound(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, DepotFileInfo):
            if isinstance(value, dict):
                raise InvalidContent(f"{self.column_names}: a dictionary is not a file: expected an UploadedFile")
            try:
                Content.of(value)  # raises InvalidContent with the reason
            except InvalidContent as error:
                raise InvalidContent(f"{self.column_names}: {error}") from error
            raise InvalidContent(f"{self.column_names}: {type(value).__name__} is not a stored file. {_STORED_BY}")
        if value.pending and not late.store_late(value):
            raise InvalidContent(f"{self.column_names}: {value['filename']!r} is not stored yet. {_STORED_BY}")
        value["path"]  # raises DamagedReference
        mark_bound(value.named_paths)
        return dict(value)

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        """Return a stored value as an SQL literal."""
        bound = self.process_bind_param(value, dialect)
        text = bound if isinstance(bound, str) else json.dumps(bound)
        if self.is_text_on(dialect.name):
            return text  # Text quotes it; JSON has no literal processor
        quoted: Callable[[str], str] = String().literal_processor(dialect)  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
        return quoted(text)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Select the reference as text."""
        # The type of the column, which may be a user's TypeDecorator around this one.
        return _AsText(column, type_=column.type)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return a function that makes a value from the driver's result."""
        if self.multiple:
            return FileList.loader(self.upload_type, internals.place_of, self.variants)
        load: Callable[[Any], Any] = self.upload_type.loader(internals.place_of, self.variants)
        return load

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare with files as files, and with other values as JSON does.

        Raises:
            InvalidContent: the file is not stored, so that no row can name it.
        """
        if isinstance(value, DepotFileInfo) and value.pending:
            raise InvalidContent(
                f"{self.column_names}: a condition cannot compare with {value['filename']!r}, which is not stored yet"
            )
        return (
            self if isinstance(value, DepotFileInfo | FileList) else self.impl_instance.coerce_compared_value(op, value)
        )

    def compare_values(self, x: Any, y: Any) -> bool:
        """Return whether two values are the same in the row."""
        return bool(x == y)

    class comparator_factory(types.JSON.Comparator[Any]):  # noqa: N801  # SQLAlchemy's name
        """``Document.content["content_type"].as_string()``."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            """Refuse comparisons with content: rows hold references, which are equal to no content."""
            for each in other:
                if isinstance(each, bytes | bytearray | memoryview | PurePath) or hasattr(each, "read"):
                    raise InvalidContent(f"{self.expr}: {type(each).__name__} is not a stored file. {_STORED_BY}")
            return super().operate(op, *other, **kwargs)

        def __getitem__(self, index: Any) -> ColumnElement[Any]:
            """Select a key of the reference."""
            return _AsJSON(self.expr, type_=JSON())[index]


def _set_listener(column: FileColumn) -> Callable[..., Any]:
    def on_set(target: Any, value: Any, held: Any, initiator: Any) -> Any:
        state = attributes.instance_state(target)
        in_row = tracking.held_now(column, state)
        accepted = column.accept(value, state, held)
        if in_row is NOT_LOADED:
            return accepted
        return column.copy_foreign(accepted, state, [in_row, state.dict.get(column.key)])

    return on_set


def _checked_list(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise InvalidContent(f"expected a list of files, got {type(value).__name__}")
    return value


def _attribute_instrumented(class_: type, key: str, attribute: Any) -> None:
    """Track an attribute that holds files when its class gets it: when it is mapped, or later."""
    mapper = getattr(attribute, "parent", None)
    if not isinstance(attribute, InstrumentedAttribute) or not isinstance(mapper, Mapper):
        return
    column = columns.register(mapper, key, getattr(attribute.comparator, "prop", None))
    if column is not None and mapper.configured:
        _track(class_, column, attribute)


def _track(class_: type, column: FileColumn, attribute: Any) -> None:
    event.listen(attribute, "set", _set_listener(column), retval=True)
    defaults.follow_defaults(column)
    if column.type.multiple:
        begin_empty(column, attribute)
        if column.column.default is None and column.column.server_default is None:
            # A list column is usually NOT NULL, and an INSERT may leave it out.
            internals.set_default(column.column, FileList)
        if class_ not in _with_lists:
            _with_lists.add(class_)
            track_lists(class_, partial(_list_columns, class_))
    tracking.track_mapper(attribute.parent)


def _list_columns(class_: type) -> list[FileColumn]:
    return [column for column in columns.columns_of_class(class_).values() if column.type.multiple]


# Classes whose lists are tracked. A class is tracked once, even if attributes are added to it later.
_with_lists: Final[weakref.WeakSet[type]] = weakref.WeakSet()


def _column_attached(column: Column[Any], table: Any) -> None:
    """Check the defaults of a file column when it is added to a table, and let its type know whose it is."""
    kind = file_type(column.type)
    if kind is not None and isinstance(table, Table):
        defaults.refuse_expression(column, table)
        kind.belong_to(column, table)


def _mapper_configured(mapper: Mapper[Any], class_: type) -> None:
    """Track the file attributes of a class, after its own validators, and deletions if it has unmapped file columns."""
    for key, column in columns.columns_of_mapper(mapper).items():
        _track(class_, column, mapper.class_manager[key])
    mapped = {each.column for each in columns.columns_of_mapper(mapper).values()}
    if any(each not in mapped for table in tables_with_files(mapper) for each in file_columns(table)):
        tracking.track_deletions(mapper)


if not event.contains(Mapper, "mapper_configured", _mapper_configured):
    event.listen(Column, "after_parent_attach", _column_attached)
    event.listen(object, "attribute_instrument", _attribute_instrumented, propagate=True)
    event.listen(Mapper, "mapper_configured", _mapper_configured)
tracking.track_sessions()
statements.track_statements()
