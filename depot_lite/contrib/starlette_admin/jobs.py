"""A job that answers while it works: lines of JSON, progress first, and last the result or the error.

One request is one job, and nothing of it stays in the process: any worker may get the next one. Maintenance is
synchronous, so it runs in a thread of its own; for an asynchronous database in SQLAlchemy's greenlet. Who goes away
stops the job: the next call of its progress callback raises `Stopped`, which comes between two files, never within one.
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

#: The database, as the application has it.
Bind = Session | Engine | Connection | AsyncSession | AsyncEngine | AsyncConnection
#: Takes the synchronous bind and the progress callback, and returns what JSON can hold.
Work = Callable[[Any, Watcher], dict[str, Any]]

_log: Final = logging.getLogger("depot_lite")

#: Seconds after which an empty line is sent, so that no proxy takes the connection for dead.
_HEARTBEAT: Final = 10

#: How many lines may wait for a client that does not read; of progress, the rest is left out.
_WAITING: Final = 100

#: User and password in a URL.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*@")


class Stopped(Exception):
    """Raised by the progress callback of a job that nobody waits for any more."""


class Job:
    """Work, and the lines that tell of it. `run` and `lines` go on beside each other.

    Args:
        bind: the database.
        work: what is to be done.
    """

    def __init__(self, bind: Bind, work: Work) -> None:
        self._bind = bind
        self._work = work
        self._stopped = threading.Event()
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Let the next call of the progress callback raise."""
        self._stopped.set()

    async def run(self) -> None:
        """Do the work. A cancellation waits until it has stopped, as a thread cannot be ended from outside."""
        with anyio.CancelScope(shield=True):
            self._tell(await self._outcome())

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
                return await session.run_sync(self._done)
        if isinstance(bind, AsyncSession | AsyncConnection):
            return await bind.run_sync(self._done)
        # Not one of the threads that requests share: a job may take hours.
        return await anyio.to_thread.run_sync(self._done, bind, limiter=anyio.CapacityLimiter(1))

    def _done(self, bind: Any) -> dict[str, Any]:
        """Return the last line.

        Nothing is raised: a thread that waits for work keeps its last error, and with it all that the job knew.
        """
        try:
            return {"result": self._work(bind, self._watch)}
        except Stopped:
            return {"stopped": True}
        except Exception as error:
            if not isinstance(error, DepotError):
                _log.exception("a job of the maintenance page failed")
            return {"error": one_line(error)}

    def _watch(self, progress: Progress) -> None:
        if self._stopped.is_set():
            raise Stopped
        if self._lines.qsize() < _WAITING:
            self._tell({"progress": asdict(progress)})

    def _tell(self, line: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


class JobResponse(StreamingResponse):
    """The answer to the request for a job."""

    media_type = "application/x-ndjson"

    def __init__(self, bind: Bind, work: Work) -> None:
        self._job = Job(bind, work)
        # Neither kept, nor held back by a proxy until it is whole.
        super().__init__(self._job.lines(), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines until the job is over or the client has gone.

        Starlette's own way to learn of that, with servers of today, is an error of ``send``, which no
        BaseHTTPMiddleware lets through; so the client is listened to here.
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
    """Return an error as a page may show it: of foreign ones, only what a database said; the log knows the rest.

    >>> one_line(ValueError("postgresql://me:secret@host/ cannot be reached"))
    'ValueError: the log of the server says more'
    """
    if isinstance(error, DepotError):
        return _clean(error)
    said = getattr(error, "orig", None) if isinstance(error, SQLAlchemyError) else None
    if said is None:
        return f"{type(error).__name__}: the log of the server says more"
    return f"the database: {_clean(str(said).strip().partition(chr(10))[0])}"


def _clean(said: object) -> str:
    return _CREDENTIALS.sub("", " ".join(str(said).split()))
