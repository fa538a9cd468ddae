"""Every exception that depot_lite raises.

    DepotError
    +- ConfigurationError (also RuntimeError)
    |  +- UnknownDepot      (also ValueError)
    |  +- AlreadyConfigured
    |  +- UnknownBackend
    +- StoredFileNotFound (also FileNotFoundError)
    +- InvalidFileId      (also ValueError)
    +- InvalidContent     (also TypeError)
    +- ValidationError    (also ValueError)
    |  +- SizeRefused
    |  +- TypeRefused
    |  +- NameRefused
    |  +- ImageRefused
    |  +- CountRefused
    |  +- EditRefused
    |  +- SeveralRefused
    +- StorageFailed      (also OSError)
    |  +- StorageFull
    +- MaintenanceStopped (also RuntimeError)

The second parent keeps an ``except IOError`` or ``except ValueError`` written for filedepot working. Before COMMIT any
of them may be raised; after COMMIT none is: what goes wrong then is logged on the ``depot_lite`` logger.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Final, Self


class DepotError(Exception):
    """The parent of every exception here."""


class ConfigurationError(DepotError, RuntimeError):
    """Raised when a depot is configured, or used, in a way that cannot work: an option, a value, a missing extra."""


class UnknownDepot(ConfigurationError, ValueError):
    """Raised when a name is neither a configured depot nor an alias of one."""


class AlreadyConfigured(ConfigurationError):
    """Raised when a name or a role that can be taken once is taken a second time."""


class UnknownBackend(ConfigurationError):
    """Raised when a ``backend`` setting does not lead to a storage class."""


class StoredFileNotFound(DepotError, FileNotFoundError):
    """Raised when a file id is well formed and its storage holds no such file."""


class InvalidFileId(DepotError, ValueError):
    """Raised when something that is not a file id is used as one, before it becomes a path or a key."""


class InvalidContent(DepotError, TypeError):
    """Raised when what was handed in cannot be stored: text instead of bytes, an object that cannot be read."""


class ValidationError(DepotError, ValueError):
    """Raised when a column refuses a file, before anything is stored.

    Args:
        message: what is wrong, in words that can stand beside a form field: no column, no path.
        rule: a short name of the rule that was broken, such as ``"max_size"``, for programs and translations.
        limit: what the rule allows.
        value: what the file has instead.
    """

    #: The class and the attribute, such as ``"Document.content"``; None until the error has left its validator.
    column: str | None = None
    #: The name of the file that was refused.
    filename: str | None = None
    #: Which element of a list of files it is, counted from 0; None where the attribute holds one file.
    index: int | None = None

    def __init__(self, message: str, *, rule: str = "", limit: Any = None, value: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.limit = limit
        self.value = value

    def at(self, column: str, filename: str | None, index: int | None = None) -> Self:
        """Enter whose file it is, and in a list which one, and return the error. An index that is known stays."""
        self.column, self.filename = column, filename
        self.index = self.index if index is None else index
        return self

    @property
    def errors(self) -> tuple[ValidationError, ...]:
        """The broken rules, one each: this one, or all of a `SeveralRefused`."""
        return (self,)

    @property
    def by_field(self) -> dict[str, list[str]]:
        """The messages by attribute, as forms want them: ``{"content": ["..."]}``.

        In a list of files a message begins with the name of the file, as several share one field.
        """
        found: dict[str, list[str]] = {}
        for error in self.errors:
            whose = "" if error.index is None or error.filename is None else f"{error.filename}: "
            found.setdefault((error.column or "").rpartition(".")[2], []).append(whose + error.message)
        return found

    def __str__(self) -> str:
        """Return the message behind the column and the file."""
        if self.column is None:
            return self.message
        element = "" if self.index is None else f"[{self.index}]"
        file = "" if self.filename is None else f", {self.filename!r}"
        return f"{self.column}{element}{file}: {self.message}"

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self.message, dict(self.__dict__))


def _unpickled(kind: type[ValidationError], message: str, state: dict[str, Any]) -> ValidationError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


class SizeRefused(ValidationError):
    """Raised when a file has too many bytes, or too few."""


class TypeRefused(ValidationError):
    """Raised when a file is of a type that the column does not take, or of another than its name or sender says."""


class NameRefused(ValidationError):
    """Raised when a file name is too long, or has an extension or characters that the column does not take."""


class ImageRefused(ValidationError):
    """Raised when a file is no image, or an image with too many pixels or the wrong dimensions."""


class CountRefused(ValidationError):
    """Raised when a list has more files than its column takes."""


class EditRefused(ValidationError):
    """Raised when a form would replace a file that it did not show, since somebody else changed the row meanwhile."""


class SeveralRefused(ValidationError):
    """Raised when the files of one object break several rules; ``errors`` has them all, each of its own class."""

    def __init__(self, errors: Sequence[ValidationError]) -> None:
        super().__init__("; ".join(str(each) for each in errors), rule="several")
        self._errors = tuple(errors)

    @property
    def errors(self) -> tuple[ValidationError, ...]:
        """The broken rules, in the order of the attributes."""
        return self._errors


#: The numbers with which an operating system says that no space is left.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class StorageFailed(DepotError, OSError):
    """Raised when a storage could not do its work; the backend's own error is its ``__cause__``.

    As with `OSError`, the number chooses the class:

    >>> StorageFailed(errno.ENOSPC, "cannot store file 1: no space left")
    StorageFull(28, 'cannot store file 1: no space left')
    """

    def __new__(cls, *args: Any) -> Self:
        """Return a `StorageFull` if the number says so."""
        kind: Any = StorageFull if cls is StorageFailed and len(args) > 1 and args[0] in _FULL else cls
        error: Self = super().__new__(kind, *args)
        return error


class StorageFull(StorageFailed):
    """Raised when a storage has no space left, or its quota is used up: the next file will fail too."""


class MaintenanceStopped(DepotError, RuntimeError):
    """Raised when maintenance cannot see everything it has to see, such as a row that cannot be read, and so stops."""
