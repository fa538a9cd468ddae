"""The client of a `GCSStorage`, and its bucket."""

from __future__ import annotations

import io
import math
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
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

from depot_lite.errors import StorageFailed
from depot_lite.io.gcs.errors import GCS_ERRORS, is_missing, is_passing, status_of, translating
from depot_lite.io.gcs.urls import ObjectUrls
from depot_lite.io.objects.clients import BucketConnection
from depot_lite.io.objects.silence import Silence

_LONGEST_PAUSE: Final = 30.0
#: As much as a socket takes at once.
_AT_ONCE: Final = 64 * 1024

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

    def __init__(
        self,
        bucket: str,
        ready: Any,
        new: NewClient,
        public_endpoint: str | None,
        create_bucket: bool,
        retry_for: float,
        silence: Silence,
    ) -> None:
        super().__init__(bucket, ready, create_bucket=create_bucket)
        self._new = new
        self._public_endpoint = public_endpoint
        self._retry_for = retry_for
        self._silence = silence
        #: Seconds to wait before the first repetition of a request; the wait doubles each time.
        self.pause = min(1.0, silence.patience.read / 10)

    @property
    def endpoint(self) -> str:
        """The server. Two storages on one server may copy from each other."""
        return str(self.bare_client.api_endpoint)

    @property
    def how(self) -> dict[str, Any]:
        """The arguments of every call to Google's library. It repeats nothing: `repeated` does."""
        return {"timeout": self.timeout, "retry": None}

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for the next bytes."""
        return self._silence.patience.connect, self._silence.patience.read

    def blob(self, key: str) -> Any:
        """Return the library's object for a key. Makes no request."""
        return self.client.bucket(self.bucket).blob(key)

    def repeated(self, request: Callable[[], _Result], *, once: bool = False) -> _Result:
        """Return the result of a request, which is repeated for a while after passing errors.

        Google's own retries keep each error in a reference cycle with its traceback: files and connections would stay
        open until the next garbage collection.

        Args:
            request: sends it.
            once: whether it is not repeated after a silence: it cleans up, or takes long.
        """
        # The end counts from the first error: sending a piece may take longer.
        end, pause, waited = math.inf, self.pause, 0.0
        while True:
            began = time.monotonic()
            try:
                result = request()
            except GCS_ERRORS as error:
                end = min(end, time.monotonic() + self._retry_for)
                # Before that, bytes have moved.
                vain = 0.0 if status_of(error) else min(time.monotonic() - began, self._silence.patience.read)
                waited += vain
                silence = self._note(began, answered=not vain)
                # The next attempt may take as long. Other threads may have waited before.
                heeded = once and self._silence.is_silence(vain)
                too_long = bool(vain) and (heeded or self._silence.is_enough(waited, silence, vain))
                if too_long or not is_passing(error) or time.monotonic() + pause > end:
                    raise
            else:
                self._silence.heard()
                return result
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # so that many clients do not come back at once
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _note(self, began: float, *, answered: bool) -> float:
        if answered:
            self._silence.heard()
            return 0.0
        return self._silence.missed(began)

    def call(self, method: str, path: str, *, stream: bool = False, slow: bool = False, **arguments: Any) -> Response:
        """Send a request that the library has no call for, with retries, and return the answer.

        Args:
            method: of HTTP.
            path: on the server, with a slash.
            stream: whether the body of the answer is left to be read.
            slow: whether it takes the server long.
            arguments: of ``Session.request``.

        Raises:
            GoogleAPICallError: the server refuses or fails.
        """
        session, url, patience = self.session, self.endpoint + path, self._silence.patience
        timeout = (patience.connect, patience.copy_timeout if slow else patience.read)

        def attempt() -> Response:
            answer = session.request(method, url, timeout=timeout, stream=stream, **arguments)
            if not answer.ok:
                with answer:
                    raise from_http_response(answer)  # type: ignore[no-untyped-call]  # Google's own lack
            return answer

        return self.repeated(attempt, once=slow)

    def json(self, method: str, path: str, **arguments: Any) -> Mapping[str, Any]:
        """Send a request to the JSON API, like `call`, and return the parsed answer."""
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
            return self.repeated(attempt, once=True)
        except ValueError:  # this is no answer to a batch, which some emulators do not support
            return [501] * len(keys)

    @property
    def session(self) -> Session:
        """The session that sends authorised requests."""
        return cast(Session, self.client._http)

    def _new_urls(self, client: Any) -> ObjectUrls:
        return ObjectUrls(self._public_endpoint or str(client.api_endpoint), self.bucket, client._credentials)

    def _new_client(self) -> Any:
        credentials, project, endpoint, connections = self._new
        project = project or getattr(credentials, "project_id", None)
        options = {"api_endpoint": endpoint} if endpoint else None
        with translating(f"use bucket {self.bucket!r}"):
            # The library needs none for an emulator.
            if credentials is None and not os.environ.get("STORAGE_EMULATOR_HOST"):
                credentials, found = google.auth.default(scopes=storage.Client.SCOPE)
                project = project or found
            try:
                client = storage.Client(project, credentials, client_options=options)
            except ValueError as error:
                raise StorageFailed(f"cannot use bucket {self.bucket!r}: the client refuses its options") from error
        # Otherwise a thread of the library requests the bucket at the first use, only for telemetry.
        client._bucket_metadata_cache = None
        for scheme in ("https://", "http://"):
            # One connection for each transfer. An adapter of another class holds certificates, and stays.
            if type(client._http.get_adapter(scheme)) is HTTPAdapter:
                client._http.mount(scheme, _PiecewiseAdapter(pool_maxsize=connections))
        return client

    def _look_for_bucket(self) -> None:
        # By a listing: permission to use objects need not include permission to read the bucket.
        try:
            self.json("GET", f"/b/{self.bucket}/o", params={"maxResults": 1, "fields": "kind"})
        except GoogleAPICallError as error:
            if is_missing(error):
                raise StorageFailed(f"there is no bucket {self.bucket!r}") from error
            if status_of(error) != 403:  # it exists, and we may not look at it
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
            except (
                Conflict
            ):  # another process was faster, or the bucket belongs to another project, which its first use shows
                return


class _PiecewiseAdapter(HTTPAdapter):
    """Sends bytes piece by piece, each in time: all at once would have to be sent in time as a whole."""

    def send(self, request: PreparedRequest, *arguments: Any, **more: Any) -> Response:
        """Send a request."""
        if isinstance(request.body, bytes) and len(request.body) > _AT_ONCE:
            request.body = cast(Any, io.BytesIO(request.body))
        return super().send(request, *arguments, **more)
