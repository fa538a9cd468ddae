"""Candidates and births: the effects of a transaction on files, and the rows to ask about at its end."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, String, Table

from depot_lite.fields.tracking.births import Birth, Candidates, Row, birth_of, mark_bound, schemas_of
from depot_lite.fields.tracking.fates import to_ask
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage

_metadata = MetaData()
TABLE = Table("first", _metadata, Column("id", Integer, primary_key=True))
OTHER = Table("second", _metadata, Column("id", String(9), primary_key=True))


@pytest.fixture(autouse=True)
def _in_default(depots: dict[str, FileStorage]) -> None:
    """Pending values choose a depot."""


@pytest.fixture
def bear() -> Iterator[Callable[..., Birth]]:
    """Make births with the given paths, which are forgotten at the end of the test."""
    born: list[Birth] = []

    def make(*paths: str, bound: bool = True) -> Birth:
        value = UploadedFile(b"bytes")
        waiting = value.snapshot()
        assert waiting is not None
        birth = Birth(value, *waiting)
        for path in paths:
            birth.announce(path)
        if bound:
            mark_bound(paths)
        born.append(birth)
        return birth

    yield make
    for each in born:
        each.end()


# --- births -------------------------------------------------------------------------------------------------------


def test_a_birth_is_found_by_each_of_its_paths_until_it_has_ended(bear: Callable[..., Birth]) -> None:
    birth = bear("default/1", "default/2", bound=False)
    assert birth_of("default/1") is birth_of("default/2") is birth
    assert birth_of("default/3") is None
    assert not birth.ended
    birth.end()
    assert birth.ended
    assert birth_of("default/1") is birth_of("default/2") is None
    assert birth.paths == ["default/1", "default/2"]


def test_a_birth_is_bound_by_any_of_its_files(bear: Callable[..., Birth]) -> None:
    """Paths that nobody knows are those of committed files, which statements name as well."""
    birth, other = bear("default/1", "default/2", bound=False), bear("default/3", bound=False)
    mark_bound(["default/2", "default/unknown"])
    assert birth.bound
    assert not other.bound


@pytest.mark.matrix
def test_a_birth_that_nobody_holds_is_forgotten() -> None:
    """A session may be dropped with all that it had begun."""

    def begin() -> None:
        value = UploadedFile(b"bytes")
        waiting = value.snapshot()
        assert waiting is not None
        Birth(value, *waiting).announce("default/dropped")

    begin()
    gc.collect()
    assert birth_of("default/dropped") is None


def test_a_value_becomes_pending_again_with_another_id() -> None:
    """Once it is pending, nothing changes any more: two savepoints may lose one birth."""
    value = UploadedFile(b"bytes", filename="a.txt")
    waiting = value.snapshot()
    assert waiting is not None
    birth = Birth(value, *waiting)
    value.store()
    stored = value.path
    birth.make_pending()
    assert value.pending
    again = value.path
    assert again != stored
    birth.make_pending()
    assert value.path == again
    value.store()
    assert value.file.read() == b"bytes"
    assert value.filename == "a.txt"


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_row_has_the_key_that_it_was_given() -> None:
    assert Row(TABLE, (1,)).key == (1,)
    assert Row(TABLE, None).key is None


def test_a_row_looks_for_its_key_until_it_is_known() -> None:
    """It is asked for until then, and not again: later the object may have the key of another row."""
    answers = iter([None, (1,), (2,)])
    row = Row(TABLE, None, find_key=lambda: next(answers))
    assert row.key is None
    assert row.key == (1,)
    assert row.key == (1,)


@pytest.mark.parametrize(("key", "kept"), [((1,), False), (None, True)])
def test_a_row_that_is_written_lets_go_of_its_object_once_the_key_is_known(key: tuple[int] | None, kept: bool) -> None:
    row = Row(TABLE, None, find_key=lambda: key)
    row.mark_written()
    assert row.written
    assert row.key == key
    assert (row.find_key is not None) == kept


def test_rows_of_one_key_are_one_row() -> None:
    """Of one table and one schema; of rows whose keys are not known, nobody can say that they are the same."""
    candidates, tenant = Candidates(), {"schema_translate_map": {None: "tenant"}}
    row = candidates.row(TABLE, (1,))
    assert candidates.row(TABLE, (1,)) is row
    others = [candidates.row(TABLE, (2,)), candidates.row(OTHER, (1,)), candidates.row(TABLE, (1,), tenant)]
    unknown = [candidates.row(TABLE, None), candidates.row(TABLE, None)]
    assert len({row, *others, *unknown}) == 6
    assert others[2].schemas == schemas_of(tenant)


@pytest.mark.parametrize(
    ("options", "schemas"),
    [
        ({}, ()),
        ({"schema_translate_map": None}, ()),
        ({"schema_translate_map": {None: "tenant", "shared": None}}, ((None, "tenant"), ("shared", None))),
    ],
)
def test_schemas_can_be_hashed(options: dict[str, Any], schemas: object) -> None:
    assert schemas_of(options) == schemas
    assert {schemas_of(options)}


# --- candidates ---------------------------------------------------------------------------------------------------


def test_nothing_entered_is_nothing_to_ask() -> None:
    candidates = Candidates()
    assert candidates.rows == {}
    assert to_ask(candidates, committed=True) == to_ask(candidates, committed=False) == {}


@pytest.mark.parametrize("committed", [True, False])
def test_a_condemned_file_is_always_asked_about(committed: bool) -> None:
    """In all rows that may name it."""
    candidates = Candidates()
    one, other = candidates.row(TABLE, (1,)), candidates.row(OTHER, ("2",))
    for row in (one, other, one):
        candidates.condemn("default/old", row)
    assert candidates.rows
    assert to_ask(candidates, committed=committed) == {"default/old": {one, other}}
    assert candidates.births == {}


@pytest.mark.parametrize(
    ("doubtful", "in_doubt", "asked"),
    [(False, False, False), (True, False, True), (False, True, True), (True, True, True)],
)
def test_after_commit_a_born_file_is_asked_about_only_if_it_is_doubtful(
    bear: Callable[..., Birth], doubtful: bool, in_doubt: bool, asked: bool
) -> None:
    """An INSERT that the database has answered is believed, unless it has reported an error in that transaction."""
    candidates, birth = Candidates(), bear("default/new")
    row = candidates.row(TABLE, (1,))
    candidates.name("default/new", row, doubtful=doubtful)
    candidates.in_doubt = in_doubt
    assert candidates.births == {"default/new": birth}
    assert to_ask(candidates, committed=True) == ({"default/new": {row}} if asked else {})
    assert to_ask(candidates, committed=False) == {"default/new": {row}}


def test_a_doubt_stays(bear: Callable[..., Birth]) -> None:
    """A file that one statement may have left out and that another has surely written."""
    candidates = Candidates()
    bear("default/new")
    candidates.name("default/new", candidates.row(TABLE, (1,)), doubtful=True)
    candidates.name("default/new", candidates.row(TABLE, (2,)))
    assert len(to_ask(candidates, committed=True)["default/new"]) == 2


def test_after_commit_what_is_doubtful_is_asked_about(bear: Callable[..., Birth]) -> None:
    """A trigger may have put the old value back. What an INSERT has named is there."""
    candidates = Candidates()
    for path in ("default/new", "default/inserted"):
        bear(path)
    row = candidates.row(TABLE, (1,))
    candidates.name("default/new", row, doubtful=True)
    candidates.name("default/inserted", candidates.row(TABLE, (2,)))
    assert to_ask(candidates, committed=True) == {"default/new": {row}}
    candidates.condemn("default/old", row)
    assert to_ask(candidates, committed=True) == {"default/new": {row}, "default/old": {row}}


@pytest.mark.parametrize("committed", [True, False])
def test_a_row_whose_key_changes_is_asked_about_under_both(committed: bool) -> None:
    """A rollback brings the old key back."""
    candidates, tenant = Candidates(), {"schema_translate_map": {None: "tenant"}}
    row, elsewhere = candidates.row(TABLE, (1,)), candidates.row(TABLE, (1,), tenant)
    candidates.condemn("default/old", row)
    candidates.condemn("default/elsewhere", elsewhere)
    candidates.move(TABLE, (1,), (2,))
    candidates.move(TABLE, (3,), (4,))
    assert to_ask(candidates, committed=committed) == {
        "default/old": {row, candidates.row(TABLE, (2,))},
        "default/elsewhere": {elsewhere},
    }


@pytest.mark.parametrize("committed", [True, False])
def test_the_rows_of_a_table_whose_keys_were_changed_are_looked_for_everywhere(committed: bool) -> None:
    """In their schemas, beside where they were. Those of other tables are not."""
    candidates, tenant = Candidates(), {"schema_translate_map": {None: "tenant"}}
    row, other = candidates.row(TABLE, (1,), tenant), candidates.row(OTHER, ("1",))
    candidates.condemn("default/old", row)
    candidates.condemn("default/other", other)
    candidates.moved.add(TABLE)
    asked = to_ask(candidates, committed=committed)
    assert asked["default/other"] == {other}
    (anywhere,) = asked["default/old"] - {row}
    assert (anywhere.table, anywhere.key, anywhere.schemas) == (TABLE, None, schemas_of(tenant))
    assert row in asked["default/old"]


@pytest.mark.parametrize("committed", [True, False])
def test_a_file_that_was_never_bound_is_not_asked_about(bear: Callable[..., Birth], committed: bool) -> None:
    """The database has not heard of it. It remains a candidate, which nothing names."""
    candidates = Candidates()
    bear("default/new", bound=False)
    candidates.name("default/new", candidates.row(TABLE, None), doubtful=True)
    candidates.in_doubt = True
    assert to_ask(candidates, committed=committed) == {}
    assert "default/new" in candidates.rows


@pytest.mark.parametrize("committed", [True, False])
def test_what_went_with_a_savepoint_is_asked_about(bear: Callable[..., Birth], committed: bool) -> None:
    """It is nobody's birth any more: RELEASE or ROLLBACK TO may have been something else to this database."""
    candidates, birth = Candidates(), bear("default/lost", "default/variant")
    row = candidates.row(TABLE, (1,))
    for path in birth.paths:
        candidates.name(path, row)
    candidates.lose(birth)
    assert candidates.births == {}
    assert candidates.lost == {"default/lost", "default/variant"}
    assert to_ask(candidates, committed=committed) == {path: {row} for path in birth.paths}


def test_what_went_with_a_savepoint_before_it_was_bound_is_no_candidate(bear: Callable[..., Birth]) -> None:
    """Somebody else deletes it, and the database has nothing to say about it."""
    candidates, birth, other = Candidates(), bear("default/lost", bound=False), bear("default/other")
    row = candidates.row(TABLE, (1,))
    for path in ("default/lost", "default/other"):
        candidates.name(path, row)
    candidates.lose(birth)
    assert candidates.rows == {"default/other": {row}}
    assert candidates.births == {"default/other": other}


def test_a_birth_of_another_connection_is_not_lost_here(bear: Callable[..., Birth]) -> None:
    """A session tells all of its connections."""
    candidates, birth = Candidates(), bear("default/elsewhere")
    candidates.lose(birth)
    assert candidates.lost == set()
    assert candidates.rows == {}


@pytest.mark.parametrize(
    ("key", "written", "still_bound"),
    [(None, False, False), (None, True, True), ((1,), False, True), ((1,), True, True)],
)
def test_a_refused_statement_names_nothing_in_a_row_that_it_would_have_made(
    bear: Callable[..., Birth], key: tuple[int] | None, written: bool, still_bound: bool
) -> None:
    """Not so if the row has a key to ask by, or was written by a statement before."""
    candidates, birth = Candidates(), bear("default/new")
    row = candidates.row(TABLE, key)
    if written:
        row.mark_written()
    candidates.name("default/new", row)
    candidates.in_doubt = True
    candidates.refuse(["default/new"])
    assert birth.bound == still_bound
    assert bool(to_ask(candidates, committed=False)) == still_bound


def test_a_refused_statement_leaves_a_file_that_another_row_may_name(bear: Callable[..., Birth]) -> None:
    candidates, birth = Candidates(), bear("default/new")
    for key in (None, (1,)):
        candidates.name("default/new", candidates.row(TABLE, key))
    candidates.refuse(["default/new"])
    assert birth.bound


def test_a_refused_statement_of_several_rows_may_have_inserted_some(bear: Callable[..., Birth]) -> None:
    """MyISAM keeps those before the one that it refuses."""
    candidates, births = Candidates(), [bear("default/1"), bear("default/2")]
    for birth in births:
        candidates.name(birth.paths[0], candidates.row(TABLE, None))
    candidates.refuse(["default/1", "default/2"])
    assert all(birth.bound for birth in births)


def test_a_file_that_is_spared_is_no_candidate() -> None:
    candidates = Candidates()
    row = candidates.row(TABLE, (1,))
    candidates.condemn("default/old", row)
    candidates.condemn("default/older", row)
    candidates.spare("default/old")
    candidates.spare("default/unknown")
    assert candidates.rows == {"default/older": {row}}


_entries = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 1, 2]), st.booleans()))


@given(entries=_entries, lost=st.sets(st.sampled_from("ab")), in_doubt=st.booleans())
def test_after_a_rollback_whatever_may_be_named_is_asked_about(
    entries: list[tuple[str, int | None, bool]], lost: set[str], in_doubt: bool
) -> None:
    """All that was bound or condemned, whatever else happened; after COMMIT no more than that."""
    births = {}
    for name, bound in (("a", True), ("b", False), ("c", True)):
        waiting = (value := UploadedFile(b"bytes")).snapshot()
        assert waiting is not None
        births[name] = Birth(value, *waiting)
        births[name].announce(name)
        births[name].bound = bound
    candidates = Candidates()
    candidates.in_doubt = in_doubt
    for path, key, doubtful in entries:
        row = candidates.row(TABLE, None if key is None else (key,))
        if path == "d":
            candidates.condemn(path, row)
        else:
            candidates.name(path, row, doubtful=doubtful)
    for name in lost:
        candidates.lose(births[name])
    asked = to_ask(candidates, committed=False)
    assert asked.keys() == {path for path, _, _ in entries if path != "b"}
    assert to_ask(candidates, committed=True).items() <= asked.items()
    condemned = {path for path, _, _ in entries if path == "d"}
    assert condemned | (lost & asked.keys()) <= to_ask(candidates, committed=True).keys()
    for path, key in itertools.product(asked, (1, 2)):
        found = sum(row.key == (key,) for row in asked[path])
        assert found == any((each, number) == (path, key) for each, number, _ in entries)
    for birth in births.values():
        birth.end()
