"""How long calls take on servers that do not answer, with default options.

    python -m tests.benchmarks.bench_hung [--only s3 gcs obstore gridfs]

Each line is a storage, a server that takes all and answers nothing (silent), or one that takes no connection (deaf),
and the seconds until a call has failed: ``create`` of a small file and of a large one, ``get``, ``delete``, and a flush
with 1 and 100 files, rolled back. All of them wait at the same time, each with a storage of its own.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite import DepotManager, UploadedFileField
from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.fileid import new_file_id
from tests.io.hung import deaf_server, silent_server

MB: Final = 1024 * 1024


class Base(DeclarativeBase):
    """The models of this benchmark."""


class Document(Base):
    """A row with a file."""

    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    content = mapped_column(UploadedFileField)


def _s3(address: str) -> Any:
    from depot_lite.io.boto3 import S3Storage

    return S3Storage(
        bucket="bucket",
        region_name="us-east-1",
        endpoint_url=f"http://{address}",
        access_key_id="a",
        secret_access_key="b",
    )


def _gcs(address: str) -> Any:
    from depot_lite.io.gcs import GCSStorage
    from tests.io.gcs_server import signing

    return GCSStorage(bucket="bucket", credentials=signing(), endpoint_url=f"http://{address}")


def _obstore(address: str) -> Any:
    from depot_lite.io.objectstore import ObjectStoreStorage

    config = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1", "endpoint": f"http://{address}"}
    return ObjectStoreStorage("s3://bucket", config=config, client_options={"allow_http": True})


def _gridfs(address: str) -> Any:
    from depot_lite.io.gridfs import GridFSStorage

    return GridFSStorage(f"mongodb://{address}/app")


_STORAGES: Final[Mapping[str, Callable[[str], Any]]] = {
    "s3": _s3,
    "gcs": _gcs,
    "obstore": _obstore,
    "gridfs": _gridfs,
}


def _flush(count: int) -> Callable[[Any], None]:
    def flush(storage: Any) -> None:
        name = f"depot{next(_numbers)}"
        DepotManager.configure(name, storage)
        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            for number in range(count):
                session.add(Document(content=UploadedFile(b"%d" % number, name)))
            try:
                session.flush()
            finally:
                session.rollback()

    return flush


_numbers: Final = itertools.count()

_CALLS: Final[Mapping[str, Callable[[Any], object]]] = {
    "create": lambda storage: storage.create(b"x"),
    "create 20 MB": lambda storage: storage.create(bytes(20 * MB)),
    "get": lambda storage: storage.get(new_file_id()).read(),
    "delete": lambda storage: storage.delete(new_file_id()),
    "flush 1": _flush(1),
    "flush 100": _flush(100),
}


def _seconds(storage: Any, call: Callable[[Any], object]) -> tuple[float, str]:
    begun = time.monotonic()
    try:
        call(storage)
    except StorageFailed as error:
        return time.monotonic() - begun, type(error).__name__
    raise AssertionError("a server that does not answer has answered")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=_STORAGES, default=list(_STORAGES))
    names = parser.parse_args().only
    with silent_server() as silent, deaf_server() as deaf, ThreadPoolExecutor(200) as pool:
        cases = itertools.product(names, {"silent": silent.address, "deaf": deaf}.items(), _CALLS.items())
        made = [
            (f"{name:8} {kind:7} {label:13}", _STORAGES[name](at), call) for name, (kind, at), (label, call) in cases
        ]
        for _, storage, _ in made:
            storage.url(new_file_id())  # makes the client, which takes a second, and no request
        waiting = [(label, pool.submit(_seconds, storage, call)) for label, storage, call in made]
        for label, result in waiting:
            seconds, error = result.result()
            sys.stdout.write(f"{label} {seconds:6.0f} s  {error}\n")


if __name__ == "__main__":
    main()
