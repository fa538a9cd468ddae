"""Stored files whose bytes are compared with their metadata while they are read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from depot_lite.errors import StorageFailed
from depot_lite.io.stored import FileInfo, StoredFile
from depot_lite.testing import some_bytes

DATA = some_bytes(100_000)
SUM = f"crc32:{zlib.crc32(DATA):08x}"


def stream(data: bytes = DATA, checksum: str | None = SUM, length: int = len(DATA)) -> StoredFile:
    info = FileInfo("id", "name", "text/plain", length, datetime.now(UTC), checksum)
    return StoredFile(info, lambda: io.BytesIO(data))


@pytest.mark.parametrize("size", [999, 100_000, 100_001, -1])
def test_what_is_whole_can_be_read(size: int) -> None:
    with stream() as file:
        assert b"".join(iter(lambda: file.read(size), b"")) == DATA
        assert file.tell() == len(DATA)


@pytest.mark.parametrize("size", [999, 100_000, 100_001, -1])
@pytest.mark.parametrize("data", [DATA[:-1] + b"?", b"?" + DATA[1:], DATA[:-1], DATA + b"?", b""])
def test_the_last_bytes_of_what_is_damaged_are_never_given(data: bytes, size: int) -> None:
    """So a reader who needs all of them has nothing. Surplus bytes are noticed at the end at the latest."""
    given = b""

    def read_all(file: StoredFile) -> None:
        nonlocal given
        while piece := file.read(size):
            given += piece

    with stream(data) as file, pytest.raises(StorageFailed, match="file id is damaged"):
        read_all(file)
    assert len(given) < len(DATA) or given == DATA


READS: dict[str, Callable[[StoredFile], object]] = {
    "read": lambda file: file.read(len(DATA) + 1),
    "read1": lambda file: file.read1(),
    "readinto": lambda file: file.readinto(bytearray(2 * len(DATA))),
}


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
def test_a_file_that_ends_too_early_gives_nothing_to_a_read_that_asks_for_more(
    read: Callable[[StoredFile], object],
) -> None:
    for data in (DATA[:3], DATA[:-1]):
        with stream(data) as file, pytest.raises(StorageFailed, match=f"expected {len(DATA)} bytes, got {len(data)}"):
            read(file)
    with stream(DATA[:5]) as file:
        assert file.read(3) == DATA[:3]
        with pytest.raises(StorageFailed, match="got 5"):
            read(file)


class Trickle(io.BytesIO):
    """A stream whose reads return fewer bytes than are asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, 7000))


def test_a_read_goes_on_until_it_has_all_that_there_is() -> None:
    with StoredFile(stream().info, lambda: Trickle(DATA)) as file:
        assert (file.read(10_000), file.read(100_001), file.read(1)) == (DATA[:10_000], DATA[10_000:], b"")
    with StoredFile(stream().info, lambda: Trickle(b"?" + DATA[1:])) as file, pytest.raises(StorageFailed):
        file.read(len(DATA))


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


def test_what_is_read_in_another_order_is_not_summed() -> None:
    with stream(checksum="crc32:00000000") as file:
        assert file.read(10) == DATA[:10]
        file.seek(5)
        assert file.read(10) == DATA[5:15]
        assert file.read() == DATA[15:]


def test_beyond_the_end_there_is_nothing_and_nothing_wrong() -> None:
    with stream() as file:
        file.seek(len(DATA) + 1)
        assert (file.read(), file.read(1)) == (b"", b"")


def test_a_damaged_file_stays_damaged() -> None:
    """Also for those who ask again at its end."""
    with stream(b"?" + DATA[1:]) as file:
        for _ in range(2):
            with pytest.raises(StorageFailed, match="damaged"):
                file.read()


def test_an_empty_file_has_a_checksum_too() -> None:
    with stream(b"", "crc32:00000000", 0) as file:
        assert (file.read(0), file.read(), file.read(1)) == (b"", b"", b"")
    with stream(b"", SUM, 0) as file, pytest.raises(StorageFailed, match="checksum"):
        file.read()


def test_a_digest_may_be_in_upper_case() -> None:
    """Other programs write them so, and `verify` takes them."""
    with stream(checksum=f"crc32:{zlib.crc32(DATA):08X}") as file:
        assert file.read() == DATA


def test_who_wants_damaged_bytes_gets_them() -> None:
    with stream(DATA[1:]).unverified() as file:
        assert file.read() == DATA[1:]


@pytest.mark.parametrize("checksum", [None, "", "md5:00", "crc32c:0", "?"])
def test_without_a_checksum_that_is_known_the_length_counts(checksum: str | None) -> None:
    with stream(checksum=checksum) as file:
        assert file.read() == DATA
    with stream(DATA[1:], checksum) as file, pytest.raises(StorageFailed, match="expected 100000 bytes, got 99999"):
        file.read()


def test_it_says_what_it_can_do() -> None:
    with stream() as file:
        assert (file.readable(), file.seekable(), file.writable(), file.tell()) == (True, True, False, 0)
