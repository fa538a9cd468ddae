"""What was born and what is condemned in each transaction of a session: plain data, knowing neither SQL nor storages.

A *frame* belongs to one transaction, a savepoint being one. Nothing is ever guessed from what lies in a storage: a
frame holds exactly the files that its transaction made and the files that its transaction stopped naming.

    savepoint released      its frame is merged into the enclosing one     Ledger.merge
    savepoint rolled back   its frame is taken out, its born files go       Ledger.take
    outermost commit        its frame is taken out, its condemned files go  Ledger.take

>>> ledger = Ledger()
>>> outer, inner = "transaction", "savepoint"
>>> ledger.frame(outer).bear("default/1", "the letter")
>>> ledger.frame(outer).name("default/1")
>>> ledger.frame(inner).condemn("default/1")
>>> ledger.merge(inner, outer)
>>> ledger.take(outer).condemned
['default/1']
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class Frame:
    """The files that one transaction has to do with.

    ``born`` maps the path of each file that it made to whatever its owner wants to find again at a rollback.
    ``rows_in`` maps each connection through which it wrote rows to the connection's own transaction at that time.
    """

    __slots__ = ("_named", "born", "rows_in")

    def __init__(self) -> None:
        self.born: dict[str, Any] = {}
        self.rows_in: dict[Any, Any] = {}
        # The last word on each path: whether a row of this transaction names it. A dictionary and not two sets, because
        # a file may be named, condemned and named again, and only the last of these counts.
        self._named: dict[str, bool] = {}

    def bear(self, path: str, origin: Any) -> None:
        """Enter a file whose bytes may exist from now on. Until a row names it, it is condemned."""
        self.born[path] = origin
        self._named[path] = False

    def name(self, path: str) -> None:
        """Enter that a row names the file."""
        self._named[path] = True

    def condemn(self, path: str) -> None:
        """Enter that the row which named the file does no longer."""
        self._named[path] = False

    @property
    def condemned(self) -> list[str]:
        """The files to delete once the outermost transaction has committed."""
        return [path for path, named in self._named.items() if not named]

    def absorb(self, inner: Frame) -> None:
        """Take over what a released savepoint did: it happened later, so its word counts."""
        self.born.update(inner.born)
        self._named.update(inner._named)


class Ledger:
    """The frames of one session, or of one connection that outlives its sessions."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: dict[Hashable, Frame] = {}

    def __bool__(self) -> bool:
        """Return whether any transaction has a frame."""
        return bool(self._frames)

    def frame(self, transaction: Hashable) -> Frame:
        """Return the frame of a transaction, a new one if it has none."""
        return self._frames.setdefault(transaction, Frame())

    def take(self, transaction: Hashable) -> Frame | None:
        """Remove the frame of a transaction that has ended, and return it; None if it had none."""
        return self._frames.pop(transaction, None)

    def put(self, transaction: Hashable, frame: Frame) -> None:
        """Add what a transaction did that ended inside of this one."""
        self.frame(transaction).absorb(frame)

    def merge(self, inner: Hashable, outer: Hashable) -> None:
        """Move the frame of a released savepoint into the enclosing transaction's."""
        frame = self.take(inner)
        if frame is not None:
            self.put(outer, frame)

    def transactions(self) -> list[Hashable]:
        """Return the transactions that have a frame."""
        return list(self._frames)
