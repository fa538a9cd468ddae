"""Forms with which a browser sends a file to S3: the flow on moto, the refusals on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import InvalidContent, TypeRefused
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.boto3 import S3Storage
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from depot_lite.uploads import adoptable, upload_ticket
from tests.conftest import sqlite_engine
from tests.io.s3_proxy import S3Proxy
from tests.io.s3_server import Requests, Server, moto_server, real_server

PNG = b"\x89PNG\r\n\x1a\n" + some_bytes(1000)
Form = tuple[str, dict[str, str]]


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


@pytest.fixture(scope="module", params=["moto", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "real":
        yield real_server()
    else:
        with moto_server() as found:
            yield found


@pytest.fixture(scope="module")
def strict() -> Server:
    return real_server()


def posted(form: Form, data: bytes) -> int:
    """Send a form as a browser does, the file last, and return the status."""
    boundary = uuid.uuid4().hex
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in form[1].items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = ("".join(parts) + head).encode() + data + f"\r\n--{boundary}--\r\n".encode()
    url = urlsplit(form[0])
    connection = HTTPConnection(url.netloc, timeout=30)
    try:
        connection.request("POST", url.path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        with connection.getresponse() as answer:
            answer.read()
            return answer.status
    finally:
        connection.close()


def form_of(storage: S3Storage, file_id: str, max_size: int = 10_000, content_type: str | None = None) -> Form:
    form = storage.upload_form(file_id, max_size=max_size, content_type=content_type, filename="Zoë.png")
    assert form is not None
    return form


def test_what_a_browser_sent_is_a_file_with_its_name_and_type(server: Server) -> None:
    with server.bucket() as bucket:
        storage, file_id = server.storage(bucket, prefix="media/"), new_file_id()
        assert posted(form_of(storage, file_id, content_type="image/png"), PNG) == 204
        with storage.get(file_id) as file:
            assert (file.read(), file.filename, file.content_type) == (PNG, "Zoë.png", "image/png")


def test_a_form_is_sent_to_the_server_as_browsers_reach_it(server: Server) -> None:
    with server.bucket() as bucket, S3Proxy(server.url) as proxy:
        storage, file_id = server.storage(bucket, public_endpoint_url=proxy.url), new_file_id()
        assert posted(form_of(storage, file_id), PNG) == 204
        assert proxy.taken() == ["POST"]
        assert storage.exists(file_id)


def test_a_form_makes_no_request_and_names_everything_but_the_file(server: Server) -> None:
    with server.bucket() as bucket:
        storage = server.storage(bucket, upload_metadata={"CacheControl": "no-cache"})
        requests = Requests(storage)
        url, fields = form_of(storage, "b3a1c6de-0000-4000-8000-000000000000", content_type="image/*")
        assert requests.taken() == {}
        assert url.startswith(server.url)
        assert fields["key"] == "b3a1c6de-0000-4000-8000-000000000000"
        assert fields["Content-Disposition"] == "attachment; filename=\"Zoe.png\"; filename*=UTF-8''Zo%C3%AB.png"
        assert fields["x-amz-meta-x-depot-filename"] == "Zo%C3%AB.png"
        assert "Content-Type" not in fields
        assert form_of(storage, new_file_id())[1]["Content-Type"] == "application/octet-stream"


def test_the_acl_of_the_public_is_not_for_what_nobody_has_looked_at(server: Server) -> None:
    def fields(**options: object) -> dict[str, str]:
        storage = server.storage("bucket", **options)
        return form_of(storage, new_file_id())[1]

    assert "acl" not in fields(policy="public-read")
    assert fields(policy="bucket-owner-full-control")["acl"] == "bucket-owner-full-control"
    encrypted = fields(upload_metadata={"ServerSideEncryption": "aws:kms"})
    assert encrypted["x-amz-server-side-encryption"] == "aws:kms"


def test_a_key_of_the_customer_is_not_for_browsers() -> None:
    storage = S3Storage("key", "secret", "bucket", upload_metadata={"SSECustomerKey": "k" * 32})
    assert storage.upload_form(new_file_id(), max_size=1) is None


def test_a_row_adopts_what_s3_received_by_a_copy_inside_s3(server: Server) -> None:
    with server.bucket() as bucket, temporary_depots():
        storage = server.storage(bucket)
        DepotManager.configure("default", storage)
        DepotManager.configure_signing("a key that is long enough")
        ticket = upload_ticket(content_type="image/*", filename="Zoë.png", max_size=5000)
        assert (ticket.method, ticket.headers) == ("POST", {})
        assert posted((ticket.url, {**ticket.fields, "Content-Type": "image/svg+xml"}), PNG) == 204
        engine = sqlite_engine(":memory:")
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            requests = Requests(storage)
            session.add(Photo(file=ticket.token))
            session.commit()
            assert requests.taken() == {"GetObject": 1, "CopyObject": 1, "DeleteObjects": 1}
            photo = session.scalars(select(Photo)).one().file
            assert photo is not None
            assert [str(each) for each in storage.list()] == [photo.file_id]
            with photo.file as file:
                assert (file.read(), file.filename, file.content_type) == (PNG, "Zoë.png", "image/png")
            session.add(Photo(file=ticket.token))
            with pytest.raises(InvalidContent, match="adopted already"):
                session.flush()
            session.expunge_all()
            page = upload_ticket(content_type="image/*")
            assert posted((page.url, {**page.fields, "Content-Type": "image/png"}), b"<html></html>") == 204
            session.add(Photo(file=page.token))
            with pytest.raises(TypeRefused, match="is of type text/html"):
                session.flush()
            upload = adoptable(page.token)
            assert upload is not None
            assert {str(each) for each in storage.list()} == {photo.file_id, upload.file_id}
        engine.dispose()


def test_what_is_copied_inside_is_what_was_opened(server: Server) -> None:
    """Who has the form may send another file meanwhile."""
    with server.bucket() as bucket:
        storage, source, target = server.storage(bucket), new_file_id(), new_file_id()
        form = form_of(storage, source)
        assert posted(form, PNG) == 204
        with storage.get(source) as file:
            assert posted(form, b"another") == 204
            with pytest.raises(OSError, match=r"was replaced while it was copied|PreconditionFailed|cannot copy"):
                storage.save(Content.of(file), file_id=target)
        assert not storage.exists(target)


@pytest.mark.parametrize(
    ("change", "data"),
    [
        (lambda fields: {}, some_bytes(1001)),
        (lambda fields: {"Content-Type": "text/html"}, PNG[:900]),
        (lambda fields: {"key": new_file_id()}, b"x"),
        (lambda fields: {"policy": fields["policy"][:-8] + "AAAAAAA="}, b"x"),
        (lambda fields: {"x-amz-signature": "0" * 64}, b"x"),
        (lambda fields: {"acl": "public-read"}, b"x"),
        (lambda fields: {"x-amz-meta-x-depot-filename": "other.html"}, b"x"),
        (lambda fields: {"Content-Disposition": "inline"}, b"x"),
    ],
    ids=["size", "type", "key", "policy", "signature", "acl", "name", "disposition"],
)
@pytest.mark.parametrize("content_type", ["image/png", "image/*"])
def test_s3_refuses_what_the_policy_does_not_say(
    strict: Server, change: Callable[[dict[str, str]], dict[str, str]], data: bytes, content_type: str
) -> None:
    with strict.bucket() as bucket:
        storage = strict.storage(bucket)
        url, fields = form_of(storage, new_file_id(), 1000, content_type)
        fields = {"Content-Type": "image/png", **fields}
        assert 400 <= posted((url, {**fields, **change(fields)}), data) < 500
        assert list(storage.list()) == []
        assert posted((url, fields), data[:1000]) == 204


def test_s3_refuses_a_form_that_has_expired(strict: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with strict.bucket() as bucket:
        storage = strict.storage(bucket)
        with monkeypatch.context() as patch:
            past = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
            for module in ("signers", "auth"):
                patch.setattr(f"botocore.{module}.get_current_datetime", lambda **_: past)
            form = form_of(storage, new_file_id())
        assert posted(form, b"x") == 403
        assert list(storage.list()) == []
