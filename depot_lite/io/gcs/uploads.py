"""Resumable uploads: large content in pieces, two of them in memory.

https://cloud.google.com/storage/docs/performing-resumable-uploads. Google's library sends them too, but needs seekable
streams, and leaves failed uploads open.

The URL of an upload suffices to write to it. So no error contains it, nor does its cause.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from google.api_core.exceptions import GoogleAPICallError, from_http_status
from requests import RequestException, Response, Session
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout

from depot_lite.io.gcs.stream import SummedReader
from depot_lite.io.objects.errors import TIMED_OUT, facts_of_network

#: The server has received everything that was sent, and waits for more.
_INCOMPLETE: Final = 308


class ResumableUpload:
    """One upload. Its object appears when the last piece has arrived.

    Args:
        repeated: calls a function, and repeats it after passing errors.
        timeout: how many seconds a connection and the next bytes may take.
    """

    def __init__(
        self,
        session: Session,
        url: str,
        repeated: Callable[[Callable[[], None]], None],
        piece_size: int,
        timeout: tuple[float, float],
    ) -> None:
        self._timeout = timeout
        self._session = session
        self._url = url
        self._repeated = repeated
        self._piece_size = piece_size

    def send(self, reader: SummedReader) -> None:
        """Send all bytes of a stream.

        Raises:
            GoogleAPICallError, RequestException: the server refuses, fails, or cannot be reached. The upload is
                cancelled then, as after an error of the stream.
        """
        try:
            start, piece = 0, reader.read(self._piece_size)
            while True:
                # Read before the piece is sent: the last request has to say that it is the last.
                following = reader.read(self._piece_size) if len(piece) == self._piece_size else b""
                self._send_piece(piece, start, None if following else reader)
                if not following:
                    return
                start, piece = start + len(piece), following
        except BaseException:
            self._cancel()
            raise

    def _send_piece(self, piece: bytes, start: int, finished: SummedReader | None) -> None:
        """Send one piece, with retries; after a failure only the bytes that the server lacks.

        Args:
            finished: the reader, if this is the last piece.
        """
        end, total = start + len(piece), "*" if finished is None else str(finished.length)
        checked = {} if finished is None else {"X-Goog-Hash": f"crc32c={finished.crc32c}"}
        position, unsure = start, False

        def attempt() -> None:
            nonlocal position, unsure
            answer = self._put(b"", f"*/{total}", {}) if unsure else None
            while answer is None or answer.status_code == _INCOMPLETE:
                if answer is not None:
                    position = self._reached(answer, position)
                if position == end and finished is None:
                    return
                unsure = True
                answer = self._put(piece[position - start :], f"{position}-{end - 1}/{total}", checked)
                if answer.status_code == _INCOMPLETE and self._reached(answer, position) == position:
                    raise NoConnection("the server has taken nothing")

        self._repeated(attempt)

    def _reached(self, answer: Response, position: int) -> int:
        """Return how many bytes of the content the server has."""
        last = answer.headers.get("Range", "").rpartition("-")[2]
        reached = int(last) + 1 if last.isdigit() else 0
        if reached < position:
            # The server has lost bytes that we no longer have either.
            raise from_http_status(410, "the upload has lost bytes")  # type: ignore[no-untyped-call]  # Google's own lack
        return reached

    def _put(self, data: bytes, content_range: str, headers: dict[str, str]) -> Response:
        headers = {**headers, "Content-Range": f"bytes {content_range}"}
        try:
            # A 308 is no redirect here.
            answer = self._session.put(
                self._url, data=data, headers=headers, timeout=self._timeout, allow_redirects=False
            )
        except RequestException as error:
            kind = ReadTimeout if TIMED_OUT in facts_of_network(error) else NoConnection
            raise kind(type(error).__name__) from None
        if answer.status_code not in {200, 201, _INCOMPLETE}:
            status = answer.status_code
            raise from_http_status(status, "resumable upload")  # type: ignore[no-untyped-call]  # Google's own lack
        return answer

    def _cancel(self) -> None:
        """Cancel the upload. If that fails, the server removes it after a week."""
        with suppress(RequestException, GoogleAPICallError):
            self._session.delete(self._url, timeout=self._timeout)
