"""The state machine that plays histories of applications."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition
from sqlalchemy import insert, inspect, update

from tests.fields.history import ATTRIBUTES, Files, Rows, is_there, rule
from tests.fields.steps import Steps, picks, several

attributes = st.sampled_from(ATTRIBUTES)


class Machine(Steps):
    """What applications do, in any order."""

    def add_one(self) -> None:
        """Add a row with two files."""
        self.add(content=True, report=True, stream=False)

    # --- objects --------------------------------------------------------------------------------------------------

    @rule(content=st.booleans(), report=st.booleans(), stream=st.booleans())
    def add(self, content: bool, report: bool, stream: bool) -> None:
        files: Files = {"content": self._bytes() if content else None, "report": self._bytes() if report else None}
        row = next(self.numbers)
        given = {key: io.BytesIO(data) if stream and data is not None else data for key, data in files.items()}
        self.objects[row] = self.model(id=row, **given)
        self.session.add(self.objects[row])
        self.now[row] = files

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes, unloaded=st.booleans())
    def replace(self, number: int, attribute: str, unloaded: bool) -> None:
        data = self._bytes()
        self._give(self._pick(number), attribute, data, data, unloaded)

    def _give(self, row: int, attribute: str, value: Any, data: bytes | None, unloaded: bool) -> None:
        document = self._object(row)
        if unloaded and inspect(document).persistent and self.now[row] == self.levels[-1].get(row):
            self.session.expire(document)
            self.reloaded.add(document)
            setattr(document, attribute, value)
            self.now[row] = {**self.now[row], attribute: data}
        else:
            self._assign(row, attribute, value, data)

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def clear(self, number: int, attribute: str) -> None:
        self._assign(self._pick(number), attribute, None, None)

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, from_=attributes, to=attributes)
    def copy(self, source: int, other: int, from_: str, to: str) -> None:
        self._copy(source, other, from_, to, unloaded=False)

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, from_=attributes, to=attributes)
    def copy_to_what_is_not_loaded(self, source: int, other: int, from_: str, to: str) -> None:
        self._copy(source, other, from_, to, unloaded=True)

    def _copy(self, source: int, other: int, from_: str, to: str, *, unloaded: bool) -> None:
        row, data = self._pick(source), self.now[self._pick(source)][from_]
        self.reached["copied"] += data is not None
        self._give(self._pick(other), to, getattr(self._object(row), from_), data, unloaded)

    @precondition(lambda self: len(self.now) > 1)
    @rule(one=picks, other=picks, attribute=attributes, second=attributes)
    def swap(self, one: int, other: int, attribute: str, second: str) -> None:
        row, partner = self._pick(one), self._pick(other)
        mine, yours = getattr(self._object(row), attribute), getattr(self._object(partner), second)
        data, theirs = self.now[row][attribute], self.now[partner][second]
        self._assign(row, attribute, yours, theirs)
        self._assign(partner, second, mine, data)
        self.reached["swapped"] += 1

    @precondition(lambda self: self.replaced)
    @rule(number=picks)
    def put_old_value_back(self, number: int) -> None:
        row, attribute, value, data = self.replaced[-1 - number % len(self.replaced)]
        if row in self.now and is_there(value):
            self._assign(row, attribute, value, data)
            self.reached["put back"] += 1

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def merge(self, number: int, attribute: str) -> None:
        row, data = self._pick(number), self._bytes()
        document = self._object(row)
        if inspect(document).persistent:
            self._remember(row, attribute)
            assert self.session.merge(self.model(id=row, **{attribute: data})) is document
            self.now[row] = {**self.now[row], attribute: data}

    @precondition(lambda self: self.now)
    @rule(number=picks, content=st.booleans())
    def delete_and_add_in_one_flush(self, number: int, content: bool) -> None:
        """SQLAlchemy makes one UPDATE of the two; the row keeps the columns that the new object does not set."""
        row = self._pick(number)
        document = self._object(row)
        if self.broken or not inspect(document).persistent or self.now[row] != self.levels[-1].get(row):
            return
        self.session.delete(document)
        data = self._bytes() if content else None
        self.objects[row] = self.model(id=row, content=data)
        self.session.add(self.objects[row])
        self.reloaded.add(self.objects[row])
        self.now[row] = {**self.now[row], "content": data}
        if self._flush():
            self.reached["row taken over"] += 1
            self.session.expire(self.objects[row])
        else:
            self._roll_back_innermost()

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def read(self, number: int, attribute: str) -> None:
        row = self._pick(number)
        value = getattr(self._object(row), attribute)
        if value is None or value.pending:
            assert (value is None) == (self.now[row][attribute] is None)
        else:
            with value.file as stored:
                assert stored.read() == self.now[row][attribute]

    # --- statements -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.now)
    @rule(numbers=several, attribute=attributes, clear=st.booleans(), how=st.sampled_from(["auto", False, "query"]))
    def update_by_statement(self, numbers: list[int], attribute: str, clear: bool, how: Any) -> None:
        rows, data = self._picked(numbers), None if clear else self._bytes()

        def step() -> None:
            if how == "query":
                self.session.query(self.model).filter(self.model.id.in_(rows)).update({attribute: data})
            else:
                statement = update(self.model).where(self.model.id.in_(rows)).values({attribute: data})
                self.session.execute(statement, execution_options={"synchronize_session": how})

        self._execute(step, {row: {attribute: data} for row in rows})

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, attribute=attributes)
    def copy_by_statement(self, source: int, other: int, attribute: str) -> None:
        row, partner = self._pick(source), self._pick(other)
        if not self._flush():
            return
        statement = update(self.model).where(self.model.id == partner)
        value = getattr(self._object(row), attribute)
        self._execute(
            lambda: self.session.execute(statement.values(report=value)),
            {partner: {"report": self.now[row][attribute]}},
        )

    @rule(count=st.integers(1, 3), how=st.sampled_from(["values", "many values", "mappings"]))
    def insert_by_statement(self, count: int, how: str) -> None:
        rows = self._new_rows(1 if how == "values" else count)

        def step() -> None:
            given = [{"id": row, **files} for row, files in rows.items()]
            if how == "mappings":
                self.session.execute(insert(self.model), given)
            else:
                self.session.execute(insert(self.model).values(given[0] if how == "values" else given))

        self._execute(step, rows)

    @rule(count=st.integers(1, 3), objects=st.booleans())
    def insert_in_bulk(self, count: int, objects: bool) -> None:
        rows = self._new_rows(count)

        def step() -> None:
            if objects:
                self.session.bulk_save_objects([self.model(id=row, **files) for row, files in rows.items()])
            else:
                self.session.bulk_insert_mappings(inspect(self.model), [{"id": row, **rows[row]} for row in rows])

        self._execute(step, rows, "bulk")

    @precondition(lambda self: self.now)
    @rule(numbers=several, attribute=attributes, how=st.sampled_from(["bulk", "by key"]))
    def update_in_bulk(self, numbers: list[int], attribute: str, how: str) -> None:
        new: Rows = {row: {attribute: self._bytes()} for row in self._picked(numbers)}

        def step() -> None:
            given = [{"id": row, **files} for row, files in new.items()]
            if how == "bulk":
                self.session.bulk_update_mappings(inspect(self.model), given)
            else:
                self.session.execute(update(self.model), given)

        self._execute(step, new, "bulk")

    def _new_rows(self, count: int) -> Rows:
        return {next(self.numbers): {"content": self._bytes(), "report": self._bytes()} for _ in range(count)}
