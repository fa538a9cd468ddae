"""`ErrorTable`: the errors of a storage's library become `StorageFailed`, with a reason from a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import ClassVar, Final

from depot_lite.errors import DepotError, StorageFailed, StorageFull, StorageTimeout, StoredFileNotFound

NO_BUCKET: Final = "there is no such bucket"
REFUSED: Final = "the credentials are refused ({code})"
DENIED: Final = "access is denied ({code})"
OVERLOADED: Final = "the server is overloaded or throttles ({code})"
FULL: Final = "there is no space left ({code})"
FAILED: Final = "the server refuses or fails ({code}, status {status})"
BROKEN: Final = "the connection broke ({type})"
TIMEOUT: Final = "the server did not answer in time ({type})"
UNREACHABLE: Final = "the endpoint cannot be reached or did not answer ({type})"
DAMAGED: Final = "the bytes received are not the stored ones (their checksum differs)"

#: Facts of errors, the marks of rows with `TIMEOUT` and `UNREACHABLE`.
TIMED_OUT: Final = "timed out"
NOT_REACHED: Final = "not reached"


class ErrorTable:
    """The translation of one library's errors. No message contains a secret, and each error keeps its cause."""

    #: For messages about errors that no row matches.
    library: ClassVar[str]
    #: The errors that the library raises.
    errors: ClassVar[tuple[type[Exception], ...]]
    #: Rows of a reason and marks. The first row counts that has a mark of the error: its class or one of its base
    #: classes, or the name or the value of one of its facts. The reason may name facts in braces.
    reasons: ClassVar[Sequence[tuple[str, Set[object]]]]
    #: The reasons that become a `StorageTimeout`, and the others that mean that nobody was there to answer.
    timeouts: ClassVar[Set[str]] = frozenset({TIMEOUT})
    down: ClassVar[Set[str]] = frozenset({UNREACHABLE})

    def facts(self, error: BaseException) -> Mapping[str, object]:
        """Return the code, status and so on of an error, if it has any."""
        return {}

    def is_missing(self, error: Exception) -> bool:
        """Return whether the error says that there is no such object. A missing bucket is another error."""
        return False

    def is_timeout(self, error: BaseException) -> bool:
        """Return whether the library has waited in vain for the server."""
        return TIMED_OUT in self.facts(self.subject(error))

    def nobody_answers(self, error: BaseException) -> bool:
        """Return whether the server was absent or silent."""
        return not {TIMED_OUT, NOT_REACHED}.isdisjoint(self.facts(self.subject(error)))

    def may_have_arrived(self, error: Exception) -> bool:
        """Return whether the request may have succeeded anyway: its answer was lost, or answers a retry."""
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
        """Return our error for an error of the library; its class depends on the reason."""
        subject = self.subject(error)
        facts = self.facts(subject)
        marks = {*type(subject).__mro__, *facts, *facts.values()}
        matching = (text for text, those in self.reasons if not marks.isdisjoint(those))
        text = next(matching, "{library} failed ({type})")
        reason = text.format_map({"library": self.library, "type": type(subject).__name__, **facts})
        kind = StorageTimeout if text in self.timeouts else StorageFull if text == FULL else StorageFailed
        failed = kind(f"cannot {what}: {reason}")
        failed.is_down = failed.is_down or text in self.down
        return failed

    def is_lost(self, error: Exception) -> bool:
        """Return whether an upload may have succeeded, and the server still answers, so that it can be asked."""
        return self.may_have_arrived(error) and not self.is_timeout(error)

    def subject(self, error: BaseException) -> BaseException:
        """Return the error that tells the reason: the cause, if the library has wrapped it."""
        return error


#: Timeouts of urllib3, requests and botocore, which are no TimeoutError.
_TIMEOUTS: Final = frozenset({"ConnectTimeoutError", "ReadTimeoutError", "ConnectTimeout", "ReadTimeout"})
#: Errors of urllib3 and of the system: there was no connection.
_NO_CONNECTION: Final = frozenset({"NewConnectionError", "NameResolutionError", "ConnectionRefusedError", "gaierror"})
#: More than errors are nested.
_DEPTH: Final = 50


def facts_of_network(error: BaseException | None) -> dict[str, object]:
    """Return the facts `TIMED_OUT` and `NOT_REACHED`, as far as an error or one of its causes shows them.

    Libraries wrap the errors of sockets several times: as cause, as argument, or in an attribute of their own.
    """
    found: dict[str, object] = {}
    nested: list[object] = [error]
    for each in nested:
        name = type(each).__name__
        if isinstance(each, DepotError):
            continue  # that of another storage, which bytes were read from
        if isinstance(each, TimeoutError) or name in _TIMEOUTS:
            found[TIMED_OUT] = True
        if name in _NO_CONNECTION:
            found[NOT_REACHED] = True
        if isinstance(each, BaseException) and len(nested) < _DEPTH:
            before = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
            nested += [before, *each.args, getattr(each, "kwargs", {}).get("error")]
    return found
