"""The arguments of the command line: the parser, and options from the environment and the configuration file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn

from depot_lite import __version__
from depot_lite.cli.configuration import Configuration, read_configuration
from depot_lite.cli.errors import WrongUsage
from depot_lite.cli.options import COMMANDS
from depot_lite.cli.values import argument_type
from depot_lite.io.sizes import size_of

#: The name of the command, however it was started.
PROGRAM: Final = "depot-lite"
VERSION: Final = __version__


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line and accepts no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.color = False  # Python 3.14 would write escape codes if FORCE_COLOR is set

    def error(self, message: str) -> NoReturn:
        raise WrongUsage(f"{message} ({self.prog} --help)")


def _common_options(*, top: bool) -> _Parser:
    """Return the options that are accepted both before and after the command."""
    parser = _Parser(prog=PROGRAM, add_help=False, argument_default=None if top else argparse.SUPPRESS)
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
        type=argument_type(partial(size_of, "--memory")),
        metavar="SIZE",
        help="memory for the ids of files; what exceeds it is put on disk (default: 512 MiB)",
    )
    add("--traceback", help="show the traceback of an error", **flag)
    return parser


_EPILOG: Final = """\
exit codes: 0 nothing found, or all done; 1 something found; 2 could not run; 3 `check` found missing or damaged files;
75 the same job is running already; 130, 143 stopped by a signal
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
    for name, (purpose, guarantee, options) in COMMANDS.items():
        command = commands.add_parser(
            name,
            parents=[_common_options(top=False)],
            help=purpose,
            description=f"{purpose}.\n{guarantee}.",
            epilog=_EPILOG,
        )
        for option, settings in options:
            command.add_argument(option, **settings)
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
        parsed, unknown = make_parser().parse_known_args(words)
        if unknown:  # said here: argparse would refer to the help of all commands
            raise WrongUsage(f"unrecognized arguments: {' '.join(unknown)} ({PROGRAM} {parsed.command} --help)")
    except WrongUsage as error:
        raise WrongUsage(f"{error}{_origin(configuration, words, arguments)}") from None
    if parsed.command == "unused" and parsed.dry_run:
        parsed.delete = False
    # In the file, the limit stands beside no --prune, which is accepted on the command line only.
    if parsed.command == "copy" and not parsed.prune and any(each.startswith("--max-prune") for each in arguments):
        raise WrongUsage(f"--max-prune: expected --prune with it ({PROGRAM} copy --help)")
    parsed.app = parsed.app or os.environ.get("DEPOT_LITE_APP") or configuration.app
    parsed.url, parsed.engine = _database(parsed, configuration)
    return parsed


def _configuration(arguments: Sequence[str]) -> Configuration:
    parser = _Parser(prog=PROGRAM, add_help=False)
    parser.add_argument("--config")
    given, _ = parser.parse_known_args(arguments)
    return read_configuration(given.config or os.environ.get("DEPOT_LITE_CONFIG"), tuple(COMMANDS))


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
