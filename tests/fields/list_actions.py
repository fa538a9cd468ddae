"""What objects can do to lists of files in one transaction: the rows of the table of transaction cases for lists.

As `tests.fields.actions`, but an action says what each row holds afterwards, in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session, make_transient

from depot_lite.fields.upload import UploadedFile
from depot_lite.manager import DepotManager
from tests.conftest import World
from tests.fields.actions import put
from tests.fields.models import Movie, Signed

FIRST: Final = 1_000_001
SECOND: Final = 1_000_002

# In capitals, which is what a `Signed` value makes of its content.
POSTER, ONE, TWO, THREE, EXTRA, FOUR = b"POSTER", b"ONE", b"TWO", b"THREE", b"EXTRA", b"FOUR"
NEW, OTHER = b"NEW", b"OTHER"


@dataclass(frozen=True)
class Holds:
    """What one row holds."""

    screenshots: tuple[bytes, ...] = ()
    extras: tuple[bytes, ...] = ()
    poster: bytes | None = None


#: The name of a row -> what it holds.
Rows = dict[str, Holds]


def first(*screenshots: bytes, extras: Sequence[bytes] = (EXTRA,), poster: bytes | None = POSTER) -> Holds:
    """Return what the first row holds, which other attributes than the first list hold as at the beginning."""
    return Holds(screenshots, tuple(extras), poster)


def holds(*screenshots: bytes, extras: Sequence[bytes] = (), poster: bytes | None = None) -> Holds:
    """Return what another row holds."""
    return Holds(screenshots, tuple(extras), poster)


BEFORE: Final[Rows] = {"first": first(ONE, TWO, THREE), "second": holds(FOUR)}


@dataclass(frozen=True)
class ListAction:
    """Something that objects do to lists, and what rows hold if it is committed."""

    does: Callable[[Session], None]
    leaves: Rows


ACTIONS: Final[dict[str, ListAction]] = {}

_Does = Callable[[Session], None]


def action(**leaves: Holds | None) -> Callable[[_Does], _Does]:
    """Enter a function into the table, with the rows that it changes; None: the row is gone."""

    def enter(does: _Does) -> _Does:
        after = {name: held for name, held in {**BEFORE, **leaves}.items() if held is not None}
        ACTIONS[does.__name__.strip("_")] = ListAction(does, after)
        return does

    return enter


def begin(world: World) -> None:
    """Commit the two movies with which every action begins."""
    with world.session() as session:
        movies = Movie(id=FIRST, name="first"), Movie(id=SECOND, name="second")
        put(movies[0], screenshots=[ONE, TWO, THREE], extras=[EXTRA], poster=POSTER)
        put(movies[1], screenshots=[FOUR])
        session.add_all(movies)
        session.commit()


def movies(session: Session) -> tuple[Movie, Movie]:
    """Return the two movies."""
    return session.get_one(Movie, FIRST), session.get_one(Movie, SECOND)


def check(world: World, expected: Rows) -> None:
    """Check what rows hold, in which order, that every signature is there, and that no other file is."""
    with world.session() as session:
        rows = {str(movie.name): movie for movie in session.scalars(select(Movie))}
        found = {name: _held(movie) for name, movie in rows.items()}
        values = [value for movie in rows.values() for value in (movie.poster, *movie.screenshots, *movie.extras)]
        assert {name: _signed(movie) for name, movie in rows.items()} == {
            name: [b"signed: " + each for each in held.extras] for name, held in expected.items()
        }
        paths = [path for value in files_of(values) for path in value.paths]
    assert found == expected
    assert len(set(paths)) == len(paths)
    assert set(paths) <= set(world.rows())
    assert set(world.rows()) == world.stored()


def files_of(values: Sequence[Any]) -> Iterator[UploadedFile]:
    """Yield those values that are files."""
    return (each for each in values if each is not None)


def _held(movie: Movie) -> Holds:
    poster = None if movie.poster is None else _read(movie.poster)
    return Holds(tuple(map(_read, movie.screenshots)), tuple(map(_read, movie.extras)), poster)


def _read(value: UploadedFile) -> bytes:
    with DepotManager.get_file(value.path) as stored:
        return stored.read()


def _signed(movie: Movie) -> list[bytes]:
    assert [(type(each), len(each.paths)) for each in movie.extras] == [(Signed, 2)] * len(movie.extras)
    return [each.signature for each in movie.extras]


def some_actions(*names: str) -> pytest.MarkDecorator:
    """Run a test with these actions."""
    return pytest.mark.parametrize("action", [ACTIONS[name] for name in names], ids=names)


# --- what a list can do -------------------------------------------------------------------------------------------


def _added(data: bytes) -> Any:
    """Return what a list takes, though its type says that it holds files."""
    return data


@action(first=first(ONE, TWO, THREE, NEW))
def _append(session: Session) -> None:
    movies(session)[0].screenshots.append(_added(NEW))


@action(first=first(ONE, TWO, THREE, extras=[EXTRA, NEW, OTHER]))
def _append_values_of_two_files_in_two_flushes(session: Session) -> None:
    movie, _ = movies(session)
    movie.extras.append(_added(NEW))
    session.flush()
    movie.extras.append(_added(OTHER))


@action(first=first(NEW, ONE, TWO, THREE))
def _insert(session: Session) -> None:
    movies(session)[0].screenshots.insert(0, _added(NEW))


@action(first=first(ONE, TWO, THREE, NEW, OTHER))
def _extend(session: Session) -> None:
    movies(session)[0].screenshots.extend(map(_added, (NEW, OTHER)))


@action(first=first(ONE, TWO, THREE, NEW))
def _add_to_itself(session: Session) -> None:
    movies(session)[0].screenshots += [_added(NEW)]


@action(first=first(TWO, THREE))
def _remove(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.remove(movie.screenshots[0])


@action(first=first(ONE, TWO, extras=()))
def _pop(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.pop()
    movie.extras.pop(0)


@action(first=first(ONE, NEW, OTHER))
def _assign_a_slice(session: Session) -> None:
    movies(session)[0].screenshots[1:] = [_added(NEW), _added(OTHER)]


@action(first=first(TWO))
def _delete_a_slice(session: Session) -> None:
    del movies(session)[0].screenshots[::2]


@action(first=first(ONE, NEW, THREE, extras=[OTHER]))
def _replace_an_element(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[1] = _added(NEW)
    movie.extras[0] = _added(OTHER)


@action(first=first(ONE, NEW, THREE))
def _replace_an_element_in_three_flushes(session: Session) -> None:
    for data in (OTHER, TWO, NEW):
        movies(session)[0].screenshots[1] = _added(data)
        session.flush()


@action(first=first(ONE, THREE, TWO))
def _sort(session: Session) -> None:
    movies(session)[0].screenshots.sort(key=_read)


@action(first=first(THREE, TWO, ONE))
def _reverse(session: Session) -> None:
    movies(session)[0].screenshots.reverse()


@action(first=first(extras=()))
def _clear(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.clear()
    movie.extras.clear()


@action(first=first(NEW))
def _clear_and_fill(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.clear()
    session.flush()
    movie.screenshots.append(_added(NEW))


@action(first=first(TWO, ONE, THREE))
def _swap_two_elements(session: Session) -> None:
    screenshots = movies(session)[0].screenshots
    screenshots[0], screenshots[1] = screenshots[1], screenshots[0]


@action(first=first(ONE, TWO, THREE, ONE, extras=[EXTRA, EXTRA]))
def _put_an_element_in_twice(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(movie.screenshots[0])
    movie.extras.append(movie.extras[0])


@action(first=first(ONE, TWO, THREE, NEW, NEW, extras=[EXTRA, EXTRA]))
def _put_a_new_value_in_twice(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots += [UploadedFile(NEW)] * 2
    movie.extras *= 2


@action()
def _take_out_and_put_back_before_the_flush(session: Session) -> None:
    screenshots = movies(session)[0].screenshots
    screenshots.insert(1, screenshots.pop(1))


@action(first=first(ONE, THREE, TWO, extras=[EXTRA]))
def _take_out_and_put_back_after_a_flush(session: Session) -> None:
    movie, _ = movies(session)
    taken, extra = movie.screenshots.pop(1), movie.extras.pop()
    session.flush()
    movie.screenshots.append(taken)
    movie.extras.append(extra)


@action(first=first(ONE, TWO, THREE, NEW))
def _add_take_out_and_put_back_in_three_flushes(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(_added(NEW))
    session.flush()
    taken = movie.screenshots.pop()
    session.flush()
    movie.screenshots.append(taken)


@action(first=first(ONE, TWO))
def _change_and_change_back_in_parts(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(_added(NEW))
    session.flush()
    movie.screenshots.pop()
    movie.screenshots.pop()
    session.flush()


# --- whole lists --------------------------------------------------------------------------------------------------


@action(third=holds(NEW, OTHER, extras=[NEW]))
def _add(session: Session) -> None:
    movie = Movie(name="third")
    put(movie, screenshots=[NEW, OTHER], extras=[NEW])
    session.add(movie)


@action(third=holds())
def _add_without_files(session: Session) -> None:
    session.add(Movie(name="third"))


@action(third=holds(NEW, OTHER))
def _add_and_append(session: Session) -> None:
    movie = Movie(name="third")
    movie.screenshots.append(_added(NEW))
    session.add(movie)
    movie.screenshots.append(_added(OTHER))


@action(third=holds(NEW))
def _add_flush_and_append(session: Session) -> None:
    movie = Movie(name="third")
    session.add(movie)
    session.flush()
    movie.screenshots.append(_added(NEW))


@action(first=first(NEW, TWO))
def _assign_a_list(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=[NEW, movie.screenshots[1]])


@action(first=first())
def _assign_an_empty_list(session: Session) -> None:
    put(movies(session)[0], screenshots=[])


@action(first=first(extras=()))
def _assign_none(session: Session) -> None:
    put(movies(session)[0], screenshots=None, extras=None)


@action(second=holds(ONE, TWO, THREE, extras=[EXTRA]))
def _assign_the_lists_to_another_row(session: Session) -> None:
    movie, other = movies(session)
    other.screenshots, other.extras = movie.screenshots, movie.extras


@action(first=first(ONE, TWO, THREE, NEW), second=holds(ONE, TWO, THREE, NEW, OTHER))
def _assign_a_changed_list_to_another_row_and_change_that(session: Session) -> None:
    movie, other = movies(session)
    movie.screenshots.append(_added(NEW))
    other.screenshots = movie.screenshots
    other.screenshots.append(_added(OTHER))


@action(first=first(ONE, TWO, THREE, NEW, extras=[EXTRA, NEW]))
def _assign_the_list_to_itself_and_change_it(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=movie.screenshots, extras=movie.extras)
    movie.screenshots.append(_added(NEW))
    movie.extras.append(_added(NEW))


@action(first=first(ONE, THREE))
def _let_a_form_without_files_leave_the_list_and_change_it(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=[""])
    del movie.screenshots[1]


@action(first=first(FOUR), second=holds(ONE, TWO, THREE))
def _swap_the_lists_of_two_rows(session: Session) -> None:
    movie, other = movies(session)
    movie.screenshots, other.screenshots = other.screenshots, movie.screenshots


@action()
def _swap_the_lists_of_two_rows_and_swap_them_back(session: Session) -> None:
    movie, other = movies(session)
    for _ in range(2):
        movie.screenshots, other.screenshots = other.screenshots, movie.screenshots
        movie.extras, other.extras = other.extras, movie.extras
        session.flush()


@action(first=first(EXTRA, extras=[ONE, TWO, THREE]))
def _swap_the_lists_of_one_row(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=list(movie.extras), extras=list(movie.screenshots))


# --- elements that go elsewhere -----------------------------------------------------------------------------------


@action(first=first(ONE, THREE), second=holds(FOUR, TWO))
def _move_an_element_to_another_row(session: Session) -> None:
    movie, other = movies(session)
    other.screenshots.append(movie.screenshots.pop(1))


@action(first=first(ONE, TWO, THREE, extras=()), second=holds(FOUR, extras=[EXTRA]))
def _move_an_element_with_two_files_to_another_row(session: Session) -> None:
    movie, other = movies(session)
    other.extras.append(movie.extras.pop())


@action(first=first(ONE, TWO, THREE), second=holds(FOUR, NEW))
def _move_a_new_element_to_another_row(session: Session) -> None:
    movie, other = movies(session)
    movie.screenshots.append(_added(NEW))
    other.screenshots.append(movie.screenshots.pop())


@action(first=first(FOUR, TWO, THREE), second=holds(ONE))
def _swap_elements_of_two_rows(session: Session) -> None:
    movie, other = movies(session)
    movie.screenshots[0], other.screenshots[0] = other.screenshots[0], movie.screenshots[0]


@action(first=first(ONE, TWO, THREE, POSTER, extras=[EXTRA, POSTER]))
def _put_the_single_file_into_the_lists(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=[*movie.screenshots, movie.poster], extras=[*movie.extras, movie.poster])


@action(first=first(TWO, THREE, poster=ONE), second=holds(FOUR, poster=TWO))
def _make_elements_the_single_files(session: Session) -> None:
    movie, other = movies(session)
    movie.poster = movie.screenshots.pop(0)
    other.poster = movie.screenshots[0]


@action(first=first(POSTER, TWO, THREE, poster=ONE))
def _swap_an_element_with_the_single_file(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=[movie.poster, *movie.screenshots[1:]], poster=movie.screenshots[0])


@action(first=first(ONE, TWO, THREE, NEW, extras=[EXTRA, NEW], poster=NEW))
def _give_one_new_value_to_three_attributes(session: Session) -> None:
    movie, value = movies(session)[0], UploadedFile(NEW)
    movie.poster = value
    movie.screenshots.append(value)
    put(movie, extras=[*movie.extras, value])


@action(third=holds(ONE, TWO, THREE, FOUR, extras=[EXTRA], poster=FOUR))
def _copy_everything_to_a_new_row(session: Session) -> None:
    movie, other = movies(session)
    screenshots = movie.screenshots + other.screenshots
    session.add(Movie(name="third", poster=other.screenshots[0], screenshots=screenshots, extras=movie.extras))


@action(first=None, third=holds(ONE, THREE, extras=[EXTRA]))
def _copy_and_delete_the_original(session: Session) -> None:
    movie, _ = movies(session)
    session.add(Movie(name="third", screenshots=movie.screenshots[::2], extras=movie.extras))
    session.delete(movie)


# --- rows ---------------------------------------------------------------------------------------------------------


@action(first=None)
def _delete(session: Session) -> None:
    session.delete(movies(session)[0])


@action(first=None)
def _change_and_delete(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[0] = _added(NEW)
    movie.extras.pop()
    session.delete(movie)


@action(first=None)
def _change_flush_and_delete(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[0] = _added(NEW)
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
    again.screenshots.append(_added(NEW))
    again.extras.append(_added(NEW))
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


# --- what a session does with its objects -------------------------------------------------------------------------


@action(first=first(NEW), second=holds(FOUR, OTHER))
def _change_what_is_expired(session: Session) -> None:
    movie, other = movies(session)
    session.expire_all()
    put(movie, screenshots=[NEW])
    other.screenshots.append(_added(OTHER))


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
    movie.screenshots[0] = _added(NEW)
    session.expire(movie, ["screenshots"])
    assert len(movie.screenshots) == 3


@action()
def _change_and_refresh(session: Session) -> None:
    movie, _ = movies(session)
    movie.extras.append(_added(NEW))
    with session.no_autoflush:
        session.refresh(movie)


@action(first=first(ONE, NEW, OTHER, extras=[OTHER]))
def _change_flush_refresh_and_change(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[1:] = [_added(NEW)]
    put(movie, extras=[OTHER])
    session.flush()
    session.refresh(movie)
    movie.screenshots.append(_added(OTHER))


@action()
def _change_and_expunge(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(_added(NEW))
    session.expunge(movie)


@action(first=first(ONE, TWO, THREE, NEW))
def _change_flush_and_expunge(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(_added(NEW))
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
    movie.screenshots.append(_added(NEW))
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
    movie.screenshots.append(_added(NEW))
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
            movie.screenshots[1:] = [_added(OTHER)]
            put(movie, extras=[NEW])

    movie, other = movies(session)
    movie.screenshots.append(_added(NEW))
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
        movie.screenshots.append(_added(OTHER))
        movie.extras.append(_added(NEW))

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
