"""The model of sessions with lists of files: `tests.fields.history` with a tuple of bytes for each attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import inspect, select

from depot_lite.fields.columns import files_in
from depot_lite.fields.upload import UploadedFile
from tests.fields.history import Files, History
from tests.support.models import Movie, Signed

LISTS = ("screenshots", "extras")

#: A list, and the function that makes an item of bytes: a value for the attribute, the bytes themselves for the model.
Change = Callable[[list[Any], Callable[[bytes], Any]], object]


def upload(data: bytes) -> UploadedFile:
    """Return a value whose name tells its bytes, so that lists can be sorted before they are stored."""
    return UploadedFile(data, filename=data.decode())


def in_order(item: Any) -> str:
    """Return by what lists are sorted: values and the bytes of the model alike."""
    return item.decode() if isinstance(item, bytes) else str(item["filename"])


class ListHistory(History):
    """The model of movies: each row has two lists, the values of one of them having two files each."""

    model = Movie
    attributes = LISTS

    def _bytes(self) -> bytes:
        # In capitals, since a `Signed` value stores its content so; of one length, so that they sort.
        return b"BYTES %06d" % next(self.numbers)

    def _held(self, row: int, attribute: str) -> tuple[bytes, ...]:
        held = self.now[row][attribute]
        assert isinstance(held, tuple)
        return held

    def _remember(self, row: int, attribute: str) -> None:
        values = files_in(getattr(self._object(row), attribute))
        assert len(values) == len(self._held(row, attribute))
        for value, data in zip(values, self._held(row, attribute), strict=True):
            self.replaced.append((row, attribute, value, data))

    def _change(self, row: int, attribute: str, change: Change) -> None:
        """Do the same to the list of an attribute and to that of the model."""
        self._remember(row, attribute)
        data = list(self._held(row, attribute))
        change(data, bytes)
        files = getattr(self._object(row), attribute)
        change(files, upload)
        assert len(files) == len(data)
        self.now[row] = {**self.now[row], attribute: tuple(data)}

    def _unchanged(self, row: int) -> bool:
        """Return whether the object of a row can be expired without losing a change."""
        return bool(inspect(self._object(row)).persistent) and self.now[row] == self.levels[-1].get(row)

    def _new_files(self, number: int, other: int) -> Files:
        return {
            attribute: tuple(self._bytes() for _ in range(count))
            for attribute, count in zip(LISTS, (number, other), strict=True)
        }

    def check(self) -> None:
        """Compare the second files of values too."""
        super().check()
        with self.engine.connect() as connection:
            for files in connection.scalars(select(Movie.extras)):
                for value in files_in(files):
                    assert isinstance(value, Signed)
                    with value.file as stored:
                        assert value.signature == b"signed: " + stored.read()


def given(files: Files) -> dict[str, Any]:
    """Return the value to assign so that a row holds these files."""
    return {attribute: [upload(data) for data in held] for attribute, held in files.items() if isinstance(held, tuple)}
