"""Packed ids: the same ids come out that went in."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.io.fileid import id_of_object_id
from depot_lite.maintenance.ids import FileIds, FoundFile, FoundFiles, ListedFiles, packed, unpacked

IDS = st.uuids().map(str)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds have none


@pytest.mark.matrix
@given(st.lists(IDS))
def test_ids_come_out_in_order_each_once(ids: list[str]) -> None:
    """However often, and in however many goes, they were added."""
    held = FileIds()
    held.add(ids[::2])
    held.add(ids[1::2])
    assert len(held) == len(ids)
    assert list(held) == sorted(set(ids))
    for number in range(256):
        assert held.part(number) == {packed(each) for each in ids if UUID(each).bytes[0] == number}
        held.clear(number)
    assert list(held) == []


def test_an_object_id_is_packed_as_the_uuid_that_stands_for_it() -> None:
    """Rows of filedepot's have the one, a listing of GridFS the other."""
    old, file_id = "507f1f77bcf86cd799439011", id_of_object_id("507f1f77bcf86cd799439011")
    held = FileIds()
    held.add([old, file_id])
    assert packed(old) == packed(file_id)
    assert list(held) == [file_id]


@pytest.mark.matrix
@given(st.dictionaries(IDS, st.tuples(st.integers(0, 1 << 50), TIMES)))
def test_what_a_listing_told_is_known(files: dict[str, tuple[int, datetime]]) -> None:
    """Size and time stay with their id."""
    held = ListedFiles()
    held.add_known((file_id, size, when) for file_id, (size, when) in files.items())
    known = {unpacked(key): told for number in range(256) for key, told in held.known(number).items()}
    assert known == {file_id: (size, when.timestamp()) for file_id, (size, when) in files.items()}


@given(st.lists(IDS, min_size=1, max_size=5), IDS)
def test_where_one_is_not_known_none_is(ids: list[str], other: str) -> None:
    """Sizes would be those of other files."""
    held = ListedFiles()
    held.add_known((each, 1, datetime.now(UTC)) for each in [other, *ids])
    held.add([other])
    assert held.known(UUID(other).bytes[0]) == {}


@pytest.mark.matrix
@given(st.lists(st.builds(FoundFile, IDS, st.integers(0, 1 << 40), TIMES)))
def test_found_files_are_a_sequence(files: list[FoundFile]) -> None:
    """Of the same files, in order."""
    held = FoundFiles()
    for each in files:
        held.append(packed(each.file_id), each.size, each.last_modified.timestamp())
    assert [each.file_id for each in held] == [each.file_id for each in files]
    assert (len(held), held.bytes) == (len(files), sum(each.size for each in files))
    assert held[1:3] == list(held)[1:3]
    assert held[-1:] == list(held)[-1:]
    assert all(
        abs((a.last_modified - b.last_modified).total_seconds()) < 1e-3 for a, b in zip(held, files, strict=True)
    )
