"""References that no model knows of, and rows that the database hides: the sweep finds them, and stops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.maintenance import find_unused
from depot_lite.maintenance.catalogue import CatalogueTable, _found, _others
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.owners import _other
from tests.maintenance.conftest import NOW, Base, Film
from tests.support import sweeps

Add = Callable[..., None]
Depots = dict[str, FileStorage]

sweep = partial(sweeps.sweep, models=[Base])


def execute(engine: Engine, *statements: str, **values: Any) -> None:
    with engine.begin() as connection:
        for each in statements:
            connection.execute(text(each), values if ":" in each else {})


@contextmanager
def table(engine: Engine, definition: str, name: str = "upkeep_other", **values: Any) -> Iterator[None]:
    """A table that no model has; with ``value``, it has one row."""
    execute(engine, f"CREATE TABLE {name} ({definition})")
    try:
        if values:
            execute(engine, f"INSERT INTO {name} VALUES (:value)", **values)
        yield
    finally:
        execute(engine, f"DROP TABLE {name}")


@pytest.fixture
def stored(database: Engine, committed: Add, depots: Depots) -> str:
    """The id of a file that a row names in a column that no model has (any more)."""
    committed(Film(poster=b"poster"))
    return depots["default"].create(b"live")


class TestColumnsThatNoModelHas:
    @pytest.mark.parametrize("kind", ["BLOB", "TEXT"])
    def test_an_id_behind_a_null_character_stops_it(
        self, database: Engine, stored: str, kind: str, depots: Depots
    ) -> None:
        """As in pickles of Celery's results. SQLite counts the characters of a text up to the first of them."""
        if database.dialect.name != "sqlite":
            pytest.skip("texts have no null characters here, and binary columns are read otherwise")
        value = f"v1\0{stored}"
        with (
            table(database, f"value {kind}", value=value.encode() if kind == "BLOB" else value),
            pytest.raises(MaintenanceStopped, match=r"upkeep_other\.value"),
        ):
            sweep(database)
        assert depots["default"].exists(stored)

    @pytest.mark.parametrize("kind", ["JSON", "TEXT", "VARCHAR(200)"])
    def test_a_column_with_a_reference_stops_it(self, database: Engine, stored: str, kind: str, depots: Depots) -> None:
        """As that of a history table; the message says how to protect it, and how to ignore it."""
        value = json.dumps({"path": f"default/{stored}", "file_id": stored})
        if kind == "JSON" and database.dialect.name == "postgresql":
            kind = "TEXT, more JSONB DEFAULT '{}'"
        create = partial(table, database, f"value {kind}")
        with create() if "more" in kind else create(value=value):
            if "more" in kind:
                execute(database, "INSERT INTO upkeep_other (value, more) VALUES ('', CAST(:v AS JSONB))", v=value)
            name = "more" if "more" in kind else "value"
            with pytest.raises(
                MaintenanceStopped,
                match=rf"column upkeep_other\.{name} contains the id .* {stored}, .*--protect upkeep_other\.{name}"
                rf".*--ignore-column upkeep_other\.{name}",
            ):
                sweep(database)
            assert depots["default"].exists(stored)
            assert sweep(database, protect=[f"upkeep_other.{name}"]).deleted == 0
            assert sweep(database, ignore_columns=[f"upkeep_other.{name}"]).deleted == 1

    def test_a_column_whose_collation_has_no_regular_expressions_is_searched(
        self, database: Engine, stored: str, depots: Depots
    ) -> None:
        """It could not be searched, so that every sweep of such a database stopped."""
        if database.dialect.name != "postgresql":
            pytest.skip("only PostgreSQL has such collations")
        execute(database, "CREATE COLLATION any_case (provider=icu, locale='und-u-ks-level2', deterministic=false)")
        try:
            with table(database, "value TEXT COLLATE any_case", value="of no file"):
                assert sweep(database).deleted == 1
            live = depots["default"].create(b"live")
            with (
                table(database, "value TEXT COLLATE any_case", value=live.upper()),
                pytest.raises(MaintenanceStopped, match=f"contains the id .* {live}"),
            ):
                sweep(database)
        finally:
            execute(database, "DROP COLLATION any_case")

    @pytest.mark.parametrize(
        ("name", "kind"), [("sqlitebackup", "TEXT"), ("upkeep_other", "POINT"), ("upkeep_other", "INTEGER")]
    )
    def test_sqlite_has_text_in_tables_and_columns_of_any_name_and_type(
        self, database: Engine, stored: str, name: str, kind: str
    ) -> None:
        """A table whose name only resembles those of SQLite, and types that only resemble numbers, were left out."""
        if database.dialect.name != "sqlite":
            pytest.skip("elsewhere, a type says what is in a column")
        with (
            table(database, f"value {kind}", name, value=f"default/{stored}"),
            pytest.raises(MaintenanceStopped, match=f"contains the id .* {stored}"),
        ):
            sweep(database)

    def test_a_column_that_was_renamed_in_the_database_stops_it(
        self, database: Engine, stored: str, committed: Add, depots: Depots
    ) -> None:
        """The model has a new, empty column under the old name."""
        kind = "JSONB" if database.dialect.name == "postgresql" else "JSON"
        execute(
            database,
            "ALTER TABLE upkeep_film RENAME COLUMN poster TO old_poster",
            f"ALTER TABLE upkeep_film ADD COLUMN poster {kind}",
        )
        try:
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_film\.old_poster contains"):
                sweep(database, allow_empty=sweeps.consent("default", [Base])["allow_empty"])
        finally:
            execute(
                database,
                "ALTER TABLE upkeep_film DROP COLUMN poster",
                "ALTER TABLE upkeep_film RENAME COLUMN old_poster TO poster",
            )
        assert len(list(depots["default"].list())) == 2

    def test_other_ids_and_other_texts_stop_nothing(self, database: Engine, stored: str, depots: Depots) -> None:
        """An id of a file that a model names, or that is gone; other columns of other types."""
        with Session(database) as session:
            poster = session.query(Film.poster).scalar()
            assert isinstance(poster, UploadedFile)
        with table(database, "value VARCHAR(200), number INTEGER"):
            rows = [f"see {poster.path}", "b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70", "_" * 36, "nothing"]
            for each in rows:
                execute(database, "INSERT INTO upkeep_other (value) VALUES (:value)", value=each)
            assert sweep(database).deleted == 1

    @pytest.mark.parametrize("spelling", [str.upper, lambda each: each.replace("-", "")])
    def test_an_id_is_found_in_every_spelling(
        self, database: Engine, stored: str, spelling: Callable[[str], str]
    ) -> None:
        """In upper case, or as 32 digits; the message has the usual one."""
        with (
            table(database, "value VARCHAR(200)", value=f"<{spelling(stored)}>"),
            pytest.raises(MaintenanceStopped, match=rf"column upkeep_other\.value contains .* {stored},"),
        ):
            sweep(database)

    @pytest.mark.parametrize(
        "definition",
        [
            "number INT PRIMARY KEY, value VARCHAR(100)",
            "value VARCHAR(100) PRIMARY KEY, number INT",
            "number INT, value VARCHAR(100), PRIMARY KEY (value, number)",
            "number FLOAT PRIMARY KEY, value VARCHAR(100)",
            "number INT, value VARCHAR(100)",
        ],
    )
    @pytest.mark.matrix
    def test_a_large_table_is_searched_page_by_page(
        self, database: Engine, stored: str, definition: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever its primary key is; and each page is a transaction of its own."""
        monkeypatch.setattr("depot_lite.maintenance.catalogue._PAGE", 3)
        with table(database, definition):
            rows = [{"number": number, "value": f"none {number:02}"} for number in range(20)]
            rows[13]["value"] = f"none 13 {stored}"
            with database.begin() as connection:
                connection.execute(text("INSERT INTO upkeep_other (number, value) VALUES (:number, :value)"), rows)
            report = find_unused(database, "default", older_than=NOW, models=[Base])
            assert [each.split()[1] for each in report.objections if stored in each] == ["upkeep_other.value"]

    @pytest.mark.matrix
    def test_many_columns_are_named_at_once(self, database: Engine, stored: str) -> None:
        """Each of them, in a dry run too."""
        with table(database, "one VARCHAR(100), two VARCHAR(100), three VARCHAR(100)"):
            execute(database, "INSERT INTO upkeep_other VALUES (:v, 'no', :v)", v=stored)
            report = find_unused(database, "default", older_than=NOW, models=[Base])
            named = [each for each in report.objections if each.startswith("column upkeep_other.")]
            assert [each.split()[1] for each in named] == ["upkeep_other.one", "upkeep_other.three"]
            assert sweep(database, ignore_columns=["upkeep_other.*"]).deleted == 1

    @pytest.mark.parametrize(("name", "column"), [("log[1]", "value"), ("of.2026", "a.b")])
    def test_a_name_that_looks_like_a_pattern_or_a_schema_is_ignored_as_it_is_told(
        self, database: Engine, stored: str, name: str, column: str
    ) -> None:
        """The option that the message names could not be given."""
        quote = database.dialect.identifier_preparer.quote
        with table(database, f"{quote(column)} VARCHAR(100)", quote(name), value=stored):
            with pytest.raises(MaintenanceStopped, match=re.escape(f"--ignore-column {name}.{column})")):
                sweep(database)
            assert sweep(database, ignore_columns=[f"{name}.{column}"]).deleted == 1

    @pytest.mark.parametrize("given", ["upkeep_other", "", ".x", 7])
    def test_what_is_no_column_cannot_be_ignored(self, database: Engine, given: Any) -> None:
        """Before anything is read."""
        with pytest.raises(ConfigurationError, match=r"ignore_columns: expected 'table\.column'"):
            find_unused(database, "default", models=[Base], ignore_columns=[given])

    def test_a_table_with_system_versioning_is_searched(self, database: Engine, stored: str, depots: Depots) -> None:
        """MariaDB does not call it a base table."""
        if database.dialect.name not in {"mysql", "mariadb"}:
            pytest.skip("only MariaDB has it")
        with table(database, "value VARCHAR(100)", value=stored):
            execute(database, "ALTER TABLE upkeep_other ADD SYSTEM VERSIONING")
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_other\.value contains the id"):
                sweep(database)
        assert depots["default"].exists(stored)

    @pytest.mark.parametrize("kind", ["TEXT", "UUID", "JSONB"])
    def test_a_column_of_a_domain_is_searched(self, database: Engine, stored: str, depots: Depots, kind: str) -> None:
        """Whatever type it stands for."""
        if database.dialect.name != "postgresql":
            pytest.skip("only PostgreSQL has domains")
        value = json.dumps(stored) if kind == "JSONB" else stored
        execute(database, f"CREATE DOMAIN upkeep_domain AS {kind}")
        with table(database, "value upkeep_domain"):
            execute(database, "INSERT INTO upkeep_other VALUES (CAST(:value AS upkeep_domain))", value=value)
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_other\.value contains the id"):
                sweep(database)
        execute(database, "DROP DOMAIN upkeep_domain")
        assert depots["default"].exists(stored)

    def test_a_session_with_few_rows_finds_all_columns(self, database: Engine, stored: str, depots: Depots) -> None:
        """An explicit LIMIT is stronger than a limit that an administrator has set for sessions."""
        if database.dialect.name not in {"mysql", "mariadb"}:
            pytest.skip("only MariaDB has such a limit")
        few = create_engine(database.url, connect_args={"init_command": "SET sql_select_limit = 3"})
        with table(database, "value VARCHAR(100)"):
            ids = [*(str(uuid4()) for _ in range(9)), stored]
            execute(database, f"INSERT INTO upkeep_other VALUES {', '.join(f'({each!r})' for each in ids)}")
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_other\.value contains the id"):
                sweep(few)
        few.dispose()
        assert depots["default"].exists(stored)

    def test_the_schema_of_another_tenant_stops_it(self, database: Engine, stored: str, depots: Depots) -> None:
        """Another database on MariaDB, and an attached file on SQLite."""
        name = "upkeep_tenant" if database.dialect.name == "postgresql" else f"{database.url.database}_tenant"
        if database.dialect.name == "sqlite":
            pytest.skip("an attached database belongs to one connection")
        execute(database, f"CREATE SCHEMA {name}")
        try:
            execute(database, f"CREATE TABLE {name}.film (poster TEXT)")
            execute(database, f"INSERT INTO {name}.film VALUES (:value)", value=f'{{"path": "default/{stored}"}}')
            with pytest.raises(MaintenanceStopped, match=rf"column {name}\.film\.poster contains"):
                sweep(database)
            assert sweep(database, ignore_columns=[f"{name}.film.poster"]).deleted == 1
        finally:
            execute(database, f"DROP SCHEMA {name} {'CASCADE' if database.dialect.name == 'postgresql' else ''}")

    def test_the_tables_of_the_default_schema_stop_a_sweep_of_a_tenant(
        self, database: Engine, stored: str, depots: Depots
    ) -> None:
        """Tables of one name are two tables: the models are those of the tenant's schema then."""
        name = "upkeep_tenant" if database.dialect.name == "postgresql" else f"{database.url.database}_tenant"
        if database.dialect.name == "sqlite":
            pytest.skip("an attached database belongs to one connection")
        execute(database, f"CREATE SCHEMA {name}")
        tenant = database.execution_options(schema_translate_map={None: name})
        try:
            Base.metadata.create_all(tenant)
            with Session(tenant) as session:
                session.add(Film(poster=b"of the tenant"))
                session.commit()
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_film\.poster contains"):
                sweep(tenant)
            assert len(list(depots["default"].list())) == 3
            assert sweep(tenant, protect=[], ignore_columns=["*.*"]).deleted == 2
        finally:
            execute(database, f"DROP SCHEMA {name} {'CASCADE' if database.dialect.name == 'postgresql' else ''}")

    def test_an_attached_database_is_searched_too(self, stored: str, database: Engine, tmp_path: Any) -> None:
        """Through the connection that attached it."""
        if database.dialect.name != "sqlite":
            pytest.skip("only SQLite attaches files")
        with database.connect() as connection:
            connection.exec_driver_sql(f"ATTACH '{tmp_path}/tenant.db' AS tenant")
            connection.exec_driver_sql("CREATE TABLE tenant.film (poster JSON)")
            connection.exec_driver_sql("INSERT INTO tenant.film VALUES (?)", (f'"default/{stored}"',))
            connection.commit()
            report = find_unused(connection, "default", older_than=NOW, models=[Base])
            assert any(each.startswith("column tenant.film.poster contains") for each in report.objections)
            connection.commit()
            connection.exec_driver_sql("DETACH tenant")

    def test_a_partition_is_read_with_its_table_until_it_is_detached(
        self, database: Engine, stored: str, depots: Depots
    ) -> None:
        """Then its rows are in no table that a model has."""
        if database.dialect.name != "postgresql":
            pytest.skip("PostgreSQL detaches partitions")
        execute(
            database,
            "CREATE TABLE upkeep_parts (year INT, file TEXT) PARTITION BY LIST (year)",
            "CREATE TABLE upkeep_2023 PARTITION OF upkeep_parts FOR VALUES IN (2023)",
        )
        try:
            execute(database, "INSERT INTO upkeep_parts VALUES (2023, :value)", value=f'{{"path": "default/{stored}"}}')
            assert sweep(database, protect=["upkeep_parts.file"]).deleted == 0
            execute(
                database,
                "ALTER TABLE upkeep_parts DETACH PARTITION upkeep_2023",
                "CREATE TABLE upkeep_2024 PARTITION OF upkeep_parts FOR VALUES IN (2024)",
                "INSERT INTO upkeep_parts VALUES (2024, 'b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70')",
            )
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_2023\.file contains"):
                sweep(database, protect=["upkeep_parts.file"])
        finally:
            execute(database, "DROP TABLE upkeep_parts CASCADE", "DROP TABLE IF EXISTS upkeep_2023")
        assert depots["default"].exists(stored)


def test_other_databases_are_inspected() -> None:
    """Those whose catalogue nobody here knows: their columns of text."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE other (number INTEGER, value TEXT)")
        assert list(_others(connection)) == [(None, "other", "value", True)]
        assert _other(connection) == ("None", "of an unknown server")
    engine.dispose()


def test_what_is_dropped_while_it_is_searched_stops_nothing(database: Engine) -> None:
    """A column, whose table is searched for the others, or a whole table."""
    file_id = "b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70"
    for is_ours in (True, False):
        with table(database, "value VARCHAR(100)", value=file_id), database.connect() as connection:
            dropped = [
                CatalogueTable(None, "upkeep_other", ("gone", "value"), is_default=True),
                CatalogueTable(None, "upkeep_gone", ("value",), is_default=True),
            ]
            found = [
                name
                for each in dropped
                for name, _ in _found(connection, each, list(each.columns), {packed(file_id)}, is_ours=is_ours)
            ]
            assert found == ["value"]


class TestRowsThatAreHidden:
    @pytest.fixture
    def limited(self, database: Engine) -> Iterator[Engine]:
        """A user without BYPASSRLS, who may read all tables but one."""
        if database.dialect.name != "postgresql":
            pytest.skip("only PostgreSQL has row-level security")
        name = f"upkeep_{database.url.database}"
        execute(
            database,
            f"CREATE ROLE {name} LOGIN",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
        )
        engine = create_engine(database.url.set(username=name))
        yield engine
        engine.dispose()
        execute(database, f"DROP OWNED BY {name}", f"DROP ROLE {name}")

    def test_row_level_security_stops_it(self, database: Engine, limited: Engine, stored: str, depots: Depots) -> None:
        """For a user to whom policies apply; not for the others."""
        execute(database, "ALTER TABLE upkeep_film ENABLE ROW LEVEL SECURITY")
        try:
            with pytest.raises(MaintenanceStopped, match="row-level security hides rows of upkeep_film from this user"):
                sweep(limited)
            assert sweep(database).deleted == 1
        finally:
            execute(database, "ALTER TABLE upkeep_film DISABLE ROW LEVEL SECURITY")

    def test_row_level_security_of_a_table_without_a_model_stops_it(
        self, database: Engine, limited: Engine, stored: str
    ) -> None:
        """A search would find nothing in it."""
        with table(database, "value VARCHAR(100)", value=stored):
            execute(
                database,
                "ALTER TABLE upkeep_other ENABLE ROW LEVEL SECURITY",
                "GRANT SELECT ON upkeep_other TO PUBLIC",
            )
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_other\.value may have rows that row-level"):
                sweep(limited)
            assert sweep(limited, ignore_columns=["upkeep_other.value"]).deleted == 1

    def test_a_table_that_cannot_be_read_stops_it(self, database: Engine, limited: Engine, stored: str) -> None:
        """It may contain anything; unless it is ignored."""
        with table(database, "value VARCHAR(100)", value=stored):
            with pytest.raises(MaintenanceStopped, match=r"column upkeep_other\.value cannot be read \(permission"):
                sweep(limited)
            assert sweep(limited, ignore_columns=["upkeep_other.value"]).deleted == 1

    def test_an_engine_in_autocommit_is_searched_like_any_other(self, database: Engine, stored: str) -> None:
        """It streams too."""
        with table(database, "value VARCHAR(100)", value=stored):
            engine = database.execution_options(isolation_level="AUTOCOMMIT")
            report = find_unused(engine, "default", older_than=NOW, models=[Base])
            assert any("upkeep_other.value" in each for each in report.objections)
