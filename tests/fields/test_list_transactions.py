"""The table of transaction cases for columns of many files: every action x every way in which a transaction can end."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, inspect, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import make_transient

from depot_lite.fields.upload import UploadedFile
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.list_actions import (
    BEFORE,
    FIRST,
    NEW,
    ONE,
    OTHER,
    SECOND,
    TWO,
    ListAction,
    begin,
    check,
    first,
    holds,
    movies,
    some_actions,
)
from tests.fields.list_object_actions import every_action
from tests.fields.session_ends import ALSO_NOT_COMMITTED, COMMITTED, NOT_COMMITTED, End
from tests.support.models import Booking, Movie


@every_action
@pytest.mark.parametrize("end", COMMITTED.values(), ids=COMMITTED)
def test_what_is_committed_has_its_files_in_order_and_no_others(world: World, action: ListAction, end: End) -> None:
    """Committed rows read their files in their order, and the files that they named before are gone."""
    begin(world)
    with world.session() as session:
        end(session, action.does)
    check(world, action.leaves)


@every_action
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(end, id=name, marks=() if name in {"flush and rollback", "failed flush"} else pytest.mark.matrix)
        for name, end in NOT_COMMITTED.items()
    ],
)
def test_what_is_not_committed_leaves_and_takes_nothing(world: World, action: ListAction, end: End) -> None:
    """However a transaction ends without COMMIT, rows and files are those of before; a second attempt works."""
    begin(world)
    with world.session() as session:
        end(session, action.does)
        check(world, BEFORE)
        action.does(session)
        session.commit()
    check(world, action.leaves)


@some_actions("add", "replace_an_element_in_three_flushes", "swap_the_lists_of_two_rows", "delete", "merge_with_lists")
@pytest.mark.parametrize("end", ALSO_NOT_COMMITTED.values(), ids=ALSO_NOT_COMMITTED)
def test_no_other_end_without_commit_leaves_or_takes_anything(world: World, action: ListAction, end: End) -> None:
    """Also where nothing was flushed, where the connection is thrown away, and where the second flush fails."""
    test_what_is_not_committed_leaves_and_takes_nothing(world, action, end)


@every_action
@pytest.mark.matrix
def test_a_savepoint_takes_back_what_was_done_in_it(world: World, action: ListAction) -> None:
    """Rolled back, done again in one that is released, and committed: as if it had been done once."""
    begin(world)
    with world.session() as session:
        savepoint = session.begin_nested()
        action.does(session)
        session.flush()
        savepoint.rollback()
        with session.begin_nested():
            action.does(session)
        session.commit()
    check(world, action.leaves)


@every_action
@pytest.mark.matrix
def test_a_session_that_keeps_its_objects_over_commits_is_no_exception(world: World, action: ListAction) -> None:
    """With expire_on_commit=False and autoflush=False the lists are the same, and can be changed further."""
    begin(world)
    with world.session(expire_on_commit=False, autoflush=False) as session:
        for movie in movies(session):
            assert len(movie.screenshots) in {1, 3}
        action.does(session)
        session.commit()
        check(world, action.leaves)
        kept = session.get(Movie, SECOND)
        if kept is not None:
            put(kept, screenshots=[*kept.screenshots, NEW])
            kept.screenshots.pop()
        session.commit()
    check(world, action.leaves)


@some_actions("assign_a_list", "move_an_element_with_two_files_to_another_row", "clear", "delete")
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)  # MariaDB checks constraints at once
def test_a_constraint_that_fails_at_commit_leaves_and_takes_nothing(world: World, action: ListAction) -> None:
    """The database says no to COMMIT itself: that is a rollback, and a second attempt works."""
    begin(world)
    with world.session() as session:
        action.does(session)
        session.add(Booking(folder_id=4711, ticket=OTHER))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        check(world, BEFORE)
        action.does(session)
        session.commit()
    check(world, action.leaves)


def test_new_objects_can_be_added_a_second_time_after_a_rollback(world: World) -> None:
    """Each element is pending again under a new id, in its order."""
    movie = Movie(name="third")
    put(movie, screenshots=[NEW, OTHER, NEW], extras=[OTHER])
    with world.session() as session:
        session.add(movie)
        session.flush()
        paths = [value.path for value in movie.screenshots]
        session.rollback()
        assert [value.pending for value in (*movie.screenshots, *movie.extras)] == [True] * 4
        assert not {value.path for value in movie.screenshots} & set(paths)
        assert world.stored() == set()
        session.add(movie)
        session.commit()
    check(world, {"third": holds(NEW, OTHER, NEW, extras=[OTHER])})


# --- what an UPDATE leaves alone ----------------------------------------------------------------------------------


def test_an_object_that_takes_over_a_row_without_a_change_leaves_its_files(world: World) -> None:
    """SQLAlchemy writes nothing of an object that was made transient, so the row names its old files."""
    begin(world)
    with world.session() as session:
        copy, _ = movies(session)
        assert (copy.poster is None, len(copy.screenshots), len(copy.extras)) == (False, 3, 1)
        session.expunge(copy)
        make_transient(copy)
        session.delete(movies(session)[0])
        session.add(copy)
        session.commit()
    check(world, BEFORE)


def test_a_list_that_a_merge_without_loading_hands_on_is_not_shared(world: World) -> None:
    """The object that is in the session already gets a list of its own, whose changes are seen."""
    begin(world)
    with world.session() as session:
        detached, _ = movies(session)
        assert len(detached.screenshots) == 3
    with world.session() as session:
        movie, _ = movies(session)
        assert session.merge(detached, load=False) is movie
        movie.screenshots.pop()
        assert len(detached.screenshots) == 3
        session.commit()
    check(world, {**BEFORE, "first": first(ONE, TWO)})


# --- one value given to a statement twice -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["where", "by key", "bulk"])
def test_a_value_that_an_update_gives_to_several_rows_and_columns_is_several_files(world: World, how: str) -> None:
    """Each row and each attribute owns its file, so that one can go without the others."""
    begin(world)
    value = UploadedFile(NEW)
    values: dict[str, Any] = {"poster": value, "screenshots": [value, OTHER, value], "extras": (value,)}
    with world.session() as session:
        if how == "where":
            session.execute(update(Movie).values(values))
        elif how == "by key":
            session.execute(update(Movie), [{"id": FIRST, **values}, {"id": SECOND, **values}])
        else:
            session.bulk_update_mappings(inspect(Movie), [{"id": FIRST, **values}, {"id": SECOND, **values}])
        session.commit()
    everything = holds(NEW, OTHER, NEW, extras=[NEW], poster=NEW)
    check(world, {"first": everything, "second": everything})
    with world.session() as session:
        movie, _ = movies(session)
        movie.poster = None
        movie.screenshots.pop(0)
        session.commit()
    check(world, {"first": holds(OTHER, NEW, extras=[NEW]), "second": everything})


@pytest.mark.parametrize("how", ["values", "many values", "mappings", "bulk"])
def test_a_value_that_an_insert_gives_to_several_rows_and_columns_is_several_files(world: World, how: str) -> None:
    """As an UPDATE."""
    value = UploadedFile(NEW)
    values: dict[str, Any] = {"poster": value, "screenshots": [value, value], "extras": [value]}
    names = ["first"] if how == "values" else ["first", "second"]
    rows = [{"name": name, **values} for name in names]
    with world.session() as session:
        if how == "mappings":
            session.execute(insert(Movie), rows)
        elif how == "bulk":
            session.bulk_insert_mappings(inspect(Movie), rows)
        else:
            session.execute(insert(Movie).values(rows[0] if how == "values" else rows))
        session.commit()
    check(world, dict.fromkeys(names, holds(NEW, NEW, extras=[NEW], poster=NEW)))


def test_rows_that_an_insert_leaves_out_leave_no_files(world: World) -> None:
    """Of lists too: the inserted rows are found by the first file of each."""
    begin(world)
    with world.session() as session:
        rows = [{"id": id_, "name": "third", "screenshots": [NEW, OTHER], "extras": [NEW]} for id_ in (FIRST, 3)]
        dialects: dict[str, Any] = {
            "sqlite": insert(Movie).prefix_with("OR IGNORE"),
            "postgresql": postgresql.insert(Movie).on_conflict_do_nothing(),
            "mariadb": insert(Movie).prefix_with("IGNORE"),
        }
        session.execute(dialects[world.engine.dialect.name].values(rows))
        session.commit()
    check(world, {**BEFORE, "third": holds(NEW, OTHER, extras=[NEW])})
