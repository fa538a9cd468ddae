"""`UploadedFileField`: the column type, and what happens when its attribute is set.

    class Document(Base):
        content: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
        report: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="archive"))

Importing this module makes every session of the process look after the files of such columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import JSON, ColumnDefault, Dialect, String, Text, event, exc, types
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapper, attributes
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from depot_lite.errors import InvalidContent
from depot_lite.fields import columns, slots, statements, tracking
from depot_lite.fields.columns import FileColumn, FileType
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList
from depot_lite.fields.upload import UploadedFile


class _Refused(InvalidContent, exc.DontWrapMixin):
    """`InvalidContent`, raised while SQLAlchemy binds a parameter; it would wrap our exception in one of its own."""


class _AsText(GenericFunction[Any]):
    """The column as the driver should deliver it: text, which we parse when and if somebody looks at it."""

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
def _as_it_is(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **kw))


@compiles(_AsText, "postgresql")
def _cast_to_text(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    # psycopg parses JSON as soon as it comes in, whether anybody wants it or not.
    return f"CAST({_as_it_is(element, compiler, **kw)} AS TEXT)"


@compiles(_AsJSON, "postgresql")
def _cast_to_json(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    return f"CAST({_as_it_is(element, compiler, **kw)} AS JSONB)"


class UploadedFileField(FileType):
    """A column that holds a file: a JSON reference in the row (JSONB on PostgreSQL), the bytes in a depot.

    Args:
        filters: what is done with each file once it is stored (`FileFilter`).
        upload_type: the class of the values, `UploadedFile` or a subclass.
        upload_storage: the depot for new files, or an alias; the default depot where not given. Files that are
            in other depots already stay there and go on working.
        text: keep the reference as text, for columns that exist already, such as filedepot's.
        validators: what each file must comply with (`depot_lite.fields.validators`), in the order of the messages.
        variants: what is made of each image, by name; needs an ``upload_type`` that makes them (`UploadedImage`).
        multiple: an ordered list of files instead of one.
    """

    cache_ok = True
    hashable = False

    def __init__(
        self,
        filters: Any = (),
        upload_type: type[DepotFileInfo] = UploadedFile,
        upload_storage: str | None = None,
        # None is keyword-only: SQLAlchemy would not find it when it builds its cache key.
        text: bool = False,
        validators: Any = (),
        variants: Mapping[str, Any] | None = None,
        multiple: bool = False,
    ) -> None:
        super().__init__(
            filters,
            upload_type,
            upload_storage,
            text=text,
            validators=validators,
            variants=variants,
            multiple=multiple,
        )

    def __repr__(self) -> str:
        """Show what makes the same column. Alembic writes it into migrations, where classes and filters cannot go."""
        given = {"upload_storage": self.upload_storage, "text": self.text or None, "multiple": self.multiple or None}
        arguments = ", ".join(f"{name}={each!r}" for name, each in given.items() if each is not None)
        return f"{type(self).__name__}({arguments})"

    @property
    def python_type(self) -> type[Any]:
        """The class of what an attribute holds."""
        upload_type: type[Any] = list if self.multiple else self.upload_type
        return upload_type

    def load_dialect_impl(self, dialect: Dialect) -> types.TypeEngine[Any]:
        """Choose JSONB, JSON or text."""
        if self.text:
            return Text()  # dialect.type_descriptor() would make it VARCHAR on PostgreSQL
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Turn a stored value into what the row holds; store one that appeared while the flush was running.

        Raises:
            InvalidContent: a fresh file in a statement that no session sees.
        """
        if self.multiple:
            data: Any = [self._bound(each) for each in ([] if value is None else _listed(value))]
            return json.dumps(data) if self.text else data
        if value is None:
            return None
        data = self._bound(value)
        return value.encode() if self.text else data

    def _bound(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, DepotFileInfo) or (value.pending and not tracking.store_late(value)):
            raise _Refused(
                f"{type(value).__name__} cannot be written by a statement of its own, since no session would look "
                "after the file: use session.execute() instead of connection.execute(), or assign it to an attribute"
            )
        return dict(value)

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        """Render a stored value into the text of a statement."""
        bound = self.process_bind_param(value, dialect)
        text = bound if isinstance(bound, str) else json.dumps(bound)
        if self.text:
            return text  # quoted by Text; JSON has no way to quote itself
        quoted: Callable[[str], str] = String().literal_processor(dialect)  # type: ignore[no-untyped-call]  # its own lack
        return quoted(text)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Select the reference as text."""
        return _AsText(column, type_=self)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return the function that makes a value of what the driver delivers; it parses nothing."""
        load: Callable[[Any], Any] = FileList.loader(self.upload_type) if self.multiple else self.upload_type.loader()
        return load

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Compare with files as files, and with everything else as JSON does."""
        return (
            self if isinstance(value, DepotFileInfo | FileList) else self.impl_instance.coerce_compared_value(op, value)
        )

    def compare_values(self, x: Any, y: Any) -> bool:
        """Return whether two values are the same, as far as the row is concerned."""
        return bool(x == y)

    class comparator_factory(types.JSON.Comparator[Any]):  # noqa: N801  # SQLAlchemy looks for this name
        """``Document.content["content_type"].as_string()``."""

        def __getitem__(self, index: Any) -> ColumnElement[Any]:
            """Select a key of the reference."""
            return _AsJSON(self.expr, type_=JSON())[index]


def _set(column: FileColumn) -> Callable[..., Any]:
    def on_set(target: Any, value: Any, held: Any, initiator: Any) -> Any:
        state = attributes.instance_state(target)
        if columns.unknown(held):
            slots.look_up_in_flush(column, state)
        return column.accept(value, state, held)

    return on_set


def _listed(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _Refused(f"a list of files is wanted, not {type(value).__name__}")
    return value


def _track_lists(mapper: Mapper[Any], lists: Sequence[FileColumn]) -> None:
    """Let objects begin with an empty list, and tie the lists that come from rows to the objects that hold them."""

    def bind(target: Any, *args: Any) -> None:
        for column in lists:
            column.bind(attributes.instance_state(target))

    def pickled(target: Any, state_dict: dict[str, Any]) -> None:
        held = attributes.instance_dict(target)
        state_dict[_LISTS] = {column.key: held[column.key] for column in lists if column.key in held}

    def unpickled(target: Any, state_dict: dict[str, Any]) -> None:
        # The object's own dictionary is not filled yet; its lists are the same ones as these.
        for column in lists:
            if column.key in state_dict.get(_LISTS, ()):
                column.tie(state_dict[_LISTS][column.key], attributes.instance_state(target))

    # The last one has no public name: merge(load=False) hands on what the other object holds.
    for name in ("load", "refresh", "refresh_flush", "_sa_event_merge_wo_load"):
        event.listen(mapper.class_, name, bind)
    event.listen(mapper.class_, "pickle", pickled)
    event.listen(mapper.class_, "unpickle", unpickled)
    for column in lists:
        event.listen(mapper.class_manager[column.key], "init_scalar", _empty(column), retval=True)
        if column.column.default is None and column.column.server_default is None:
            # For INSERT statements that do not mention the column, which is NOT NULL as a rule.
            ColumnDefault(FileList)._set_parent_with_dispatch(column.column)


#: Where a pickled object keeps its lists a second time.
_LISTS: Final = "depot_lite.lists"


def _empty(column: FileColumn) -> Callable[..., Any]:
    def init_scalar(target: Any, value: Any, dict_: dict[str, Any]) -> Any:
        return column.empty(attributes.instance_state(target))

    return init_scalar


def _mapper_configured(mapper: Mapper[Any], class_: type) -> None:
    found = columns.register(mapper)
    for key, column in found.items():
        event.listen(mapper.class_manager[key], "set", _set(column), retval=True)
    lists = [column for column in found.values() if column.type.multiple]
    if lists:
        _track_lists(mapper, lists)
    if found:
        tracking.track_mapper(mapper)


if not event.contains(Mapper, "mapper_configured", _mapper_configured):
    event.listen(Mapper, "mapper_configured", _mapper_configured)
tracking.track_sessions()
statements.track_statements()
