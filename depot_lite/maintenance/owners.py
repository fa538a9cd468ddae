"""Owners: the databases whose rows may name the files of a depot, recorded in the depot itself.

A sweep cannot see from its own database that another one uses the same bucket: production, while staging is swept; the
other shard; the original, while its copy is swept. So a depot names its owners in a note, and a sweep stops unless it
reads the rows of exactly these databases. `claim` writes the note; nothing else does.

A database is identified by facts that a copy does not share: facts of its server, and the address by which it was
reached, since a copy of a server's disk has the same facts in another place. Nothing is written to the database.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.places import Place, places

_NOTE: Final = "owners"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """The owners of a depot after a claim."""

    depot: str
    #: The databases that use the depot, each with its server: one line for people, the same for the same database.
    owners: tuple[str, ...]
    #: Those of them that were added.
    added: tuple[str, ...]
    #: Former owners that were removed.
    removed: tuple[str, ...]
    #: Whether nothing was changed.
    dry_run: bool = False


def claim(
    bind: Session | Engine | Connection,
    depot_name: str | None = None,
    *,
    replace: bool = False,
    dry_run: bool = False,
    models: Iterable[object] | None = None,
) -> ClaimReport:
    """Record in a depot that this database uses it, so that sweeps from this database may delete files.

    Args:
        bind: the database; a session may be bound to several.
        depot_name: a depot or an alias; by default the default depot.
        replace: forget all other owners, whose rows will no longer keep any file; and write a new mark, as a folder
            needs that was copied together with its mark.
        dry_run: only report the owners, and change nothing.
        models: the declarative bases whose tables are in the database; by default all.

    Raises:
        MaintenanceStopped: the database cannot be identified, or the mark cannot be understood.
        StorageFailed: the storage cannot be read or written.
    """
    name = Depots.resolve_alias(depot_name or Depots.get_default())
    ours = identities(Database(bind), places(models=models))
    return off_loop(partial(_claim, name, ours, replace=replace, dry_run=dry_run))


def _claim(depot_name: str, ours: list[str], *, replace: bool, dry_run: bool) -> ClaimReport:
    added, removed, owners = dict[str, None](), dict[str, None](), dict[str, None]()
    for part in Depots.get(depot_name).parts:
        before, after = _claim_part(part, ours, replace=replace, dry_run=dry_run)
        owners |= dict.fromkeys(after)
        added |= dict.fromkeys(each for each in after if each not in before)
        removed |= dict.fromkeys(each for each in before if each not in after)
    return ClaimReport(depot_name, tuple(owners), tuple(added), tuple(removed), dry_run)


def _claim_part(storage: FileStorage, ours: list[str], *, replace: bool, dry_run: bool) -> tuple[list[str], list[str]]:
    """Change the mark of a storage, and return the owners before and after that."""
    before, after = list[str](), list[str]()

    def change(note: bytes) -> bytes:
        nonlocal before, after
        before = _decode(storage, note)
        after = ours if replace else [*before, *(each for each in ours if each not in before)]
        return _encode(after) if (replace or after != before) and not dry_run else note

    storage.update_note(_NOTE, change)
    return before, after


def owners_of(storage: FileStorage) -> list[str] | None:
    """Return the databases that use a storage, None if it was never claimed.

    Raises:
        MaintenanceStopped: the note is damaged, or was written by a later version.
    """
    note = storage.read_note(_NOTE)
    return None if note is None else _decode(storage, note)


def _decode(storage: FileStorage, note: bytes) -> list[str]:
    if not note:
        return []
    try:
        data = json.loads(note)
        if data["version"] != _VERSION:
            raise ValueError(f"version {data['version']}")
        return [str(each["database"]) for each in data["owners"]]
    except (ValueError, KeyError, TypeError) as error:
        raise MaintenanceStopped(f"the owner mark of {storage!r} cannot be understood: {error!r}") from error


def _encode(owners: list[str]) -> bytes:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    data = {
        "version": _VERSION,
        "id": str(uuid4()),
        "written": when,
        "owners": [{"database": each} for each in owners],
    }
    return json.dumps(data, indent=1).encode()


def is_same_place(one: FileStorage, other: FileStorage) -> bool:
    """Return whether two storages, or parts of them, have their files in one place.

    A mark tells, since no two have the same id: a folder may be mounted twice, and buckets of two servers may have the
    same name. Without a mark, `FileStorage.location` does.

    Raises:
        StorageFailed: a storage cannot be read.
    """
    for each in one.parts:
        for part in other.parts:
            mark, theirs = each.read_note(_NOTE), part.read_note(_NOTE)
            if each is part or (mark == theirs and (mark is not None or each.shares_files_with(part))):
                return True
    return False


def owner_objections(depot_name: str, ours: list[str]) -> Iterator[str]:
    """Yield the reasons to stop, if rows of other databases than these may name files of a depot."""
    for part in Depots.get(depot_name).parts:
        owners = owners_of(part)
        if owners is None:
            yield (
                f"{part!r} has no owner mark, and another database may use it: if no other does, claim it "
                f"(depot_lite.maintenance.claim, depot-lite claim {depot_name})"
            )
            continue
        for each in ours:
            if each not in owners:
                theirs = " and ".join(owners)
                yield f"{part!r} belongs to {theirs}, and this is {each}: is it a copy of another database?"
        for each in owners:
            if each not in ours:
                yield (
                    f"{part!r} belongs to {each} too, whose rows are not read here: read both (a session bound to both)"
                    f", or give up the files that it names (depot-lite claim --replace {depot_name})"
                )


# --- identities ---------------------------------------------------------------------------------------------------


def identities(database: Database, among: Iterable[Place]) -> list[str]:
    """Return what identifies each database that has some of these columns, sorted.

    Raises:
        MaintenanceStopped: a database cannot be asked.
    """
    found: dict[str, None] = {}
    engines: set[Any] = set()
    for place in among:
        try:
            with database.connection(place) as connection:
                if connection.engine not in engines:
                    engines.add(connection.engine)
                    found[identity(connection)] = None
                    if database.owns_transactions(place):
                        connection.rollback()
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", None) or error
            raise MaintenanceStopped(f"the database of {place} cannot be identified: {reason}") from error
    return sorted(found)


def identity(connection: Connection) -> str:
    """Return what identifies a database: the same for each connection to it, and another for each copy of it.

    PostgreSQL: the server's system identifier, the database's name and oid, and the schema. MariaDB and MySQL: the
    server's id, or its host, port and folder, and the database. SQLite: the path and the inode of the file. Elsewhere
    the name of the database. For servers, also the host and the port in the URL of the engine.
    """
    dialect = connection.dialect.name
    if dialect == "sqlite":
        return _sqlite(connection)
    facts = {"postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql}.get(dialect, _other)
    name, known = facts(connection)
    return f"{dialect} database {name} at {_address(connection)} ({known})"


def _address(connection: Connection) -> str:
    url = connection.engine.url
    host = url.host or url.query.get("host") or url.query.get("unix_socket") or "localhost"
    host = host if isinstance(host, str) else ",".join(host)
    if host in {"127.0.0.1", "::1"} or host.startswith("/"):
        host = "localhost"
    return host if url.port is None else f"{host}:{url.port}"


def _postgresql(connection: Connection) -> tuple[str, str]:
    found = connection.execute(
        text(
            "SELECT current_database(), current_schema(), (SELECT oid FROM pg_database WHERE datname = "
            "current_database()), (SELECT system_identifier FROM pg_control_system())"
        )
    ).one()
    return f"{found[0]}, schema {found[1]},", f"oid {found[2]} of system {found[3]}"


def _mysql(connection: Connection) -> tuple[str, str]:
    wanted = "('server_uid', 'server_uuid', 'hostname', 'port', 'datadir')"
    rows = connection.execute(text(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {wanted}")).all()
    known = {str(name): str(value) for name, value in rows}
    server = known.get("server_uid") or known.get("server_uuid")
    if not server:
        server = ":".join(known.get(each, "") for each in ("hostname", "port", "datadir"))
    return str(connection.scalar(text("SELECT DATABASE()"))), f"server {server}"


def _sqlite(connection: Connection) -> str:
    rows = connection.exec_driver_sql("PRAGMA database_list").all()
    path = next((str(row[2]) for row in rows if row[1] == "main" and row[2]), "")
    if not path:
        return f"sqlite database in memory of process {os.getpid()}"
    return f"sqlite database {os.path.realpath(path)} (inode {os.stat(path).st_ino})"


def _other(connection: Connection) -> tuple[str, str]:
    return str(connection.engine.url.database), "of an unknown server"
