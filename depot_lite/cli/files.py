"""The commands for single files of a depot: ``ls``, ``info``, ``cat``, ``get`` and ``put``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from depot_lite.cli.errors import WrongUsage
from depot_lite.cli.output import format_count, format_table, printable
from depot_lite.cli.reports.report import Report
from depot_lite.depots import Depots
from depot_lite.errors import DepotError, StorageFailed, StoredFileNotFound
from depot_lite.fields.analyzers import findings, shown_facts
from depot_lite.fields.validators.candidate import Candidate
from depot_lite.io.content import Content
from depot_lite.io.fileid import check_file_id
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.sizes import shown_size
from depot_lite.maintenance.ids import packed
from depot_lite.maintenance.rows.database import Database
from depot_lite.maintenance.rows.named import rows_naming
from depot_lite.maintenance.rows.places import places
from depot_lite.maintenance.rows.references import where
from depot_lite.maintenance.run.reports import Watcher
from depot_lite.registry import split_path

# --- ls -----------------------------------------------------------------------------------------------------------


def ls(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """List the depots, or the files of one, as the storage yields them."""
    if options.depot is None:
        return _depots()
    name = Depots.resolve_alias(options.depot)
    entries = iter(Depots.get(name).list())
    first = list(islice(entries, 1))  # an unreadable storage is an error before anything is written
    files = _present(islice(_chain(first, entries), options.limit))
    lines = (f"{each}  {size:>12}  {time:%Y-%m-%d %H:%M:%S}" for each, size, time in files)
    data = {
        "command": "ls",
        "depot": name,
        "files": ({"id": str(each), "size": size, "time": time} for each, size, time in files),
    }
    return Report(lines, data, found=False)


def _chain(first: list[FileEntry], rest: Iterator[FileEntry]) -> Iterator[FileEntry]:
    yield from first
    yield from rest


def _present(entries: Iterable[FileEntry]) -> Iterator[tuple[FileEntry, int, Any]]:
    for each in entries:
        with suppress(StoredFileNotFound):  # deleted since it was listed
            yield each, each.size, each.last_modified


def _depots() -> Report:
    default = Depots.get_default()
    found = [
        {
            "name": name,
            "storage": repr(Depots.get(name)),
            "default": name == default,
            "aliases": Depots.aliases_of(name),
            "visibility": Depots.visibility(name),
        }
        for name in Depots.depot_names()
    ]
    rows = [
        (
            each["name"],
            each["visibility"],
            "default" if each["default"] else "",
            ", ".join(cast(list[str], each["aliases"])),
            each["storage"],
        )
        for each in found
    ]
    lines = format_table([("depot", "visibility", "", "aliases", "storage"), *rows])
    return Report(lines, {"command": "ls", "depots": found}, found=False)


# --- info ---------------------------------------------------------------------------------------------------------


def info(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Describe a file; with ``--rows`` also the rows that name it."""
    depot_name, file_id = _parsed(options.path)
    if options.rows and bind is None:
        raise WrongUsage("--rows needs a database: --url URL, or DATABASE_URL in the environment")
    with Depots.get(depot_name).get(file_id) as stored:
        found, local_path = stored.info, stored.local_path
        facts = findings(Candidate.of(stored, found.filename, found.content_type)).facts
    rows = _rows(bind, depot_name, file_id, watcher) if options.rows else None
    data = {
        "command": "info",
        "depot": depot_name,
        "id": file_id,
        "filename": found.filename,
        "content_type": found.content_type,
        "size": found.content_length,
        "time": found.last_modified,
        "checksum": found.checksum,
        "local_path": None if local_path is None else str(local_path),
        "facts": facts,
        "rows": rows,
    }
    return Report(_info_lines(data, found, rows), data, found=rows == [])


def _rows(bind: Any, depot_name: str, file_id: str, watcher: Watcher | None) -> list[str]:
    naming = rows_naming(Database(bind), places(), {depot_name: {packed(file_id)}}, watcher)
    return [f"{where(place, row)}, {file.part}" for place, row, file in naming]


def _info_lines(data: dict[str, Any], found: FileInfo, rows: list[str] | None) -> Iterator[str]:
    table = [
        ("path", f"{data['depot']}/{found.file_id}"),
        ("name", found.filename),
        ("type", found.content_type),
        ("size", _size(found.content_length)),
        ("stored", f"{found.last_modified:%Y-%m-%d %H:%M:%S} UTC"),
        ("checksum", found.checksum or "none"),
        *([("on disk", data["local_path"])] if data["local_path"] else []),
        *shown_facts(data["facts"]).items(),
    ]
    yield from format_table(table)
    if rows is not None:
        yield ""
        yield "Named by no row." if not rows else f"Named by {format_count(len(rows), 'rows')}:"
        yield from (f"  {printable(each)}" for each in rows)


def _size(size: int) -> str:
    exact = format_count(size, "bytes")
    return exact if size < 1024 else f"{exact} ({shown_size(size)})"


# --- cat, get -----------------------------------------------------------------------------------------------------


def cat(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Return the bytes of files, one after the other."""
    found = [_open(each) for each in options.paths]  # a missing file is an error before anything is written
    return Report((), {"command": "cat"}, found=False, content=_chunks(found))


def _chunks(files: Iterable[StoredFile]) -> Iterator[bytes]:
    for file in files:
        with file:
            yield from file


def get(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Write a file of a depot to the local disk, as a whole or not at all."""
    with _open(options.path) as stored:
        target = _target(options.target, stored)
        if target.exists() and not options.force:
            raise WrongUsage(f"{target} exists: --force replaces it")
        if not options.dry_run:
            _write(stored, target)
        data = {
            "command": "get",
            "dry_run": options.dry_run,
            "path": "/".join(_parsed(options.path)),
            "target": str(target),
            "size": stored.content_length,
        }
        line = f"{printable(target)}: {shown_size(stored.content_length)}{_nothing(options, 'written')}"
    return Report([line], data, found=False)


def _target(given: str | None, stored: StoredFile) -> Path:
    """Return the path to write to. The name that a user gave to a file is only ever a name in a folder."""
    folder = Path(".") if given is None else Path(given)
    if given is not None and not folder.is_dir():
        return folder
    name = Path(stored.filename.replace("\\", "/")).name
    return folder / (name if name.isprintable() and name not in {"", ".", ".."} else stored.file_id)


def _write(stored: StoredFile, target: Path) -> None:
    partial = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".depot-lite-", delete=False) as file:
            partial = file.name
            for chunk in stored:
                file.write(chunk)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(partial, 0o666 & ~umask)  # a temporary file is readable by its owner only
        os.replace(partial, target)
    except BaseException as error:
        if partial is not None:
            with suppress(OSError):
                os.unlink(partial)
        if isinstance(error, OSError) and not isinstance(error, DepotError):
            raise StorageFailed(error.errno, f"{target} cannot be written: {error.strerror or error}") from error
        raise


# --- put ----------------------------------------------------------------------------------------------------------


def put(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Store local files in a depot."""
    name = Depots.resolve_alias(options.depot)
    storage = Depots.get(name)
    if len(options.files) > 1 and (options.id or options.name):
        raise WrongUsage("--id and --name are for a single FILE")
    if options.id is not None and storage.exists(check_file_id(options.id)):
        raise WrongUsage(f"depot {name!r} has a file {options.id} already, and a file is never replaced under its id")
    if unreadable := [each for each in options.files if each != "-" and not os.access(each, os.R_OK)]:
        raise WrongUsage(f"{unreadable[0]} cannot be read, or does not exist: nothing was stored")
    if folders := [each for each in options.files if os.path.isdir(each)]:
        raise WrongUsage(f"{folders[0]} is a folder, expected files: nothing was stored")
    stored = [] if options.dry_run else [_store(storage, each, options) for each in options.files]
    data = {
        "command": "put",
        "depot": name,
        "dry_run": options.dry_run,
        "files": [
            {"path": f"{name}/{each.file_id}", "filename": each.filename, "size": each.content_length}
            for each in stored
        ],
    }
    lines = [f"{name}/{each.file_id}" for each in stored]
    if options.dry_run:
        lines = [f"{printable(each)}{_nothing(options, 'stored')}" for each in options.files]
    return Report(lines, data, found=False)


def _store(storage: FileStorage, given: str, options: argparse.Namespace) -> FileInfo:
    name = options.name or (None if given == "-" else os.path.basename(given))
    if given == "-":
        source: BinaryIO = sys.stdin.buffer
        return storage.save(Content.of(source, name, options.type), file_id=options.id)
    with open(given, "rb") as file:
        return storage.save(Content.of(file, name, options.type), file_id=options.id)


# --- parts --------------------------------------------------------------------------------------------------------


def _parsed(path: str) -> tuple[str, str]:
    """Return the real depot and the file id of a path."""
    depot_name, file_id = split_path(path)
    return Depots.resolve_alias(depot_name), file_id


def _open(path: str) -> StoredFile:
    depot_name, file_id = _parsed(path)
    return Depots.get(depot_name).get(file_id)


def _nothing(options: argparse.Namespace, done: str) -> str:
    return f" (nothing was {done}, this was a dry run)" if options.dry_run else ""
