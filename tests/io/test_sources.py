"""Sources: every kind of content gives the same bytes, and the user's object is left as it was."""

from __future__ import annotations

import codecs
import gzip
import io
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.errors import InvalidContent, StorageFailed
from depot_lite.io.content import CHUNK_SIZE, Content
from depot_lite.io.media_types.detection import HEAD_SIZE
from tests.support.streams import DATA, PieceStream, bytes_of


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


# --- bytes, files, paths, streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: memoryview(data + data)[: len(data)]])
def test_bytes_of_every_kind_are_taken(make: Callable[[bytes], object]) -> None:
    """They have a size, may be read again, and have no name."""
    content = Content.of(make(DATA))
    assert (content.size, content.filename, content.rereadable, content.path) == (len(DATA), None, True, None)
    assert bytes_of(content) == bytes_of(content) == DATA
    with content.descriptor() as descriptor:
        assert descriptor is None


def test_a_buffer_that_is_changed_after_the_assignment_is_stored_as_it_was() -> None:
    """Between assignment and flush the program goes on, and may use its buffer again."""
    buffer = bytearray(b"before")
    content = Content.of(buffer)
    buffer[:] = b"after "
    assert bytes_of(content) == b"before"


def test_bytes_are_not_copied() -> None:
    """A hundred megabytes in memory stay a hundred."""
    data = b"x" * 1000
    assert Content.of(data).source is data


def test_a_file_is_read_from_its_start_and_left_where_it_was(path: Path) -> None:
    """Whatever the position, and also when the block fails."""
    with path.open("rb") as file:
        file.seek(100)
        content = Content.of(file)
        assert (content.filename, content.size, content.content_type) == (
            "data.bin",
            len(DATA),
            "application/octet-stream",
        )
        assert file.tell() == 100
        for _ in range(2):
            with content.open() as opened:
                assert opened.read() == DATA
            assert file.tell() == 100
        with content.open() as opened:
            opened.read(10)
        assert file.tell() == 100
        with pytest.raises(StorageFailed, match="disk full"), content.open():
            raise StorageFailed("disk full")
        assert file.tell() == 100
        assert not file.closed


def test_a_storage_that_closes_what_it_reads_does_not_close_the_users_file(path: Path) -> None:
    """Some libraries close the streams that they are given."""
    with path.open("rb") as file:
        with Content.of(file).open() as opened:
            opened.close()
        assert not file.closed
        assert file.read() == DATA


def test_a_file_that_is_being_written_is_stored_with_what_was_written_so_far(tmp_path: Path) -> None:
    """Bytes in the buffer of a writable file count, for a reader and for the kernel."""
    with (tmp_path / "new").open("w+b") as file:
        file.write(b"written, not flushed")
        content = Content.of(file)
        with content.descriptor() as descriptor:
            assert descriptor is not None
            assert os.pread(descriptor, 100, 0) == b"written, not flushed"
        file.write(b" and more")
        assert content.size == 29
        assert bytes_of(content) == b"written, not flushed and more"
        file.write(b"!")
    assert (tmp_path / "new").read_bytes() == b"written, not flushed and more!"


def test_a_path_is_opened_and_closed_again(path: Path) -> None:
    """Name, size and type come from it; it can be read as often as wanted."""
    content = Content.of(path)
    assert (content.filename, content.size, content.path) == ("data.bin", len(DATA), path)
    with content.open() as opened:
        assert opened.read() == DATA
    assert opened.closed
    with content.descriptor() as descriptor:
        assert os.pread(descriptor or -1, 10, 250) == DATA[250:260]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor or -1)


def test_a_stream_is_read_once_also_after_its_type_was_asked_for() -> None:
    """The head is kept, so that asking for the type loses no byte."""
    content = Content.of(PieceStream(b"%PDF-1.7 " + DATA), "plan.pdf")
    assert (content.size, content.rereadable, content.content_type) == (None, False, "application/pdf")
    with content.open() as opened:
        assert not opened.seekable()
        with pytest.raises(io.UnsupportedOperation):
            opened.seek(0)
        assert opened.read() == b"%PDF-1.7 " + DATA
    assert content.content_type == "application/pdf"
    with pytest.raises(InvalidContent, match=r"only once: assign the file again"), content.open():
        pass


def test_a_consumed_stream_whose_type_was_never_asked_for_says_so() -> None:
    """The type is found from bytes that are gone."""
    content = Content.of(PieceStream(b"hello"))
    assert bytes_of(content) == b"hello"
    with pytest.raises(InvalidContent, match="only once"):
        _ = content.content_type


def test_a_stream_that_failed_while_its_head_was_read_is_not_stored_without_it() -> None:
    """Its first bytes are gone; a file that lacks them would look whole."""

    class Flaky(PieceStream):
        failures = 1

        def read(self, size: int = -1) -> bytes:
            if self._file.tell() >= 14 and self.failures:
                self.failures -= 1
                raise OSError("reset")
            return super().read(size)

    content = Content.of(Flaky(DATA))
    with pytest.raises(InvalidContent, match="reset"):
        _ = content.content_type
    with pytest.raises(InvalidContent, match="only once"):
        bytes_of(content)


def test_a_pipe_is_a_stream() -> None:
    """It says itself that it cannot seek; its name is a number and counts for nothing."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(b"through the pipe")
    with os.fdopen(reading, "rb") as file:
        content = Content.of(file)
        assert (content.size, content.filename, content.path) == (None, None, None)
        with content.descriptor() as descriptor:
            assert descriptor is None
        assert bytes_of(content) == b"through the pipe"


@given(
    data=st.binary(max_size=3 * HEAD_SIZE),
    piece=st.integers(1, 2 * HEAD_SIZE),
    head=st.booleans(),
    chunk=st.integers(1, 9000),
)
def test_every_chunking_gives_the_same_bytes(data: bytes, piece: int, head: bool, chunk: int) -> None:
    """However short the reads of the source and those of the storage are."""
    content = Content.of(PieceStream(data, piece))
    if head:
        _ = content.content_type
    with content.open() as opened:
        assert b"".join(iter(lambda: opened.read(chunk), b"")) == data


@given(data=st.binary(max_size=20000), position=st.integers(0, 30000), reads=st.lists(st.integers(0, 9000), max_size=5))
def test_the_position_of_a_file_is_kept_whatever_is_read(data: bytes, position: int, reads: list[int]) -> None:
    """Size, type and partial reads leave no trace in the user's file; a position beyond the end included."""
    file = io.BytesIO(data)
    file.seek(position)
    content = Content.of(file)
    assert content.size == len(data)
    _ = content.content_type
    with content.open() as opened:
        for size in reads:
            opened.read(size)
    assert file.tell() == position
    assert file.getvalue() == data


def test_a_storage_may_seek_in_a_file(path: Path) -> None:
    """Uploads that are tried again go back to the start."""
    with path.open("rb") as file, Content.of(file).open() as opened:
        assert opened.seekable()
        assert opened.read(300) == DATA[:300]
        assert opened.seek(0) == 0
        assert opened.seek(-6, os.SEEK_END) == len(DATA) - 6
        assert opened.read() == DATA[-6:]


def test_a_file_object_that_only_reads_and_seeks_is_taken() -> None:
    """A memory map has no ``seekable`` before Python 3.13."""
    with mmap.mmap(-1, 4096) as file:
        file.write(b"mapped")
        content = Content.of(file)
        assert content.size == 4096
        assert bytes_of(content)[:6] == b"mapped"
        assert file.tell() == 6


# --- sources that the kernel can copy ---------------------------------------------------------------------------------


def _spooled(size: int) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=size)  # noqa: SIM115  # the test closes it
    file.write(DATA)
    return file


@pytest.mark.parametrize(
    ("make", "has_descriptor", "has_path"),
    [
        (lambda path: path.open("rb"), True, True),
        (lambda path: path.open("rb", buffering=0), True, True),
        (lambda path: path.open("r+b"), True, True),
        (lambda path: io.FileIO(os.fspath(path).encode()), True, True),
        (lambda path: os.fdopen(os.open(path, os.O_RDONLY), "rb"), True, False),
        (lambda path: io.BytesIO(path.read_bytes()), False, False),
        (lambda path: _spooled(10), True, False),
        (lambda path: _spooled(10**6), False, False),
    ],
    ids=[
        "buffered",
        "unbuffered",
        "read-write",
        "bytes name",
        "from descriptor",
        "memory",
        "spooled to disk",
        "spooled in memory",
    ],
)
def test_a_descriptor_is_given_where_a_regular_file_holds_exactly_the_bytes(
    path: Path, closing: ExitStack, make: Callable[[Path], BinaryIO], has_descriptor: bool, has_path: bool
) -> None:
    """Reading through it moves no position of the user's."""
    file = closing.enter_context(make(path))
    file.seek(3)
    content = Content.of(file)
    with content.descriptor() as descriptor:
        assert (descriptor is not None) == has_descriptor
        if descriptor is not None:
            assert os.pread(descriptor, len(DATA) + 1, 0) == DATA
    assert (content.path is not None) == has_path
    assert content.path is None or content.path.samefile(path)
    assert file.tell() == 3
    assert bytes_of(content) == DATA


def test_a_spooled_file_in_memory_is_not_moved_to_disk() -> None:
    """Its ``fileno()`` would do that."""
    with _spooled(10**6) as file:
        content = Content.of(file)
        assert content.path is None
        assert content.size == len(DATA)
        with content.descriptor():
            pass
        assert not file._rolled


def test_the_descriptor_of_a_compressed_file_is_not_taken_for_its_content(tmp_path: Path) -> None:
    """GzipFile.fileno() leads to the compressed bytes."""
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(DATA))
    with gzip.open(packed) as file:
        content = Content.of(file)
        assert content.path is None
        with content.descriptor() as descriptor:
            assert descriptor is None
        assert bytes_of(content) == DATA


def test_a_subclass_that_changes_what_is_read_is_read_through_its_own_read(path: Path) -> None:
    """A file that decrypts as it is read must not be copied as it lies on the disk."""

    class Upper(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size).upper()

    path.write_bytes(b"secret")
    with Upper(io.FileIO(path)) as file:
        content = Content.of(file)
        with content.descriptor() as descriptor:
            assert descriptor is None
        assert bytes_of(content) == b"SECRET"


def test_a_temporary_file_gives_its_descriptor_and_its_path() -> None:
    """Django's large uploads are such files."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(DATA)
        content = Content.of(file)
        assert content.path == Path(file.name)
        with content.descriptor() as descriptor:
            assert os.pread(descriptor or -1, len(DATA), 0) == DATA


def test_an_open_file_that_was_renamed_or_replaced_has_no_path(path: Path) -> None:
    """Another file may be there by now; the bytes that were handed in are those of the open one."""
    with path.open("rb") as file:
        content = Content.of(file)
        path.rename(path.with_name("moved"))
        assert content.path is None
        path.write_bytes(b"another")
        assert content.path is None
        assert bytes_of(content) == DATA


# --- unreadable content ----------------------------------------------------------------------------------------------


def test_a_file_of_text_is_refused_where_it_is_assigned(path: Path) -> None:
    """Opened without ``b``, in memory, or as a temporary file."""
    with path.open(encoding="latin-1") as file, pytest.raises(InvalidContent, match="open it in binary mode"):
        Content.of(file)
    with pytest.raises(InvalidContent, match="open it in binary mode"):
        Content.of(io.StringIO("text"))
    with tempfile.NamedTemporaryFile("w+") as temporary, pytest.raises(InvalidContent, match="binary mode"):
        Content.of(temporary)


def test_a_file_that_turns_out_to_give_text_is_refused_when_it_is_read(path: Path) -> None:
    """Not every file of text can be recognised before."""
    with codecs.open(os.fspath(path), encoding="latin-1") as file:
        content = Content.of(file)
        with pytest.raises(InvalidContent, match="gives text: open it in binary mode"):
            _ = content.content_type
    with tempfile.SpooledTemporaryFile(mode="w+") as spooled:
        spooled.write("text")
        content = Content.of(spooled)
        with pytest.raises(InvalidContent, match="gives text"), content.open() as opened:
            opened.read()


def test_a_read_that_gives_nonsense_is_refused() -> None:
    """Not bytes, or more than was asked for."""

    class Nonsense:
        def __init__(self, gives: object) -> None:
            self._gives = gives

        def read(self, size: int = -1) -> Any:
            return self._gives

    with pytest.raises(InvalidContent, match="gives NoneType, expected bytes"):
        bytes_of(Nonsense(None))
    with pytest.raises(InvalidContent, match="at most"):
        bytes_of(Nonsense(b"x" * (CHUNK_SIZE + 1)))


def test_an_asynchronous_file_is_refused() -> None:
    """Its bytes come when they are awaited."""

    class Asynchronous:
        async def read(self, size: int = -1) -> bytes:
            return b""

    with pytest.raises(InvalidContent, match="has to be awaited"):
        Content.of(Asynchronous())


def test_a_file_that_is_not_open_for_reading_is_refused(path: Path) -> None:
    """Better at the assignment than at the flush."""
    with path.open("wb") as file, pytest.raises(InvalidContent, match="not open for reading"):
        Content.of(file)


def test_a_file_that_was_closed_before_the_flush_says_what_to_do(path: Path) -> None:
    """The commonest mistake: the ``with open(...)`` ends before the commit."""
    with path.open("rb") as file:
        content = Content.of(file)
    with (
        pytest.raises(InvalidContent, match=r"closed before its bytes were stored .*assign a path or bytes") as caught,
        content.open(),
    ):
        pass
    assert isinstance(caught.value.__cause__, ValueError)
    for refused in (lambda: content.size, lambda: content.path, lambda: content.content_type, lambda: Content.of(file)):
        with pytest.raises(InvalidContent, match="closed before"):
            refused()


def test_a_file_that_is_closed_while_it_is_stored_says_so_too(path: Path) -> None:
    """By another thread, for example; but an error of the storage is not hidden by it."""

    def close_and(go_on: Callable[[BinaryIO], object]) -> None:
        with path.open("rb") as file, Content.of(file).open() as opened:
            file.close()
            go_on(opened)

    def fail(opened: BinaryIO) -> None:
        raise StorageFailed("disk full")

    for go_on in (lambda opened: opened.read(1), lambda opened: opened.seek(5), lambda opened: None):
        with pytest.raises(InvalidContent, match="closed before"):
            close_and(go_on)
    with pytest.raises(StorageFailed, match="disk full"):
        close_and(fail)


def test_an_error_of_the_users_file_is_told_from_one_of_the_storage() -> None:
    """The first is InvalidContent, chained; the second goes through as it is."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("connection reset")

    with pytest.raises(InvalidContent, match="cannot be read: connection reset") as caught:
        bytes_of(Broken(b"x"))
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(OSError, match="no space left") as other, Content.of(io.BytesIO(b"x")).open():
        raise OSError("no space left")
    assert not isinstance(other.value, InvalidContent)


def test_an_object_that_fails_at_everything_is_refused_all_the_same() -> None:
    """The message about it must not fail in its turn."""

    class Hopeless:
        @property
        def closed(self) -> bool:
            raise RuntimeError("closed?")

        def read(self, size: int = -1) -> bytes:
            raise RuntimeError("read?")

    with pytest.raises(InvalidContent, match=r"Hopeless cannot be read: read\?"):
        bytes_of(Hopeless())


def test_a_missing_path_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    """At the assignment, and also when it goes missing later."""
    with pytest.raises(InvalidContent, match=r"nowhere.*No such file") as caught:
        Content.of(tmp_path / "nowhere")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(InvalidContent, match="expected the path of a regular file, got a directory"):
        Content.of(tmp_path)
    path = tmp_path / "soon gone"
    path.write_bytes(b"x")
    content = Content.of(path)
    path.unlink()
    with pytest.raises(InvalidContent, match="soon gone"), content.open():
        pass
    with pytest.raises(InvalidContent, match="soon gone"), content.descriptor():
        pass


def test_a_path_to_a_pipe_or_a_device_is_refused_without_waiting(tmp_path: Path) -> None:
    """Opening a pipe waits for its writer, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidContent, match="got a device, pipe or socket"):
        Content.of(tmp_path / "pipe")
    with pytest.raises(InvalidContent, match="got a device, pipe or socket"):
        Content.of(Path("/dev/zero"))
    path = tmp_path / "changed"
    path.write_bytes(b"x")
    content = Content.of(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InvalidContent, match="got a device, pipe or socket"), content.open():
        pass
