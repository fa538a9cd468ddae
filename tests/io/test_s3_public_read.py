"""Rows and settings of filedepot with the policy ``public-read``: their URLs are plain, and last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from depot.io.boto3 import S3Storage as FiledepotS3Storage
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import sqlite_engine
from tests.io.s3_server import Server, moto_server


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def settings(server: Server) -> Iterator[dict[str, str]]:
    """Give the settings of filedepot, as it takes them."""
    with server.bucket() as bucket, temporary_depots():
        yield {
            "depot.backend": "depot.io.boto3.S3Storage",
            "depot.access_key_id": server.access_key,
            "depot.secret_access_key": server.secret_key,
            "depot.bucket": bucket,
            "depot.region_name": "us-east-1",
            "depot.policy": "public-read",
            "depot.endpoint_url": server.url,
            "depot.prefix": "media/",
        }


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = sqlite_engine(tmp_path / "rows.db")
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        yield made
    engine.dispose()


def old_row(settings: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Store a file with filedepot, and return what it writes to the row."""
    options = {name.removeprefix("depot."): each for name, each in settings.items() if name != "depot.backend"}
    theirs = FiledepotS3Storage(**options)
    file_id = theirs.create(b"old", "a.txt", "text/plain")
    return {
        "depot_name": "default",
        "files": [f"default/{file_id}"],
        "file_id": file_id,
        "path": f"default/{file_id}",
        "filename": "a.txt",
        "content_type": "text/plain",
        "uploaded_at": "2020-01-01 00:00:00",
        "_public_url": theirs.get(file_id).public_url,
        **changes,
    }


def loaded(session: Session) -> UploadedFile:
    value = session.scalars(select(Photo)).one().file
    assert value is not None
    return value


def read(url: str) -> bytes:
    with urlopen(url, timeout=30) as answer:
        found: bytes = answer.read()
    return found


def test_an_old_row_keeps_its_url(settings: dict[str, str], session: Session) -> None:
    """Which does not expire; one with options is signed, as nothing else can have them."""
    row = old_row(settings)
    DepotManager.configure("default", settings)
    session.connection().exec_driver_sql("INSERT INTO photo VALUES (1, ?)", (json.dumps(row),))
    value = loaded(session)
    assert value.url == value.url_for() == value.as_dict()["url"] == row["_public_url"]
    assert read(value.url) == b"old"
    assert "?" not in value.url
    for options in ({"expires_in": 60}, {"download": True}, {"filename": "b.txt"}):
        assert "X-Amz-Signature" in value.url_for(**options)


def test_a_new_file_has_such_a_url(settings: dict[str, str], session: Session) -> None:
    """Also when it is renamed, and without a middleware."""
    DepotManager.configure("default", settings)
    session.add(Photo(id=1, file=UploadedFile(b"new", filename="a.txt")))
    session.commit()
    value = loaded(session)
    assert read(value.url) == b"new"
    assert value.url == value["_public_url"] == value.with_(filename="b.txt").url == value.as_dict()["url"]


def test_a_new_address_counts_for_old_rows(settings: dict[str, str], session: Session) -> None:
    """As when a CDN is put in front of the bucket."""
    row = old_row(settings)
    DepotManager.configure("default", {**settings, "depot.public_base_url": "https://cdn.example.org"})
    session.connection().exec_driver_sql("INSERT INTO photo VALUES (1, ?)", (json.dumps(row),))
    assert loaded(session).url == f"https://cdn.example.org/media/{row['file_id']}"


@pytest.mark.parametrize("changes", [{"depot.visibility": "private"}, {"depot.policy": "private"}])
def test_private_depots_sign(settings: dict[str, str], session: Session, changes: dict[str, str]) -> None:
    """Filedepot writes a plain URL to the row whatever the policy, with which nobody can read a private object."""
    row = old_row({**settings, **{name: each for name, each in changes.items() if name != "depot.visibility"}})
    DepotManager.configure("default", settings | changes)
    session.connection().exec_driver_sql("INSERT INTO photo VALUES (1, ?)", (json.dumps(row),))
    assert loaded(session).url.startswith(f"{row['_public_url']}?X-Amz-")
    assert read(loaded(session).url) == b"old"
