"""Every private name of SQLAlchemy that depot_lite uses, each with the reason.

Public names of SQLAlchemy are used everywhere else. A name that a future version no longer has makes the import of
this module fail, or a test, and never loses a file silently.
"""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

from sqlalchemy import ClauseElement, Column, ColumnDefault, Delete, Insert, TextClause, Update
from sqlalchemy.engine import Connection, TwoPhaseTransaction
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, Session, SessionTransaction
from sqlalchemy.orm.session import _sessions
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import Null

from depot_lite.errors import DepotError

# --- connections --------------------------------------------------------------------------------------------------

#: Methods of a `Connection` that end its transaction, and whether they commit it.
_ENDS: Final = {
    "_commit_impl": True,
    "_commit_twophase_impl": True,
    "_rollback_impl": False,
    "_rollback_twophase_impl": False,
}
_ROLLBACK_TO_SAVEPOINT: Final = "_rollback_to_savepoint_impl"
_EXECUTE: Final = "_execute_context"
_ORIGINALS: Final = {name: getattr(Connection, name) for name in (*_ENDS, _ROLLBACK_TO_SAVEPOINT, _EXECUTE)}

#: Called with the connection, whether it is to commit, whether its transaction may be prepared, and the function that
#: sends COMMIT or ROLLBACK.
OnEnd = Callable[[Connection, bool, bool, Callable[[], None]], None]


def follow(
    connection: Connection,
    on_end: OnEnd,
    on_savepoint_lost: Callable[[Connection], None],
    on_text: Callable[[Connection, str], None],
) -> None:
    """Let a connection's COMMIT and ROLLBACK go through ``on_end``, and tell of savepoints and of SQL as text.

    Savepoints are told when they have been rolled back, SQL as text and DDL when it has been executed.

    SQLAlchemy's events come before the statement is sent; none comes after the database has answered, while the
    connection is still at hand to be asked. So the methods of this one connection are replaced. They refer to it
    weakly: a connection that is dropped goes back to its pool at once.
    """
    itself = weakref.ref(connection)
    for name, commits in _ENDS.items():
        setattr(connection, name, partial(_send_end, itself, name, on_end, commits))
    setattr(connection, _ROLLBACK_TO_SAVEPOINT, partial(_lose_savepoint, itself, on_savepoint_lost))
    setattr(connection, _EXECUTE, partial(_execute, itself, on_text))


def _send_end(itself: weakref.ref[Connection], name: str, on_end: OnEnd, commits: bool, *args: Any) -> None:
    connection = itself()
    if connection is not None:
        on_end(connection, commits, _may_be_prepared(connection), partial(_ORIGINALS[name], connection, *args))


def _may_be_prepared(connection: Connection) -> bool:
    """Return whether the first phase of a two-phase commit was carried out, as far as can be known.

    If the connection is broken, that may have happened while PREPARE was awaited.
    """
    transaction = connection.get_transaction()
    return isinstance(transaction, TwoPhaseTransaction) and (
        transaction._is_prepared or connection.closed or connection.invalidated
    )


def _lose_savepoint(itself: weakref.ref[Connection], listener: Callable[[Connection], None], *args: Any) -> None:
    connection = itself()
    if connection is not None:
        _ORIGINALS[_ROLLBACK_TO_SAVEPOINT](connection, *args)
        listener(connection)


def _execute(
    itself: weakref.ref[Connection],
    listener: Callable[[Connection, str], None],
    dialect: Any,
    constructor: Any,
    statement: Any,
    *args: Any,
    **kw: Any,
) -> Any:
    connection = itself()
    if connection is None:
        raise RuntimeError("a connection that nobody refers to executes nothing")
    result = _ORIGINALS[_EXECUTE](connection, dialect, constructor, statement, *args, **kw)
    if isinstance(statement, str) or isinstance(statement.statement, TextClause | ExecutableDDLElement):
        listener(connection, str(statement))
    return result


def bare(connection: Connection) -> Connection:
    """Return another `Connection` for the same connection of the driver, which begins and ends no transaction.

    It can be used when the transactions of the given one do not allow a statement, and fires no event of it.
    """
    return Connection(
        connection.engine, connection.connection, _has_events=False, _allow_revalidate=False, _allow_autobegin=False
    )


#: A flag of MariaDB's client protocol.
_SERVER_STATUS_AUTOCOMMIT: Final = 2


def commits_by_itself(connection: Connection) -> bool:
    """Return whether each statement of a connection is a transaction of its own (AUTOCOMMIT)."""
    level = connection.get_execution_options().get("isolation_level")
    # No public name tells the level that create_engine() was given.
    if (level or connection.engine.dialect._on_connect_isolation_level) == "AUTOCOMMIT":
        return True
    try:
        driver: Any = connection.connection.driver_connection
        status = getattr(driver, "server_status", None)
        return isinstance(status, int) and bool(status & _SERVER_STATUS_AUTOCOMMIT)
    except Exception:  # a connection that is broken
        return False


# --- sessions -----------------------------------------------------------------------------------------------------


def begin(session: Session) -> SessionTransaction:
    """Begin the transaction of a session as a query does, which ``autobegin=False`` refuses."""
    return session._autobegin_t()


def listen_first(session: Session, listeners: Mapping[str, Callable[..., None]]) -> None:
    """Add listeners before the others of a session that does not have them yet.

    It may be telling its others of the very event, and these may be what makes ours necessary: ``event.listen()`` would
    change the list that SQLAlchemy is going through. So the list is replaced.
    """
    for name, listener in listeners.items():
        found = getattr(session.dispatch, name).for_modify(session.dispatch)
        if listener not in found.listeners:
            found.listeners = deque([listener, *found.listeners])


def states_to_flush(session: Session, mark: str) -> list[list[InstanceState[Any]]]:
    """Return the states of the new, the changed and the deleted objects whose class managers have a key in ``info``.

    ``session.new``, ``dirty`` and ``deleted`` make sets of objects, which costs more than all that a flush of objects
    without files needs of us.
    """
    groups: tuple[Iterable[InstanceState[Any]], ...] = (session._new, session.identity_map._modified, session._deleted)
    return [[state for state in states if mark in state.manager.info] for states in groups]


def is_flushing(session: Session) -> bool:
    """Return whether a flush is under way: listeners may then not start another one."""
    return session._flushing


def autoflush(session: Session) -> None:
    """Flush as a query would, if the session does so: the rows that a statement will find have to be there."""
    session._autoflush()


def connection_in_flush(session: Session, mapper: Mapper[Any], target: object) -> Connection:
    """Return the connection on which a flush writes an object; `ShardedSession` has one per object."""
    choose = session.connection_callable
    if choose is not None:
        return choose(mapper, target)
    return session.connection(bind_arguments={"mapper": mapper})


def holds_connection(session: Session, bind: object) -> bool:
    """Return whether the session's transaction has a connection of this engine, or is bound to it."""
    transaction = session.get_transaction()
    return isinstance(bind, Connection) or (transaction is not None and bind in transaction._connections)


def follow_statements(listener: Callable[[ORMExecuteState], Any], concerns: Callable[[Session, Any], bool]) -> None:
    """Call a listener as ``do_orm_execute`` does, after all others, for the statements that concern it.

    A listener that is registered costs every SELECT of every session 3 % of its time, since SQLAlchemy then prepares
    each statement twice. Here it is handed to the method that executes, which takes one more for a single statement.
    It comes last, so that a `ShardedSession` has chosen a shard. A second call does nothing.
    """
    original = Session._execute_internal
    if getattr(original, "listener", None) is listener:
        return

    @functools.wraps(original)
    def execute(self: Session, statement: Any, *args: Any, **kw: Any) -> Any:
        if getattr(statement, "is_dml", False):
            parent = kw.get("_parent_execute_state")
            if parent is None:
                if concerns(self, statement):
                    kw["_add_event"] = listener
            elif listener not in parent._events_todo and concerns(self, statement):
                # A listener's, for something that was no such statement.
                parent._events_todo = [*parent._events_todo, listener]
        return original(self, statement, *args, **kw)

    execute.listener = listener  # type: ignore[attr-defined]  # the mark by which it is known
    Session._execute_internal = execute  # type: ignore[method-assign]  # meant


def follow_flushes(listener: Callable[..., None], mark: str, in_session: str) -> None:
    """Call a listener before the flushes that concern it, as ``before_flush`` does, and before all of its listeners.

    A listener that is registered costs each flush of any object 2 % of its time. A second call does nothing.

    Args:
        listener: called with the session, the objects that ``flush(objects)`` was given, and `states_to_flush`.
        mark: a key in the ``info`` of the managers of the classes that concern it.
        in_session: a key in the ``info`` of sessions, all of whose flushes concern it.
    """
    original = Session._flush
    if getattr(original, "listener", None) is listener:
        return

    @functools.wraps(original)
    def flush(self: Session, objects: Sequence[object] | None = None) -> None:
        concerned = in_session in self.__dict__.get("info", ())  # reading ``info`` would make one
        for states in () if concerned else (self._new, self.identity_map._modified, self._deleted):
            for state in states:
                if mark in state.manager.info:
                    concerned = True
                    break
        if concerned:
            listener(self, objects, *states_to_flush(self, mark))
        original(self, objects)

    flush.listener = listener  # type: ignore[attr-defined]  # the mark by which it is known
    Session._flush = flush  # type: ignore[method-assign]  # meant


def place_of(value: object) -> str:
    """Return the table, the column and the primary key of a loaded value, found in the open sessions, for errors.

    A value does not know its object, and remembering it would cost every row that is loaded.
    """
    for session in list(_sessions.values()):
        for state in session.identity_map.all_states():
            for key, held in list(state.dict.items()):  # another thread may use the session
                if held is value or (isinstance(held, list) and any(each is value for each in held)):
                    column = state.mapper.columns.get(key)
                    name = f"{state.class_.__name__}.{key}" if column is None else str(column)
                    return f"{name} of the row with the primary key {state.key[1] if state.key else None}"
    return "a column of files"


# --- statements ---------------------------------------------------------------------------------------------------


def values_of(statement: Update | Insert) -> dict[Any, Any]:
    """Return the values that a statement assigns with ``values()``."""
    ordered = getattr(statement, "_ordered_values", None)  # an UPDATE of SQLAlchemy 2.0
    return dict(ordered or statement._values or {})


def rows_of(statement: Insert) -> Sequence[Sequence[Any]]:
    """Return the rows of ``insert().values([...])``, in the groups in which they were given."""
    return statement._multi_values


def options_of(statement: Any) -> Sequence[Any]:
    """Return the options of a statement, such as `with_loader_criteria`."""
    return statement._with_options  # type: ignore[no-any-return]  # it is untyped


def parent_entity(statement: Update | Delete | Insert) -> Any:
    """Return the class, or the alias of a class, that a statement writes to; None if it names a table.

    ``entity_description`` is public, and fails for ``update(Document.__table__).where(Document.id == 1)``.
    """
    inspected = statement.table._annotations.get("parententity")
    return None if inspected is None else inspected.entity


def parent_mapper(statement: Update | Delete | Insert) -> Mapper[Any] | None:
    """Return the mapper of that class."""
    return statement.table._annotations.get("parentmapper")


def prefixes(statement: Any) -> Sequence[Any]:
    """Return the prefixes of a statement, such as ``OR REPLACE``, with their dialects."""
    return statement._prefixes  # type: ignore[no-any-return]  # it is untyped


def conflict_clause(statement: Insert) -> Any:
    """Return the clause of an INSERT about existing rows (``ON CONFLICT ...``), or None."""
    return statement._post_values_clause


def ignores_rows(statement: Insert) -> bool:
    """Return whether existing rows are left out, and the database counts the inserted ones."""
    clause = conflict_clause(statement)
    return bool(prefixes(statement)) if clause is None else clause.__visit_name__ == "on_conflict_do_nothing"


def may_leave_out(statement: Insert) -> bool:
    """Return whether some of the rows may not be inserted, without an error."""
    return ignores_rows(statement) or conflict_clause(statement) is not None


def executed_insert(context: Any) -> Insert | None:
    """Return the INSERT that an execution context executes, None if that is another statement, or a flush."""
    statement = getattr(context.invoked_statement, "element", context.invoked_statement)
    return statement if isinstance(statement, Insert) else None


def selected_names(statement: Insert) -> Sequence[Any]:
    """Return the columns of an ``INSERT ... SELECT``."""
    return statement._select_names or () if statement.select is not None else ()


def is_bulk(options: Mapping[str, Any]) -> bool:
    """Return whether SQLAlchemy executes an INSERT or UPDATE with a list of rows as its bulk methods do.

    These ask the session for the connection of the base mapper, and know nothing of the statement.
    """
    chosen = [options.get("_sa_orm_insert_options"), options.get("_sa_orm_update_options")]
    return any(each is not None and each._dml_strategy == "bulk" for each in chosen)


def is_limited(clause: ClauseElement) -> bool:
    """Return whether a condition has a SELECT with LIMIT in it, which may choose other rows the second time."""
    return any(
        getattr(each, "_limit_clause", None) is not None or getattr(each, "_fetch_clause", None) is not None
        for each in visitors.iterate(clause)
    )


def changed(statement: Any, **attributes: Any) -> Any:
    """Return a copy of a statement with other attributes: a statement's values can be added to, but not taken away."""
    copy = statement._generate()
    for name, value in attributes.items():
        setattr(copy, name, value)
    return copy


def is_null(value: object) -> bool:
    """Return whether this is the ``null()`` that SQLAlchemy makes of None."""
    return isinstance(value, Null)


# --- exceptions ---------------------------------------------------------------------------------------------------


@cache
def _unwrapped(kind: Any) -> Any:
    """Return a subclass of an exception that SQLAlchemy does not wrap."""
    return type(kind.__name__, (kind, DontWrapMixin), {"__module__": kind.__module__, "plain": kind})


def keep_class(error: DepotError) -> None:
    """Let an exception of ours leave SQLAlchemy as it is, which wraps errors of binding in a StatementError.

    The exception has another class on its way through SQLAlchemy, until `restore_error` is told of it.
    """
    kind: Any = type(error)
    error.__class__ = _unwrapped(kind)


def restore_error(error: BaseException | None) -> None:
    """Give an exception of ours its own class back."""
    if isinstance(error, DontWrapMixin) and isinstance(error, DepotError):
        error.__class__ = getattr(error, "plain", type(error))


# --- columns ------------------------------------------------------------------------------------------------------


def set_default(column: Column[Any], default: Callable[..., Any], *, for_update: bool = False) -> None:
    """Give a column that exists already a default (or an ``onupdate``) that Python computes."""
    ColumnDefault(default, for_update=for_update)._set_parent_with_dispatch(column)
