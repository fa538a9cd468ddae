"""What gcp-storage-emulator leaves out of Google Cloud Storage, as far as the storage relies on it.

By Google's reference (https://cloud.google.com/storage/docs/json_api/v1/objects): conditions, generations, pages, new
metadata for copies, what objects tell of themselves, the state of uploads, their being cancelled and their last
checksum. Requests are obeyed one after the other, since the emulator keeps bytes and metadata in two steps, and are
answered side by side.
"""

from __future__ import annotations

import io
import json
import re
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from depot_lite.io.gcs.stream import summed

#: How many objects a page has.
PAGE = 5


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that have gone: that is what tests are about."""

    # A client that reads no answer to its end keeps its thread.
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


def added_to(base: Any) -> Any:
    """Return the emulator's handler of requests with the features that it lacks."""
    lock = threading.Lock()
    finished: dict[str, Any] = {}

    class Handler(base):  # type: ignore[misc]  # whatever the emulator has
        # Connections are kept, as Google keeps them.
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        rfile: Any
        wfile: Any
        path: str

        def do_GET(self) -> None:
            self._obey(super().do_GET, self._get)

        def do_POST(self) -> None:
            self._obey(super().do_POST, self._post)

        def do_PUT(self) -> None:
            self._obey(super().do_PUT, self._put)

        def do_PATCH(self) -> None:
            self._obey(super().do_PATCH, lambda: self._refused(self.path))

        def do_DELETE(self) -> None:
            self._obey(super().do_DELETE, self._delete)

        def _obey(self, do: Any, before: Any) -> None:
            """Let the emulator answer the other requests."""
            # All of it: the emulator leaves some bodies unread, at which the kernel resets the connection.
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            receiving, sending = self.rfile, self.wfile
            self.rfile, self.wfile = io.BytesIO(self.body), io.BytesIO()
            self.query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            self.more: dict[str, str] = {}
            with lock:
                if not before():
                    do()
                    self._after()
            answer, self.rfile, self.wfile = self.wfile.getvalue(), receiving, sending
            sending.write(answer)

        def _answer(self, status: int, told: Any = None, **headers: str) -> bool:
            body = b"" if told is None else json.dumps(told).encode()
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            return True

        def end_headers(self) -> None:
            for name, value in self.more.items():
                self.send_header(name, value)
            super().end_headers()

        def _object(self, path: str) -> Any:
            """Return the emulator's record of the object that a path or a name of an upload means."""
            found = re.fullmatch(r"(?:/upload)?/storage/v1/b/([^/]+)/o(?:/([^/]+))?", path)
            if found is None:
                return None
            name = unquote(found[2]) if found[2] else self._name()
            return self.storage.objects.get(found[1], {}).get(name)

        def _name(self) -> str | None:
            if "name" in self.query:
                return self.query["name"]
            told = re.search(rb'"name": ?"([^"]+)"', self.body)
            return told[1].decode() if told else None

        def _refused(self, path: str, condition: str = "ifGenerationMatch") -> bool:
            """Answer with a 412 where a condition does not hold."""
            wanted, there = self.query.get(condition), self._object(urlsplit(path).path)
            if wanted is None or wanted == (there["generation"] if there else "0"):
                return False
            return self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})

        def _get(self) -> bool:
            path = urlsplit(self.path).path
            if listed := re.fullmatch(r"/storage/v1/b/([^/]+)/o", path):
                return self._page(listed[1])
            there = None
            if media := re.fullmatch(r"/([-.\w]+)/(.+)", path):
                there = self.storage.objects.get(media[1], {}).get(unquote(media[2]))
            if there is not None:
                if self.query.get("generation", there["generation"]) != there["generation"]:
                    return self._answer(404)
                self.more = {
                    "x-goog-generation": there["generation"],
                    "Last-Modified": format_datetime(_when(there["timeCreated"]), usegmt=True),
                    "x-goog-stored-content-length": str(there["size"]),
                    "x-goog-stored-content-encoding": there.get("contentEncoding", "identity"),
                }
                if "contentDisposition" in there:
                    # It counts, and not the one in the URL.
                    self.more["Content-Disposition"] = there["contentDisposition"]
                    self.path = self.path.replace("response-content-disposition", "ignored")
            return False

        def _page(self, bucket: str) -> bool:
            if bucket not in self.storage.buckets:
                return False
            found, _ = self.storage.get_file_list(bucket, self.query.get("prefix"), self.query.get("delimiter"))
            found = [each for each in found if each["name"] > self.query.get("pageToken", "")]
            page: dict[str, Any] = {"kind": "storage#objects", "items": found[:PAGE]}
            if found[PAGE:]:
                page["nextPageToken"] = found[PAGE - 1]["name"]
            return self._answer(200, page)

        def _post(self) -> bool:
            if rewritten := re.fullmatch(r"(.*/o/[^/]+)/rewriteTo(/b/.*)", urlsplit(self.path).path):
                return self._refused(rewritten[1], "ifSourceGenerationMatch")
            return self._refused(self.path)

        def _after(self) -> None:
            """Give a copy the metadata that were asked for."""
            if rewritten := re.fullmatch(r"(.*/o/[^/]+)/rewriteTo(/b/.*)", urlsplit(self.path).path):
                made = self._object(f"/storage/v1{rewritten[2]}")
                if made is not None and self.body:
                    for field in ("contentDisposition", "cacheControl", "contentEncoding", "contentLanguage"):
                        made.pop(field, None)
                    made.update(json.loads(self.body))

        def _put(self) -> bool:
            upload, content_range = self.query.get("upload_id", ""), self.headers.get("Content-Range", "")
            if upload in finished:
                return self._answer(200, finished[upload])
            if upload not in self.storage.resumable:
                return False
            had = self.storage.get_resumable_byte_count(upload)
            if content_range.startswith("bytes */"):
                return self._answer(308, **({"Range": f"bytes=0-{had - 1}"} if had else {}))
            resource = self.storage.resumable[upload]
            last, _, total = content_range.rpartition("-")[2].partition("/")
            if total == str(int(last) + 1):
                start = self.storage.get_file("_resumable", self.storage.safe_id(upload), False) if had else b""
                expected = self.headers.get("X-Goog-Hash", "").removeprefix("crc32c=")
                if expected != summed(start + self.body):
                    return self._answer(400, {"error": {"code": 400, "message": "the checksum differs"}})
                finished[upload] = resource
            return False

        def _delete(self) -> bool:
            upload = self.query.get("upload_id")
            if upload is None:
                return False
            self.storage.resumable.pop(upload, None)
            return self._answer(499)

    return Handler


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
