"""Bytes that changed in the storage, of each kind: reading a file from start to end raises an error."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.io.backends import KINDS, Place, on

DATA: Final = some_bytes(300_000)
#: With the last bit of a byte in the middle flipped.
FLIPPED: Final = DATA[:150_000] + bytes([DATA[150_000] ^ 1]) + DATA[150_001:]

every_kind = on(*KINDS)


def change(storage: FileStorage, file_id: str, data: bytes) -> None:
    """Change the bytes of a file behind the storage's back; its metadata stays."""
    part: Any = storage.parts[0]
    if isinstance(part, LocalFileStorage):
        path = part.get(file_id).local_path
        assert path is not None
        path.write_bytes(data)
    elif isinstance(part, MemoryFileStorage):
        part._files[file_id] = part._files[file_id][0], data
    elif hasattr(part, "_put"):
        part._put(part._info(file_id), data, new=False)
    else:
        chunks = part._connection.chunks
        for each in list(chunks.find({}, sort=[("n", 1)])):
            size = len(each["data"])
            chunks.update_one({"_id": each["_id"]}, {"$set": {"data": data[:size]}})
            data = data[size:]


def read_all(storage: FileStorage, file_id: str) -> object:
    with storage.get(file_id) as file:
        return file.read()


def read_in_pieces(storage: FileStorage, file_id: str) -> object:
    with storage.get(file_id) as file:
        return b"".join(file)


def read_again_from_the_start(storage: FileStorage, file_id: str) -> object:
    with storage.get(file_id) as file:
        file.read(100)
        file.seek(0)
        return file.read()


def read_asynchronously(storage: FileStorage, file_id: str) -> object:
    async def read() -> bytes:
        async with await storage.aio.get(file_id) as file:
            return b"".join([each async for each in file])

    return asyncio.run(read())


def read_at_once_asynchronously(storage: FileStorage, file_id: str) -> object:
    return asyncio.run(storage.aio.read(file_id))


def store_elsewhere(storage: FileStorage, file_id: str) -> object:
    with storage.get(file_id) as file:
        return MemoryFileStorage().create(file)


def save_elsewhere(storage: FileStorage, file_id: str) -> object:
    return MemoryFileStorage().save_from(storage, file_id)


@every_kind
@pytest.mark.parametrize(
    "read",
    [
        read_all,
        read_in_pieces,
        read_again_from_the_start,
        read_asynchronously,
        read_at_once_asynchronously,
        store_elsewhere,
        save_elsewhere,
    ],
)
def test_a_flipped_bit_is_an_error(place: Place, read: Callable[[FileStorage, str], object]) -> None:
    storage = place.storage("media")
    file_id = storage.create(DATA)
    change(storage, file_id, FLIPPED)
    with pytest.raises(StorageFailed, match="is damaged"):
        read(storage, file_id)
    storage.delete(file_id)


@every_kind
def test_a_part_is_given_as_it_is(place: Place) -> None:
    """Nothing is known of it but its length."""
    storage = place.storage("media")
    file_id = storage.create(DATA)
    change(storage, file_id, FLIPPED)
    with storage.get(file_id) as file:
        assert file.seek(-200_000, io.SEEK_END) == 100_000
        assert file.read() == FLIPPED[100_000:]
    with storage.get(file_id).unverified() as file:
        assert file.read() == FLIPPED
    storage.delete(file_id)


@pytest.mark.parametrize("change_length", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
@pytest.mark.parametrize("position", [0, 299_999])
def test_a_local_file_of_another_length_is_an_error_at_once(
    tmp_path: Any, change_length: Callable[[bytes], bytes], position: int
) -> None:
    storage = LocalFileStorage(tmp_path, durable=False)
    file_id = storage.create(DATA)
    change(storage, file_id, change_length(DATA))
    with storage.get(file_id) as file, pytest.raises(StorageFailed, match="is damaged: expected 300000 bytes, got "):
        file.seek(position)
    with storage.get(file_id) as file, pytest.raises(StorageFailed, match="is damaged"):
        file.fileno()
    with storage.get(file_id) as file, pytest.raises(StorageFailed, match="is damaged"), file.on_disk():
        pass


def test_whoever_takes_the_descriptor_may_move_it(tmp_path: Any) -> None:
    """As servers do: later reads are verified from the new position."""
    storage = LocalFileStorage(tmp_path, durable=False)
    with storage.get(storage.create(DATA)) as file:
        assert file.read(10) == DATA[:10]
        os.lseek(file.fileno(), 20, os.SEEK_SET)
        assert file.read() == DATA[20:]
        file.seek(0)
        assert file.read() == DATA


class Knowing(MemoryFileStorage):
    """A storage that knows no checksum of its files afterwards, as some of other people's."""

    def _find(self, file_id: str) -> Any:
        info, data = super()._find(file_id)
        return type(info)(file_id, info.filename, info.content_type, info.content_length, info.last_modified), data


def test_the_checksum_in_the_row_counts_if_the_storage_has_none() -> None:
    with temporary_depots():
        storage = Knowing()
        DepotManager.configure("default", storage)
        value = UploadedFile(DATA)
        value.store()
        assert (storage.get(value.file_id).checksum, value.file.checksum) == (None, value.checksum)
        assert value.file.read() == DATA
        change(storage, value.file_id, FLIPPED)
        assert storage.get(value.file_id).read() == FLIPPED
        with pytest.raises(StorageFailed, match="is damaged"):
            value.file.read()


def test_the_checksum_of_the_storage_counts_if_it_has_one() -> None:
    """A file that was replaced in place is not damaged, although its row does not know it."""
    with temporary_depots():
        storage = MemoryFileStorage()
        DepotManager.configure("default", storage)
        value = UploadedFile(DATA)
        value.store()
        storage.replace(value.file_id, b"another one")
        assert value.file.read() == b"another one"


def test_over_asgi_a_damaged_file_is_cut_off() -> None:
    """Without its last bytes, and without an end that a client would take for one."""
    with temporary_depots():
        storage = MemoryFileStorage()
        DepotManager.configure("default", storage)
        file_id = storage.create(DATA)
        change(storage, file_id, FLIPPED)
        app = DepotManager.make_asgi_middleware()

        async def ask(**headers: str) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
                return await client.get(f"/depot/default/{file_id}", headers=headers)

        with pytest.raises(StorageFailed, match="is damaged"):
            asyncio.run(ask())
        assert asyncio.run(ask(range="bytes=1-")).content == FLIPPED[1:]
