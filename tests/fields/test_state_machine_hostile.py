"""Random histories in which nothing goes as it should: after every end, rows and files agree nevertheless.

What `tests.fields.test_state_machine` cannot know the outcome of: see `tests.fields.hostile_history`.
``DEPOT_TEST_EXAMPLES=2000`` plays that many random histories instead of the fixed ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, Literal

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from sqlalchemy import Engine, delete, event, insert, inspect, text, update
from sqlalchemy.orm import InstanceState, LoaderCallableStatus, Session

from depot_lite.errors import DepotError
from depot_lite.fields import columns
from depot_lite.fields.statements.targets import Target
from depot_lite.fields.tracking import fates, outcomes
from depot_lite.fields.tracking.births import Candidates, Files, Row
from depot_lite.fields.tracking.flush import Slot
from depot_lite.fields.tracking.rows import Flush
from depot_lite.fields.upload import UploadedFile
from tests.fields.hostile_history import ATTRIBUTES, Chest, HostileHistory, Rewriting, Savepoint, engines
from tests.fields.steps import play

# SQLAlchemy warns of much that these histories do on purpose.
pytestmark = [pytest.mark.matrix, pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")]

#: Events that happen to the application, beside its own work.
HOSTILE: Final = frozenset(
    {
        "error caught",
        "statement that raises",
        "foreign value",
        "trigger",
        "other session",
        "savepoint of the connection",
        "DDL",
        "listener returns another",
    }
)

#: Every kind of step that a run must have reached, or it has shown nothing.
KINDS: Final = (
    *HOSTILE,
    "commit",
    "commit refused",
    "committed nevertheless",
    "rollback",
    "close",
    "savepoint of the session",
    "savepoint released",
    "savepoint rolled back",
    "added a second time",
    "statement",
    "stale object",
)

STATEMENTS: Final = (
    *("update", "update", "by key", "bulk", "delete", "query"),
    *("insert", "insert", "insert generated", "insert many", "save"),
)


def _may_happen(kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    condition: Any = precondition(lambda machine: kind in machine.hostile)
    return condition  # type: ignore[no-any-return]  # Hypothesis does not type it


picks = st.integers(0, 7)
attributes = st.sampled_from(ATTRIBUTES)


class HostileMachine(HostileHistory):
    """What applications do, and what happens to them, in any order."""

    #: What may happen; the tests of the machine itself allow one thing at a time.
    hostile = HOSTILE

    @initialize()
    def commit_rows(self) -> None:
        """Have something to lose."""
        for keeps in ("nothing", "nothing", "row", "files", "both"):
            self.add_row(keeps, foreign=False, generated=False, flush=False)
        self.commit(expires=True)
        assert len(self.keys) == 5

    # --- objects --------------------------------------------------------------------------------------------------

    @rule(
        keeps=st.sampled_from(["nothing", "nothing", "row", "files"]),
        foreign=st.booleans(),
        generated=st.booleans(),
        flush=st.booleans(),
    )
    def add_row(self, keeps: str, foreign: bool, generated: bool, flush: bool) -> None:
        """Add an object, with files that are given as they should be or not; its key may be the database's."""
        key, code = None if generated else self.key(), next(self.numbers)
        triggers = "trigger" in self.hostile
        chest = Chest(
            code=code,
            keeps_row=int(triggers and keeps in {"row", "both"}),
            keeps_files=int(triggers and keeps in {"files", "both"}),
        )
        if key is not None:
            chest.id = key
        for attribute in ATTRIBUTES:
            if foreign and "foreign value" in self.hostile:
                chest.__dict__[attribute] = self.value(attribute)
            else:
                setattr(chest, attribute, self.value(attribute, uploads=True))
        self.codes.append(code)
        self.attempt("added", lambda: self.add(chest, key), lambda: self._flush_if(flush))

    #: Once more, so that it comes twice as often.
    add_row_again = add_row

    @rule(number=picks)
    def add_a_second_time(self, number: int) -> None:
        """Add an object again that was new in a transaction that was rolled back."""
        lost = [each for each in self.made if inspect(each).transient]
        if lost:
            chest = lost[number % len(lost)]
            self.attempt("added a second time", lambda: self.session.add(chest), self.session.flush)

    @rule(number=picks, attribute=attributes, flush=st.booleans())
    def replace(self, number: int, attribute: str, flush: bool) -> None:
        def step() -> None:
            if chest := self.chest(number):
                setattr(chest, attribute, self.value(attribute, uploads=True))
                self._flush_if(flush)

        self.attempt("replaced", step)

    @_may_happen("foreign value")
    @rule(
        number=picks,
        other=picks,
        attribute=attributes,
        what=st.sampled_from(["bytes", "uploads", "other's", "tuple"]),
        flush=st.booleans(),
    )
    def put_foreign_value(self, number: int, other: int, attribute: str, what: str, flush: bool) -> None:
        """Write past the attribute's listener: an object that is no value of it, or a value of another row."""

        def step() -> None:
            chest, partner = self.chest(number), self.chest(other)
            if chest is None or partner is None:
                return
            getattr(chest, attribute)
            value = (
                getattr(partner, attribute) if what == "other's" else self.value(attribute, uploads=what == "uploads")
            )
            self.put_past_listeners(
                chest, attribute, tuple(value) if isinstance(value, list) and what == "tuple" else value
            )
            self._flush_if(flush)

        self.attempt("foreign value", step)

    @_may_happen("listener returns another")
    @rule(number=picks, attribute=attributes, flush=st.booleans())
    def replace_while_a_listener_returns_another(self, number: int, attribute: str, flush: bool) -> None:
        def step() -> None:
            if chest := self.chest(number):
                Rewriting.on = True
                setattr(chest, attribute, self.value(attribute, uploads=True))
                Rewriting.on = False
                self._flush_if(flush)

        try:
            self.attempt("listener returns another", step)
        finally:
            Rewriting.on = False

    @rule(source=picks, number=picks, one=attributes, flush=st.booleans())
    def copy(self, source: int, number: int, one: str, flush: bool) -> None:
        """Copy what an object shows, which may be of a row that has another file by now, or of none."""

        def step() -> None:
            original, chest = self.chest(source), self.chest(number)
            if original is not None and chest is not None:
                setattr(chest, one, getattr(original, one))
                self._flush_if(flush)

        self.attempt("copied", step)

    @rule(number=picks, how=st.sampled_from(["append", "remove", "reverse", "append and remove"]), flush=st.booleans())
    def change_list(self, number: int, how: str, flush: bool) -> None:
        def step() -> None:
            chest = self.chest(number)
            pages = None if chest is None else chest.pages
            if pages is None:
                return
            if how.startswith("append"):
                pages.append(UploadedFile(self.data()))
            if how.endswith("remove") and pages:
                pages.pop(0)
            if how == "reverse":
                pages.reverse()
            self._flush_if(flush)

        self.attempt("list changed", step)

    @rule(number=picks, flush=st.booleans())
    def delete(self, number: int, flush: bool) -> None:
        def step() -> None:
            if chest := self.chest(number):
                if inspect(chest).persistent:
                    self.session.delete(chest)
                    self.reached["trigger"] += chest.keeps_row
                self._flush_if(flush)

        self.attempt("deleted", step)

    @rule(expire=st.booleans())
    def flush(self, expire: bool) -> None:
        if self.attempt("flushed", self.session.flush) and expire:
            self.session.expire_all()

    def _flush_if(self, flush: bool) -> None:
        if flush:
            self.session.flush()

    # --- statements -----------------------------------------------------------------------------------------------

    @rule(
        number=picks,
        attribute=attributes,
        how=st.sampled_from(STATEMENTS),
        raises=st.sampled_from([None, "before", "after"]),
        commit=st.booleans(),
    )
    def execute(
        self, number: int, attribute: str, how: str, raises: Literal["before", "after"] | None, commit: bool
    ) -> None:
        """Execute a statement; a listener may raise before it is sent, or when it has been executed."""
        tracer = self.engines.tracer

        def step() -> None:
            self.session.flush()
            tracer.armed, tracer.raised = raises if "statement that raises" in self.hostile else None, False
            self._statement(how, number, attribute)

        try:
            self.attempt("statement", step)
        finally:
            self.reached["statement that raises"] += tracer.raised and self.session.in_transaction()
            tracer.armed, tracer.raised = None, False
        if commit:
            self.commit(expires=True)

    def _statement(self, how: str, number: int, attribute: str) -> None:
        key, session = self.pick(number), self.session
        if how.startswith("insert"):
            session.execute(*self._insert(how))
        elif how == "update":
            session.execute(update(Chest).where(Chest.id == key).values({attribute: self.value(attribute)}))
        elif how == "by key":
            session.execute(update(Chest), [{"id": key, attribute: self.value(attribute)}])
        elif how == "bulk":
            session.bulk_update_mappings(inspect(Chest), [{"id": key, attribute: self.value(attribute)}])
        elif how == "save":
            session.bulk_save_objects([Chest(id=self.key(), code=next(self.numbers), content=self.data())])
        elif how == "delete":
            session.execute(delete(Chest).where(Chest.id == key))
        else:
            session.query(Chest).filter(Chest.id == key).delete()

    def _insert(self, how: str, **values: Any) -> tuple[Any, ...]:
        row = {"code": next(self.numbers), "content": self.data(), "pages": self.value("pages"), **values}
        if how == "insert generated":
            return (insert(Chest).values(row),)
        if how == "insert":
            return (insert(Chest).values({"id": self.key(), **row}),)
        return insert(Chest), [{**row, "code": next(self.numbers)}, row]

    @_may_happen("error caught")
    @rule(
        number=picks,
        what=st.sampled_from(
            ["insert", "insert generated", "insert many", "or rollback", "unknown column", "unknown column"]
        ),
        commit=st.booleans(),
    )
    def execute_what_the_database_refuses(self, number: int, what: str, commit: bool) -> None:
        """The application catches the error and goes on, or commits, whatever has become of its transaction."""

        def step() -> None:
            self.session.flush()
            if what.startswith("insert"):
                self.session.execute(*self._insert(what, code=self.codes[number % len(self.codes)]))
            elif what == "or rollback" and self.dialect == "sqlite":
                (statement,) = self._insert("insert", code=self.codes[number % len(self.codes)])
                self.session.execute(statement.prefix_with("OR ROLLBACK"))
            else:
                self.session.execute(text("SELECT there_is_no_such_column FROM hostile_chest"))

        self.attempt("not refused", step)
        if commit:
            self.commit(expires=True)

    @_may_happen("error caught")
    @rule(number=picks, once_in_a_while=st.integers(0, 2), commit=st.booleans())
    def add_what_the_database_refuses(self, number: int, once_in_a_while: int, commit: bool) -> None:
        """In a flush, which SQLAlchemy rolls back itself."""
        if not once_in_a_while:
            self.session.add(Chest(code=self.codes[number % len(self.codes)], content=self.data()))
            if commit:
                self.commit(expires=True)

    @_may_happen("DDL")
    @rule()
    def execute_ddl(self) -> None:
        """On MariaDB it commits the transaction so far; elsewhere it is a part of the transaction."""
        statement = text("DROP TABLE IF EXISTS there_is_no_such_table")
        self.attempt("DDL", self.session.flush, lambda: self.session.execute(statement))

    # --- another session ------------------------------------------------------------------------------------------

    @_may_happen("other session")
    @rule(
        number=picks,
        how=st.sampled_from(["replace", "replace", "append", "remove", "remove", "clear", "delete", "statement"]),
        load=st.sampled_from([True, True, False]),
        then=st.sampled_from([None, "content", "content", "pages", "append", "append", "remove", "delete"]),
        commit=st.booleans(),
    )
    def let_another_session_write(self, number: int, how: str, load: bool, then: str | None, commit: bool) -> None:
        """A row that ours has loaded perhaps, and not locked; and that it may write now."""
        key = self.pick(number)
        if load:
            self.attempt("loaded", lambda: (chest := self.chest(number)) and (chest.content, chest.pages))
            if self.dialect == "sqlite":  # a reader would keep the writer waiting
                self.commit(expires=False)
        stale = self.held.get(key)
        self.reached["stale object"] += stale is not None and stale in self.session and "pages" in stale.__dict__

        def step(session: Session) -> None:
            chest = session.get(Chest, key, with_for_update={"skip_locked": True})
            if chest is None:
                return
            if how == "statement":
                session.execute(update(Chest).where(Chest.id == key).values(report=self.data(), content=self.data()))
            elif how == "delete":
                session.delete(chest)
            elif how == "append":
                chest.pages.append(UploadedFile(self.data()))
            elif how == "remove":
                del chest.pages[-1:]
            else:
                chest.content = None if how == "clear" else UploadedFile(self.data())

        self.other_session(step)
        if key not in self.keys:
            return
        number = sorted(self.keys).index(key)
        if then == "delete":
            self.delete(number, flush=True)
        elif then in ATTRIBUTES:
            self.replace(number, then, flush=True)
        elif then is not None:
            self.change_list(number, then, flush=True)
        if commit:
            self.commit(expires=True)

    #: Once more, so that it comes twice as often.
    let_another_session_write_again = let_another_session_write

    # --- transactions ---------------------------------------------------------------------------------------------

    @rule(
        how=st.sampled_from(
            [
                *("begin", "begin behind its back", "begin and add", "release"),
                *("rollback", "rollback and expire", "rollback and commit"),
            ]
        )
    )
    def savepoint(self, how: str) -> None:
        """One rule for all, so that savepoints end about as often as they begin."""
        if how.startswith("begin") or not self.savepoints:
            of_session = how == "begin" or "savepoint of the connection" not in self.hostile

            def begin() -> None:
                self.session.flush()
                begun: Any = self.session if of_session else self.session.connection()
                self.savepoints.append(Savepoint(begun.begin_nested(), of_session))

            self.attempt("savepoint of the session" if of_session else "savepoint of the connection", begin)
            if how == "begin and add":
                self.add_row("nothing", foreign=False, generated=False, flush=True)
            return
        savepoint = self.savepoints.pop()
        if how == "release":
            self.attempt("savepoint released", self.session.flush, savepoint.transaction.commit)
        elif self.attempt("savepoint rolled back", savepoint.transaction.rollback):
            if how.endswith("expire"):
                self.session.expire_all()
            elif how.endswith("commit"):
                self.commit(expires=True)

    #: Once more, so that it comes twice as often.
    savepoint_again = savepoint

    @rule(how=st.sampled_from(["commit", "commit", "keep", "rollback", "close"]))
    def end_transaction(self, how: str) -> None:
        """One rule for all, so that transactions last some steps."""
        if how == "close":
            self.close()
        elif how == "rollback":
            self.roll_back()
        else:
            self.commit(expires=how == "commit")


def play_hostile(
    engine: Engine,
    examples: int,
    *,
    hostile: frozenset[str] = HOSTILE,
    phases: Sequence[Phase] = tuple(Phase),
) -> Counter[str]:
    """Play histories with some of the hostile events, and return how often they came to each kind of step."""
    with engines(engine) as made:
        machine = type("PlayedHostileMachine", (HostileMachine,), {"engines": made, "hostile": hostile})
        return play(engine, examples, machine=machine, phases=phases)


def test_no_hostile_history_loses_a_file_or_leaves_one_over(engine: Engine) -> None:
    """In every random history, committed rows can read their files and nothing else is stored.

    Thousands of steps, and every kind of them; else nothing has been shown.
    """
    reached = play_hostile(engine, 80)
    assert reached["step"] > 2000
    assert not [kind for kind in KINDS if not reached[kind]]


# --- the machine finds defects ------------------------------------------------------------------------------------


def _nothing(*args: object, **named: object) -> None:
    pass


def _commits_are_believed(
    candidates: Candidates, *, committed: bool, to_ask: Callable[..., dict[str, set[Row]]] = fates.to_ask
) -> dict[str, set[Row]]:
    return {} if committed else to_ask(candidates, committed=committed)


def _rollbacks_are_believed(
    candidates: Candidates, *, committed: bool, to_ask: Callable[..., dict[str, set[Row]]] = fates.to_ask
) -> dict[str, set[Row]]:
    return to_ask(candidates, committed=committed) if committed else {}


def _not_in_doubt(target: Target, watch: object) -> Any:
    return nullcontext()


def _remembered(flush: Flush, *args: Any, held: Callable[..., Files | None] = Flush.held) -> Files | None:
    found = held(flush, *args)
    (state,) = (each for each in args if isinstance(each, InstanceState))
    slots = [Slot(state, column) for column in columns.columns_of_mapper(state.mapper).values()]
    return found and {
        **found,
        **{each.column.column: each.old for each in slots if not isinstance(each.old, LoaderCallableStatus)},
    }


@contextmanager
def _no_error_is_noticed() -> Iterator[None]:
    event.remove(Engine, "handle_error", outcomes._on_error)
    try:
        yield
    finally:
        outcomes.track_errors()


@contextmanager
def _patched(*patch: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(*patch)
        yield


@contextmanager
def _nothing_is_doubted() -> Iterator[None]:
    with _no_error_is_noticed(), _patched(Target, "executing", _not_in_doubt):
        yield


Sabotage = Callable[[], AbstractContextManager[None]]

_commits = partial(_patched, fates, "to_ask", _commits_are_believed)
_rollbacks = partial(_patched, fates, "to_ask", _rollbacks_are_believed)
_acceptance = partial(_patched, Slot, "accept", _nothing)

#: A defect of depot_lite; the only event that may happen; and the database.
SABOTAGES: dict[str, tuple[Sabotage, str, str]] = {
    "an aborted COMMIT is believed": (_commits, "error caught", "postgresql"),
    "errors of the database are not noticed": (_no_error_is_noticed, "error caught", "postgresql"),
    "a row that a trigger keeps is believed gone": (_commits, "trigger", "sqlite"),
    "a row that a function keeps is believed gone": (_commits, "trigger", "postgresql"),
    "a value that a trigger puts back is believed gone": (_commits, "trigger", "mariadb"),
    "a statement that raised is not doubted": (_nothing_is_doubted, "statement that raises", "sqlite"),
    "foreign values stay as they are": (_acceptance, "foreign value", "sqlite"),
    "what a listener returns stays as it is": (_acceptance, "listener returns another", "sqlite"),
    "savepoints of the connection are not noticed": (
        partial(_patched, outcomes, "_on_savepoint_lost", _nothing),
        "savepoint of the connection",
        "sqlite",
    ),
    "what is remembered is taken for what is held": (
        partial(_patched, Flush, "held", _remembered),
        "other session",
        "postgresql",
    ),
    "what is remembered is written again": (
        partial(_patched, Slot, "reconcile", _nothing),
        "other session",
        "postgresql",
    ),
    "a rollback after DDL is believed": (_rollbacks, "DDL", "mariadb"),
}


@pytest.mark.parametrize(
    ("sabotage", "hostile", "engine"), SABOTAGES.values(), ids=list(SABOTAGES), indirect=["engine"]
)
def test_the_machine_objects_to(sabotage: Sabotage, hostile: str, engine: Engine) -> None:
    """Each defect is found by its own kind of event, while nothing else is hostile."""
    with sabotage(), pytest.raises((AssertionError, DepotError)):
        play_hostile(engine, 200, hostile=frozenset({hostile}), phases=[Phase.generate])
