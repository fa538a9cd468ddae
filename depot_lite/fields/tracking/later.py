"""Variants and facts that are made after the COMMIT of their file: by the task queue of the application, or at once.

A file is described by four JSON values, which `DepotManager.set_process_later` hands over: model, primary key,
attribute and path.
"""

from __future__ import annotations

import datetime
import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Final

from sqlalchemy import Dialect, Engine
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.types import TypeDecorator, TypeEngine

from depot_lite.concurrency.pools import HOOKS
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError
from depot_lite.fields.analyzers import missing_analyzers
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in, mapped_attribute, mappers_with_files
from depot_lite.fields.interfaces import DepotFileInfo, logger
from depot_lite.fields.pending import Pending
from depot_lite.fields.specialized.image import missing_variants
from depot_lite.fields.specialized.variants import has_moved
from depot_lite.fields.tracking.births import Birth, Candidates, Row, VariantBirth
from depot_lite.fields.tracking.ledger import frame_of
from depot_lite.fields.tracking.outcomes import Committed
from depot_lite.fields.tracking.renewal import Todo, make_chosen
from depot_lite.fields.tracking.transfers import after_end

#: Model, primary key, attribute and path of a file, all of them JSON.
Description = tuple[str, list[Any] | None, str, str]


@dataclass(frozen=True, slots=True)
class LateFile:
    """A committed file that lacks variants or facts which are made later, and the row that names it."""

    column: FileColumn
    row: Row
    path: str

    @classmethod
    def of(cls, birth: Birth, row: Row | None) -> LateFile | None:
        """Return the file of a birth; None if it lacks nothing of that kind, or no row was to name it."""
        column = birth.column
        if column is None or not lacking(birth.value, column):
            return None
        return None if row is None else cls(column, row, birth.value["path"])

    def described(self, dialect: Dialect) -> Description | None:
        """Return the description of the file; None if its table has no model."""
        mapped = mapped_attribute(self.column.column)
        if mapped is None:
            return None
        mapper, attribute = mapped
        return name_of(mapper), key_as_json(self.row, dialect), attribute, self.path

    def make(self, engine: Engine) -> None:
        """Make the variants and facts; errors are logged."""
        if self.row.schemas:
            engine = engine.execution_options(schema_translate_map=dict(self.row.schemas))
        try:
            make_chosen(engine, self.column, self.row.key, self.path, partial(lacking, column=self.column))
        except Exception:
            logger.exception("the variants and facts of %s are left to %s", self.path, _UPKEEP)


#: The jobs that make what was not made after a COMMIT.
_UPKEEP: Final = "make_missing_variants and add_missing_facts"


def lacking(value: DepotFileInfo, column: FileColumn) -> Todo:
    """Return what a file lacks of the variants and facts that are made later, or has of another point."""
    kind = column.type
    return Todo(
        missing_variants(value, kind.variants, ("later",)), missing_analyzers(value, kind.analyzers, ("later",))
    )


def enter_moved(
    session: Session, candidates: Candidates, row: Row, column: FileColumn, before: Any, after: Any
) -> None:
    """Enter the images of an attribute whose focus is about to change, and whose variants are made later.

    Args:
        session: that changes them.
        candidates: of the transaction.
        row: of the images.
        column: the attribute.
        before: the value or list that the row holds.
        after: the one that it will hold.
    """
    if not column.type.follows_focus:
        return
    held = {str(each.get("path")): each for each in files_in(before)}
    for value in files_in(after):
        former = held.get(str(value.get("path")))
        if former is not None and has_moved(former, value, column.type.variants, "later"):
            birth = VariantBirth(value, Pending(None), {}, column)
            frame_of(session).append(birth)  # which a savepoint may lose
            candidates.edited.append((birth, row))


def process(engine: Engine, committed: Committed) -> None:
    """Hand committed files to the ``process_later`` hook, or make their variants and facts. Raises only interrupts."""
    try:
        files = {found.path: found for each in committed if (found := LateFile.of(*each)) is not None}
        for each in _left(engine, list(files.values())) if files else ():
            each.make(engine)
    except Exception:  # an executor that is shut down
        logger.exception("variants and facts are left to %s", _UPKEEP)


def _left(engine: Engine, files: Sequence[LateFile]) -> Sequence[LateFile]:
    """Hand files to the hook, and return those whose variants and facts are to be made here."""
    hook, refused = Depots.get_process_later(), list[int]()
    if hook is None:
        return files
    described = [each.described(engine.dialect) for each in files]
    after_end(partial(_hand_over, hook, described, refused), HOOKS)
    if refused and not Depots._processes_if_refused():
        logger.error("the variants and facts of %d files are left to %s", len(refused), _UPKEEP)
        refused = []
    return [each for number, each in enumerate(files) if described[number] is None or number in refused]


def _hand_over(hook: Callable[..., object], described: Sequence[Description | None], refused: list[int]) -> None:
    """Give files to the hook, and note the numbers of the rest if it raises.

    It is not called again after an error: each call might wait for the timeout of a queue that is down.
    """
    for number, each in enumerate(described):
        if each is None:
            continue
        try:
            answer = hook(*each)
            if inspect.iscoroutine(answer):  # of a lambda, which set_process_later() cannot recognise
                answer.close()
                raise TypeError("the hook returned a coroutine, which nothing awaits here")
        except Exception:  # the hook is code of the application
            refused += [later for later in range(number, len(described)) if described[later] is not None]
            logger.exception("the process_later hook failed for %d files: %s ...", len(refused), each[3])
            return


# --- models by name ---------------------------------------------------------------------------------------------------


def name_of(mapper: Mapper[Any]) -> str:
    """Return the name of a model: ``package.module:Class``."""
    return f"{mapper.class_.__module__}:{mapper.class_.__qualname__}"


def column_named(model: str, attribute: str) -> FileColumn:
    """Return the attribute with this name of the model with this name.

    Raises:
        ConfigurationError: there is no such model or attribute, or several.
    """
    named = [each for each in mappers_with_files() if name_of(each) == model]
    if not named:
        # A program that was started as a script has its models in ``__main__``, and its workers import it by its name.
        module, _, name = model.partition(":")
        same = [each for each in mappers_with_files() if each.class_.__qualname__ == name]
        named = [each for each in same if "__main__" in (module, each.class_.__module__)]
    if len(named) != 1:
        known = ", ".join(map(name_of, mappers_with_files())) or "none"
        raise ConfigurationError(
            f"model {model!r}: expected one model with files of this name, found {len(named)}: import the models "
            f"first; there is {known}"
        )
    found = columns_of_mapper(named[0]).get(attribute)
    if found is None:
        raise ConfigurationError(f"{model} has no attribute {attribute!r} that holds files")
    return found


# --- primary keys as JSON ---------------------------------------------------------------------------------------------


def key_as_json(row: Row, dialect: Dialect) -> list[Any] | None:
    """Return the primary key of a row as JSON; None if it is not known, or would be read as another key."""
    columns = list(row.table.primary_key)
    if row.key is None or not columns:
        return None
    try:
        found = [_encoded(column.type, value, dialect) for column, value in zip(columns, row.key, strict=True)]
        back = [_decoded(column.type, value, dialect) for column, value in zip(columns, found, strict=True)]
    except Exception:  # of a type of the application
        return None
    same = all(one == other and type(one) is type(other) for one, other in zip(row.key, back, strict=True))
    return found if same else None


def key_from_json(column: FileColumn, key: Sequence[Any], dialect: Dialect) -> tuple[Any, ...]:
    """Return the primary key that `key_as_json` has given as JSON.

    Raises:
        ConfigurationError: it is not a key of this table.
    """
    columns = list(column.table.primary_key)
    try:
        return tuple(_decoded(each.type, value, dialect) for each, value in zip(columns, key, strict=True))
    except (TypeError, ValueError, LookupError, ArithmeticError, NotImplementedError) as error:
        raise ConfigurationError(f"{key!r} is not a primary key of {column.table.name}: {error}") from error


def _encoded(kind: TypeEngine[Any], value: Any, dialect: Dialect) -> Any:
    if isinstance(kind, TypeDecorator):
        return _encoded(kind.impl_instance, kind.process_bind_param(value, dialect), dialect)
    if isinstance(value, Enum):
        return value.name
    for known, (encode, _) in _FORMS.items():
        if isinstance(value, known):
            return encode(value)
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _decoded(kind: TypeEngine[Any], value: Any, dialect: Dialect) -> Any:
    if isinstance(kind, TypeDecorator):
        return kind.process_result_value(_decoded(kind.impl_instance, value, dialect), dialect)
    python = kind.python_type
    if value is None:
        return None
    if issubclass(python, Enum):
        return python[value]
    decode = _FORMS.get(python, (None, None))[1]
    return value if decode is None else decode(value)


#: Types of keys, with the functions that give them as JSON, and back. A datetime is also a date.
_FORMS: Final[Mapping[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    uuid.UUID: (str, uuid.UUID),
    datetime.datetime: (datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
    datetime.time: (datetime.time.isoformat, datetime.time.fromisoformat),
    datetime.timedelta: (
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda value: datetime.timedelta(*value),
    ),
    Decimal: (str, Decimal),
    bytes: (bytes.hex, bytes.fromhex),
}
