"""`ErrorTable`: the errors of a storage's library become `StorageFailed`, with a reason from a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import ClassVar, Final

from depot_lite.errors import DepotError, StorageFailed, StorageFull, StoredFileNotFound

NO_BUCKET: Final = "there is no such bucket"
REFUSED: Final = "the credentials are refused ({code})"
DENIED: Final = "access is denied ({code})"
OVERLOADED: Final = "the server is overloaded or throttles ({code})"
FULL: Final = "there is no space left ({code})"
FAILED: Final = "the server refuses or fails ({code}, status {status})"
BROKEN: Final = "the connection broke ({type})"
UNREACHABLE: Final = "the endpoint cannot be reached or did not answer ({type})"
DAMAGED: Final = "the bytes received are not the stored ones (their checksum differs)"


class ErrorTable:
    """The translation of one library's errors. No message contains a secret, and each error keeps its cause."""

    #: For messages about errors that no row matches.
    library: ClassVar[str]
    #: The errors that the library raises.
    errors: ClassVar[tuple[type[Exception], ...]]
    #: Rows of a reason and marks. The first row counts that has a mark of the error: its class or one of its base
    #: classes, or the name or the value of one of its facts. The reason may name facts in braces.
    reasons: ClassVar[Sequence[tuple[str, Set[object]]]]

    def facts(self, error: BaseException) -> Mapping[str, object]:
        """Return the code, status and so on of an error, if it has any."""
        return {}

    def is_missing(self, error: Exception) -> bool:
        """Return whether the error says that there is no such object. A missing bucket is another error."""
        return False

    def may_have_arrived(self, error: Exception) -> bool:
        """Return whether the request may have succeeded all the same: its answer was lost, or answers a retry."""
        return False

    def cause(self, error: Exception) -> Exception | None:
        """Return the cause to chain, which tracebacks print; None for an error that quotes a secret."""
        return error

    @contextmanager
    def translating(self, what: str, file_id: str | None = None) -> Iterator[None]:
        """Turn errors of the library into ours.

        Args:
            what: the attempt and its object, for the message: ``store s3://bucket/key``.
            file_id: the file whose absence is a `StoredFileNotFound`; not given if absence means something else.
        """
        try:
            yield
        except DepotError:
            raise
        except self.errors as error:
            if file_id is not None and self.is_missing(error):
                raise StoredFileNotFound(f"cannot {what}: file {file_id} is not in its storage") from error
            raise self.translated(what, error) from self.cause(error)

    def translated(self, what: str, error: Exception) -> StorageFailed:
        """Return our error for one of the library's: `StorageFull` if its reason is ``FULL``."""
        subject = self.subject(error)
        facts = self.facts(subject)
        marks = {*type(subject).__mro__, *facts, *facts.values()}
        matching = (text for text, those in self.reasons if not marks.isdisjoint(those))
        text = next(matching, "{library} failed ({type})")
        reason = text.format_map({"library": self.library, "type": type(subject).__name__, **facts})
        kind = StorageFull if text == FULL else StorageFailed
        return kind(f"cannot {what}: {reason}")

    def subject(self, error: BaseException) -> BaseException:
        """Return the error that tells the reason: the cause, if the library has wrapped it."""
        return error
