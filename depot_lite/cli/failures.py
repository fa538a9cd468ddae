"""Why the command line could not do what it was asked for, in one line."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from depot_lite.errors import DepotError


class WrongUsage(DepotError):
    """Raised when the words on the command line cannot be meant so."""


class AppFailed(DepotError):
    """Raised when the application's module or its database cannot be used."""


class OutputFailed(DepotError):
    """Raised when the report cannot be written."""


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line; of SQLAlchemy's, what the database or the driver said."""
    if isinstance(error, SQLAlchemyError):
        said = getattr(error, "orig", None) or (error.args[0] if error.args else error)
        return str(said).strip().partition("\n")[0]
    if isinstance(error, SyntaxError):
        return error.msg
    return " ".join(str(error).split())
