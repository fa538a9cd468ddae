"""Stored files whose bytes are held against what is known of them."""

from __future__ import annotations

import io
import zlib

import pytest

from depot_lite.errors import StorageFailed
from depot_lite.io.verified import VerifiedStream
from depot_lite.testing import some_bytes

DATA = some_bytes(100_000)
SUM = f"crc32:{zlib.crc32(DATA):08x}"


def stream(data: bytes = DATA, checksum: str | None = SUM) -> VerifiedStream:
    return VerifiedStream(io.BytesIO(data), "id", len(DATA), checksum)


@pytest.mark.parametrize("size", [999, 100_000, 100_001, -1])
def test_what_is_whole_can_be_read(size: int) -> None:
    with stream() as file:
        assert b"".join(iter(lambda: file.read(size), b"")) == DATA
        assert file.tell() == len(DATA)


@pytest.mark.parametrize("size", [999, 100_000, 100_001, -1])
@pytest.mark.parametrize("data", [DATA[:-1] + b"?", b"?" + DATA[1:], DATA[:-1], DATA + b"?", b""])
def test_the_last_bytes_of_what_is_damaged_are_never_given(data: bytes, size: int) -> None:
    """So whoever needs all of them has nothing. What is too much is seen at the latest where the end is looked for."""
    given = b""

    def read_all(file: VerifiedStream) -> None:
        nonlocal given
        while piece := file.read(size):
            given += piece

    with stream(data) as file, pytest.raises(StorageFailed, match="file id is damaged"):
        read_all(file)
    assert len(given) < len(DATA) or given == DATA


def test_who_looks_at_the_start_first_gets_all_verified() -> None:
    with stream() as file:
        assert file.read(8000) == DATA[:8000]
        assert file.seek(0) == 0
        assert file.read() == DATA
    with stream(DATA[:-1] + b"?") as file:
        assert file.read(8000) == DATA[:8000]
        file.seek(0)
        with pytest.raises(StorageFailed, match="checksum"):
            file.read()


def test_of_what_is_left_out_only_the_length_counts() -> None:
    with stream(checksum="crc32:00000000") as file:
        assert file.seek(-10, io.SEEK_END) == len(DATA) - 10
        assert file.read() == DATA[-10:]


@pytest.mark.parametrize("checksum", [None, "md5:00"])
def test_without_a_checksum_that_is_known_the_length_counts(checksum: str | None) -> None:
    with stream(checksum=checksum) as file:
        assert file.read() == DATA
    with stream(DATA[1:], checksum) as file, pytest.raises(StorageFailed, match="expected 100000 bytes, got 99999"):
        file.read()


def test_it_says_what_it_can_do() -> None:
    with stream() as file:
        assert (file.readable(), file.seekable(), file.writable(), file.tell()) == (True, True, False, 0)
