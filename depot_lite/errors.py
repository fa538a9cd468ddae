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
    |  +- ImageRefused
    +- StorageFailed      (also OSError)

The second parent keeps an ``except IOError`` or ``except ValueError`` written for filedepot working. Before COMMIT any
of them may be raised; after COMMIT none is: what goes wrong then is logged on the ``depot_lite`` logger.
"""

from __future__ import annotations


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
    """Raised when a column refuses a file; names the column, the limit and the value."""


class ImageRefused(ValidationError):
    """Raised when a file is no image, or an image with too many pixels or the wrong dimensions."""


class StorageFailed(DepotError, OSError):
    """Raised when a storage could not do its work; the backend's own error is its ``__cause__``."""
