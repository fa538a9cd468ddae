"""The client of a `GCSStorage`, and its bucket."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

import google.auth
from google.api_core.exceptions import Conflict, GoogleAPICallError, from_http_response
from google.auth.credentials import Credentials
from google.cloud import storage
from requests import Response, Session
from requests.adapters import HTTPAdapter

from depot_lite.errors import StorageFailed
from depot_lite.io.gcs.errors import GCS_ERRORS, is_missing, is_passing, status_of, translating
from depot_lite.io.gcs.urls import ObjectUrls
from depot_lite.io.objects.clients import BucketConnection

#: Seconds to wait for a connection, and for the next bytes.
_TIMEOUT: Final = (10, 60)
_LONGEST_PAUSE: Final = 30.0

_Result = TypeVar("_Result")


class NewClient(NamedTuple):
    """The options of a client that is not ready."""

    #: Those of the environment if not set.
    credentials: Credentials | None
    #: That of the credentials if not set.
    project: str | None
    endpoint: str | None
    #: How many connections are kept.
    connections: int


class GCSConnection(BucketConnection[ObjectUrls]):
    """The client of a `GCSStorage`, and its bucket."""

    def __init__(self, bucket: str, ready: Any, new: NewClient, *, create_bucket: bool, retry_for: int) -> None:
        super().__init__(bucket, ready, create_bucket=create_bucket)
        self._new = new
        self._retry_for = retry_for
        #: Seconds to wait before a request is repeated for the first time; the next time twice as long, and so on.
        self.pause = 1.0

    @property
    def endpoint(self) -> str:
        """Which server this is: two storages there may copy from one another."""
        return str(self.bare_client.api_endpoint)

    @property
    def how(self) -> dict[str, Any]:
        """The arguments of every call to Google's library, which repeats nothing: `repeated` does."""
        return {"timeout": _TIMEOUT, "retry": None}

    def blob(self, key: str) -> Any:
        """Return the library's object for a key. Makes no request."""
        return self.client.bucket(self.bucket).blob(key)

    def repeated(self, request: Callable[[], _Result]) -> _Result:
        """Return what a request gives, which is sent again for a while if it fails as it may not the next time.

        Google's library would do it, and keep each error in a circle with all that its traceback holds: with it files
        and their connections would stay open until they are collected as garbage.
        """
        end, pause = time.monotonic() + self._retry_for, self.pause
        while True:
            try:
                return request()
            except GCS_ERRORS as error:
                if not is_passing(error) or time.monotonic() + pause > end:
                    raise
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # so that many clients do not come back at once
            pause = min(2 * pause, _LONGEST_PAUSE)

    def call(self, method: str, path: str, *, stream: bool = False, **arguments: Any) -> Response:
        """Send a request that the library has no call for, as often as its policy says, and return the answer.

        Raises:
            GoogleAPICallError: the server refuses or fails.
        """
        session, url = self.session, self.endpoint + path

        def attempt() -> Response:
            answer = session.request(method, url, timeout=_TIMEOUT, stream=stream, **arguments)
            if not answer.ok:
                with answer:
                    raise from_http_response(answer)  # type: ignore[no-untyped-call]  # Google's own lack
            return answer

        return self.repeated(attempt)

    def json(self, method: str, path: str, **arguments: Any) -> Mapping[str, Any]:
        """Do what `call` does, with the JSON API, and return what the answer holds."""
        found: Mapping[str, Any] = self.call(method, f"/storage/v1{path}", **arguments).json()
        return found

    def delete(self, keys: list[str]) -> list[int]:
        """Delete objects with one request, and return the status of each deletion."""
        client = self.client
        bucket = client.bucket(self.bucket)

        def attempt() -> list[int]:
            with client.batch(raise_exception=False) as batch:
                for key in keys:
                    bucket.blob(key).delete(**self.how)
            return [each.status_code for each in batch._responses]

        try:
            return self.repeated(attempt)
        except ValueError:  # the answer is none to a batch: some emulators know none
            return [501] * len(keys)

    @property
    def session(self) -> Session:
        """What sends requests that are authorised."""
        return cast(Session, self.client._http)

    def _new_urls(self, client: Any) -> ObjectUrls:
        return ObjectUrls(str(client.api_endpoint), self.bucket, client._credentials)

    def _new_client(self) -> Any:
        credentials, project, endpoint, connections = self._new
        project = project or getattr(credentials, "project_id", None)
        options = {"api_endpoint": endpoint} if endpoint else None
        with translating(f"use bucket {self.bucket!r}"):
            # The library asks for none where there is an emulator.
            if credentials is None and not os.environ.get("STORAGE_EMULATOR_HOST"):
                credentials, found = google.auth.default(scopes=storage.Client.SCOPE)
                project = project or found
            try:
                client = storage.Client(project, credentials, client_options=options)
            except ValueError as error:
                raise StorageFailed(f"cannot use bucket {self.bucket!r}: the client refuses its options") from error
        # Else it asks for the bucket, in a thread of its own and for nobody but telemetry, at the first use.
        client._bucket_metadata_cache = None
        for scheme in ("https://", "http://"):
            # As many connections are kept as there may be transfers. Not where certificates are in an adapter.
            if type(client._http.get_adapter(scheme)) is HTTPAdapter:
                client._http.mount(scheme, HTTPAdapter(pool_maxsize=connections))
        return client

    def _look_for_bucket(self) -> None:
        # By a listing: who may use objects need not be allowed to look at the bucket.
        try:
            self.json("GET", f"/b/{self.bucket}/o", params={"maxResults": 1, "fields": "kind"})
        except GoogleAPICallError as error:
            if is_missing(error):
                raise StorageFailed(f"there is no bucket {self.bucket!r}") from error
            if status_of(error) != 403:  # it is there, and we may not look at it
                raise

    def _make_bucket(self, client: Any) -> None:
        with translating(f"make bucket {self.bucket!r}"):
            try:
                if self.repeated(partial(client.bucket(self.bucket).exists, **self.how)):
                    return
            except GCS_ERRORS as error:
                if status_of(error) != 403:
                    raise
                return
            if client.project is None:
                raise StorageFailed(f"cannot make bucket {self.bucket!r}: project_id is missing")
            try:
                self.repeated(partial(client.create_bucket, self.bucket, **self.how))
            except Conflict:  # another process was faster, or the bucket is somebody else's, which its use will tell
                return
