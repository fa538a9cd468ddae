"""Files that another server shows, such as a CDN or a web server in front of the folder: ``public_base_url``."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from depot_lite.serving import Delivery, respond
from depot_lite.serving.fileserver import FileServer
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine

CDN = "https://cdn.example.org/media"


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Give the address of a web server that shows tmp_path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=os.fspath(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = sqlite_engine(tmp_path / "rows.db")
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        yield made
    engine.dispose()


def fetched(url: str | None) -> bytes:
    assert url is not None
    with urlopen(url, timeout=10) as answer:
        found: bytes = answer.read()
    return found


def test_a_web_server_finds_the_files_of_a_folder(tmp_path: Path, web: str) -> None:
    """Also when they have been replaced."""
    storage = LocalFileStorage(tmp_path, public_base_url=f"{web}/")
    file_id = storage.create(b"bytes", "ü.txt")
    assert fetched(storage.url(file_id)) == fetched(storage.public_url(file_id)) == b"bytes"
    before = storage.url(file_id)
    storage.replace(file_id, b"other")
    assert storage.url(file_id) != before
    assert fetched(storage.url(file_id, expires_in=60, filename="a.txt", disposition="attachment")) == b"other"


def test_a_web_server_finds_files_of_filedepot(tmp_path: Path, web: str) -> None:
    file_id = new_file_id()
    (tmp_path / file_id).mkdir()
    (tmp_path / file_id / "file").write_bytes(b"old")
    described = {"filename": "a.txt", "content_type": "text/plain", "content_length": 3}
    (tmp_path / file_id / "metadata.json").write_text(json.dumps(described | {"last_modified": "2020-01-01 00:00:00"}))
    assert fetched(LocalFileStorage(tmp_path, public_base_url=web).url(file_id)) == b"old"


def test_a_missing_file_of_a_folder_has_no_url(tmp_path: Path) -> None:
    """The path of its bytes is not known; the URL of the middleware answers 404."""
    storage = LocalFileStorage(tmp_path, public_base_url=CDN)
    file_id = storage.create(b"x")
    storage.delete(file_id)
    assert (storage.url(file_id), storage.public_url(file_id), storage.has_urls) == (None, None, True)


def test_other_storages_have_the_file_id_as_path() -> None:
    storage = MemoryFileStorage(public_base_url=f"{CDN}/")
    assert storage.url(file_id := new_file_id()) == storage.public_url(file_id) == f"{CDN}/{file_id}"
    assert storage.has_urls


def test_a_part_of_a_mirror_may_have_one(tmp_path: Path) -> None:
    storage = MirrorStorage(LocalFileStorage(tmp_path), MemoryFileStorage(public_base_url=CDN))
    file_id = storage.create(b"x")
    assert (storage.url(file_id), storage.has_urls) == (f"{CDN}/{file_id}", True)


def test_the_first_part_of_a_mirror_that_has_urls_decides() -> None:
    """A value has no plain URL at a later part if those of the first are signed."""
    signed = MemoryFileStorage(public_base_url=CDN, url_signer=lambda url, _: f"{url}?signed")
    plain = MemoryFileStorage(public_base_url="https://plain.example")
    for parts, expected, public in ((signed, plain), "?signed", None), ((plain, signed), "", "https://plain.example"):
        with temporary_depots() as manager:
            storage = manager.configure("default", MirrorStorage(MemoryFileStorage(), *parts))
            value = UploadedFile(b"bytes")
            value.store()
            assert storage.public_url(value.file_id) == (public and f"{public}/{value.file_id}")
            assert value.url == storage.url(value.file_id) == f"{public or CDN}/{value.file_id}{expected}"


@pytest.mark.parametrize("make", [partial(LocalFileStorage, "media"), MemoryFileStorage])
def test_it_is_an_address(make: Any) -> None:
    for wrong in ("cdn", "https://me:hunter2@cdn.example.org", f"{CDN}?a=b", "javascript:alert(1)"):
        with pytest.raises(ConfigurationError, match="public_base_url") as caught:
            make(public_base_url=wrong)
        assert "hunter2" not in str(caught.value)
    storage: FileStorage = make(public_base_url="")
    assert (storage.url(new_file_id()), storage.has_urls) == (None, False)


def test_values_and_the_middleware_lead_there(tmp_path: Path, web: str, session: Session) -> None:
    """A value has the URL once its file is stored; ``proxy`` hides it from the middleware's."""
    with temporary_depots() as manager:
        options = {"depot.storage_path": str(tmp_path / "media"), "depot.public_base_url": f"{web}/media"}
        manager.configure("default", options)
        session.add(Photo(id=1, file=UploadedFile(b"bytes", filename="a.txt")))
        session.commit()
        value = session.scalars(select(Photo)).one().file
        assert value is not None
        assert fetched(value.url) == b"bytes"
        assert value.url == value.as_dict()["url"]
        with respond("GET", {}, "default", value.file_id) as answer:
            assert (answer.status, dict(answer.headers)["Location"]) == (302, value.url)
        with respond("GET", {}, "default", value.file_id, delivery=Delivery(proxy=True)) as answer:
            assert (answer.status, b"".join(answer.body or ())) == (200, b"bytes")


@pytest.mark.parametrize("mirror", [False, True])
def test_the_address_is_that_of_the_configuration(tmp_path: Path, mirror: bool) -> None:
    """No row keeps it: the files can be served otherwise some day, and those that are missing are the middleware's."""

    def configured(public_base_url: str | None) -> UploadedFile:
        storage: FileStorage = LocalFileStorage(tmp_path / "a", public_base_url=public_base_url)
        storage = MirrorStorage(storage, LocalFileStorage(tmp_path / "b")) if mirror else storage
        DepotManager.configure("default", storage)
        DepotManager.set_middleware(FileServer("/files"))
        return UploadedFile(b"bytes")

    with temporary_depots():
        value = configured(CDN)
        value.store()
        assert value.url.startswith(f"{CDN}/")
        data = dict(value)
        value.depot.delete(value.file_id)
        assert value.url == f"/files/{value.path}"
    with temporary_depots():
        configured(None)
        assert UploadedFile.of_data(data).url == f"/files/{data['path']}"


# --- signers ----------------------------------------------------------------------------------------------------------


class Signer:
    """Signs, and remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, datetime]] = []

    def __call__(self, url: str, expires: datetime) -> str:
        self.calls.append((url, expires))
        return f"{url}?until={int(expires.timestamp())}"


def test_a_signed_url_stays_the_same_for_a_fourth_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of the storages and of the middleware; the signature is made once."""
    signer = Signer()
    storage, file_id = MemoryFileStorage(public_base_url=CDN, url_signer=signer), new_file_id()
    monkeypatch.setattr(time, "time", lambda: 1_000_001.5)
    url = storage.url(file_id, expires_in=400)
    assert url == f"{CDN}/{file_id}?until=1000500"
    assert signer.calls == [(f"{CDN}/{file_id}", datetime.fromtimestamp(1_000_500, UTC))]
    monkeypatch.setattr(time, "time", lambda: 1_000_099.5)
    assert storage.url(file_id, expires_in=timedelta(seconds=400)) == url
    assert len(signer.calls) == 1
    monkeypatch.setattr(time, "time", lambda: 1_000_100.5)
    assert storage.url(file_id, expires_in=400) == f"{CDN}/{file_id}?until=1000600"
    assert storage.url(file_id) == f"{CDN}/{file_id}?until=1004400"


def test_a_signed_url_is_no_public_one(tmp_path: Path, session: Session) -> None:
    """It is not kept in the row, and the middleware redirects to one that works for ten minutes at least."""
    with temporary_depots() as manager:
        options = {"depot.storage_path": str(tmp_path / "media"), "depot.public_base_url": CDN}
        storage = manager.configure("default", options | {"depot.url_signer": Signer()}, visibility="private")
        value = UploadedFile(b"bytes", filename="a.txt")
        session.add(Photo(id=1, file=value))
        session.commit()
        assert value["_public_url"] is None
        assert (storage.public_url(value.file_id), value.file.public_url) == (None, None)
        assert value.url.startswith(f"{CDN}/{value.file_id[:2]}/{value.file_id}.")
        assert 3600 <= int(value.url.partition("until=")[2]) - time.time() <= 4500
        with respond("GET", {}, "default", value.file_id) as answer:
            left = int(dict(answer.headers)["Location"].partition("until=")[2]) - time.time()
            assert (answer.status, 600 <= left <= 750) == (302, True)
        with respond("HEAD", {}, "default", value.file_id) as answer:
            assert answer.status == 200


def test_a_signer_that_fails_is_a_storage_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    """The page that shows the URL gets an error of the storage, and the middleware answers 503."""

    def refuse(url: str, expires: datetime) -> str:
        raise ConnectionError("the key service is down")

    with temporary_depots() as manager:
        storage = manager.configure("default", MemoryFileStorage(public_base_url=CDN, url_signer=refuse))
        file_id = storage.create(b"bytes", "a.txt")
        with pytest.raises(
            StorageFailed, match=rf"cannot sign {CDN}/{file_id}: .* failed \(ConnectionError\)"
        ) as error:
            storage.url(file_id)
        assert isinstance(error.value.__cause__, ConnectionError)
        with respond("GET", {}, "default", file_id) as answer:
            assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.parametrize(
    "address", [f"{CDN}\n", f"{CDN}/a b", "https://cdn.example.org:65536", "https://cdn.exämple.org"]
)
def test_an_address_that_no_header_can_hold_is_refused(address: str) -> None:
    """A line break at its end, such as from a file, would make every redirect an error of the server."""
    with pytest.raises(ConfigurationError, match="public_base_url: expected a URL"):
        MemoryFileStorage(public_base_url=address)
    with pytest.raises(ConfigurationError, match="base_url: expected a URL"):
        FileServer(base_url=address)


def test_a_signer_needs_an_address() -> None:
    with pytest.raises(ConfigurationError, match="url_signer needs a public_base_url"):
        MemoryFileStorage(url_signer=Signer())
    with pytest.raises(ConfigurationError, match="url_signer: expected a callable, got str"):
        MemoryFileStorage(public_base_url=CDN, url_signer="cloudfront")  # type: ignore[arg-type]  # the mistake
