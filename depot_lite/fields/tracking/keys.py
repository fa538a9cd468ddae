"""Primary keys: as values of Python, or as the driver gives them where these do not find their row.

A type may read something else than is stored: a UUID in capitals, a Numeric with more digits, and a TypeDecorator that
folds letters are written back in another form, which SQLite, or a column of text, takes for another key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Dialect, Double, Enum, Float, Integer, String, and_, bindparam, cast, or_, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

#: How many primary keys one SELECT names.
BATCH: Final = 500


class StoredKey(tuple[Any, ...]):
    """A primary key as the driver gives it. ``loaded`` is the same key as Python reads it, which finds no row."""

    loaded: tuple[Any, ...]

    @classmethod
    def of(cls, stored: Iterable[Any], loaded: tuple[Any, ...]) -> StoredKey:
        """Return the key."""
        key = cls(stored)
        key.loaded = loaded
        return key

    def __eq__(self, other: object) -> bool:
        """Return whether this is the same key, also as the driver gives it."""
        return isinstance(other, StoredKey) and super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        """Return whether this is another key; a tuple would compare for itself."""
        return not self == other

    __hash__ = tuple.__hash__


def loaded_key(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a key as Python reads it, which the identities of objects are made of."""
    return key.loaded if isinstance(key, StoredKey) else key


class _AsStored(UserDefinedType[Any]):
    """The type of the driver's own values, which are sent and read as they are."""

    cache_ok = True


class _Stored(GenericFunction[Any]):
    """A column without its type. A float of four bytes becomes one of eight: it equals no number that Python has."""

    inherit_cache = True
    _register = False
    name = "stored_key"
    type = _AsStored()


@compiles(_Stored)
def _compile_stored(element: GenericFunction[Any], compiler: Any, **kw: Any) -> str:
    column = next(iter(element.clauses))
    wide = cast(column, Double) if _is_narrow(column.type, compiler.dialect) else column
    return str(compiler.process(wide, **kw))


def _is_narrow(kind: TypeEngine[Any], dialect: Dialect) -> bool:
    """Return whether a type is a float that may have four bytes; all of SQLite's have eight."""
    impl: Any = kind.dialect_impl(dialect)
    while isinstance(impl, TypeDecorator):
        impl = impl.impl_instance
    return isinstance(impl, Float) and not isinstance(impl, Double) and dialect.name != "sqlite"


class KeyReader:
    """Reads the primary keys of rows.

    ``columns`` have to be selected, before all others.
    """

    def __init__(self, key: Sequence[Any], dialect: Dialect) -> None:
        self._width = len(key)
        sent = {position: _sender(each.type, dialect) for position, each in enumerate(key)}
        # The positions of the columns whose values may read otherwise than they are stored.
        self._sent = {position: send for position, send in sent.items() if send is not None}
        self.columns = [*key, *(_Stored(key[position]) for position in self._sent)]

    def key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return the key of a row in a form that finds this row, and no other."""
        loaded, stored = tuple(row[: self._width]), list(row[: self._width])
        finds = True
        for (position, send), value in zip(self._sent.items(), row[self._width : len(self.columns)], strict=True):
            stored[position] = value
            finds &= bool(send(loaded[position]) == value)
        return loaded if finds else StoredKey.of(stored, loaded)


def _sender(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return a function that makes the driver's value of one of Python's; None if both are always equal."""
    impl = kind.dialect_impl(dialect)
    send = impl.bind_processor(dialect)
    is_exact = isinstance(impl, Integer | String) and not isinstance(impl, Enum)
    if is_exact and send is None and impl.result_processor(dialect, None) is None:
        return None
    if _is_narrow(kind, dialect) or kind.bind_expression(bindparam("key", type_=kind)) is not None:
        return lambda value: _UNKNOWN
    return send or (lambda value: value)


#: Equal to no value: the database changes all that it gets.
_UNKNOWN: Final = object()


def is_one_of(key: Sequence[Any], identities: Iterable[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Return the condition that a row has one of these primary keys."""
    known = list(identities)
    stored = [tuple(each) for each in known if isinstance(each, StoredKey)]
    if not stored:
        return _is_one_of(key, known)
    plain = [each for each in known if not isinstance(each, StoredKey)]
    condition = _is_one_of([_Stored(each) for each in key], stored)
    return or_(condition, _is_one_of(key, plain)) if plain else condition


def _is_one_of(key: Sequence[Any], known: list[tuple[Any, ...]]) -> ColumnElement[bool]:
    if len(key) == 1:
        # With the column's type, not the values': PostgreSQL does not compare a number with "1", which may be its key.
        values = bindparam(None, [each[0] for each in known], key[0].type, expanding=True, unique=True)
        return key[0].in_(values)  # type: ignore[no-any-return]  # an attribute is Any
    whole = [each for each in known if None not in each]
    # SQLite lets a part of a primary key be NULL, which is equal to nothing.
    parts = [
        and_(*(column.is_(None) if value is None else column == value for column, value in zip(key, each, strict=True)))
        for each in known
        if None in each
    ]
    return or_(tuple_(*key).in_(whole), *parts) if parts else tuple_(*key).in_(whole)


def key_batches(identities: Iterable[tuple[Any, ...]], size: int = BATCH) -> list[list[tuple[Any, ...]]]:
    """Return the keys in lists that one condition can name."""
    known = list(identities)
    return [known[start : start + size] for start in range(0, len(known), size)]
