"""Blocks: a table of PostgreSQL that has no primary key, read in short transactions.

A version of a row stays in its place (``ctid``) as long as it exists, but an UPDATE writes a new version elsewhere,
perhaps into a block that was read already. So the blocks are read one after the other, and then, by one statement, the
versions that are younger than the beginning of it all. A row that was there all the time is among the first, or has
been updated meanwhile and is among the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Boolean, ColumnElement, Connection, literal_column, text

from depot_lite.errors import MaintenanceStopped

#: Blocks per page: some thousand rows, each with one file.
_AT_ONCE: Final = 250

#: The first version that finds a range of blocks without reading the others.
_FINDS_BLOCKS: Final = (14,)

#: Not for a table that others inherit, whose rows are in several files, nor for one whose rows are not in blocks of its
#: own: the rows of Citus are in its shards, and other access methods than ``heap`` have other places.
_QUERY: Final = text(
    "SELECT c.oid, pg_relation_filenode(c.oid), pg_relation_size(c.oid) / current_setting('block_size')::int, "
    "txid_snapshot_xmin(txid_current_snapshot()) % 4294967296 "
    "FROM pg_class c WHERE c.oid = to_regclass(:name) AND c.relkind = 'r' AND NOT c.relhassubclass "
    "AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap') AND pg_relation_size(c.oid) > 0"
)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a table, as they were when its reading began."""

    name: str
    oid: int
    #: Another one after the table was written anew, by VACUUM FULL or ALTER TABLE.
    file: int
    count: int
    #: The oldest transaction that ran then.
    oldest: int

    @classmethod
    def of(cls, connection: Connection, table: Any) -> Self | None:
        """Return the blocks of a table; None if it is to be read by one statement."""
        if connection.dialect.name != "postgresql" or (connection.dialect.server_version_info or ()) < _FINDS_BLOCKS:
            return None
        quote = connection.dialect.identifier_preparer.quote
        name = ".".join(quote(each) for each in (connection.schema_for_object(table), table.name) if each)
        found = connection.execute(_QUERY, {"name": name}).first()
        return None if found is None else cls(name, *found)

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions of the pages; `check` is to be called after each of them is read."""
        for start in range(0, self.count, _AT_ONCE):
            page = f"ctid >= '({start},0)'::tid AND ctid < '({start + _AT_ONCE},0)'::tid"
            yield literal_column(f"({page})", Boolean)

    @property
    def changed(self) -> ColumnElement[bool]:
        """The condition of the rows that were written since, and of no other but by chance."""
        return literal_column(f"(age(xmin) <= age('{self.oldest}'::xid))", Boolean)

    def check(self, connection: Connection) -> None:
        """Look whether the rows are still where they were.

        Raises:
            MaintenanceStopped: the table was written anew.
        """
        if connection.scalar(text("SELECT pg_relation_filenode(:oid)"), {"oid": self.oid}) != self.file:
            raise MaintenanceStopped(
                f"{self.name} has no primary key, and was written anew while it was read (VACUUM FULL, CLUSTER, ALTER "
                "TABLE): run this again"
            )
