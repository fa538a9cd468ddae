"""Every exception that depot_lite raises.

    DepotError
    +- ConfigurationError (also RuntimeError)
    |  +- UnknownDepot      (also ValueError)
    |  +- AlreadyConfigured (also ValueError)
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
    |  +- MetaRefused
    |  +- SeveralRefused
    +- DamagedReference   (also ValueError)
    +- StorageFailed      (also OSError)
    |  +- StorageFull
    |  +- StorageTimeout  (also TimeoutError)
    +- ImagesBusy         (also TimeoutError)
    +- MaintenanceStopped (also RuntimeError)

The second parent keeps an ``except IOError`` or ``except ValueError`` written for filedepot working. Any of them may be
raised before COMMIT and none after it: later failures are logged on the ``depot_lite`` logger.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self


class DepotError(Exception):
    """The base class of every exception of depot_lite."""


class ConfigurationError(DepotError, RuntimeError):
    """Raised for a configuration that cannot work: a wrong option or value, a missing extra."""


class UnknownDepot(ConfigurationError, ValueError):
    """Raised for a name that is neither a configured depot nor an alias of one."""


class AlreadyConfigured(ConfigurationError, ValueError):
    """Raised when a name or a role that can be configured only once is configured again."""


class UnknownBackend(ConfigurationError):
    """Raised when a ``backend`` setting does not name a storage class."""


class StoredFileNotFound(DepotError, FileNotFoundError):
    """Raised when a storage has no file with a (well-formed) file id."""


class InvalidFileId(DepotError, ValueError):
    """Raised for a malformed file id, before it becomes a path or a key."""


class InvalidContent(DepotError, TypeError):
    """Raised for content that cannot be stored: text instead of bytes, an object that cannot be read."""


class DamagedReference(DepotError, ValueError):
    """Raised for a row whose column holds something else than a reference to a file, when its value is used.

    So it is for a reference with a key of the wrong type, when that key is used.

    Args:
        found: the content of the row.
        where: the table, the column and the row; for a key of a reference, the path of its file.
        expected: what should be there.
    """

    def __init__(self, found: Any, where: str, expected: str = "JSON with depot_name, file_id and path") -> None:
        super().__init__(found, where, expected)
        self.found = found
        self.where = where
        self.expected = expected

    def __str__(self) -> str:
        """Name the row and its present content, and say how to repair it."""
        return (
            f"{self.where}: expected {self.expected}, got {_shortened(repr(self.found))}. "
            f"Assign a file or None to the attribute, or delete the row. See {HELP}"
        )


#: The page that helps with rows of other libraries.
HELP: Final = "https://github.com/depot-lite/depot_lite/blob/main/docs/values.md#damaged-rows"


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."


class ValidationError(DepotError, ValueError):
    """Raised when a column refuses a file, before anything is stored.

    Args:
        message: the reason, fit to be shown beside a form field: it names no column and no path.
        rule: the short name of the broken rule, such as ``"max_size"``, for programs and translations.
        limit: the value that the rule allows.
        value: the value that the file has.
    """

    #: The class and the attribute, such as ``"Document.content"``; None until the error has left its validator.
    column: str | None = None
    #: The name of the refused file.
    filename: str | None = None
    #: The index of the file in a list of files; None if the attribute holds a single file.
    index: int | None = None

    def __init__(self, message: str, *, rule: str = "", limit: Any = None, value: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.limit = limit
        self.value = value

    def at(self, column: str, filename: str | None, index: int | None = None) -> Self:
        """Set the column, the file name and the index, unless an index is set already, and return the error."""
        self.column, self.filename = column, filename
        self.index = self.index if index is None else index
        return self

    @property
    def errors(self) -> tuple[ValidationError, ...]:
        """One error per broken rule: this error, or all errors of a `SeveralRefused`."""
        return (self,)

    @property
    def by_field(self) -> dict[str, list[str]]:
        """The messages by attribute, for forms: ``{"content": ["..."]}``.

        For a list of files, each message begins with the file name.
        """
        found: dict[str, list[str]] = {}
        for error in self.errors:
            prefix = "" if error.index is None or error.filename is None else f"{error.filename}: "
            found.setdefault((error.column or "").rpartition(".")[2], []).append(prefix + error.message)
        return found

    def __str__(self) -> str:
        """Return the message, preceded by the column and the file name."""
        if self.column is None:
            return self.message
        element = "" if self.index is None else f"[{self.index}]"
        file = "" if self.filename is None else f", {self.filename!r}"
        return f"{self.column}{element}{file}: {self.message}"

    def __reduce__(self) -> Any:
        return _unpickle, (type(self), self.message, dict(self.__dict__))


def _unpickle(kind: type[ValidationError], message: str, state: dict[str, Any]) -> ValidationError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


class SizeRefused(ValidationError):
    """Raised for a file with too many or too few bytes."""


class TypeRefused(ValidationError):
    """Raised for a file whose type the column does not accept, or whose name or declared type is wrong."""


class NameRefused(ValidationError):
    """Raised for a file name that is too long, or has an extension or characters that the column does not accept."""


class ImageRefused(ValidationError):
    """Raised for a file that is not an image, or an image with too many pixels or wrong dimensions."""


class CountRefused(ValidationError):
    """Raised for a list with more files than its column accepts."""


class EditRefused(ValidationError):
    """Raised when a form would replace a file that it did not show, because the row has changed in the meantime."""


class MetaRefused(ValidationError):
    """Raised for metadata that JSON cannot keep, or that the column does not declare."""


class SeveralRefused(ValidationError):
    """Raised when the files of one object break several rules; ``errors`` contains an error for each."""

    def __init__(self, errors: Sequence[ValidationError]) -> None:
        super().__init__("; ".join(str(each) for each in errors), rule="several")
        self._errors = tuple(errors)

    @property
    def errors(self) -> tuple[ValidationError, ...]:
        """One error per broken rule, in the order of the attributes."""
        return self._errors


class StorageFailed(DepotError, OSError):
    """Raised when an operation of a storage fails; the backend's own error is the ``__cause__``.

    As with `OSError`, ``errno`` selects the class:

    >>> StorageFailed(errno.ENOSPC, "cannot store file 1: no space left")
    StorageFull(28, 'cannot store file 1: no space left')
    """

    #: Whether nobody was there to answer, so that other calls will fail, too, for a while.
    is_down: bool = False

    #: Whether the source of a copy could not be read, rather than the copy stored.
    of_source: bool = False

    def __new__(cls, *args: Any) -> Self:
        """Return a `StorageFull` if ``errno`` says that no space is left, a `StorageTimeout` if time ran out."""
        kind: Any = _BY_ERRNO.get(args[0], cls) if cls is StorageFailed and len(args) > 1 else cls
        error: Self = super().__new__(kind, *args)
        return error


class StorageFull(StorageFailed):
    """Raised when a storage has no space left or its quota is used up, so that the next file will fail too."""


class StorageTimeout(StorageFailed, TimeoutError):
    """Raised when a storage has made no progress for longer than its option ``timeout`` allows.

    The storage may still complete the request later. A file that is stored then is unused, and maintenance finds it.
    """

    is_down = True


#: The classes for the ``errno`` of an error of the system.
_BY_ERRNO: Final[Mapping[Any, type[StorageFailed]]] = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.ETIMEDOUT: StorageTimeout,
}


class ImagesBusy(DepotError, TimeoutError):
    """Raised when an image was not decoded because others were for too long; over HTTP, that is status 503."""


class MaintenanceStopped(DepotError, RuntimeError):
    """Raised when maintenance stops because it lacks information, such as the content of a row.

    Args:
        message: the reason.
        report: the report of the job as far as it went, if there is one.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report
