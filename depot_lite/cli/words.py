"""The words of the command line: commands, options, and what their values mean."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar

from depot_lite.cli.failures import WrongUsage
from depot_lite.errors import ConfigurationError
from depot_lite.io.options import integer
from depot_lite.io.sizes import size_of

T = TypeVar("T")

#: The name that the command has, however it was started.
PROGRAM: Final = "depot-lite"

_SHORT: Final = re.compile(r"(\d+(?:\.\d+)?) ?([smhdw]?)", re.ASCII | re.IGNORECASE)
_ISO: Final = re.compile(
    r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII | re.IGNORECASE
)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ISO_SECONDS: Final = (604800, 86400, 3600, 60, 1)
#: A century: what is meant to be longer is a mistake, and dates begin with the year 1.
_LONGEST: Final = 100 * 366 * 86400


def duration(text: str) -> timedelta:
    """Return how long ``90s``, ``10m``, ``24h``, ``7d`` or ``PT1H30M`` is; a bare number is seconds.

    >>> duration("24h"), duration("PT90S")
    (datetime.timedelta(days=1), datetime.timedelta(seconds=90))
    """
    seconds = -1.0
    if found := _SHORT.fullmatch(text.strip()):
        seconds = float(found[1]) * _SECONDS[found[2].lower()]
    elif (found := _ISO.fullmatch(text.strip())) and any(found.groups()):
        seconds = sum(float(number or 0) * each for number, each in zip(found.groups(), _ISO_SECONDS, strict=True))
    if not 0 <= seconds <= _LONGEST:
        raise ConfigurationError(f"{text!r} is no time; 90s, 10m, 24h, 7d or PT1H30M is wanted")
    return timedelta(seconds=seconds)


def share(text: str) -> float:
    """Return a part of one, more than nothing: ``1%`` or ``0.01``.

    >>> share("1%"), share("0.5")
    (0.01, 0.5)
    """
    number = text.strip()
    try:
        found = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 < found <= 1:
        raise ConfigurationError(f"{text!r} is no share; 1% or 0.01 is wanted, more than 0 and at most 100%")
    return found


def rate(text: str) -> int:
    """Return the bytes a second of ``20MB``, ``20 MiB/s`` or a bare number.

    >>> rate("20MB/s")
    20000000
    """
    found = size_of("rate", text.strip().removesuffix("/s"))
    if not found:
        raise ConfigurationError(f"{text!r}: with no byte a second nothing would ever be done")
    return found


def _number(option: str, highest: int) -> Callable[[str], int]:
    return lambda text: integer(option, text, 1, highest)


def _word(check: Callable[[str], T]) -> Callable[[str], T]:
    """Return the check as argparse wants it: an error of ours becomes its own, with its message."""

    def checked(text: str) -> T:
        try:
            return check(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and never takes half a word for an option."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.color = False  # Python 3.14 would write escape codes where FORCE_COLOR asks for them

    def error(self, message: str) -> NoReturn:
        raise WrongUsage(f"{message} ({self.prog} --help)")


def _common(*, top: bool) -> _Parser:
    """Return the options that may stand before and after the command."""
    parser = _Parser(add_help=False, argument_default=None if top else argparse.SUPPRESS)
    options = parser.add_argument_group("options that may stand before and after the command")
    add = options.add_argument
    kept: Any = {} if top else {"default": argparse.SUPPRESS}
    add("--app", metavar="MODULE[:FACTORY]", help="the module that configures depots and models (DEPOT_LITE_APP)")
    add("--url", help="the database, as SQLAlchemy names it (DATABASE_URL)")
    add("--json", action="store_true", help="one JSON document with every detail, instead of a report to read", **kept)
    add("--quiet", action="store_true", help="no progress on stderr", **kept)
    add("--traceback", action="store_true", help="show where an error came from", **kept)
    return parser


_EPILOG: Final = """\
exit codes: 0 nothing was found, or all is done; 1 something was found; 2 it could not run; 130, 143 it was stopped
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    made = _Parser(
        prog=PROGRAM,
        parents=[_common(top=True)],
        description="Looks after the files of depots, and after the rows that name them.",
        epilog=_EPILOG,
    )
    commands = made.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=_Parser)
    for name, (about, never, options) in _COMMANDS.items():
        command = commands.add_parser(
            name, parents=[_common(top=False)], help=about, description=f"{about}.\n{never}.", epilog=_EPILOG
        )
        options(command)
    return made


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the words mean, with what the environment says where they say nothing.

    Raises:
        WrongUsage: they cannot be meant so.
    """
    found = parser().parse_args(words)
    found.app = found.app or os.environ.get("DEPOT_LITE_APP")
    found.url = found.url or os.environ.get("DATABASE_URL")
    return found


# --- the commands -------------------------------------------------------------------------------------------------


def _depot(command: argparse.ArgumentParser, default: str = "all depots") -> None:
    command.add_argument("depot", nargs="?", metavar="DEPOT", help=f"a depot or an alias; {default} if none is given")


def _unused(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    _depot(command, "the default depot")
    add(
        "--older-than",
        type=_word(duration),
        default=timedelta(hours=24),
        metavar="TIME",
        help="spare what is younger: more than the longest transaction (90s, 10m, 24h, 7d; default 24h)",
    )
    add("--delete", action="store_true", help="delete them; without this nothing is changed")
    add(
        "--settle",
        type=_word(duration),
        default=timedelta(minutes=1),
        metavar="TIME",
        help="with --delete: look a second time so long after the first, or --older-than after it if that is shorter: "
        "more than the longest transaction (default 1m)",
    )
    add("--yes", action="store_true", help="do not ask, even if younger files than a minute are to be deleted")
    add(
        "--protect",
        action="append",
        default=[],
        metavar="TABLE.COLUMN",
        help="a column that no model knows: files whose ids stand in it are kept (may be given again)",
    )


def _verify(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("depot", metavar="DEPOT", help="a depot or an alias")
    add("--sample", type=_word(share), default=1.0, metavar="SHARE", help="how many of the files: 1%%, 0.5")
    add("--state", metavar="FILE", help="remembers how far it is: the same command goes on from there")
    _workers(command, 4)
    _rate(command)


def _stats(command: argparse.ArgumentParser) -> None:
    _depot(command)
    _count(command, "--largest", 10, "how many of the largest files are listed")


def _move(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="SOURCE", help="the depot where the files are")
    command.add_argument("target", metavar="TARGET", help="the depot that gets them")
    _workers(command, 16)
    _rate(command)
    _dry_run(command)


def _regenerate(command: argparse.ArgumentParser) -> None:
    command.add_argument("columns", nargs="*", metavar="TABLE.COLUMN", help="which columns; all with variants if none")
    _dry_run(command)
    _count(command, "--limit", None, "stop after so many rows")
    _count(command, "--batch", 20, "how many rows are locked, and written in one transaction")


def _workers(command: argparse.ArgumentParser, default: int) -> None:
    _count(command, "--workers", default, "how many at a time", highest=1000)


def _count(
    command: argparse.ArgumentParser, option: str, default: int | None, about: str, *, highest: int = 10**9
) -> None:
    shown = about if default is None else f"{about} (default {default})"
    kind = _word(_number(option.removeprefix("--"), highest))
    command.add_argument(option, type=kind, default=default, metavar="N", help=shown)


def _rate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rate", type=_word(rate), metavar="SIZE", help="how many bytes a second at most: 20MB")


def _dry_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


#: What each does, what it never touches, and its options.
_COMMANDS: Final[dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]]] = {
    "unused": (
        "Finds files that no row names, and deletes them with --delete",
        "It never touches a row, a file that a row names, or one younger than --older-than",
        _unused,
    ),
    "missing": (
        "Finds rows whose file is not there",
        "It only reads: no row and no file is touched",
        _depot,
    ),
    "verify": (
        "Reads the files of a depot and holds them against their sizes and checksums",
        "It only reads: no row and no file is touched; --state FILE is all that it writes",
        _verify,
    ),
    "stats": (
        "Counts files and bytes: by type, by column, and the largest",
        "It only reads: no row and no file is touched",
        _stats,
    ),
    "migrate": (
        "Copies files to another depot and lets their rows name the copies, while the application runs",
        "It never deletes a file, and never rewrites a row that was changed meanwhile; `unused` finds the old files",
        _move,
    ),
    "copy": (
        "Copies all files of a depot into another under the same ids, as a backup; it needs no database",
        "It never touches a row, deletes no file, and never changes one in SOURCE",
        _move,
    ),
    "regenerate": (
        "Makes the variants of images anew that were made by an older recipe",
        "It never touches an original, and never rewrites a row that was changed meanwhile",
        _regenerate,
    ),
}
