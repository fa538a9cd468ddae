"""Jobs with a streamed response: lines of JSON with the progress, then one with the result or the error.

Each request is one job and leaves no state in the process, so any worker can serve the next one. Maintenance is
synchronous: it runs in its own thread, or for an asynchronous database in SQLAlchemy's greenlet. A job stops when its
client disconnects: the next call of the progress callback raises `ClientGone`, between two files and never within one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

import anyio
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from depot_lite.errors import DepotError
from depot_lite.maintenance import Progress, Watcher

#: The ways in which an application gives the database.
Bind = Session | Engine | Connection | AsyncSession | AsyncEngine | AsyncConnection
#: A function of the synchronous bind and the progress callback that returns data for JSON.
Work = Callable[[Any, Watcher], dict[str, Any]]

_log: Final = logging.getLogger("depot_lite")

#: Seconds after which an empty line is sent, so that proxies do not close the idle connection.
_HEARTBEAT: Final = 10

#: Maximum number of lines queued for a slow client; further progress is dropped.
_WAITING: Final = 100

#: User and password in a URL.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*@")


class ClientGone(Exception):
    """Raised by the progress callback of a job whose client is gone."""


class Job:
    """A unit of work and the lines that report it. `run` and `lines` run concurrently.

    Args:
        bind: the database.
        work: the function to run.
    """

    def __init__(self, bind: Bind, work: Work) -> None:
        self._bind = bind
        self._work = work
        self._stopped = threading.Event()
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Make the next call of the progress callback raise `ClientGone`."""
        self._stopped.set()

    async def run(self) -> None:
        """Run the work. A cancellation waits until it has stopped, since a thread cannot be killed."""
        with anyio.CancelScope(shield=True):
            self._send(await self._outcome())

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the lines, the last of which has one of the keys ``result``, ``error`` and ``stopped``."""
        over = False
        while not over:
            line: dict[str, Any] | None = None
            with anyio.move_on_after(_HEARTBEAT):
                line = await self._lines.get()
            yield b"\n" if line is None else json.dumps(line, default=str).encode() + b"\n"
            over = line is not None and "progress" not in line

    async def _outcome(self) -> dict[str, Any]:
        bind = self._bind
        if isinstance(bind, AsyncEngine):
            async with AsyncSession(bind) as session:
                return await session.run_sync(self._last_line)
        if isinstance(bind, AsyncSession | AsyncConnection):
            return await bind.run_sync(self._last_line)
        # Its own thread, and not one shared by requests: a job may take hours.
        return await anyio.to_thread.run_sync(self._last_line, bind, limiter=anyio.CapacityLimiter(1))

    def _last_line(self, bind: Any) -> dict[str, Any]:
        """Run the work and return the last line.

        Nothing is raised: an idle thread keeps its last exception alive, and with it all data of the job.
        """
        try:
            return {"result": self._work(bind, self._watch)}
        except ClientGone:
            return {"stopped": True}
        except Exception as error:
            if not isinstance(error, DepotError):
                _log.exception("a job of the maintenance page failed")
            return {"error": one_line(error)}

    def _watch(self, progress: Progress) -> None:
        if self._stopped.is_set():
            raise ClientGone
        if self._lines.qsize() < _WAITING:
            self._send({"progress": asdict(progress)})

    def _send(self, line: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


class JobResponse(StreamingResponse):
    """The streamed response of a job."""

    media_type = "application/x-ndjson"

    def __init__(self, bind: Bind, work: Work) -> None:
        self._job = Job(bind, work)
        # Neither cached, nor buffered by a proxy.
        super().__init__(self._job.lines(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines until the job has ended or the client has disconnected.

        With current servers, Starlette detects a disconnect by an error of ``send``, which BaseHTTPMiddleware does not
        pass on; so this method waits for the message ``http.disconnect`` itself.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_when_gone, receive)
            tasks.start_soon(self._job.run)
            try:
                with suppress(OSError):
                    await self.stream_response(send)
            finally:
                self._job.stop()
                tasks.cancel_scope.cancel()

    async def _stop_when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._job.stop()


def one_line(error: Exception) -> str:
    """Return an error in one line without secrets; of foreign errors, only database messages, the rest is in the log.

    >>> one_line(ValueError("postgresql://me:secret@host/ cannot be reached"))
    'ValueError: the log of the server says more'
    """
    if isinstance(error, DepotError):
        return _clean(error)
    message = getattr(error, "orig", None) if isinstance(error, SQLAlchemyError) else None
    if message is None:
        return f"{type(error).__name__}: the log of the server says more"
    return f"the database: {_clean(str(message).strip().partition(chr(10))[0])}"


def _clean(message: object) -> str:
    return _CREDENTIALS.sub("", " ".join(str(message).split()))
