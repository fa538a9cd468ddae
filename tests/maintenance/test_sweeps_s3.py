"""Maintenance on S3: on moto, with the requests counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.io.boto3 import S3Storage
from depot_lite.maintenance import (
    claim,
    copy_files,
    delete_unused_files,
    find_missing,
    find_unused,
    restore_files,
    undelete,
    verify,
)
from depot_lite.maintenance.trash import load_marks, update_marks
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.io.s3_server import Requests, Server, moto_server
from tests.maintenance.conftest import NOW, Base, Film
from tests.support.sweeps import consent, sweep


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with moto_server() as made:
        yield made


@pytest.fixture
def storage(server: Server, depots: object) -> Iterator[S3Storage]:
    with server.bucket() as name:
        made = server.storage(name)
        DepotManager.configure("s3", made)
        DepotManager.set_default("s3")
        yield made


def test_a_sweep_makes_as_many_requests_as_there_are_pages_and_batches(
    database: Engine, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes and times come with the listing; a dry run only lists."""
    with Session(database) as session:
        session.add_all(films := [Film(poster=f"{number}".encode()) for number in range(5)])
        session.commit()
        named = {film.poster.file_id for film in films if film.poster}
    left = {storage.create(b"left") for _ in range(7)}
    storage._client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: params.update(MaxKeys=5)
    )
    monkeypatch.setattr("depot_lite.maintenance.deletion._AT_ONCE", 4)
    requests = Requests(storage)
    report = find_unused(database, "s3", older_than=NOW, models=[Base])
    # One of them for the server's time, and the notes of owners and of marked files.
    assert requests.taken() == {"ListObjectsV2": 4, "GetObject": 2}
    assert {each.file_id for each in report.files} == left
    assert report.bytes == 4 * 7
    claim(database, "s3", models=[Base])
    requests.taken()
    report = delete_unused_files(database, "s3", older_than=NOW, trash=NOW, **consent("s3", [Base]))
    assert requests.taken() == {"ListObjectsV2": 4, "GetObject": 2, "DeleteObjects": 2}
    assert (report.deleted, report.failed) == (7, {})
    assert set(storage.list()) == named


def test_young_files_are_spared_without_a_request(database: Engine, storage: S3Storage) -> None:
    """By the server's clock, as its listing tells it."""
    storage.create(b"young")
    claim(database, "s3", models=[Base])
    requests = Requests(storage)
    report = delete_unused_files(database, "s3", older_than=timedelta(hours=1), models=[Base])
    assert (report.young, report.deleted) == (1, 0)
    assert requests.taken() == {"ListObjectsV2": 2, "GetObject": 1}


def test_a_bucket_with_two_names_is_one(database: Engine, server: Server, storage: S3Storage) -> None:
    """Files that rows name by one of them are not unused by the other; another prefix is another place."""
    with Session(database) as session:
        session.add(Film(poster=b"poster"))
        session.commit()
    DepotManager.configure("again", server.storage(storage._bucket))
    DepotManager.configure("other", server.storage(storage._bucket, prefix="other/"))
    left = DepotManager.get("other").create(b"left")
    for name, expected in (("again", []), ("other", [left])):
        report = find_unused(database, name, older_than=NOW, models=[Base])
        assert [each.file_id for each in report.files] == expected


@pytest.fixture
def versioned(storage: S3Storage) -> Iterator[S3Storage]:
    """The storage, whose bucket begins to keep versions now, and from which they are removed in the end."""
    where = {"Bucket": storage._bucket}
    storage._client.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Enabled"})
    yield storage
    for kind in ("Versions", "DeleteMarkers"):
        for each in storage._client.list_object_versions(**where).get(kind, ()):
            storage._client.delete_object(**where, Key=each["Key"], VersionId=each["VersionId"])


def test_a_file_that_was_deleted_repeatedly_comes_back(database: Engine, versioned: S3Storage) -> None:
    """By two sweeps at once, or by requests that were repeated: each leaves a marker, and one alone was removed."""
    with Session(database) as session:
        session.add(Film(poster=b"named"))
        session.commit()
    left = versioned.create(b"left")
    assert sweep(database, "s3", models=[Base]).deleted == 1
    assert sweep(database, "s3", models=[Base]).deleted == 0
    versioned.delete(left)
    assert versioned.delete_many([left]) == {}
    assert undelete("s3", [left], dry_run=True).restored == (left,)
    assert not versioned.exists(left)
    assert undelete("s3", [left]).restored == (left,)
    with versioned.get(left) as file:
        assert file.read() == b"left"
    assert undelete("s3", [left]).unknown == (left,)
    assert sweep(database, "s3", models=[Base], trash=timedelta(days=7)).marked == 1


def test_backup_and_restoration_work_on_buckets_with_versions(
    database: Engine, versioned: S3Storage, server: Server
) -> None:
    """Deleted files are missing, and are copied again, whatever older versions there are."""
    with Session(database) as session:
        session.add(film := Film(poster=b"named"))
        session.commit()
        named = film.poster.file_id if film.poster else ""
    with server.bucket() as name:
        backup = DepotManager.configure("backup", server.storage(name))
        assert copy_files("s3", "backup").files == 1
        versioned.delete(named)
        assert [each.path for each in find_missing(database, "s3", models=[Base]).files] == [f"s3/{named}"]
        assert restore_files(database, "backup", "s3", models=[Base]).files == 1
        assert undelete("s3", [named]).unknown == (named,)
        backup.delete(named)
        assert (copy_files("s3", "backup").files, copy_files("s3", "backup").files) == (1, 0)
        report = verify(database, "s3", models=[Base])
        assert (report.read, report.findings) == (1, [])


def test_a_deleted_file_comes_back_from_a_bucket_with_versions(
    database: Engine, storage: S3Storage, request: pytest.FixtureRequest
) -> None:
    """Its delete marker goes. Without versions nothing comes back, and neither does a file that never was."""
    with Session(database) as session:
        session.add(Film(poster=b"named"))
        session.commit()
    lost = storage.create(b"lost")
    storage.delete(lost)
    request.getfixturevalue("versioned")
    left = storage.create(b"left")
    assert left in {each.file_id for each in sweep(database, "s3", models=[Base]).deleted_files}
    assert not storage.exists(left)
    assert undelete("s3", [left, lost], dry_run=True).restored == (left,)
    assert not storage.exists(left)
    report = undelete("s3", [left, lost])
    assert (report.restored, report.unknown) == ((left,), (lost,))
    with storage.get(left) as file:
        assert file.read() == b"left"


def test_marks_cost_a_few_requests_however_many_there_are(database: Engine, server: Server, storage: S3Storage) -> None:
    """Those of a sweep that marks files and deletes others. A new storage first tries whether conditions are obeyed."""
    with Session(database) as session:
        session.add(Film(poster=b"named"))
        session.commit()
    options = {"older_than": NOW, "settle": NOW, **consent("s3", [Base])}
    claim(database, "s3", models=[Base])
    storage.create(b"old")
    delete_unused_files(database, "s3", **options)
    marks = load_marks(storage)
    update_marks(storage, marks, {key: when - 8 * 24 * 3600 for key, when in marks.items()})
    storage.create(b"new")
    fresh = server.storage(storage._bucket)
    with temporary_depots() as manager:
        manager.configure("s3", fresh)
        requests = Requests(fresh)
        report = delete_unused_files(database, "s3", **options)
    assert (report.marked, report.deleted) == (1, 1)
    taken = requests.taken()
    assert (taken.pop("ListObjectsV2"), taken.pop("DeleteObjects")) == (3, 1)
    assert taken == {"GetObject": 5, "HeadObject": 3, "PutObject": 3}
