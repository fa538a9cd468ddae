"""The report of a command: lines to read, data for JSON, and whether anything was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from depot_lite.cli.output import format_count, listing


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a command in both forms."""

    lines: Iterable[str]
    #: The keys of the JSON document; an iterator becomes an array.
    data: Mapping[str, Any]
    #: Whether anything was found that needs attention.
    found: bool
    #: Bytes to be written instead of lines.
    content: Iterable[bytes] | None = None
    #: The exit code of a command that has more than the two below.
    code: int | None = None

    @property
    def exit_code(self) -> int:
        """The exit code: 1 if anything was found, else 0."""
        return int(self.found) if self.code is None else self.code


def failed_files(failed: Mapping[str, Exception]) -> Iterator[dict[str, str]]:
    """Return the files for which an action failed, with the errors, for JSON."""
    return ({"id": file_id, "error": str(error)} for file_id, error in failed.items())


def failures(failed: Mapping[str, Exception], action: str) -> Iterator[str]:
    """Yield the files for which an action failed, with the errors."""
    if failed:
        yield ""
        yield f"{format_count(len(failed), 'files')} could not be {action}:"
        yield from listing(list(failed.items()), ("file", "why"))


def dry_run(is_dry: bool, action: str) -> Iterator[str]:
    """Yield the last line of a dry run."""
    if is_dry:
        yield ""
        yield f"Nothing was {action}, this was a dry run."


def key_text(key: tuple[Any, ...]) -> str:
    """Return the primary key of a row as text."""
    return ", ".join(map(str, key)) or "(no primary key)"
