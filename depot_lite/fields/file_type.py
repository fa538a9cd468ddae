"""`FileType`: the column type of files, with the options of a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import JSON, Column, Dialect, FromClause, Table, Text, type_coerce
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from depot_lite import renditions
from depot_lite.fields.interfaces import DepotFileInfo, FileFilter
from depot_lite.fields.meta import checked_declaration
from depot_lite.fields.options import (
    checked_analyzers,
    checked_filters,
    checked_focus,
    checked_storage,
    checked_type,
    checked_validators,
    checked_variants,
)
from depot_lite.fields.upload import UploadedFile

# Where a table keeps its file columns: in its ``info``.
_FILE_COLUMNS: Final = "depot_lite.file_columns"

#: How many columns of one type a message names.
_FEW: Final = 3


class FileType(TypeDecorator[Any]):
    """A column type whose values are files.

    SQLAlchemy builds its cache key from attributes that have the names of arguments. Filters, validators, analyzers
    and variants have other names: they change neither the SQL nor its results, and some cannot be hashed.
    """

    impl = JSON
    cache_ok = True

    def __init__(
        self,
        filters: Any = (),
        upload_type: type[DepotFileInfo] = UploadedFile,
        upload_storage: str | None = None,
        # No argument is keyword-only: SQLAlchemy does not see keyword-only arguments when it builds its cache key.
        text: bool = False,
        validators: Any = (),
        variants: Mapping[str, Any] | None = None,
        multiple: bool = False,
        meta: Mapping[str, Any] | None = None,
        analyzers: Any = (),
    ) -> None:
        super().__init__(none_as_null=True)
        if text:
            # SQLAlchemy does not call load_dialect_impl() of a variant, or of a type inside another TypeDecorator.
            self.impl = Text()  # type: ignore[assignment]  # an instance, as TypeDecorator itself sets it
        self._filters = checked_filters(filters)
        self.upload_type = checked_type(upload_type)
        self.upload_storage = checked_storage(upload_storage)
        self.text = text
        self.multiple = multiple
        self._validators = checked_validators(validators, self.upload_type, multiple=multiple)
        self._analyzers = checked_analyzers(analyzers, self.upload_type)
        self._variants = checked_variants(variants)
        self._meta = checked_declaration(meta)
        self._text_on: dict[str, bool] = {}
        self._columns: set[str] = set()
        self.upload_type.check_variants(self._variants)
        #: Whether variants follow the focus of their image.
        self.follows_focus = checked_focus(self._variants, self._meta)
        #: Whether files are checked at the flush: by validators, or since there are rules for their metadata.
        self.has_rules = bool(self._validators) or self._meta is not None or self.follows_focus
        renditions.declare(self._variants.items(), self.upload_type)

    def with_variant(self, type_: Any, *dialect_names: str) -> Any:
        """Return a type that keeps references as text, or as JSON, on some databases.

        SQLAlchemy's own method would use the variant without calling its ``load_dialect_impl()``.
        """
        variant = type_() if isinstance(type_, type) else type_
        if not isinstance(variant, FileType):
            return super().with_variant(variant, *dialect_names)
        changed = self.copy()
        changed._text_on = {**self._text_on, **dict.fromkeys(dialect_names, variant.text)}
        return changed

    def is_text_on(self, dialect_name: str) -> bool:
        """Return whether references are kept as text on a database."""
        return self._text_on.get(dialect_name, self.text)

    def belong_to(self, column: Column[Any], table: Table) -> None:
        """Remember a column that has this type, for messages."""
        # A new set: copies of a type, which SQLAlchemy makes for mixins and dialects, have the attributes of it.
        self._columns = {*self._columns, f"{table.name}.{column.name}"}

    @property
    def column_names(self) -> str:
        """The columns that have this type, such as ``document.content``; the type itself if they are many, or none."""
        return " or ".join(sorted(self._columns)) if 1 <= len(self._columns) <= _FEW else repr(self)

    @property
    def filters(self) -> tuple[FileFilter, ...]:
        """The filters, which process each file once it is stored."""
        return self._filters

    @property
    def validators(self) -> tuple[Any, ...]:
        """The validators, which check each file before it is stored."""
        return self._validators

    @property
    def analyzers(self) -> tuple[Any, ...]:
        """The analyzers, which find facts about each file before it is stored, or after the COMMIT."""
        return self._analyzers

    @property
    def variants(self) -> Mapping[str, Any]:
        """The recipes of the variants made from each image, by name."""
        return self._variants

    @property
    def has_later_work(self) -> bool:
        """Whether variants are made, or analyzers run, after the COMMIT of a file."""
        return any(each.make == "later" for each in self._variants.values()) or any(
            each.run == "later" for each in self._analyzers
        )

    @property
    def meta(self) -> Mapping[str, Any] | None:
        """The names and types of the metadata of each file; None if anything is accepted."""
        return self._meta


def file_type(kind: object) -> FileType | None:
    """Return a column type if it is a `FileType`, the one inside a user's TypeDecorator, or None."""
    if isinstance(kind, FileType):
        return kind
    return file_type(kind.impl) if isinstance(kind, TypeDecorator) else None


def file_columns(table: Table) -> list[Column[Any]]:
    """Return the file columns of a table. Cached until a column is added."""
    count, found = table.info.get(_FILE_COLUMNS, (0, []))
    # Table.to_metadata() copies the ``info``, with the columns of the original.
    if count != len(table.c) or (found and found[0].table.fullname != table.fullname):
        found = [each for each in table.c if file_type(each.type) is not None]
        table.info[_FILE_COLUMNS] = len(table.c), found
    columns: list[Column[Any]] = found
    return columns


class ReadAs(UserDefinedType[Any]):
    """The type of an expression that is read as another type, except that NULL is None to it."""

    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the processor of the other type, which is not called for NULL."""
        load = self.of.dialect_impl(dialect).result_processor(dialect, coltype)
        return None if load is None else lambda value: None if value is None else load(value)


def read_as(column: ColumnElement[Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return the expression that selects a column, read as another type."""
    expression = column.type.column_expression(column)
    return type_coerce(column if expression is None else expression, ReadAs(kind))


def stored_files(table: Table, source: FromClause | None = None) -> dict[Column[Any], ColumnElement[Any]]:
    """Return the file columns of a table, each with the expression that selects it from ``source``, such as an alias.

    Files are read as the rows name them, whatever a user's TypeDecorator around the type makes of them.
    """
    named = table if source is None else source
    return {column: _as_stored(named.c[column.key]) for column in file_columns(table)}


def _as_stored(column: ColumnElement[Any]) -> ColumnElement[Any]:
    kind = file_type(column.type)
    return column if kind is None or kind is column.type else read_as(column, kind)
