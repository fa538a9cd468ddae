"""The options of each command, as tables: the name of an option or an argument, and what argparse is told of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, NamedTuple

from depot_lite.cli.values import argument_type, parse_limit, parse_part, parse_rate, parse_share
from depot_lite.durations import parse_duration
from depot_lite.io.options import integer

#: Its name, and the keyword arguments of argparse.
Option = tuple[str, dict[str, Any]]


class CommandOptions(NamedTuple):
    """The description of a command, and its options."""

    purpose: str
    #: Its guarantee, such as that it deletes nothing.
    guarantee: str
    options: tuple[Option, ...]


def _option(name: str, meaning: str, **settings: Any) -> Option:
    return name, {"help": meaning, **settings}


def _argument(name: str, metavar: str, meaning: str, nargs: str | None = None) -> Option:
    return name, {"help": meaning, "metavar": metavar, "nargs": nargs}


def _flag(name: str, meaning: str) -> Option:
    return name, {"help": meaning, "action": "store_true"}


def _repeated(name: str, metavar: str, meaning: str) -> Option:
    return name, {"help": meaning, "metavar": metavar, "action": "append", "default": []}


def _number(name: str, default: int | None, meaning: str, *, lowest: int = 1, highest: int = 10**9) -> Option:
    text = meaning if default is None else f"{meaning} (default {default})"
    parse = argument_type(lambda value: integer(name.removeprefix("--"), value, lowest, highest))
    return name, {"help": text, "metavar": "N", "type": parse, "default": default}


def _time(name: str, default: timedelta, meaning: str) -> Option:
    return name, {"help": meaning, "metavar": "TIME", "type": argument_type(parse_duration), "default": default}


def _workers(default: int) -> Option:
    return _number("--workers", default, "files processed at a time", highest=1000)


def _depot(default: str) -> Option:
    return _argument("depot", "DEPOT", f"depot or alias (default: {default})", "?")


def _limit(unit: str) -> Option:
    return _number("--limit", None, f"stop after this many {unit}")


_PATH: Final = "path of a file, as rows have it: DEPOT/ID"
_ONE_DEPOT: Final = _argument("depot", "DEPOT", "depot or alias")
_DRY_RUN: Final = _flag("--dry-run", "report what would be done, and change nothing")
_RATE: Final = _option("--rate", "limit in bytes per second: 20MB", type=argument_type(parse_rate), metavar="SIZE")
_OLDER_THAN: Final = _time(
    "--older-than",
    timedelta(hours=24),
    "spare younger files; longer than the longest transaction (90s, 10m, 24h, 7d; default 24h)",
)
_PROTECT: Final = _repeated(
    "--protect",
    "TABLE.COLUMN",
    "a column outside all models: files whose ids appear in it are kept (may be repeated)",
)
#: What decides about the files that a sweep may delete.
_SWEEP: Final = (
    _time(
        "--trash",
        timedelta(days=7),
        "for how long files are marked before they are deleted (default 7d); 0 deletes at once, except files that are "
        "newer than every file that rows name",
    ),
    _option(
        "--max-delete",
        "stop if more files than this would be deleted: a number, or a share of the depot such as 10%% "
        "(default: a tenth, at most 1000, at least 10)",
        type=argument_type(parse_limit),
        metavar="N",
    ),
    _repeated(
        "--allow-empty",
        "TABLE",
        "a table that may be empty, or a depot of which rows may name no file (may be repeated)",
    ),
    _flag(
        "--allow-newer",
        "go on if many unused files are newer than every file that rows name, as after a database was restored",
    ),
    _repeated(
        "--ignore-column",
        "TABLE.COLUMN",
        "a column outside all models that may contain ids of unused files; * means anything (may be repeated)",
    ),
    _PROTECT,
)
_ROWS: Final = (
    _option(
        "--columns",
        "columns whose rows are read (default: all)",
        action="extend",
        type=lambda text: [each.strip() for each in text.split(",")],
        metavar="TABLE.COLUMN,...",
    ),
    _option(
        "--where",
        'rows that are read, as it stands behind WHERE; the columns have to be of one table: "id < 1000"',
        metavar="SQL",
    ),
)
_MADE: Final = (_ROWS[1], _DRY_RUN, _limit("rows"))
_VARIANTS: Final = (
    _argument("columns", "TABLE.COLUMN", "columns (default: all with variants)", "*"),
    *_MADE,
    _number("--batch", 20, "rows whose variants are made before they are written in one transaction"),
)
_COPY: Final = (
    _argument("source", "SOURCE", "depot that holds the files"),
    _argument("target", "TARGET", "depot that receives them"),
    _flag("--share", "share the job with other processes that are given the same command"),
    _workers(16),
    _RATE,
    _option(
        "--part",
        "see to the Kth of N parts of the files, while other processes see to the others: 3/16",
        type=argument_type(parse_part),
        metavar="K/N",
    ),
    _DRY_RUN,
)

COMMANDS: Final = {
    "ls": CommandOptions(
        "Lists the depots, or the files of a depot",
        "It only reads",
        (_depot("list the depots"), _limit("files")),
    ),
    "info": CommandOptions(
        "Describes a file: its name, type, size, time and checksum, and the rows that name it",
        "It only reads",
        (_argument("path", "PATH", _PATH), _flag("--rows", "read all rows, and show the ones naming the file")),
    ),
    "cat": CommandOptions(
        "Writes the bytes of files to standard output",
        "It only reads",
        (_argument("paths", "PATH", _PATH, "+"),),
    ),
    "get": CommandOptions(
        "Writes a file of a depot to the local disk",
        "It only reads the depot; a local file is replaced with --force only, and is whole or as it was",
        (
            _argument("path", "PATH", _PATH),
            _argument("target", "TARGET", "file to write, or a folder (default: the name of the file)", "?"),
            _flag("--force", "replace TARGET if it exists"),
            _DRY_RUN,
        ),
    ),
    "put": CommandOptions(
        "Stores local files in a depot and prints their paths",
        "It never touches a row or another file; until a row names it, a file is unused, and `unused` finds it",
        (
            _ONE_DEPOT,
            _argument("files", "FILE", "local files; - for standard input", "+"),
            _option("--name", "file name to remember (default: the name of FILE)"),
            _option("--type", "media type, used if the bytes do not reveal it: text/csv", metavar="TYPE"),
            _option("--id", "file id, to bring back the file that a row names (default: a new one)", metavar="ID"),
            _DRY_RUN,
        ),
    ),
    "check": CommandOptions(
        "Checks all depots, for monitoring: configuration, missing and unused files, a sample of the bytes",
        "It only reads: no row and no file is touched; exit code 3 if files are missing or damaged",
        (
            _depot("all depots"),
            _OLDER_THAN,
            *_SWEEP,
            _number("--max-unused", 0, "number of unused, unmarked files that is no reason for a warning", lowest=0),
            _option(
                "--sample",
                "share of the files to read and verify, at least one of each depot; 0 for none (default 1%%)",
                type=argument_type(lambda text: 0.0 if text.strip() in {"0", "0%"} else parse_share(text)),
                default=0.01,
                metavar="SHARE",
            ),
            _workers(4),
            _RATE,
        ),
    ),
    "unused": CommandOptions(
        "Finds files that no row names; --delete marks them, and deletes them a week later",
        "It never touches a row, a file that a row names, or a file younger than --older-than",
        (
            _depot("the default depot"),
            _OLDER_THAN,
            _flag(
                "--delete",
                "mark the files, and delete the files marked --trash ago; without it nothing is changed",
            ),
            _time(
                "--settle",
                timedelta(minutes=1),
                "with --delete: how long after the first reading of all rows the second one begins, --older-than at "
                "most; longer than the longest transaction (default 1m)",
            ),
            _flag("--yes", "do not ask before deleting files younger than a minute"),
            *_SWEEP,
            _DRY_RUN,
        ),
    ),
    "claim": CommandOptions(
        "Records in a depot that this database uses it, so that `unused --delete` may run from here",
        "It never touches a row or a file, and writes nothing but the owner mark of the depot",
        (
            _depot("the default depot"),
            _flag("--replace", "forget all other owners: their rows will keep no file any longer"),
            _DRY_RUN,
        ),
    ),
    "undelete": CommandOptions(
        "Takes the marks of `unused --delete` off files, or gets files back from a versioned bucket; needs no database",
        "It never touches a row, and never deletes a file",
        (_ONE_DEPOT, _argument("ids", "ID", "file ids (default: all marked files)", "*"), _DRY_RUN),
    ),
    "missing": CommandOptions(
        "Finds rows whose file is missing",
        "It only reads: no row and no file is touched",
        (_depot("all depots"), *_ROWS),
    ),
    "verify": CommandOptions(
        "Reads the files of a depot and compares them with their sizes and checksums",
        "It only reads: no row and no file is touched; it writes nothing but --state FILE",
        (
            _ONE_DEPOT,
            _option(
                "--sample",
                "share of the files: 1%%, 0.5",
                type=argument_type(parse_share),
                default=1.0,
                metavar="SHARE",
            ),
            _option("--state", "record progress in FILE, so that the same command resumes there", metavar="FILE"),
            _workers(4),
            _RATE,
        ),
    ),
    "stats": CommandOptions(
        "Counts files and bytes by type and by column, and lists the largest files",
        "It only reads: no row and no file is touched",
        (_depot("all depots"), _number("--largest", 10, "number of largest files to list; 0 for none", lowest=0)),
    ),
    "migrate": CommandOptions(
        "Copies files to another depot and lets their rows name the copies, while the application runs",
        "It never deletes a file, and never rewrites a row that changed meanwhile; `unused` finds the old files",
        (*_COPY, *_ROWS, _limit("rows")),
    ),
    "copy": CommandOptions(
        "Copies all files of a depot into another under the same ids, as a backup; needs no database but for --prune",
        "It never touches a row, never changes a file in SOURCE, and deletes none in TARGET without --prune",
        (
            *_COPY,
            _flag("--prune", "in the end, delete the files of TARGET that SOURCE does not have; reads the rows before"),
            _number(
                "--max-prune",
                None,
                "with --prune: delete none if there are more (default: a tenth, at most 1000, at least 10)",
                lowest=0,
            ),
            _flag("--allow-empty", "copy nothing if SOURCE is empty, which is an error otherwise"),
        ),
    ),
    "create-units": CommandOptions(
        "Makes the table in which `migrate --share` and `copy --share` record units of work",
        "It never touches another table, nor the units in one that is there",
        (_DRY_RUN,),
    ),
    "may-go": CommandOptions(
        "Answers whether a depot may be deleted: reads every file that rows name whole in another one",
        "It only reads: no row and no file is touched",
        (
            _argument("depot", "OLD", "depot that is to be deleted"),
            _argument("replacement", "NEW", "depot that is to have its files"),
            _workers(16),
            _RATE,
        ),
    ),
    "restore": CommandOptions(
        "Copies files that rows name and the depot lacks back from a backup",
        "It never touches a row, and never touches a file that DEPOT or BACKUP has",
        (
            _argument("source", "BACKUP", "depot that holds the backup"),
            _argument("target", "DEPOT", "depot that lacks files"),
            _flag("--all", "restore every file that DEPOT lacks, also if no row names it"),
            _limit("files"),
            _workers(16),
            _RATE,
            _DRY_RUN,
        ),
    ),
    "regenerate": CommandOptions(
        "Regenerates image variants that are missing, superfluous or of an older recipe, and missing placeholders",
        "It never touches an original, and never rewrites an image that was replaced meanwhile",
        _VARIANTS,
    ),
    "variants": CommandOptions(
        "Makes the image variants that rows lack, such as those that a task queue has lost",
        "It never touches an original nor a variant, and never rewrites an image that was replaced meanwhile",
        (*_VARIANTS, _flag("--missing", "make missing variants; the only way to call this command")),
    ),
    "facts": CommandOptions(
        "Finds the facts that rows lack, such as the duration of films from before their column had analyzers",
        "It only reads files, and never rewrites a row whose file was replaced meanwhile",
        (
            _argument("columns", "TABLE.COLUMN", "columns (default: all with analyzers)", "*"),
            *_MADE,
            _number("--batch", 20, "rows whose files are read before they are written in one transaction"),
            _flag("--missing", "find missing facts; the only way to call this command"),
        ),
    ),
    "completion": CommandOptions(
        "Writes the script by which a shell completes commands and options",
        "It only writes to standard output",
        (_option("shell", "the shell that the script is for", choices=("bash", "zsh", "fish")),),
    ),
}
