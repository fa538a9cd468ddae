"""Random histories of images: transactions, tasks that are lost, repeated, overtaken and killed, requests, and sweeps.

After every step, committed rows can read all their files, variants too. At the end, upkeep makes what is missing, and
no variant has outlived its original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase
from sqlalchemy import Connection, Engine, Table

from depot_lite import rendering, renditions
from depot_lite.errors import StoredFileNotFound
from depot_lite.fields.tracking import renewal, rows
from depot_lite.io.fileid import derived_id
from depot_lite.registry import Depot
from depot_lite.renditions import declarations
from tests.conftest import DATABASES, engine_for, sqlite_engine
from tests.fields.steps import play
from tests.fields.variant_machine import VariantMachine, create_tables

#: Kinds of steps that a run must have reached, or it has shown nothing. Failures are rarer, and shown by the sabotages.
KINDS = (
    "commit",
    "rollback",
    "close",
    "savepoint released",
    "savepoint rolled back",
    "copied",
    "statement",
    "bulk",
    "task",
    "task overtaken",
    "upkeep",
    "sweep",
    "edited",
    "requested",
    "request overtaken",
)


@pytest.fixture(scope="module", params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine for each of the three databases, with few tables: a sweep reads all."""
    with engine_for(request.param, tmp_path_factory.mktemp("variants")) as made:
        create_tables(made)
        yield made


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_few_histories_of_variants(engine: Engine) -> None:
    """A sample of those below."""
    assert play(engine, 3, machine=VariantMachine)["step"] > 50


@pytest.mark.matrix
def test_no_history_of_variants_loses_a_file_or_leaves_one_over(engine: Engine) -> None:
    """In every random history, rows can read all variants that they name, and no variant outlives its original."""
    reached = play(engine, 60 if engine.dialect.name == "sqlite" else 40, machine=VariantMachine)
    assert reached["step"] > 1000
    assert not [kind for kind in KINDS if not reached[kind]]


def _none(*args: object) -> list[Any]:
    return []


def _make_blindly(depot: Depot, file_id: str, fingerprint: str) -> None:
    with depot.storage.get(file_id) as original:
        content = rendering._rendered(original, declarations(fingerprint))
    depot.storage.save(content, file_id=derived_id(file_id, fingerprint))


def _remember(read: Callable[..., Any] = rows.read_rows) -> Callable[..., Any]:
    """Return a function that reads a row once, as if nobody could change it meanwhile."""
    seen: dict[Any, Any] = {}

    def read_rows(connection: Connection, table: Table, keys: Any, *, lock: bool = True) -> Any:
        if not lock:
            seen.update(read(connection, table, keys, lock=False))
        return {key: seen[key] for key in keys}

    return read_rows


SABOTAGES: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "variants on demand outlive their original": (renditions, "derived_paths", _none),
    "a request does not look for the original again": (rendering, "_make", _make_blindly),
    "nobody remembers the files of a task that fails": (renewal, "frame_of", _none),
    "a task does not read the row again": (renewal, "read_rows", _remember()),
}


@pytest.mark.matrix
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_machine_of_variants_objects_to(sabotage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake that could be made with variants is found."""
    engine = sqlite_engine(tmp_path / "test.db")
    create_tables(engine)
    monkeypatch.setattr(*SABOTAGES[sabotage])
    with pytest.raises((AssertionError, StoredFileNotFound)):
        play(engine, 300, machine=VariantMachine, phases=[Phase.generate])
    engine.dispose()
