"""Locks against two runs of one job: in the database, so that they hold on all machines.

PostgreSQL has advisory locks, MariaDB and MySQL ``GET_LOCK``; both end with the connection, also if the process is
killed. For SQLite the lock is a file beside the database, for a job without a database a file of this machine.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from depot_lite.cli.database import engines
from depot_lite.cli.errors import ApplicationFailed, JobRunning


@contextmanager
def only_run(job: str, bind: Session | Engine | None) -> Iterator[None]:
    """Hold the lock of a job.

    Args:
        job: the name of the job, with the depots that it works on.
        bind: the database; None for a job without one.

    Raises:
        JobRunning: another process holds the lock.
        ApplicationFailed: the lock's file cannot be made.
    """
    with ExitStack() as held:
        for engine in engines(bind):
            if engine.dialect.name in _SERVERS:
                held.enter_context(_in_server(job, engine))
            else:
                held.enter_context(_in_file(job, _beside(engine)))
        if bind is None:
            held.enter_context(_in_file(job, Path(tempfile.gettempdir(), f"depot-lite-{os.getuid()}")))
        yield


# --- servers ------------------------------------------------------------------------------------------------------

#: Two statements for each server. The first keeps an idle connection open for as long as a job may last. The second
#: takes the lock and returns 1; it returns something else if another connection holds the lock.
_SERVERS: Final = {
    "postgresql": (
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'",
        "SELECT pg_try_advisory_lock(:number)::int",
    ),
    "mysql": ("SET SESSION wait_timeout = 31536000", "SELECT GET_LOCK(:name, 0)"),
    "mariadb": ("SET SESSION wait_timeout = 31536000", "SELECT GET_LOCK(:name, 0)"),
}


@contextmanager
def _in_server(job: str, engine: Engine) -> Iterator[None]:
    keep, take = _SERVERS[engine.dialect.name]
    # A lock of MariaDB belongs to the whole server, a lock of PostgreSQL to a database.
    digest = sha256(f"{engine.url.database}\0{job}".encode()).digest()
    parameters: dict[str, Any] = (
        {"number": int.from_bytes(digest[:8], "big", signed=True)} if ":number" in take else {"name": digest.hex()}
    )
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")  # no transaction is open as long as the job
        connection.detach()  # it is closed instead of returned to the pool, and with it the lock ends
        connection.execute(text(keep))
        if connection.scalar(text(take), parameters) != 1:
            raise _running(job)
        yield


# --- files --------------------------------------------------------------------------------------------------------


def _beside(engine: Engine) -> Path | None:
    """Return the path of a SQLite database; None if it is in memory."""
    name = engine.url.database or ":memory:"
    return None if name == ":memory:" or name.startswith("file:") else Path(name)


@contextmanager
def _in_file(job: str, beside: Path | None) -> Iterator[None]:
    if beside is None:
        yield
        return
    path = beside.with_name(f"{beside.name}.{job.replace(' ', '-').replace('/', '-')}.lock")
    file = _locked(job, path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _locked(job: str, path: Path) -> int:
    """Return the open file, locked. The run before may have removed it between our opening and locking it."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ApplicationFailed(f"the lock {path} cannot be made: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            os.close(file)
            raise _running(job) from None
        except FileNotFoundError:
            pass
        os.close(file)


def _running(job: str) -> JobRunning:
    return JobRunning(f"`{job}` is running already, in another process; this one has changed nothing")
