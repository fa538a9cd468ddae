"""Random histories of sessions whose rows have two lists of files: order, bytes and files agree after every end.

As `tests.fields.test_state_machine`, with whatever can be done to a list. ``DEPOT_TEST_EXAMPLES=2000`` plays that many
random histories instead of the fixed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from sqlalchemy import Engine, insert, inspect, update

from depot_lite.errors import StoredFileNotFound
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.list_binding import AttributeBinding
from depot_lite.fields.lists import FileList
from depot_lite.fields.tracking import births
from depot_lite.fields.tracking.flush import Slot
from tests.conftest import sqlite_engine
from tests.fields import steps
from tests.fields.history import Rows, is_there, rule
from tests.fields.list_history import LISTS, Change, ListHistory, given, in_order, upload
from tests.fields.steps import Steps, picks, play, several
from tests.support.models import Base, Movie

pytestmark = pytest.mark.matrix


#: Every kind of step that a run must have reached, or it has shown nothing.
KINDS = (*steps.KINDS, "changed in place", "changed what is expired", "moved")

#: Changes of a list in place.
CHANGES = (
    *("append", "insert", "extend", "iadd", "pop", "remove", "slice", "shorten", "replace"),
    *("sort", "reverse", "clear", "imul", "double", "swap", "back"),
)

counts = st.integers(0, 3)
attributes = st.sampled_from(LISTS)


def _swap_elements(items: list[Any], i: int, j: int) -> None:
    items[i], items[j] = items[j], items[i]


def _take_out_and_put_back(items: list[Any], i: int, j: int) -> None:
    items.insert(j, items.pop(i))


def _add_itself(items: list[Any], new: Any) -> None:
    items += [new]


class ListMachine(ListHistory, Steps):
    """What applications do with lists, in any order."""

    def add_one(self) -> None:
        """Add a row with files in both lists."""
        self.add(1, 2, appended=False)

    # --- objects --------------------------------------------------------------------------------------------------

    @rule(number=counts, other=counts, appended=st.booleans())
    def add(self, number: int, other: int, appended: bool) -> None:
        files, row = self._new_files(number, other), next(self.numbers)
        if appended:
            movie = Movie(id=row)
            for attribute, values in given(files).items():
                for value in values:
                    getattr(movie, attribute).append(value)
        else:
            movie = Movie(id=row, **given(files))
        self.session.add(movie)
        self.objects[row], self.now[row] = movie, files

    @precondition(lambda self: self.now)
    @rule(
        number=picks,
        attribute=attributes,
        hows=st.lists(st.sampled_from(CHANGES), min_size=3, max_size=6),
        i=picks,
        j=picks,
        unloaded=st.booleans(),
    )
    def change(self, number: int, attribute: str, hows: list[str], i: int, j: int, unloaded: bool) -> None:
        """Do to a list what lists can do."""
        row = self._pick(number)
        if unloaded and self._unchanged(row):
            self.session.expire(self._object(row))
            self.reloaded.add(self._object(row))
            self.reached["changed what is expired"] += 1
        for how in hows:
            if change := self._changes(len(self._held(row, attribute)), i, j).get(how):
                self._change(row, attribute, change)
                self.reached["changed in place"] += 1
                self.reached[how] += 1

    #: Once more, so that it comes twice as often.
    change_again = change

    def _changes(self, size: int, i: int, j: int) -> dict[str, Change]:
        new, other = self._bytes(), self._bytes()
        anywhere: dict[str, Change] = {
            "append": lambda items, make: items.append(make(new)),
            "insert": lambda items, make: items.insert(i, make(new)),
            "extend": lambda items, make: items.extend([make(new), make(other)]),
            "iadd": lambda items, make: _add_itself(items, make(new)),
            "slice": lambda items, make: items.__setitem__(slice(i % 3, j % 4), [make(new), make(other)]),
            "shorten": lambda items, make: items.__delitem__(slice(i % 3, None, 1 + j % 2)),
            "sort": lambda items, make: items.sort(key=in_order, reverse=i % 2 == 0),
            "reverse": lambda items, make: items.reverse(),
            "clear": lambda items, make: items.clear(),
        }
        if not size:
            return anywhere
        i, j = i % size, j % size
        inside: dict[str, Change] = {
            "pop": lambda items, make: items.pop(i),
            "remove": lambda items, make: items.remove(items[i]),
            "replace": lambda items, make: items.__setitem__(i, make(new)),
            "double": lambda items, make: items.append(items[i]),
            "swap": lambda items, make: _swap_elements(items, i, j),
            "back": lambda items, make: _take_out_and_put_back(items, i, j),
        }
        if size < 3:
            inside["imul"] = lambda items, make: items.__imul__(2)
        return {**anywhere, **inside}

    @precondition(lambda self: self.now)
    @rule(
        number=picks,
        attribute=attributes,
        count=counts,
        keep=st.booleans(),
        how=st.sampled_from(["list", "expired", "none", "itself", "merge"]),
    )
    def assign(self, number: int, attribute: str, count: int, keep: bool, how: str) -> None:
        """Assign a whole list, of new files and of some that it has already."""
        row, new = self._pick(number), [self._bytes() for _ in range(count)]
        movie = self._object(row)
        kept = self._held(row, attribute)[1:] if keep else ()
        values = [*(getattr(movie, attribute)[1:] if keep else ()), *map(upload, new)]
        if how == "itself":
            self._assign(row, attribute, getattr(movie, attribute), self._held(row, attribute))
        elif how == "none":
            self._assign(row, attribute, None, ())
        elif how == "merge" and inspect(movie).persistent:
            self._remember(row, attribute)
            assert self.session.merge(Movie(id=row, **{attribute: values})) is movie
            self.now[row] = {**self.now[row], attribute: (*kept, *new)}
        elif how == "expired" and self._unchanged(row):
            self.session.expire(movie)
            self.reloaded.add(movie)
            setattr(movie, attribute, values)
            self.now[row] = {**self.now[row], attribute: (*kept, *new)}
            self.reached["changed what is expired"] += 1
        else:
            self._assign(row, attribute, values, (*kept, *new))

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, attribute=attributes, move=st.booleans(), i=picks, j=picks)
    def give_an_element(self, source: int, other: int, attribute: str, move: bool, i: int, j: int) -> None:
        """Copy or move an element to another row, or to another place of its own."""
        row, partner = self._pick(source), self._pick(other)
        held = self._held(row, attribute)
        if held:
            data, value = held[i % len(held)], getattr(self._object(row), attribute)[i % len(held)]
            if move:
                self._change(row, attribute, lambda items, make: items.pop(i % len(held)))
            self._change(partner, attribute, lambda items, make: items.insert(j, data if make is bytes else value))
            self.reached["moved" if move else "copied"] += 1

    @precondition(lambda self: len(self.now) > 1)
    @rule(one=picks, other=picks, attribute=attributes)
    def swap_lists(self, one: int, other: int, attribute: str) -> None:
        row, partner = self._pick(one), self._pick(other)
        mine, yours = getattr(self._object(row), attribute), getattr(self._object(partner), attribute)
        data, theirs = self._held(row, attribute), self._held(partner, attribute)
        self._assign(row, attribute, yours, theirs)
        self._assign(partner, attribute, list(mine) if mine is not yours else mine, data)
        self.reached["swapped"] += 1

    @precondition(lambda self: self.replaced)
    @rule(number=picks, i=picks)
    def put_an_old_element_back(self, number: int, i: int) -> None:
        row, attribute, value, data = self.replaced[-1 - number % len(self.replaced)]
        if row in self.now and is_there(value):
            self._change(row, attribute, lambda items, make: items.insert(i, data if make is bytes else value))
            self.reached["put back"] += 1

    @precondition(lambda self: self.now)
    @rule(number=picks, count=counts, looked_at=st.booleans())
    def delete_and_add_in_one_flush(self, number: int, count: int, looked_at: bool) -> None:
        """SQLAlchemy makes one UPDATE of the two; the row keeps the columns that the new object does not set."""
        row = self._pick(number)
        movie = self._object(row)
        if self.broken or not self._unchanged(row):
            return
        self.session.delete(movie)
        new = tuple(self._bytes() for _ in range(count))
        self.objects[row] = Movie(id=row, screenshots=[upload(data) for data in new])
        if looked_at:
            assert self.objects[row].extras == []
        self.session.add(self.objects[row])
        self.reloaded.add(self.objects[row])
        self.now[row] = {**self.now[row], "screenshots": new}
        if self._flush():
            self.reached["row taken over"] += 1
            self.session.expire(self.objects[row])
        else:
            self._roll_back_innermost()

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def read(self, number: int, attribute: str) -> None:
        row = self._pick(number)
        values, data = getattr(self._object(row), attribute), self._held(row, attribute)
        assert [in_order(value) for value in values] == [in_order(each) for each in data]

    # --- statements -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.now)
    @rule(numbers=several, attribute=attributes, count=counts, how=st.sampled_from(["auto", False, "query"]))
    def update_by_statement(self, numbers: list[int], attribute: str, count: int, how: Any) -> None:
        rows, data = self._picked(numbers), tuple(self._bytes() for _ in range(count))

        def step() -> None:
            values: dict[Any, Any] = {**given({attribute: data})}
            if how == "query":
                self.session.query(Movie).filter(Movie.id.in_(rows)).update(values)
            else:
                statement = update(Movie).where(Movie.id.in_(rows)).values(values)
                self.session.execute(statement, execution_options={"synchronize_session": how})

        self._execute(step, {row: {attribute: data} for row in rows})

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, attribute=attributes)
    def copy_by_statement(self, source: int, other: int, attribute: str) -> None:
        row, partner = self._pick(source), self._pick(other)
        if self._flush():
            statement = update(Movie).where(Movie.id == partner)
            values = {attribute: getattr(self._object(row), attribute)}
            self._execute(
                lambda: self.session.execute(statement.values(values)),
                {partner: {attribute: self._held(row, attribute)}},
            )

    @rule(count=st.integers(1, 3), how=st.sampled_from(["values", "many values", "mappings", "objects", "bulk"]))
    def insert_many(self, count: int, how: str) -> None:
        rows: Rows = {next(self.numbers): self._new_files(2, 1) for _ in range(1 if how == "values" else count)}

        def step() -> None:
            new = [{"id": row, **given(files)} for row, files in rows.items()]
            if how == "objects":
                self.session.bulk_save_objects([Movie(**each) for each in new])
            elif how == "bulk":
                self.session.bulk_insert_mappings(inspect(Movie), new)
            elif how == "mappings":
                self.session.execute(insert(Movie), new)
            else:
                self.session.execute(insert(Movie).values(new[0] if how == "values" else new))

        self._execute(step, rows, "bulk" if how in {"objects", "bulk"} else "statement")

    @precondition(lambda self: self.now)
    @rule(numbers=several, attribute=attributes, how=st.sampled_from(["bulk", "by key"]), shared=st.booleans())
    def update_in_bulk(self, numbers: list[int], attribute: str, how: str, shared: bool) -> None:
        """Also with one value for several rows, of which each gets its own."""
        rows, same = self._picked(numbers), self._bytes()
        new: Rows = {row: {attribute: (same,) if shared else (self._bytes(), self._bytes())} for row in rows}

        def step() -> None:
            value = upload(same)
            mappings = [{"id": row, **({attribute: [value]} if shared else given(new[row]))} for row in rows]
            if how == "bulk":
                self.session.bulk_update_mappings(inspect(Movie), mappings)
            else:
                self.session.execute(update(Movie), mappings)

        self._execute(step, new, "bulk")


def test_no_history_of_lists_loses_a_file_or_leaves_one_over(engine: Engine) -> None:
    """In every random history, committed rows can read their files in their order, and nothing else is stored."""
    sqlite = engine.dialect.name == "sqlite"
    reached = play(engine, 60 if sqlite else 35, machine=ListMachine)
    assert reached["step"] > (2000 if sqlite else 1000)
    # Fewer histories are played on the servers: each kind of step, but not each way to change a list.
    assert not [kind for kind in (*KINDS, *(CHANGES if sqlite else ())) if not reached[kind]]


def _always(*args: object) -> bool:
    return True


def _nothing(*args: object) -> None:
    pass


def _paths_of_first(held: object) -> list[str]:
    return [path for value in files_in(held)[:1] for path in value.paths]


def _paths_of_main_files(held: object) -> list[str]:
    return [value["path"] for value in files_in(held)]


def _change_unseen(binding: AttributeBinding, files: FileList[Any], before: object) -> None:
    """Behave as an ordinary list, whose changes no session notices."""


SABOTAGES: dict[str, list[tuple[Any, str, Callable[..., Any]]]] = {
    # What an assignment leaves as it is, the flush would still copy.
    "two lists share a file": [(FileColumn, "_row_may_name", _always), (Slot, "copy_foreign", _nothing)],
    "the first file of a list is followed and no other": [(births, "paths_of", _paths_of_first)],
    "the second files of values stay behind": [(births, "paths_of", _paths_of_main_files)],
    "the session hears nothing of changes": [(AttributeBinding, "changing", _change_unseen)],
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_machine_of_lists_objects_to(sabotage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake that could be made with a list is found."""
    engine = sqlite_engine(tmp_path / "test.db")
    Base.metadata.create_all(engine)
    for each in SABOTAGES[sabotage]:
        monkeypatch.setattr(*each)
    with pytest.raises((AssertionError, StoredFileNotFound)):
        play(engine, 200, machine=ListMachine, phases=[Phase.generate])
    engine.dispose()
