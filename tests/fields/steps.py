"""The steps of random histories that are the same whatever the rows hold, and how histories are played."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, run_state_machine_as_test
from sqlalchemy import Engine, delete, inspect

from depot_lite.errors import StorageFailed
from tests.conftest import IN_MEMORY
from tests.fields.history import History, initialize, rule
from tests.support.models import Page

#: Every kind of step that a run must have reached, or it has shown nothing.
KINDS = (
    "commit",
    "rollback",
    "close",
    "savepoint released",
    "savepoint rolled back",
    "upload failed",
    "delete failed",
    "flush refused by the database",
    "added a second time",
    "copied",
    "swapped",
    "put back",
    "row taken over",
    "statement",
    "bulk",
)

picks = st.integers(0, 7)
several = st.lists(picks, min_size=1, max_size=3)


class Steps(History):
    """What applications do with rows and transactions, in any order."""

    @abstractmethod
    def add_one(self) -> None:
        """Add a row with a file."""

    @initialize()
    def commit_rows(self) -> None:
        """Have something to lose."""
        for _ in range(3):
            self.add_one()
        self.session.commit()
        self._committed()

    # --- objects --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.now)
    @rule(number=picks)
    def copy_row(self, number: int) -> None:
        row, new = self._pick(number), next(self.numbers)
        values = {attribute: getattr(self._object(row), attribute) for attribute in self.attributes}
        self.objects[new] = self.model(id=new, **values)
        self.session.add(self.objects[new])
        self.now[new] = dict(self.now[row])
        self.reached["copied"] += 1

    @precondition(lambda self: self.lost)
    @rule()
    def add_a_second_time(self) -> None:
        self._add_lost()

    @precondition(lambda self: self.now)
    @rule(number=picks)
    def delete(self, number: int) -> None:
        row = self._pick(number)
        found = self._object(row)
        if inspect(found).pending:
            self.session.expunge(found)
            if row not in self.levels[-1]:
                self._lose(found, self.now[row])
        else:
            self.session.delete(found)
        del self.objects[row], self.now[row]

    @rule(expire=st.booleans())
    def flush(self, expire: bool) -> None:
        if self._flush() and expire:
            self.reloaded.update(self.objects.values())
            self.session.expire_all()

    @rule(once_in_a_while=st.integers(0, 2))
    def add_what_the_database_refuses(self, once_in_a_while: int) -> None:
        """A page of a folder that is not there: it fails inside the flush, with its file and all others stored."""
        if once_in_a_while:
            return
        self.session.add(Page(folder_id=-1, scan=self._bytes()))
        self.broken = True

    # --- transactions ---------------------------------------------------------------------------------------------

    @rule(how=st.sampled_from(["begin", "begin and add", "release", "release", "rollback", "retry"]))
    def savepoint(self, how: str) -> None:
        """One rule for all, so that savepoints end about as often as they begin."""
        if how.startswith("begin") or not self.savepoints:
            self._begin_savepoint()
            if how == "begin and add":
                self.add_one()
                self._flush()
        elif how == "release":
            self._release_savepoint()
        else:
            self.savepoints[-1].rollback()
            self._savepoint_rolled_back()
            if how == "retry":
                self._add_lost()

    #: Once more, so that it comes twice as often.
    savepoint_again = savepoint

    @rule(how=st.sampled_from(["commit", "retry", "rollback", "close"]))
    def end_transaction(self, how: str) -> None:
        """One rule for all, so that transactions last some steps. A retry adds the new objects again."""
        if how == "close":
            self._close()
        elif how == "commit":
            if self._try(self.session.commit):
                self._committed()
        else:
            self._roll_back()
            if how == "retry":
                self._add_lost()

    # --- statements -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.now)
    @rule(numbers=several, how=st.sampled_from(["auto", "fetch", False, "query"]))
    def delete_by_statement(self, numbers: list[int], how: Any) -> None:
        rows = self._picked(numbers)

        def step() -> None:
            if how == "query":
                self.session.query(self.model).filter(self.model.id.in_(rows)).delete()
            else:
                statement = delete(self.model).where(self.model.id.in_(rows))
                self.session.execute(statement, execution_options={"synchronize_session": how})

        self._execute(step, dict.fromkeys(rows))

    # --- failures of storages -------------------------------------------------------------------------------------

    @rule(
        how=st.sampled_from(["uploads fail", "deletes fail", "mended"]),
        name=st.sampled_from(["default", "archive"]),
        number=st.integers(0, 2),
        after=st.booleans(),
        error=st.sampled_from([StorageFailed, PermissionError, KeyboardInterrupt]),
    )
    def storage(self, how: str, name: str, number: int, after: bool, error: type[BaseException]) -> None:
        storage = self.storages[name]
        if how == "deletes fail":
            storage.deletes_to_fail = number
        elif how == "uploads fail":
            storage.saves_left, storage.after_save, storage.error = number, after, error
        else:
            storage.saves_left = None
            self.reached["delete failed"] += storage.sweep()


def play(
    engine: Engine,
    examples: int,
    *,
    machine: type[RuleBasedStateMachine],
    phases: Sequence[Phase] = tuple(Phase),
) -> Counter[str]:
    """Play histories and return how often they came to each kind of step."""
    wanted = os.environ.get("DEPOT_TEST_EXAMPLES")
    reached: Counter[str] = Counter()
    # Thousands of files are made and removed: in memory, where the system has a disk there.
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        run_state_machine_as_test(
            type("PlayedMachine", (machine,), {"engine": engine, "folder": Path(folder) / "files", "reached": reached}),
            settings=settings(
                max_examples=int(wanted or examples),
                stateful_step_count=50,
                derandomize=wanted is None,
                database=None,
                deadline=None,
                phases=[each for each in phases if each is not Phase.explain],
                suppress_health_check=list(HealthCheck),
                print_blob=False,
                report_multiple_bugs=False,
            ),
        )
    return reached
