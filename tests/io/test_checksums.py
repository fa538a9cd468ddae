"""Checksums that two threads share."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.io.checksums import Crc32, FollowingChecksum
from depot_lite.io.local.disk import DataFile


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_sums_of_parts_join_to_the_sum_of_the_whole(parts: list[bytes]) -> None:
    whole = Crc32()
    for part in parts:
        following = Crc32()
        following.update(memoryview(part))
        whole.join(following, len(part))
    assert whole.hexdigest() == f"{zlib.crc32(b''.join(parts)):08x}"


@given(st.binary(max_size=20), st.integers(0, 2**20))
def test_zeros_are_joined_by_their_number_alone(start: bytes, zeros: int) -> None:
    whole, end = Crc32(), Crc32()
    whole.update(memoryview(start))
    end.update(memoryview(bytes(zeros)))
    whole.join(end, zeros)
    assert whole.hexdigest() == f"{zlib.crc32(bytes(zeros), zlib.crc32(start)):08x}"


def test_the_writer_sums_the_end_while_the_thread_behind_is_still_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped = threading.Event()
    read_by_the_writer: list[int] = []
    writer, read = threading.current_thread(), FollowingChecksum._read

    def held_back(self: FollowingChecksum, part: memoryview, offset: int) -> None:
        if threading.current_thread() is writer:
            read_by_the_writer.append(offset)
            helped.set()
        else:
            assert helped.wait(60)
        read(self, part, offset)

    monkeypatch.setattr(FollowingChecksum, "_read", held_back)
    data = os.urandom(20 * 2**20 + 12345)
    file = DataFile.create(str(tmp_path / "data"), "crc32", None)
    try:
        file.write(data)
        file.finish(durable=False)
        assert file.checksum == f"crc32:{zlib.crc32(data):08x}"
    finally:
        file.close()
    assert read_by_the_writer
    assert read_by_the_writer == sorted(read_by_the_writer, reverse=True)


@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
def test_a_part_that_could_not_be_read_fails_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    def fails(self: FollowingChecksum, part: memoryview, offset: int) -> None:
        if offset < 2**20:
            raise MemoryError("no room for it")

    monkeypatch.setattr(FollowingChecksum, "_read", fails)
    file = DataFile.create(str(tmp_path / "data"), algorithm, None)
    try:
        file.write(bytes(20 * 2**20))
        with pytest.raises(MemoryError, match="no room for it"):
            file.finish(durable=False)
    finally:
        file.close()
