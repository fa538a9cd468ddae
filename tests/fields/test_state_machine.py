"""Random histories of sessions against a model: after every end of a transaction, rows and files agree exactly.

The machine does what applications do, in any order, on rows with two file columns; the model (`tests.fields.history`)
is a dictionary of bytes for each savepoint that is open. No other file may be left, except those that a storage was
told not to delete.

``DEPOT_TEST_EXAMPLES=2000`` plays that many random histories instead of the fixed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase
from sqlalchemy import Engine
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.depots import discard
from depot_lite.errors import StoredFileNotFound
from depot_lite.fields import sqlalchemy
from depot_lite.fields.columns import FileColumn
from depot_lite.fields.statements.targets import Target
from depot_lite.fields.tracking import fates, proof, rows
from depot_lite.fields.tracking.births import Birth, Candidates, Row, birth_of
from depot_lite.fields.tracking.fates import Answer, End
from depot_lite.fields.tracking.flush import Slot
from depot_lite.fields.tracking.ledger import Ledger
from depot_lite.fields.tracking.outcomes import Watch
from depot_lite.fields.upload import UploadedFile
from tests.conftest import World, sqlite_engine
from tests.fields.machine import Machine
from tests.fields.steps import KINDS, play
from tests.support.models import Base, Document

pytestmark = pytest.mark.matrix


def test_no_history_loses_a_file_or_leaves_one_over(engine: Engine) -> None:
    """In every random history, committed rows can read their files and nothing else is stored.

    Thousands of steps, and every kind of them; else nothing has been shown.
    """
    reached = play(engine, 150 if engine.dialect.name == "sqlite" else 80, machine=Machine)
    assert reached["step"] > 2000
    assert not [kind for kind in KINDS if not reached[kind]]


def _nothing(*args: object, **named: object) -> None:
    pass


def _all_gone(connection: object, end: object) -> Answer:
    return Answer()


def _all_there(connection: object, end: End) -> Answer:
    return Answer(named=set(end.asked))


def _only_after_commit(
    candidates: Candidates, *, committed: bool, to_ask: Callable[..., dict[str, set[Row]]] = fates.to_ask
) -> dict[str, set[Row]]:
    return to_ask(candidates, committed=committed) if committed else {}


def _delete_at_flush(candidates: Candidates, path: str, row: Row) -> None:
    if birth_of(path) is None:
        discard([path])


def _lose_nothing(ledger: Ledger, births: object) -> set[str]:
    return set()


def _forget(candidates: Candidates, birth: Birth) -> None:
    for path in birth.paths:
        candidates.births.pop(path, None)
        candidates.rows.pop(path, None)


def _no_rows(*args: object, **named: object) -> dict[object, object]:
    return {}


def _share(column: FileColumn, value: Any, state: object) -> Any:
    return value


SABOTAGES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "nothing is decided at the end": (Watch, "_judge", _nothing),
    "no end of a session is noticed": (Watch, "leave", _nothing),
    "what is asked about is taken for gone": (proof, "ask", _all_gone),
    "what is asked about is taken for named": (proof, "ask", _all_there),
    "nothing is asked after a rollback": (fates, "to_ask", _only_after_commit),
    "replaced files are deleted at flush": (Candidates, "condemn", _delete_at_flush),
    "nobody tells what was given to the database": (sqlalchemy, "mark_bound", _nothing),
    "a savepoint that is rolled back loses nothing": (Ledger, "lose", _lose_nothing),
    "what a savepoint lost is forgotten": (Candidates, "lose", _forget),
    "a row is not read before it is written": (rows, "read_rows", _no_rows),
    "rows that a statement writes are not read before": (Target, "read_locked", _no_rows),
    "two rows share a file": (FileColumn, "copy", _share),
    "a row takes files of others as they are": (Slot, "copy_foreign", _nothing),
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_machine_objects_to(sabotage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake that tracking could make is found."""
    engine = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(engine)
    monkeypatch.setattr(*SABOTAGES[sabotage])
    with pytest.raises((AssertionError, StoredFileNotFound, StaleDataError)):
        play(engine, 300, machine=Machine, phases=[Phase.generate])
    engine.dispose()


def test_a_copy_whose_original_was_rolled_back_stores_the_bytes_itself(world: World) -> None:
    """Found by the machine: the copy's row was committed and named a file that had gone with the rollback."""
    with world.session() as session:
        original = Document(id=1_000_001, content=UploadedFile(b"bytes"))
        session.add(original)
        session.flush()
        copied = Document(id=1_000_002, content=original.content)
        session.rollback()
        session.add(copied)
        session.commit()
        world.check(b"bytes")
        session.add(original)
        session.commit()
    world.check(b"bytes", b"bytes")
