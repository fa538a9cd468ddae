"""Columns that may contain references: the file columns of all models, and the protected columns.

All of them are read for each depot, since a column may name files of several depots: of its ``upload_storage``, of
earlier ones, and of the depots behind their aliases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    MetaData,
    Table,
    Text,
    and_,
    column,
    literal_column,
    table,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute, Mapper, configure_mappers

from depot_lite.errors import ConfigurationError
from depot_lite.fields.columns import mappers_with_files
from depot_lite.fields.file_type import FileType, file_type


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A column whose rows may name files."""

    table: FromClause
    column: ColumnElement[Any]
    #: The type of a file column; None for a protected column.
    type: FileType | None = None
    #: The mapper of the model; None for a table without one.
    mapper: Mapper[Any] | None = None
    #: The condition of the rows that are read; None for all rows.
    condition: ColumnElement[bool] | None = None

    @property
    def name(self) -> str:
        """The name of the table, with its schema."""
        return str(getattr(self.table, "fullname", self.table))

    def __str__(self) -> str:
        """Return ``movie.poster``."""
        return f"{self.name}.{self.column.key if self.type is None else self.column.name}"

    @property
    def text(self) -> ColumnElement[str]:
        """The column as text, without the conversions of its type."""
        return type_coerce(self.column, Text)

    @property
    def has_value(self) -> ColumnElement[bool]:
        """The condition of rows that are read: the column is not NULL, and the row is one of those chosen."""
        found = self.text.is_not(None)
        return found if self.condition is None else and_(found, self.condition)

    @property
    def is_text(self) -> bool:
        """Whether the column is text instead of JSONB on PostgreSQL."""
        return self.type is None or self.type.is_text_on("postgresql")

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The columns of the primary key; empty if not known."""
        return tuple(self.table.primary_key.columns) if isinstance(self.table, Table) else ()


def places(protect: Iterable[object] = (), models: Iterable[object] | None = None) -> list[Place]:
    """Return every column that may name files: those of all models and of their tables, and the protected ones.

    Args:
        protect: ``"table.column"``, ``"schema.table.column"``, or an attribute of a model.
        models: declarative bases, or their metadata, to restrict the columns to; by default all.

    Raises:
        ConfigurationError: no model has a file column, so that every file would seem unused; or an element of
            ``protect`` is not a column.
    """
    wanted_metadata = None if models is None else {id(_metadata_of(each)) for each in models}
    known: dict[tuple[int, str], Place] = {}
    for place in columns_of_models():
        if wanted_metadata is None or id(getattr(place.table, "metadata", None)) in wanted_metadata:
            known.setdefault((id(place.table), place.column.name), place)
    if not known:
        raise ConfigurationError(
            "no model with an UploadedFileField is known, so every file would seem unused: import the models first"
        )
    return [*known.values(), *(_protected(each) for each in protect)]


def chosen(found: Iterable[Place], columns: Iterable[str] | None, where: str | None) -> list[Place]:
    """Return the places with these columns, restricted to rows that fulfil a condition.

    A job that looks for unused files must not be restricted: it has to see all references.

    Args:
        columns: names such as ``"movie.poster"``; None for all.
        where: SQL, as it stands behind WHERE: ``"created < '2020-01-01'"``; None for all rows.

    Raises:
        ConfigurationError: there is no such column, or the columns with a condition are in several tables.
    """
    known = {str(each): each for each in found}
    if isinstance(columns, str):
        raise ConfigurationError(f"columns: expected a list of names, got {columns!r}")
    names = list(known if columns is None else columns)
    if unknown := [each for each in names if each not in known]:
        raise ConfigurationError(
            f"columns: there is no file column {unknown[0]!r}; there is {', '.join(known) or 'none'}"
        )
    places = [known[each] for each in names]
    if where is None:
        return places
    if len(tables := {each.name for each in places}) > 1:
        raise ConfigurationError(f"where: expected the columns of one table, got {', '.join(sorted(tables))}")
    condition: ColumnElement[bool] = literal_column(f"({where})", Boolean)
    return [replace(each, condition=condition) for each in places]


def _metadata_of(base: object) -> MetaData:
    found = base if isinstance(base, MetaData) else getattr(base, "metadata", None)
    if not isinstance(found, MetaData):
        raise ConfigurationError(f"models: expected a declarative base or its metadata, got {base!r}")
    return found


def columns_of_models() -> Iterator[Place]:
    """Yield the file columns of all models and of their tables, possibly with repetitions."""
    configure_mappers()
    metadata: dict[int, MetaData] = {}
    for mapper in mappers_with_files():
        for each in mapper.tables:
            if isinstance(each, Table):
                metadata[id(each.metadata)] = each.metadata
                yield from _of_table(each, mapper)
    # Tables without a model, for example tables of old versions of rows.
    for each_metadata in metadata.values():
        for each in each_metadata.tables.values():
            yield from _of_table(each, None)


def _of_table(each: Table, mapper: Mapper[Any] | None) -> Iterator[Place]:
    for found in each.columns:
        kind = file_type(found.type)
        if kind is not None:
            yield Place(each, found, kind, mapper)


def _protected(given: object) -> Place:
    if isinstance(given, InstrumentedAttribute | Column):
        found = given if isinstance(given, Column) else given.property.columns[0]
        if isinstance(found.table, Table):
            return Place(found.table, found, None)
    names = given.split(".") if isinstance(given, str) else []
    if len(names) not in {2, 3} or not all(names):
        raise ConfigurationError(f"protect: expected a column, 'table.column' or 'schema.table.column', got {given!r}")
    *schema, name, key = names
    found_table = table(name, column(key), schema=schema[0] if schema else None)
    return Place(found_table, found_table.columns[key])
