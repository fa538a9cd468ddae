"""The configuration file: options that need not be given with each command.

    # depot-lite.toml
    app = "shop.files:configure"
    log = "/var/log/shop/files.log"

    [unused]
    older-than = "2d"
    protect = ["legacy_film.picture"]

Top-level keys are options of all commands, a table has the options of one command. In ``pyproject.toml`` all of it is
below ``[tool.depot_lite]``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from depot_lite.errors import ConfigurationError

#: The file in the current directory that is read if no other is named, and the file that may contain the same.
FILE: Final = "depot-lite.toml"
PROJECT_FILE: Final = "pyproject.toml"

#: Options that decide about deleting and overwriting are given where somebody reads them.
_REFUSED: Final = frozenset({"config", "delete", "force", "help", "prune", "replace", "version", "yes"})


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options of a file, as words of a command line. Those that may contain a password are no words."""

    path: Path | None = None
    app: str | None = None
    url: str | None = None
    engine: str | None = None
    common: Sequence[str] = ()
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of(self, command: str) -> Sequence[str]:
        """Return the options of a command."""
        return self.commands.get(command, ())


def read_configuration(given: str | None, commands: Sequence[str]) -> Configuration:
    """Return the options of the file that is named, or else of the one in the current directory, if there is one.

    Args:
        commands: the names of all commands.

    Raises:
        ConfigurationError: a file cannot be read, or does not exist, or contains an unknown table.
    """
    if given is not None:
        path = Path(given)
        data = _read(path)
        return _parsed(path, _of_project(data) or {} if path.name == PROJECT_FILE else data, commands)
    if Path(FILE).is_file():
        return _parsed(Path(FILE), _read(Path(FILE)), commands)
    if Path(PROJECT_FILE).is_file() and (table := _of_project(_read(Path(PROJECT_FILE)))) is not None:
        return _parsed(Path(PROJECT_FILE), table, commands)
    return Configuration()


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"configuration {path} cannot be read: {error}") from error


def _of_project(data: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = data.get("tool", {}).get("depot_lite")
    return found


def _parsed(path: Path, data: Mapping[str, Any], commands: Sequence[str]) -> Configuration:
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    values = {key: value for key, value in data.items() if key not in tables}
    if unknown := sorted(tables.keys() - set(commands)):
        raise ConfigurationError(
            f"configuration {path}: there is no command {unknown[0]!r}; commands: {', '.join(commands)}"
        )
    given = {key: _text(path, key, values.pop(key)) for key in ("app", "url", "engine") if key in values}
    if "url" in given and "engine" in given:
        raise ConfigurationError(f"configuration {path}: expected url or engine, got both")
    return Configuration(
        path,
        **given,
        common=_words(path, values),
        commands={name: _words(path, table) for name, table in tables.items()},
    )


def _text(path: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"configuration {path}: {key}: expected a string, got {value!r}")
    return value


def _words(path: Path, values: Mapping[str, Any]) -> list[str]:
    """Return options as words: ``{"older-than": "2d", "json": true}`` is ``--older-than=2d --json``."""
    words: list[str] = []
    for key, value in values.items():
        option = f"--{key.replace('_', '-')}"
        if option.removeprefix("--") in _REFUSED:
            raise ConfigurationError(f"configuration {path}: {option} is accepted on the command line only")
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict | list):
                raise ConfigurationError(
                    f"configuration {path}: {key}: expected a string, a number or true, got {each!r}"
                )
            words += [option] if each is True else [] if each is False else [f"{option}={each}"]
    return words
