"""The cost of loading rows that name a file, and then of asking each for its file name.

    python -m tests.benchmarks.bench_rows
    python -m tests.benchmarks.bench_rows --only depot_lite --rounds 15
    python -m tests.benchmarks.bench_rows --url postgresql+psycopg://root@127.0.0.1/test
    python -m tests.benchmarks.bench_rows --url mariadb+pymysql://root@127.0.0.1/test --rounds 3

The same rows are loaded as ORM objects, with the same text in a column that is plain text (the floor: nothing is made
of it), JSON, ours, filedepot's and sqlalchemy-file's. The last two are left out where they are not installed. The
tables are called ``bench_rows_...`` and dropped at the end. "floor" is the least that a value which is a dictionary of
its own class can cost: msgspec's dictionary, copied into that class; nothing is checked or frozen.

Everything is measured twice. With 100,000 objects in memory most of the time goes to Python's garbage collector, which
runs when it pleases: without it the ratios are steadier and less flattering.

To reach: at most 0.9 times the JSON column, at most 0.2 times the text column above the floor, and with ``.filename``
at most 1.5 times the text column and its parse.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import JSON, Dialect, Engine, Integer, Text, TypeDecorator, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.fileid import new_file_id
from tests.benchmarks.alternating import medians, say, seconds, table


class Base(DeclarativeBase):
    """The parent of the models that are measured."""


class BareDict(dict[str, Any]):
    """A dictionary of a class of its own, with the constructor of dictionaries."""

    __slots__ = ()


class Floor(TypeDecorator[Any]):
    """Text that is read as a `BareDict`."""

    impl = Text
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Return a function that parses a text."""
        decode = msgspec.json.Decoder().decode
        return lambda text: BareDict(decode(text))


def model(name: str, type_: Any) -> Any:
    """Return a model with a primary key and one column of this type."""
    columns = {"id": mapped_column(Integer, primary_key=True), "content": mapped_column(type_)}
    return type(name.title(), (Base,), {"__tablename__": f"bench_rows_{name}", **columns})


def models() -> dict[str, Any]:
    """Return a model for each contestant that is installed."""
    types: dict[str, Any] = {
        "text": Text(),
        "json": JSON(),
        "floor": Floor(),
        "depot_lite": UploadedFileField(),
        "depot_lite, text=True": UploadedFileField(text=True),
    }
    peers = {"filedepot": "depot.fields.sqlalchemy.UploadedFileField", "sqlalchemy-file": "sqlalchemy_file.FileField"}
    for name, dotted in peers.items():
        module_name, _, class_name = dotted.rpartition(".")
        try:
            types[name] = getattr(importlib.import_module(module_name), class_name)()
        except ImportError:
            say(f"{name} is not installed and left out")
    return {name: model("".join(filter(str.isalpha, name)), type_) for name, type_ in types.items()}


def reference() -> dict[str, Any]:
    """Return the value of a row, with the keys that we and both peers need, so that all rows have one length."""
    file_id = new_file_id()
    return {
        "depot_name": "default",
        "files": [f"default/{file_id}"],
        "file_id": file_id,
        "path": f"default/{file_id}",
        "filename": "minutes of the meeting.pdf",
        "content_type": "application/pdf",
        "size": 48_213,
        "checksum": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "uploaded_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "_public_url": None,
    }


def fill(engine: Engine, classes: Mapping[str, Any], rows: int) -> None:
    """Write the same rows into the table of every contestant."""
    data = [reference() for _ in range(rows)]
    as_text = [json.dumps(each) for each in data]
    with engine.begin() as connection:
        for name, class_ in classes.items():
            values: list[Any] = as_text if name in {"text", "floor", "filedepot"} else data
            if name.startswith("depot_lite"):
                values = [UploadedFile(each) for each in data]
            # A peer's type would refuse a plain dictionary, or store it as a new file: this column takes JSON.
            plain = {"filedepot": Text(), "sqlalchemy-file": JSON()}.get(name)
            target = class_.__table__ if plain is None else _with_type(class_, plain)
            for start in range(0, rows, 5000):
                part = values[start : start + 5000]
                connection.execute(insert(target), [{"content": each} for each in part])


def _with_type(class_: Any, type_: Any) -> Any:
    table_ = class_.__table__.to_metadata(type(Base.metadata)())
    table_.c.content.type = type_
    return table_


def load_and_touch(
    engine: Engine, class_: Any, name: Callable[[Any], str], *, collector: bool
) -> Callable[[], tuple[float, float]]:
    """Return what measures the loading of all rows, and asking each for its file name."""

    def measure() -> tuple[float, float]:
        with Session(engine) as session:
            loaded: list[Any] = []
            loading = seconds(lambda: loaded.extend(session.scalars(select(class_))), collector=collector)
            return loading, seconds(lambda: [name(each.content) for each in loaded], collector=collector)

    return measure


def names(classes: Mapping[str, Any]) -> dict[str, Callable[[Any], str]]:
    """Return how each contestant is asked for a file name; of the text column that is a parse and a look-up."""
    ways: dict[str, Callable[[Any], str]] = {
        "text": lambda content: str(json.loads(content)["filename"]),
        "json": lambda content: str(content["filename"]),
        "floor": lambda content: str(content["filename"]),
    }
    return {each: ways.get(each, lambda content: str(content.filename)) for each in classes}


def report(engine: Engine, rows: int, rounds: int, only: str) -> None:
    """Fill the tables, measure, and print; ``only`` is the beginning of the names to compare with the text column."""
    classes = {name: class_ for name, class_ in models().items() if name == "text" or name.startswith(only)}
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        fill(engine, classes, rows)
        for collector in (True, False):
            say(f"\n{rows} rows, {engine.dialect.name}, garbage collector {'on' if collector else 'off'}")
            _measure(engine, classes, rows, rounds, collector=collector)
    finally:
        Base.metadata.drop_all(engine)


def _measure(engine: Engine, classes: Mapping[str, Any], rows: int, rounds: int, *, collector: bool) -> None:
    ways, scale = names(classes), 1e6 / rows
    contestants = {
        name: load_and_touch(engine, class_, ways[name], collector=collector) for name, class_ in classes.items()
    }
    measured = medians(contestants, rounds)
    loading = {name: values[0] for name, values in measured.items()}
    touching = {name: values[1] for name, values in measured.items()}
    both = {name: sum(values) for name, values in measured.items()}
    table("loading, per row", loading, unit="us", scale=scale, against="text")
    table("then .filename of each (text: json.loads)", touching, unit="us", scale=scale, against="text")
    table("both", both, unit="us", scale=scale, against="text")


def main() -> None:
    """Read the options and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a database to measure in; by default SQLite in a temporary folder")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="measure these only, beside text: the beginning of their names")
    options = parser.parse_args()
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        engine = create_engine(options.url or f"sqlite:///{folder / 'rows.db'}")
        closing.callback(engine.dispose)
        report(engine, options.rows, options.rounds, options.only)


if __name__ == "__main__":
    main()
