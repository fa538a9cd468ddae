"""Unseen rows: rows that exist, name files, and cannot be read here.

A replica lags behind its primary, a transaction hides its rows until it commits, and row-level security hides rows from
some users. No reading shows the missing rows, so the server is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from depot_lite.durations import format_duration
from depot_lite.maintenance.catalogue import hides_rows, reading
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import Place

_MYSQL: Final = ("mysql", "mariadb")

#: Whether a server is a replica. Those of MariaDB are read-only, if they are set up as its manual says; those of Aurora
#: have a storage that is.
_IS_REPLICA: Final = {
    "postgresql": "SELECT pg_is_in_recovery()",
    **dict.fromkeys(_MYSQL, "SELECT @@global.read_only, @@global.innodb_read_only"),
}

#: The number of transactions that have written rows and began some seconds ago, and the age of the oldest. Those of
#: PostgreSQL are in this database. Nothing tells into which one those of MariaDB write: they count unless their session
#: has the database of another application as its default.
_OPEN: Final = {
    "postgresql": """
        SELECT count(*), max(extract(epoch FROM clock_timestamp() - since)) FROM (
            SELECT xact_start AS since FROM pg_stat_activity
            WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
            AND backend_type <> 'autovacuum worker'
            UNION ALL SELECT prepared FROM pg_prepared_xacts WHERE database = current_database()
        ) AS writing WHERE since <= clock_timestamp() - make_interval(secs => :seconds)""",
    **dict.fromkeys(
        _MYSQL,
        """
        SELECT count(*), max(age) FROM (
            SELECT timestampdiff(SECOND, convert_tz(t.trx_started, 'SYSTEM', @@session.time_zone), sysdate()) AS age
            FROM information_schema.innodb_trx t
            LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
            WHERE coalesce(p.db, database()) IN (database(), 'information_schema', 'mysql', 'performance_schema', 'sys')
            AND t.trx_rows_modified > 0 AND t.trx_mysql_thread_id <> connection_id()
        ) AS writing WHERE age >= :seconds""",
    ),
}


def unseen_objections(database: Database, places: list[Place], older_than: timedelta) -> Iterator[str]:
    """Yield the reasons to stop: rows of these columns that cannot be read here.

    Raises:
        MaintenanceStopped: a database cannot be asked.
    """
    asked: set[Engine] = set()
    for place in places:
        with reading(database, place) as connection:
            if hides_rows(connection, place):
                yield (
                    f"row-level security hides rows of {place.name} from this user: connect as a user who sees all "
                    "rows (BYPASSRLS, or the owner of the table)"
                )
            if connection.engine not in asked:
                asked.add(connection.engine)
                yield from _of_replica(connection)
                yield from _of_transactions(connection, older_than)


def _of_replica(connection: Connection) -> Iterator[str]:
    query = _IS_REPLICA.get(connection.dialect.name)
    answers = () if query is None else connection.execute(text(query)).one()
    if any(str(each) not in {"False", "0", "OFF"} for each in answers):
        yield (
            f"the server of {connection.engine.url.database!r} is a replica, or read-only, and may lack rows that the "
            "primary has: connect to the primary"
        )


def _of_transactions(connection: Connection, older_than: timedelta) -> Iterator[str]:
    found: Any = (0, None)
    if (query := _OPEN.get(connection.dialect.name)) is not None:
        try:
            found = connection.execute(text(query), {"seconds": older_than.total_seconds()}).one()
        except SQLAlchemyError:
            if connection.dialect.name not in _MYSQL:
                raise
            # MariaDB tells only a user with the privilege PROCESS.
    if found[0]:
        age = format_duration(timedelta(seconds=int(found[1])))
        yield (
            f"transactions are open, or prepared, that are older than files may be young ({found[0]}, the oldest {age})"
            ": their rows may name files, and nobody else sees them yet. End them, or spare younger files (older_than, "
            "--older-than)"
        )
