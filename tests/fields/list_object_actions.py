"""What can be done in one transaction to objects that have lists of files: the rest of `tests.fields.list_actions`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.orm import Session, make_transient

from tests.fields.actions import put
from tests.fields.list_actions import (
    ACTIONS,
    EXTRA,
    FIRST,
    FOUR,
    NEW,
    ONE,
    OTHER,
    SECOND,
    THREE,
    TWO,
    action,
    added,
    first,
    holds,
    movies,
    some_actions,
)
from tests.support.models import Movie

# --- rows ---------------------------------------------------------------------------------------------------------


@action(first=None)
def _delete(session: Session) -> None:
    session.delete(movies(session)[0])


@action(first=None)
def _change_and_delete(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[0] = added(NEW)
    movie.extras.pop()
    session.delete(movie)


@action(first=None)
def _change_flush_and_delete(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[0] = added(NEW)
    movie.extras.pop()
    session.flush()
    session.delete(movie)


@action()
def _add_and_delete(session: Session) -> None:
    movie = Movie(name="third")
    put(movie, screenshots=[NEW], extras=[NEW])
    session.add(movie)
    session.flush()
    session.delete(movie)


@action(first=None, again=first(NEW, ONE))
def _delete_and_add_the_row_with_a_list(session: Session) -> None:
    movie, _ = movies(session)
    session.delete(movie)
    again = Movie(id=FIRST, name="again")
    put(again, screenshots=[NEW, movie.screenshots[0]])
    session.add(again)


@action(first=None, again=first(NEW, extras=()))
def _delete_and_add_the_row_with_lists_that_were_changed(session: Session) -> None:
    session.delete(movies(session)[0])
    again = Movie(id=FIRST, name="again")
    again.screenshots.append(added(NEW))
    again.extras.append(added(NEW))
    again.extras.clear()
    session.add(again)


@action(first=None, again=first(ONE, TWO, THREE))
def _delete_and_add_the_row_with_lists_that_were_only_looked_at(session: Session) -> None:
    session.delete(movies(session)[0])
    again = Movie(id=FIRST, name="again")
    assert (again.screenshots, again.extras) == ([], [])
    session.add(again)


@action(first=None, again=holds(NEW))
def _delete_flush_and_add_the_row(session: Session) -> None:
    session.delete(movies(session)[0])
    session.flush()
    again = Movie(id=FIRST, name="again")
    put(again, screenshots=[NEW])
    session.add(again)


# --- operations of a session on its objects -----------------------------------------------------------------------


@action(first=first(NEW), second=holds(FOUR, OTHER))
def _change_what_is_expired(session: Session) -> None:
    movie, other = movies(session)
    session.expire_all()
    put(movie, screenshots=[NEW])
    other.screenshots.append(added(OTHER))


@action(first=first(TWO, NEW, ONE))
def _assign_own_elements_to_what_is_expired(session: Session) -> None:
    movie, _ = movies(session)
    one, two, _three = movie.screenshots
    session.expire(movie)
    put(movie, screenshots=[two, NEW, one])


@action(first=first(TWO, FOUR, TWO))
def _assign_foreign_elements_to_what_is_expired(session: Session) -> None:
    movie, other = movies(session)
    two, four = movie.screenshots[1], other.screenshots[0]
    session.expire(movie)
    put(movie, screenshots=[two, four, two])


@action(first=None)
def _delete_what_is_expired(session: Session) -> None:
    movie, _ = movies(session)
    session.expire(movie)
    session.delete(movie)


@action()
def _change_and_expire(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[0] = added(NEW)
    session.expire(movie, ["screenshots"])
    assert len(movie.screenshots) == 3


@action()
def _change_and_refresh(session: Session) -> None:
    movie, _ = movies(session)
    movie.extras.append(added(NEW))
    with session.no_autoflush:
        session.refresh(movie)


@action(first=first(ONE, NEW, OTHER, extras=[OTHER]))
def _change_flush_refresh_and_change(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[1:] = [added(NEW)]
    put(movie, extras=[OTHER])
    session.flush()
    session.refresh(movie)
    movie.screenshots.append(added(OTHER))


@action()
def _change_and_expunge(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(added(NEW))
    session.expunge(movie)


@action(first=first(ONE, TWO, THREE, NEW))
def _change_flush_and_expunge(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(added(NEW))
    session.flush()
    session.expunge(movie)


@action(first=first(NEW, ONE), second=holds(FOUR, extras=[NEW]))
def _merge_with_lists(session: Session) -> None:
    movie, _ = movies(session)
    session.merge(_new_row(FIRST, screenshots=[NEW, movie.screenshots[0]]))
    session.merge(_new_row(SECOND, extras=[NEW]))


@action(first=first(extras=()))
def _merge_with_empty_lists(session: Session) -> None:
    session.merge(_new_row(FIRST, screenshots=[], extras=None))


@action()
def _merge_without_mentioning_lists(session: Session) -> None:
    session.merge(Movie(id=FIRST, name="first"))


@action(third=holds(NEW, extras=[OTHER]))
def _merge_a_new_row(session: Session) -> None:
    session.merge(_new_row(1_000_003, name="third", screenshots=[NEW], extras=[OTHER]))


@action(first=first(THREE, NEW))
def _detach_change_and_merge(session: Session) -> None:
    movie, _ = movies(session)
    assert len(movie.screenshots) == 3
    session.expunge(movie)
    movie.screenshots[:2] = []
    movie.screenshots.append(added(NEW))
    session.merge(movie)


def _new_row(id_: int, **values: Any) -> Movie:
    movie = Movie(id=id_)
    put(movie, **values)
    return movie


@action(third=first(ONE, TWO, THREE, NEW))
def _copy_the_row_by_make_transient(session: Session) -> None:
    movie, _ = movies(session)
    assert (len(movie.screenshots), len(movie.extras), movie.poster) != (0, 0, None)
    make_transient(movie)
    put(movie, id=None, name="third")
    movie.screenshots.append(added(NEW))
    session.add(movie)


@contextmanager
def _when(name: str, listener: Callable[[Movie], None]) -> Iterator[None]:
    def _listener(mapper: Any, connection: Any, target: Movie) -> None:
        listener(target)

    event.listen(Movie, name, _listener)
    try:
        yield
    finally:
        event.remove(Movie, name, _listener)


@action(first=first(ONE, OTHER, extras=[NEW]), renamed=holds(FOUR), second=None)
def _change_in_a_listener(session: Session) -> None:
    def change(movie: Movie) -> None:
        if movie.name == "first":
            movie.screenshots[1:] = [added(OTHER)]
            put(movie, extras=[NEW])

    movie, other = movies(session)
    movie.screenshots.append(added(NEW))
    other.name = "renamed"
    with _when("before_update", change):
        session.flush()


@action(renamed=first(ONE, NEW), first=None)
def _change_in_a_listener_what_is_expired(session: Session) -> None:
    def change(movie: Movie) -> None:
        put(movie, screenshots=[one, NEW])

    movie, _ = movies(session)
    one = movie.screenshots[0]
    session.expire(movie)
    movie.name = "renamed"
    with _when("before_update", change):
        session.flush()


@action(third=holds(NEW, OTHER, extras=[NEW]))
def _append_in_a_listener_to_a_new_row(session: Session) -> None:
    def change(movie: Movie) -> None:
        movie.screenshots.append(added(OTHER))
        movie.extras.append(added(NEW))

    session.add(_new_row(1_000_003, name="third", screenshots=[NEW]))
    with _when("before_insert", change):
        session.flush()


@action(first=first(TWO, NEW, extras=[EXTRA, NEW]))
def _replace_by_streams(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[:] = [movie.screenshots[1], _added_stream(NEW)]
    movie.extras.append(_added_stream(NEW))


def _added_stream(data: bytes) -> Any:
    return BytesIO(data)


@action(renamed=first(ONE, TWO, THREE), first=None)
def _change_something_else(session: Session) -> None:
    movies(session)[0].name = "renamed"


#: Runs a test with each action of the table, once all of them are in it.
every_action: Final = some_actions(*ACTIONS)
