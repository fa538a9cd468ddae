"""The database: an engine, with sessionmakers for reading and for writing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from movies.models import Base


@dataclass(frozen=True)
class Database:
    """An engine and its sessionmakers."""

    engine: Engine
    reading: sessionmaker[Session]
    #: On SQLite, write transactions run one after the other, so that none overwrites changes that it has not read.
    writing: sessionmaker[Session]

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect to the database with this URL, and create missing tables."""
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            _keep_transactions(engine)
        Base.metadata.create_all(engine)
        return cls(engine, sessionmaker(engine), sessionmaker(engine.execution_options(sqlite_begin="IMMEDIATE")))


def _keep_transactions(engine: Engine) -> None:
    """Let SQLAlchemy begin transactions, since the driver begins them too late (SQLAlchemy's recipe)."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")
