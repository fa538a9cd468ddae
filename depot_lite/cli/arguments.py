"""The arguments of the command line: commands, options, and the values that these take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from depot_lite import __version__
from depot_lite.cli.configuration import Configuration, read_configuration
from depot_lite.cli.errors import WrongUsage
from depot_lite.durations import parse_duration
from depot_lite.errors import ConfigurationError
from depot_lite.io.options import integer
from depot_lite.io.sizes import size_of
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.limits import DeletionLimit

T = TypeVar("T")

#: The name of the command, however it was started.
PROGRAM: Final = "depot-lite"
VERSION: Final = __version__


def parse_share(text: str) -> float:
    """Return a share greater than 0 and at most 1, from ``1%`` or ``0.01``.

    >>> parse_share("1%"), parse_share("0.5")
    (0.01, 0.5)
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ConfigurationError(f"expected a share such as 1% or 0.01, more than 0 and at most 100%, got {text!r}")
    return share


def parse_rate(text: str) -> int:
    """Return bytes per second, from ``20MB``, ``20 MiB/s`` or a bare number.

    >>> parse_rate("20MB/s")
    20000000
    """
    rate = size_of("rate", text.strip().removesuffix("/s"))
    if not rate:
        raise ConfigurationError(f"expected a rate of at least 1 byte per second, got {text!r}")
    return rate


def _checked_limit(text: str) -> str:
    DeletionLimit(text)
    return text


def parse_part(text: str) -> Part:
    """Return one of several parts, from ``3/16``.

    >>> parse_part("3/16")
    Part(number=3, of=16)
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise ConfigurationError(f"expected a part such as 3/16, got {text!r}")
    return Part(int(number), int(of))


def _argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser for argparse, which prints the message of an ArgumentTypeError only."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line and accepts no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.color = False  # Python 3.14 would write escape codes if FORCE_COLOR is set

    def error(self, message: str) -> NoReturn:
        raise WrongUsage(f"{message} ({self.prog} --help)")


def _common_options(*, top: bool) -> _Parser:
    """Return the options that are accepted both before and after the command."""
    parser = _Parser(add_help=False, argument_default=None if top else argparse.SUPPRESS)
    options = parser.add_argument_group("options accepted before and after the command")
    add = options.add_argument
    # Without this, the default behind the command would replace the value given before it.
    flag: Any = {"action": "store_true"} if top else {"action": "store_true", "default": argparse.SUPPRESS}
    add("--app", metavar="MODULE[:FACTORY]", help="module that configures depots and models (DEPOT_LITE_APP)")
    add("--url", help="database URL, as SQLAlchemy takes it (DATABASE_URL)")
    add(
        "--engine",
        metavar="MODULE:NAME",
        help="instead of --url: an engine or a sessionmaker of the application, or a function that returns one "
        "(DEPOT_LITE_ENGINE)",
    )
    add(
        "--config",
        metavar="FILE",
        help="file with options (DEPOT_LITE_CONFIG; default: depot-lite.toml, or [tool.depot_lite] in pyproject.toml, "
        "in the current directory)",
    )
    add("--json", help="write one JSON document with all details instead of a readable report", **flag)
    add("--quiet", help="write no progress to stderr", **flag)
    add("--log", metavar="FILE", help="append the progress, all messages and the result to FILE, with times")
    add(
        "--memory",
        type=_argument_type(partial(size_of, "--memory")),
        metavar="SIZE",
        help="memory for the ids of files; what exceeds it is put on disk (default: 512 MiB)",
    )
    add("--traceback", help="show the traceback of an error", **flag)
    return parser


_EPILOG: Final = """\
exit codes: 0 nothing found, or all done; 1 something found; 2 could not run; 75 the same job is running already;
130, 143 stopped by a signal
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog=PROGRAM,
        parents=[_common_options(top=True)],
        description="Maintains the files of depots and the rows that name them.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=_Parser)
    for name, (purpose, guarantee, add_options) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            parents=[_common_options(top=False)],
            help=purpose,
            description=f"{purpose}.\n{guarantee}.",
            epilog=_EPILOG,
        )
        add_options(command)
    return parser


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments. Options that are not given come from the environment or the configuration file.

    Raises:
        WrongUsage: the arguments are wrong or incomplete.
        ConfigurationError: the configuration file cannot be read.
    """
    configuration = _configuration(arguments)
    words = _with_options(configuration, list(arguments))
    try:
        parsed = make_parser().parse_args(words)
    except WrongUsage as error:
        raise WrongUsage(f"{error}{_origin(configuration, words, arguments)}") from None
    if parsed.command == "unused" and parsed.dry_run:
        parsed.delete = False
    parsed.app = parsed.app or os.environ.get("DEPOT_LITE_APP") or configuration.app
    parsed.url, parsed.engine = _database(parsed, configuration)
    return parsed


def _configuration(arguments: Sequence[str]) -> Configuration:
    parser = _Parser(prog=PROGRAM, add_help=False)
    parser.add_argument("--config")
    given, _ = parser.parse_known_args(arguments)
    return read_configuration(given.config or os.environ.get("DEPOT_LITE_CONFIG"), tuple(_COMMANDS))


def _with_options(configuration: Configuration, arguments: list[str]) -> list[str]:
    """Return the arguments with the options of the file in front of those given, which therefore replace them."""
    parser = _common_options(top=True)
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    position = len(arguments) - len(parser.parse_known_args(arguments)[0].rest)
    top, rest = arguments[:position], arguments[position:]
    return [*configuration.common, *top, *rest[:1], *configuration.of(rest[0] if rest else ""), *rest[1:]]


def _origin(configuration: Configuration, words: list[str], arguments: Sequence[str]) -> str:
    """Return a hint at the options that come from the file, if there are any."""
    if len(words) == len(arguments):
        return ""
    from_file = " ".join(each for each in words if each not in arguments)
    return f"; {configuration.path} contains {from_file}"


def _database(parsed: argparse.Namespace, configuration: Configuration) -> tuple[str | None, str | None]:
    """Return URL and engine, at most one of them: from the command line, else the environment, else the file."""
    environment = os.environ.get("DATABASE_URL"), os.environ.get("DEPOT_LITE_ENGINE")
    if parsed.url and parsed.engine:
        raise WrongUsage(f"--url and --engine: expected one of them ({PROGRAM} --help)")
    for url, engine in ((parsed.url, parsed.engine), environment, (configuration.url, configuration.engine)):
        if url or engine:
            return (None, engine) if engine else (url, None)
    return None, None


# --- the options of each command ----------------------------------------------------------------------------------


def _add_depot(command: argparse.ArgumentParser, default: str = "all depots") -> None:
    command.add_argument("depot", nargs="?", metavar="DEPOT", help=f"depot or alias (default: {default})")


def _ls(command: argparse.ArgumentParser) -> None:
    command.add_argument("depot", nargs="?", metavar="DEPOT", help="depot or alias (default: list the depots)")
    _add_number(command, "--limit", None, "stop after this many files")


def _info(command: argparse.ArgumentParser) -> None:
    _add_path(command)
    command.add_argument("--rows", action="store_true", help="read all rows, and show the ones naming the file")


def _cat(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="+", metavar="PATH", help=_PATH)


def _get(command: argparse.ArgumentParser) -> None:
    _add_path(command)
    command.add_argument(
        "target", nargs="?", metavar="TARGET", help="file to write, or a folder (default: the name of the file)"
    )
    command.add_argument("--force", action="store_true", help="replace TARGET if it exists")
    _add_dry_run(command)


def _put(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("depot", metavar="DEPOT", help="depot or alias")
    add("files", nargs="+", metavar="FILE", help="local files; - for standard input")
    add("--name", help="file name to remember (default: the name of FILE)")
    add("--type", metavar="TYPE", help="media type, used if the bytes do not reveal it: text/csv")
    add("--id", metavar="ID", help="file id, to bring back the file that a row names (default: a new one)")
    _add_dry_run(command)


def _check(command: argparse.ArgumentParser) -> None:
    _add_depot(command)
    _add_older_than(command)
    _add_protect(command)
    _add_number(command, "--max-unused", 0, "number of unused files that is no reason for a warning", lowest=0)
    command.add_argument(
        "--sample",
        type=_argument_type(lambda text: 0.0 if text.strip() in {"0", "0%"} else parse_share(text)),
        default=0.01,
        metavar="SHARE",
        help="share of the files to read and verify, at least one of each depot; 0 for none (default 1%%)",
    )
    _add_workers(command, 4)
    _add_rate(command)


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell that the script is for")


def _unused(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _add_depot(command, "the default depot")
    _add_older_than(command)
    add(
        "--delete",
        action="store_true",
        help="mark the files, and delete the files marked --trash ago; without it nothing is changed",
    )
    add(
        "--settle",
        type=_argument_type(parse_duration),
        default=timedelta(minutes=1),
        metavar="TIME",
        help="with --delete: how long after the first reading of all rows the second one begins, --older-than at "
        "most; longer than the longest transaction (default 1m)",
    )
    add("--yes", action="store_true", help="do not ask before deleting files younger than a minute")
    add(
        "--trash",
        type=_argument_type(parse_duration),
        default=timedelta(days=7),
        metavar="TIME",
        help="with --delete: for how long files are marked before they are deleted; 0 deletes at once (default 7d)",
    )
    _add_limits(command)
    _add_protect(command)
    _add_dry_run(command)


def _add_limits(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--max-delete",
        type=_argument_type(_checked_limit),
        metavar="N",
        help="stop if more files than this would be deleted: a number, or a share of the depot such as 10%% (default: "
        "a tenth, at most 1000, at least 10)",
    )
    add(
        "--allow-empty",
        action="append",
        default=[],
        metavar="TABLE",
        help="a table that may be empty, or a depot of which rows may name no file (may be repeated)",
    )
    add(
        "--ignore-column",
        action="append",
        default=[],
        metavar="TABLE.COLUMN",
        help="a column outside all models that may contain ids of unused files; * means anything (may be repeated)",
    )


def _undelete(command: argparse.ArgumentParser) -> None:
    command.add_argument("depot", metavar="DEPOT", help="depot or alias")
    command.add_argument("ids", nargs="*", metavar="ID", help="file ids (default: all marked files)")
    _add_dry_run(command)


def _claim(command: argparse.ArgumentParser) -> None:
    _add_depot(command, "the default depot")
    command.add_argument(
        "--replace", action="store_true", help="forget all other owners: their rows will keep no file any longer"
    )
    _add_dry_run(command)


def _verify(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("depot", metavar="DEPOT", help="depot or alias")
    add("--sample", type=_argument_type(parse_share), default=1.0, metavar="SHARE", help="share of the files: 1%%, 0.5")
    add("--state", metavar="FILE", help="record progress in FILE, so that the same command resumes there")
    _add_workers(command, 4)
    _add_rate(command)


def _stats(command: argparse.ArgumentParser) -> None:
    _add_depot(command)
    _add_number(command, "--largest", 10, "number of largest files to list")


def _missing(command: argparse.ArgumentParser) -> None:
    _add_depot(command)
    _add_columns(command)
    _add_where(command)


def _backup(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _copy(command)
    add("--prune", action="store_true", help="in the end, delete the files of TARGET that SOURCE does not have")
    _add_number(command, "--max-prune", None, "with --prune: delete none if there are more (default: a tenth, or 1000)")
    add("--allow-empty", action="store_true", help="copy nothing if SOURCE is empty, which is an error otherwise")


def _migrate(command: argparse.ArgumentParser) -> None:
    _copy(command)
    _add_columns(command)
    _add_where(command)
    _add_number(command, "--limit", None, "stop after this many rows")
    command.add_argument(
        "--share", action="store_true", help="share the job with other processes that are given the same command"
    )
    _add_number(command, "--units", 16, "with --share: units of work; the same in all processes", highest=10**6)


def _copy(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="SOURCE", help="depot that holds the files")
    command.add_argument("target", metavar="TARGET", help="depot that receives them")
    _add_workers(command, 16)
    _add_rate(command)
    command.add_argument(
        "--part",
        type=_argument_type(parse_part),
        metavar="K/N",
        help="see to the Kth of N parts of the files, while other processes see to the others: 3/16",
    )
    _add_dry_run(command)


def _may_go(command: argparse.ArgumentParser) -> None:
    command.add_argument("depot", metavar="OLD", help="depot that is to be deleted")
    command.add_argument("replacement", metavar="NEW", help="depot that is to have its files")
    _add_workers(command, 16)
    _add_rate(command)


def _restore(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="BACKUP", help="depot that holds the backup")
    command.add_argument("target", metavar="DEPOT", help="depot that lacks files")
    command.add_argument(
        "--all", action="store_true", help="restore every file that DEPOT lacks, also if no row names it"
    )
    _add_number(command, "--limit", None, "stop after this many files")
    _add_workers(command, 16)
    _add_rate(command)
    _add_dry_run(command)


def _regenerate(command: argparse.ArgumentParser) -> None:
    command.add_argument("columns", nargs="*", metavar="TABLE.COLUMN", help="columns (default: all with variants)")
    _add_where(command)
    _add_dry_run(command)
    _add_number(command, "--limit", None, "stop after this many rows")
    _add_number(command, "--batch", 20, "rows locked and written in one transaction")


_PATH: Final = "path of a file, as rows have it: DEPOT/ID"


def _add_path(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH", help=_PATH)


def _add_older_than(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--older-than",
        type=_argument_type(parse_duration),
        default=timedelta(hours=24),
        metavar="TIME",
        help="spare younger files; longer than the longest transaction (90s, 10m, 24h, 7d; default 24h)",
    )


def _add_protect(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--protect",
        action="append",
        default=[],
        metavar="TABLE.COLUMN",
        help="a column outside all models: files whose ids appear in it are kept (may be repeated)",
    )


def _add_columns(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--columns",
        action="extend",
        type=lambda text: [each.strip() for each in text.split(",")],
        metavar="TABLE.COLUMN,...",
        help="columns whose rows are read (default: all)",
    )


def _add_where(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--where",
        metavar="SQL",
        help='rows that are read, as it stands behind WHERE; the columns have to be of one table: "id < 1000"',
    )


def _add_workers(command: argparse.ArgumentParser, default: int) -> None:
    _add_number(command, "--workers", default, "files processed at a time", highest=1000)


def _add_number(
    command: argparse.ArgumentParser,
    option: str,
    default: int | None,
    meaning: str,
    *,
    lowest: int = 1,
    highest: int = 10**9,
) -> None:
    text = meaning if default is None else f"{meaning} (default {default})"
    parse = _argument_type(lambda value: integer(option.removeprefix("--"), value, lowest, highest))
    command.add_argument(option, type=parse, default=default, metavar="N", help=text)


def _add_rate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rate", type=_argument_type(parse_rate), metavar="SIZE", help="limit in bytes per second: 20MB"
    )


def _add_dry_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry-run", action="store_true", help="report what would be done, and change nothing")


#: Name -> purpose, guarantee, and the function that adds the options.
_COMMANDS: Final[dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]]] = {
    "ls": (
        "Lists the depots, or the files of a depot",
        "It only reads",
        _ls,
    ),
    "info": (
        "Describes a file: its name, type, size, time and checksum, and the rows that name it",
        "It only reads",
        _info,
    ),
    "cat": (
        "Writes the bytes of files to standard output",
        "It only reads",
        _cat,
    ),
    "get": (
        "Writes a file of a depot to the local disk",
        "It only reads the depot; a local file is replaced with --force only, and is whole or as it was",
        _get,
    ),
    "put": (
        "Stores local files in a depot and prints their paths",
        "It never touches a row or another file; until a row names it, a file is unused, and `unused` finds it",
        _put,
    ),
    "check": (
        "Checks all depots, for monitoring: configuration, missing and unused files, a sample of the bytes",
        "It only reads: no row and no file is touched; exit code 3 if files are missing or damaged",
        _check,
    ),
    "unused": (
        "Finds files that no row names; --delete marks them, and deletes them a week later",
        "It never touches a row, a file that a row names, or a file younger than --older-than",
        _unused,
    ),
    "claim": (
        "Records in a depot that this database uses it, so that `unused --delete` may run from here",
        "It never touches a row or a file, and writes nothing but the owner mark of the depot",
        _claim,
    ),
    "undelete": (
        "Takes the marks of `unused --delete` off files, or gets files back from a versioned bucket; needs no database",
        "It never touches a row, and never deletes a file",
        _undelete,
    ),
    "missing": (
        "Finds rows whose file is missing",
        "It only reads: no row and no file is touched",
        _missing,
    ),
    "verify": (
        "Reads the files of a depot and compares them with their sizes and checksums",
        "It only reads: no row and no file is touched; it writes nothing but --state FILE",
        _verify,
    ),
    "stats": (
        "Counts files and bytes by type and by column, and lists the largest files",
        "It only reads: no row and no file is touched",
        _stats,
    ),
    "migrate": (
        "Copies files to another depot and lets their rows name the copies, while the application runs",
        "It never deletes a file, and never rewrites a row that changed meanwhile; `unused` finds the old files",
        _migrate,
    ),
    "copy": (
        "Copies all files of a depot into another under the same ids, as a backup; needs no database",
        "It never touches a row, never changes a file in SOURCE, and deletes none in TARGET without --prune",
        _backup,
    ),
    "create-units": (
        "Makes the table in which `migrate --share` records units of work",
        "It never touches another table, nor the units in one that is there",
        _add_dry_run,
    ),
    "may-go": (
        "Answers whether a depot may be deleted: reads every file that rows name whole in another one",
        "It only reads: no row and no file is touched",
        _may_go,
    ),
    "restore": (
        "Copies files that rows name and the depot lacks back from a backup",
        "It never touches a row, and never touches a file that DEPOT or BACKUP has",
        _restore,
    ),
    "regenerate": (
        "Regenerates image variants that were made by an older recipe",
        "It never touches an original, and never rewrites a row that changed meanwhile",
        _regenerate,
    ),
    "completion": (
        "Writes the script by which a shell completes commands and options",
        "It only writes to standard output",
        _completion,
    ),
}
