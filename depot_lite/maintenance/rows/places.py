"""Where references may stand: the columns of all models that hold files, and those that a user protects.

All of them are looked at for each depot. A column names files of several: of the one that it is given by
``upload_storage``, of that which it was given before, and of the depots behind their aliases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, FromClause, MetaData, Table, Text, column, table, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Mapper, configure_mappers

from depot_lite.errors import ConfigurationError
from depot_lite.fields.columns import FileType, file_type, mappers_with_files


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One column whose rows may name files."""

    table: FromClause
    column: ColumnElement[Any]
    #: How the column treats its files; None for a protected column, of which nothing is known.
    type: FileType | None = None
    #: The mapper of the model, None where there is none.
    mapper: Mapper[Any] | None = None

    @property
    def name(self) -> str:
        """The name of the table, with its schema."""
        return str(getattr(self.table, "fullname", self.table))

    def __str__(self) -> str:
        """Return ``movie.poster``."""
        return f"{self.name}.{self.column.key if self.type is None else self.column.name}"

    @property
    def text(self) -> ColumnElement[str]:
        """The column as the text that it holds, without what its type makes of it."""
        return type_coerce(self.column, Text)

    @property
    def is_text(self) -> bool:
        """Whether PostgreSQL knows nothing of JSON in this column."""
        return self.type is None or self.type.is_text_on("postgresql")

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The columns of the primary key, none where it is not known."""
        return tuple(self.table.primary_key.columns) if isinstance(self.table, Table) else ()


def places(protect: Iterable[object] = (), models: Iterable[object] | None = None) -> list[Place]:
    """Return every column that may name files: those of all models and of their tables, and the protected ones.

    Args:
        protect: ``"table.column"``, ``"schema.table.column"``, or an attribute of a model.
        models: the declarative bases, or their metadata, that are meant; all that there are where not given.

    Raises:
        ConfigurationError: there is no model with a file at all, so that every file would seem unused; or this is no
            column.
    """
    configure_mappers()
    meant = None if models is None else {id(_metadata_of(each)) for each in models}
    known: dict[tuple[int, str], Place] = {}
    for place in _of_models():
        if meant is None or id(getattr(place.table, "metadata", None)) in meant:
            known.setdefault((id(place.table), place.column.name), place)
    if not known:
        raise ConfigurationError(
            "no model with an UploadedFileField is known, so every file would seem unused: import the models first"
        )
    return [*known.values(), *(_protected(each) for each in protect)]


def _metadata_of(base: object) -> MetaData:
    found = base if isinstance(base, MetaData) else getattr(base, "metadata", None)
    if not isinstance(found, MetaData):
        raise ConfigurationError(f"models: {base!r} is neither a declarative base nor its metadata")
    return found


def _of_models() -> Iterator[Place]:
    metadata: dict[int, MetaData] = {}
    for mapper in mappers_with_files():
        for each in mapper.tables:
            if isinstance(each, Table):
                metadata[id(each.metadata)] = each.metadata
                yield from _of_table(each, mapper)
    # Tables without a model, such as those that keep versions of rows.
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
        raise ConfigurationError(f"protect: {given!r} is no column; 'table.column' or 'schema.table.column' is wanted")
    *schema, name, key = names
    found_table = table(name, column(key), schema=schema[0] if schema else None)
    return Place(found_table, found_table.columns[key])
