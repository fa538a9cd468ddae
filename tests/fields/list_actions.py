"""What can be done to lists of files in one transaction: the rows of the table of transaction cases for lists.

As `tests.fields.actions`, but an action says what each row holds afterwards, in which order. What becomes of lists
where something is done to their objects follows in `tests.fields.list_object_actions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from depot_lite.fields.upload import UploadedFile
from depot_lite.manager import DepotManager
from tests.conftest import World
from tests.fields.actions import put
from tests.support.models import Movie, Signed

FIRST: Final = 1_000_001
SECOND: Final = 1_000_002

# In capitals, since a `Signed` value stores its content so.
POSTER, ONE, TWO, THREE, EXTRA, FOUR = b"POSTER", b"ONE", b"TWO", b"THREE", b"EXTRA", b"FOUR"
NEW, OTHER = b"NEW", b"OTHER"


@dataclass(frozen=True)
class Holds:
    """The content of a row."""

    screenshots: tuple[bytes, ...] = ()
    extras: tuple[bytes, ...] = ()
    poster: bytes | None = None


#: The name of a row -> its content.
Rows = dict[str, Holds]


def first(*screenshots: bytes, extras: Sequence[bytes] = (EXTRA,), poster: bytes | None = POSTER) -> Holds:
    """Return the content of the first row, whose attributes other than the first list are as at the beginning."""
    return Holds(screenshots, tuple(extras), poster)


def holds(*screenshots: bytes, extras: Sequence[bytes] = (), poster: bytes | None = None) -> Holds:
    """Return what another row holds."""
    return Holds(screenshots, tuple(extras), poster)


BEFORE: Final[Rows] = {"first": first(ONE, TWO, THREE), "second": holds(FOUR)}


@dataclass(frozen=True)
class ListAction:
    """A change of lists through objects, and the rows if it is committed."""

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
    """Check the files of the rows and their order, that every signature is there, and that no other file is."""
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
    named = set(world.rows())
    assert set(paths) <= named
    assert named == world.stored()


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


# --- operations of a list -----------------------------------------------------------------------------------------


def added(data: bytes) -> Any:
    """Return content that a list accepts, though its type says that it holds files."""
    return data


@action(first=first(ONE, TWO, THREE, NEW))
def _append(session: Session) -> None:
    movies(session)[0].screenshots.append(added(NEW))


@action(first=first(ONE, TWO, THREE, extras=[EXTRA, NEW, OTHER]))
def _append_values_of_two_files_in_two_flushes(session: Session) -> None:
    movie, _ = movies(session)
    movie.extras.append(added(NEW))
    session.flush()
    movie.extras.append(added(OTHER))


@action(first=first(NEW, ONE, TWO, THREE))
def _insert(session: Session) -> None:
    movies(session)[0].screenshots.insert(0, added(NEW))


@action(first=first(ONE, TWO, THREE, NEW, OTHER))
def _extend(session: Session) -> None:
    movies(session)[0].screenshots.extend(map(added, (NEW, OTHER)))


@action(first=first(ONE, TWO, THREE, NEW))
def _add_to_itself(session: Session) -> None:
    movies(session)[0].screenshots += [added(NEW)]


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
    movies(session)[0].screenshots[1:] = [added(NEW), added(OTHER)]


@action(first=first(TWO))
def _delete_a_slice(session: Session) -> None:
    del movies(session)[0].screenshots[::2]


@action(first=first(ONE, NEW, THREE, extras=[OTHER]))
def _replace_an_element(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots[1] = added(NEW)
    movie.extras[0] = added(OTHER)


@action(first=first(ONE, NEW, THREE))
def _replace_an_element_in_three_flushes(session: Session) -> None:
    for data in (OTHER, TWO, NEW):
        movies(session)[0].screenshots[1] = added(data)
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
    movie.screenshots.append(added(NEW))


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
    movie.screenshots.append(added(NEW))
    session.flush()
    taken = movie.screenshots.pop()
    session.flush()
    movie.screenshots.append(taken)


@action(first=first(ONE, TWO))
def _change_and_change_back_in_parts(session: Session) -> None:
    movie, _ = movies(session)
    movie.screenshots.append(added(NEW))
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
    movie.screenshots.append(added(NEW))
    session.add(movie)
    movie.screenshots.append(added(OTHER))


@action(third=holds(NEW))
def _add_flush_and_append(session: Session) -> None:
    movie = Movie(name="third")
    session.add(movie)
    session.flush()
    movie.screenshots.append(added(NEW))


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
    movie.screenshots.append(added(NEW))
    other.screenshots = movie.screenshots
    other.screenshots.append(added(OTHER))


@action(first=first(ONE, TWO, THREE, NEW, extras=[EXTRA, NEW]))
def _assign_the_list_to_itself_and_change_it(session: Session) -> None:
    movie, _ = movies(session)
    put(movie, screenshots=movie.screenshots, extras=movie.extras)
    movie.screenshots.append(added(NEW))
    movie.extras.append(added(NEW))


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
    movie.screenshots.append(added(NEW))
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
