"""Packed ids: the same ids come out that went in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.io.fileid import id_of_object_id, new_file_id
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance.ids import (
    FileIds,
    FoundFile,
    FoundFiles,
    KeysInOrder,
    ListedFiles,
    limited_memory,
    packed,
    prefixes,
    unpacked,
)
from depot_lite.maintenance.rows.named import NamedFile
from depot_lite.maintenance.statistics import _DepotCount
from depot_lite.maintenance.verdicts import Expected

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


def many(count: int, first: int | None = None) -> list[str]:
    """Return ids, all beginning with the same byte if one is given."""
    random = Random(count)
    keys = [random.randbytes(16) for _ in range(count)]
    return [unpacked(key if first is None else bytes([first]) + key[1:]) for key in keys]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A megabyte for all collections, so that each has a quarter of it."""
    with limited_memory(1 << 20):
        yield


@pytest.mark.matrix
def test_what_exceeds_the_memory_is_on_disk(little_memory: None) -> None:
    """And comes back as it was, in parts, in order, with sizes and times."""
    ids, start = many(60_000), datetime(2020, 1, 1, tzinfo=UTC)
    held, listed = FileIds(), ListedFiles()
    for at in range(0, len(ids), 1000):
        some = ids[at : at + 1000]
        held.add(some)
        listed.add_known((each, at, start + timedelta(seconds=at)) for each in some)
    assert max(collection._held for collection in (held, listed)) < 300_000
    assert (len(held), len(listed)) == (len(ids), len(ids))
    assert list(held) == sorted(ids) == list(listed)
    assert list(listed.keys(7)) == [packed(each) for each in ids if packed(each)[0] == 7]
    known = {key: told for number in range(256) for key, told in listed.known(number).items()}
    assert known[packed(ids[59_999])] == (59_000, (start + timedelta(seconds=59_000)).timestamp())
    for number in range(256):
        listed.clear(number)
    assert (len(listed), list(listed)) == (0, [])


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_part_that_is_too_large_as_a_set_is_divided(little_memory: None, on_disk: bool) -> None:
    """By the second byte; the others stay whole."""
    ids = many(20_000 if on_disk else 9_000, first=5) + many(500)
    held, listed = FileIds(), ListedFiles()
    for at in range(0, len(ids), 1000):
        held.add(ids[at : at + 1000])
    listed.add_known((each, number, datetime.now(UTC)) for number, each in enumerate(ids[:8000]))
    found: list[bytes] = []
    sizes: dict[bytes, int] = {}
    for prefix in prefixes(held, listed):
        assert held.part(prefix) >= listed.part(prefix)
        assert len(held.part(prefix)) < 2048
        found += sorted(held.part(prefix))
        sizes |= {key: size for key, (size, _) in listed.known(prefix).items()}
    assert found == sorted(map(packed, ids))
    assert sizes == {packed(each): number for number, each in enumerate(ids[:8000])}
    assert list(held) == sorted(ids)
    for prefix in prefixes(held, listed):
        listed.clear(prefix)
        held.clear(prefix)
    assert len(held) == len(listed) == 0
    assert list(held) == []


def test_where_a_divided_part_is_not_known_none_of_it_is(little_memory: None) -> None:
    """As with a whole one."""
    listed = ListedFiles()
    listed.add(many(9_000, first=5))
    assert {number: listed.known(number) for number in prefixes(listed)} == {each: {} for each in prefixes(listed)}
    assert len(listed) == 9_000


def test_found_files_are_read_from_disk(little_memory: None) -> None:
    """One by one or all of them, while others are added."""
    found, ids = FoundFiles(), many(20_000)
    for number, each in enumerate(ids):
        found.append(packed(each), number, float(number))
        assert found[number // 2].size == number // 2
    assert (len(found), found.bytes) == (20_000, sum(range(20_000)))
    assert [each.file_id for each in found] == ids
    assert found[-1].size == 19_999


@pytest.mark.matrix
def test_found_files_are_looked_up_by_their_ids(little_memory: None) -> None:
    """Where they lie: as a set they would take the memory that the limit is to save."""
    found, ids = FoundFiles(), sorted(many(20_000))
    for each in ids[::2]:
        found.append(packed(each), 1, 1.0)
    assert [packed(each) in KeysInOrder(found) for each in ids] == [True, False] * 10_000
    assert packed(ids[0]) not in KeysInOrder(FoundFiles())


def test_a_full_disk_stops_the_job(little_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which disk, and why it is needed."""
    monkeypatch.setattr("tempfile.TemporaryFile", partial(open, "/dev/full", "wb"))
    with pytest.raises(MaintenanceStopped, match="exceed the limit of memory, and cannot be put on disk in /"):
        FileIds().add(many(20_000))


def test_no_folder_for_temporary_files_stops_the_job(little_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is lost."""
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(MaintenanceStopped, match="no temporary file can be made in /nowhere"):
        FileIds().add(many(20_000))


def test_less_than_a_megabyte_is_refused() -> None:
    """A part would not fit."""
    with pytest.raises(ConfigurationError, match="memory=1000: expected a whole number"), limited_memory(1000):
        pass


@pytest.mark.matrix
def test_what_rows_say_of_files_is_put_on_disk_too() -> None:
    """The expectations of `verify`, and the references of `statistics`, with all that was said of a file."""
    ids = [new_file_id() for _ in range(10_000)]
    with limited_memory(1 << 20):
        expected, depot = Expected(), _DepotCount(MemoryFileStorage(), 0)
    for times in (1, 2):
        for number, each in enumerate(ids):
            expected.add(each, number * times, None)
            depot.add_reference(NamedFile("default", each, "path", {"size": number * times}), 0, times, str)
    assert (expected._records._file is None, depot._records._file is None) == (False, False)
    assert sum(map(len, expected._records.parts)) < 1 << 18
    for number, each in sorted(enumerate(ids), key=lambda item: item[1]):
        assert [found.size for found in expected.of(each)] == [number, number * 2]
    named = {key: found for first in range(256) for key, found in depot.named(first).items()}
    sizes = {unpacked(key): [each.size for each in found] for key, found in named.items()}
    assert sizes == {each: [number, number * 2] for number, each in enumerate(ids)}
