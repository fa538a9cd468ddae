"""GCSStorage: files in a bucket of Google Cloud Storage.

The name of an object is ``prefix`` and the file id; the file's name, type, time and checksum are in its metadata, where
filedepot keeps them too, so that the two libraries read each other's files. Objects are private: no ACL is sent unless
a ``policy`` is given, since buckets with uniform access accept none.

The constructor makes no request, and reads no credentials except given ones. A small file is stored with one request, a
large one in pieces by a resumable upload, with constant memory. Google verifies a CRC-32C of both. An object appears
when it is complete, not before.

Requests are repeated when their answers are lost. So the metadata of an object name the attempt that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast
from urllib.parse import quote

from requests import Response

from depot_lite.errors import ConfigurationError, DepotError, StorageFailed, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.fileid import check_file_id, new_file_id
from depot_lite.io.gcs.client import GCSConnection, NewClient
from depot_lite.io.gcs.errors import ERRORS, GCS_ERRORS, status_of, translating
from depot_lite.io.gcs.listing import listing
from depot_lite.io.gcs.objects import ObjectRecord, labelled, resource_of, resource_of_copy
from depot_lite.io.gcs.options import bucket_of, credentials_of, piece_size, predefined_acl
from depot_lite.io.gcs.stream import SummedReader, body_of
from depot_lite.io.gcs.uploads import ResumableUpload
from depot_lite.io.gcs.urls import form_of
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.objects import readers
from depot_lite.io.objects.metadata import (
    ATTEMPT,
    checksum_metadata,
    time_of,
)
from depot_lite.io.objects.options import expiry_of, web_server
from depot_lite.io.objects.silence import Patience
from depot_lite.io.objects.versions import ObjectVersion, VersionedStorage
from depot_lite.io.options import boolean, integer, web_address
from depot_lite.io.urls import UrlSigner

__all__ = ["GCSStorage"]

#: Statuses of servers that refuse batches, as emulators may; and copies of objects that this client may not read.
_NO_BATCHES: Final = {400, 404, 405, 501}
_NO_COPIES: Final = {400, 401, 403, 404, 405, 501}


class GCSStorage(VersionedStorage[str | None, ObjectRecord]):
    """Files in ``bucket``. Options may be strings, as they come from .ini files and the environment.

    The first six are filedepot's, by position too.

    `ObjectStorage` describes the options for URLs and threads. URLs are signed only if the credentials can do so, as
    those of a service account can; else the application has to serve the files. Credentials that impersonate one make a
    request for each new URL. Name and disposition count for files that a browser shows (images, PDF, audio, video,
    plain text). All others are downloads, under the name that they were stored with, and all have the type that they
    were stored with: in Google's storage the headers of an object take precedence over the parameters of a URL. Objects
    are public with the policy ``public-read``, with ``sign_urls`` off, and with a ``public_base_url``.
    """

    table = ERRORS

    def __init__(
        self,
        # Only to make a bucket; by default the project of the credentials.
        project_id: str | None = None,
        # The content or the path of a service account's JSON file, or credentials of google-auth. By default Google's
        # library looks for some: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, the role of the machine.
        credentials: Any = None,
        bucket: str | None = None,
        # "public-read" lets everybody read each object. By default no ACL is sent, and the bucket decides.
        policy: str | None = None,
        storage_class: str | None = None,
        # The start of all names of objects, such as "media/".
        prefix: str = "",
        *,
        # A server other than Google's, such as an emulator.
        endpoint_url: str | None = None,
        # A google.cloud.storage.Client, instead of project, credentials and endpoint.
        client: Any = None,
        sign_urls: bool | str = True,
        signed_url_expiry: int | str | timedelta = 3600,
        public_base_url: str | None = None,
        url_signer: UrlSigner | None = None,
        # The server as browsers reach it, if it has another address for the application: URLs are signed for this one.
        public_endpoint_url: str | None = None,
        # How many bytes of large content one request sends; two such pieces of each upload are in memory.
        chunk_size: int | str = 8 * 1024 * 1024,
        # For how many seconds a request is repeated after a passing error; by default two thirds of timeout.
        retry_for: int | str | None = None,
        # Make the bucket at first use if it is missing.
        create_bucket: bool | str = False,
        concurrency: int | str = 16,
        executor: Executor | None = None,
        timeout: float | str | timedelta = 60,
        copy_timeout: float | str | timedelta = 300,
    ) -> None:
        patience = Patience.of(timeout, copy_timeout)
        urls = sign_urls, signed_url_expiry, public_base_url
        super().__init__(prefix or "", concurrency, executor, *urls, patience, url_signer)
        self._bucket = bucket_of(bucket)
        self._acl = predefined_acl(policy)
        self._storage_class = storage_class or None
        self._part_size = piece_size("chunk_size", chunk_size)
        if client is not None and (project_id or credentials or endpoint_url):
            raise ConfigurationError("client and the options of a new client contradict each other")
        endpoint, create = web_address("endpoint_url", endpoint_url), boolean("create_bucket", create_bucket)
        new = NewClient(credentials_of(credentials), project_id, endpoint, self._concurrency + 10)
        retries = patience.limit if retry_for is None else integer("retry_for", retry_for, 1, 24 * 3600)
        public = web_server("public_endpoint_url", public_endpoint_url)
        self._connection = GCSConnection(self._bucket, client, new, public, create, retries, self._silence)

    @property
    def location(self) -> Hashable:
        """Bucket and prefix, without the server, which may have several addresses."""
        return "gcs", self._bucket, self._prefix

    def __repr__(self) -> str:
        """Show where the files are."""
        return f"GCSStorage({self._bucket!r}, prefix={self._prefix!r})"

    @property
    def _root(self) -> str:
        return f"gs://{self._bucket}/"

    def _path(self, file_id: str) -> str:
        return f"/b/{self._bucket}/o/{quote(self._key(file_id), safe='')}"

    def _blob(self, file_id: str) -> Any:
        return self._connection.blob(self._key(file_id))

    def _ask(self, call: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Return the result of a call to Google's library."""
        return self._connection.repeated(partial(call, *arguments, **more, **self._connection.how))

    # --- storing --------------------------------------------------------------------------------------------------

    def save(self, content: Content, *, file_id: str | None = None) -> FileInfo:
        """Store prepared content and return its info. Under a new id, nothing is ever overwritten."""
        if file_id is None:
            return self._store(new_file_id(), content, new=True)
        return self._save(check_file_id(file_id), content)

    def _description(self, info: FileInfo, record: ObjectRecord | None = None) -> dict[str, Any]:
        kept = {} if record is None else {k: v for k, v in record.kept.items() if k != "contentDisposition"}
        return kept | resource_of(info, self._storage_class, public=self._public)

    def _put(self, info: FileInfo, data: bytes, *, new: bool, generation: int | None = None) -> None:
        resource = self._description(info)
        upload = labelled(self._blob(info.file_id), resource).upload_from_string
        with self._sending(info.file_id, resource["metadata"]):
            conditions = self._conditions(new=new, generation=generation)
            self._ask(upload, data, info.content_type, checksum="crc32c", **conditions)

    def _version_in(self, record: ObjectRecord) -> int | None:
        return record.generation

    def _put_if(self, info: FileInfo, data: bytes, version: Any) -> bool | None:
        try:
            self._put(info, data, new=version is None, generation=version)
        except StorageFailed as error:
            if status_of(error.__cause__) in {404, 412}:
                return False
            raise
        return True

    def _put_large(
        self, info: FileInfo, content: readers.SummedReader, size: int | None, *, new: bool
    ) -> Mapping[str, str]:
        resource = self._description(info)
        metadata: Mapping[str, str] = resource["metadata"]
        begin = labelled(self._blob(info.file_id), resource).create_resumable_upload_session
        with self._sending(info.file_id, metadata):
            url = self._ask(begin, info.content_type, checksum=None, **self._conditions(new=new))
            connection = self._connection
            upload = ResumableUpload(connection.session, url, connection.repeated, self._part_size, connection.timeout)
            upload.send(cast(SummedReader, content))
        return metadata

    def _conditions(self, *, new: bool, generation: int | None = None) -> dict[str, Any]:
        """Return the ACL of an upload, and its condition: generation 0 is no object."""
        return {"predefined_acl": self._acl, "if_generation_match": 0 if new else generation}

    def _summed(self, head: bytes, read: Callable[[int], bytes], known: int | None) -> SummedReader:
        return SummedReader(head, read, known)

    def _add_checksum(self, info: FileInfo, metadata: Mapping[str, str], checksum: str) -> FileInfo:
        # The file is complete without it. Permission to create objects need not include changing them.
        with suppress(*GCS_ERRORS):
            # Only to our object, which another writer may have replaced meanwhile.
            found = self._look(info.file_id)
            if found.metadata.get(ATTEMPT) == metadata[ATTEMPT]:
                self._connection.json(
                    "PATCH",
                    self._path(info.file_id),
                    json={"metadata": {**found.metadata, **checksum_metadata(checksum)}},
                    params={"ifGenerationMatch": found.generation},
                )
                return replace(info, checksum=checksum)
        return info

    # --- copying --------------------------------------------------------------------------------------------------

    def _reaches(self, source: FileStorage) -> bool:
        return isinstance(source, GCSStorage) and source._connection.endpoint == self._connection.endpoint

    def _refuses(self, error: DepotError) -> bool:
        # The source may be readable for the source's client only.
        return status_of(error.__cause__) in _NO_COPIES

    def _same_description(self, record: ObjectRecord, when: datetime) -> dict[str, Any]:
        return resource_of_copy(record, when, self._storage_class)

    def _copy_version(
        self, source: GCSStorage, source_id: str, record: ObjectRecord, file_id: str, description: Mapping[str, Any]
    ) -> None:
        """Copy an object inside Google, in several steps if it is large and goes to another region."""
        path = f"{source._path(source_id)}/rewriteTo{self._path(file_id)}"
        parameters = {
            "fields": "done,rewriteToken",
            "destinationPredefinedAcl": self._acl,
            # This version, and no later one.
            "ifSourceGenerationMatch": None if record.generation is None else str(record.generation),
        }
        try:
            answer = self._connection.json("POST", path, params=parameters, json=description, slow=True)
            while not answer["done"]:
                more = {**parameters, "rewriteToken": answer["rewriteToken"]}
                answer = self._connection.json("POST", path, params=more, json=description, slow=True)
        except GCS_ERRORS as error:
            if status_of(error) == 412:
                raise StorageFailed(f"file {source_id} was replaced while it was copied") from error
            self._unless_stored(file_id, description["metadata"], error)

    # --- finding --------------------------------------------------------------------------------------------------

    def _open(self, file_id: str) -> StoredFile:
        with translating(self._what("read", file_id), file_id):
            answer = self._get(file_id)
        found = ObjectRecord.in_headers(answer.headers)
        request = partial(self._get_range, file_id, found.generation)
        body = body_of(answer, found, self._what("read", file_id), request)
        return ObjectVersion(found.info(file_id), body, self._url_beside(file_id), self, found)

    def _get(self, file_id: str, start: int = 0, generation: int | None = None) -> Response:
        """Return an answer whose body is on its way.

        By the XML API: the JSON API, which the library uses, needs another request for the metadata.
        """
        # Without this, the server unpacks objects that were stored compressed, and supports no ranges of them.
        headers = {"Accept-Encoding": "gzip"} | ({"Range": f"bytes={start}-"} if start else {})
        path = f"/{self._bucket}/{quote(self._key(file_id), safe='/~')}"
        with self._looking():
            return self._connection.call("GET", path, headers=headers, params={"generation": generation}, stream=True)

    def _get_range(self, file_id: str, generation: int | None, start: int) -> Response:
        """Return the bytes from a position on, of the same object."""
        what = self._what("read", file_id)
        try:
            with translating(what, file_id):
                answer = self._get(file_id, start, generation)
        except StoredFileNotFound as error:
            if self._exists(file_id):
                raise StorageFailed(f"file {file_id} was replaced while it was read") from error
            raise
        if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            answer.close()
            raise StorageFailed(f"cannot {what}: the server sent another range than requested")
        return answer

    def _look(self, file_id: str) -> ObjectRecord:
        blob = self._blob(file_id)
        self._ask(blob.reload)
        return ObjectRecord.in_blob(blob)

    def _info_in(self, file_id: str, record: ObjectRecord) -> FileInfo:
        return record.info(file_id)

    def _metadata_in(self, record: ObjectRecord) -> Mapping[str, str]:
        return record.metadata

    def _check_container(self) -> None:
        self._connection.check_bucket()

    def _list(self) -> Iterator[FileEntry]:
        def ask(parameters: Mapping[str, str]) -> Mapping[str, Any]:
            return self._connection.json("GET", f"/b/{self._bucket}/o", params=parameters)

        return listing(ask, self._bucket, self._prefix, self._concurrency)

    def _now(self) -> datetime:
        """Return the server's time, as the header of its answer tells it."""
        with translating(f"list gs://{self._bucket}/{self._prefix}"):
            path = f"/storage/v1/b/{self._bucket}/o"
            answer = self._connection.call("GET", path, params={"maxResults": 1, "fields": "kind"})
        return time_of(answer.headers.get("Date"))

    # --- deleting -------------------------------------------------------------------------------------------------

    def _delete_object(self, key: str) -> None:
        delete = partial(self._connection.blob(key).delete, **self._connection.how)
        self._connection.repeated(delete, once=True)

    #: What Google takes in one batch (https://cloud.google.com/storage/docs/batch).
    _batch_limit = 100

    def _delete_batch(self, file_ids: list[str]) -> dict[str, Exception]:
        try:
            with translating(f"delete {len(file_ids)} files of gs://{self._bucket}/{self._prefix}"):
                statuses = self._connection.delete([self._key(each) for each in file_ids])
                if 404 in statuses:
                    self._connection.check_bucket()
        except StorageFailed as error:
            if status_of(error.__cause__) in _NO_BATCHES:
                return self._delete_each(file_ids)
            return dict.fromkeys(file_ids, error)
        # Deletions that were refused in the batch, for example by an overloaded server, are repeated one by one.
        again = [each for each, status in zip(file_ids, statuses, strict=True) if not (status < 300 or status == 404)]
        return self._delete_each(again)

    # --- URLs -----------------------------------------------------------------------------------------------------

    @property
    def _public(self) -> bool:
        return self._acl == "publicRead" or not self._sign_urls or self._public_base_url is not None

    def _signed_url(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str | None:
        urls = self._connection.urls
        return urls.signed(key, expires_in, headers) if urls.can_sign else None

    def _unsigned_url(self, key: str) -> str:
        return self._connection.urls.plain(key)

    def _upload_form(
        self, file_id: str, max_size: int, content_type: str | None, filename: str | None, expires_in: int
    ) -> tuple[str, dict[str, str]] | None:
        expiry = expiry_of("expires_in", expires_in)
        with translating(self._what("sign a form for", file_id)):
            if not (urls := self._connection.urls).can_sign:
                return None
            return form_of(
                self._connection.bare_client,
                urls.plain(""),
                self._bucket,
                self._key(file_id),
                self._acl,
                self._description,
                max_size=max_size,
                content_type=content_type,
                filename=filename,
                expires_in=expiry,
            )
