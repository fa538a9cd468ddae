"""The notes of a storage: texts that maintenance keeps beside the files, such as which databases name them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from depot_lite.errors import StorageFailed, StoredFileNotFound
from depot_lite.io.content import Content
from depot_lite.io.fileid import note_id
from depot_lite.io.stored import FileInfo, StoredFile

#: The number of each note in its reserved id.
_NOTES: Final = {"owners": 1, "trash": 2}

#: How often a change of a note is repeated if others change it meanwhile.
_ATTEMPTS: Final = 50


class StorageNotes(ABC):
    """The notes of a `FileStorage`, each stored like a file, under a reserved id."""

    #: Whether a note is replaced only if it has not changed meanwhile. If not, of two changes at once one may be lost.
    notes_are_conditional: bool = False

    # Those of the storage, as `FileStorage` describes them.

    @abstractmethod
    def _save(self, file_id: str, content: Content) -> FileInfo: ...

    @abstractmethod
    def _open(self, file_id: str) -> StoredFile: ...

    @abstractmethod
    def _delete(self, file_id: str) -> None: ...

    # --- overridden by backends -----------------------------------------------------------------------------------

    def _note_version(self, file_id: str) -> Any:
        """Return the version of a note, for `_swap_note`; None if it is missing."""
        return None

    def _swap_note(self, file_id: str, text: bytes, version: Any) -> bool:
        """Store a note if its version is still this one, and return whether it was stored.

        Override it if the backend can store on a condition, and set `notes_are_conditional`. This one stores in any
        case, and returns whether the note is read back: a change that another process has made since the note was read
        is lost.
        """
        self._save(file_id, Content.of(text, "note.txt", "text/plain"))
        return self._load_note(file_id) == text

    def _load_note(self, file_id: str) -> bytes | None:
        try:
            with self._open(file_id) as file:
                return file.read()
        except StoredFileNotFound:
            return None

    def _change_note(self, file_id: str, change: Callable[[bytes | None], bytes]) -> None:
        """Change a note, for `update_note`; a missing one is None."""
        for _ in range(_ATTEMPTS):
            version = self._note_version(file_id)  # first, since the version of a newer text would let us replace it
            text = self._load_note(file_id)
            changed = change(text)
            if changed == (text or b"") or self._swap_note(file_id, changed, version):
                return
        raise StorageFailed(f"a note of {self!r} was changed by others at each of {_ATTEMPTS} attempts to change it")

    # --- public methods -------------------------------------------------------------------------------------------

    def read_note(self, name: str) -> bytes | None:
        """Return the text that maintenance keeps in the storage under a name; None if it keeps no such note.

        A note is stored like a file, under a reserved id that no other method accepts and ``list`` omits.

        Args:
            name: ``owners`` or ``trash``.
        """
        return self._load_note(note_id(_NOTES[name])) or None

    def write_note(self, name: str, text: bytes) -> None:
        """Store or replace a note, whatever it was; an empty one is removed. To change a note, use `update_note`."""
        if text:
            self._save(note_id(_NOTES[name]), Content.of(text, f"{name}.txt", "text/plain"))
        else:
            self._delete(note_id(_NOTES[name]))

    def update_note(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change the text of a note as it is now, so that no change of another process is lost.

        One that is made at the same moment may be lost unless `notes_are_conditional`.

        Args:
            name: ``owners`` or ``trash``.
            change: returns the new text for the present one; empty is none, in both. It is called again with the newer
                text if the note was changed meanwhile.

        Raises:
            StorageFailed: the storage cannot be read or written, or the note was changed by others each time.
        """
        self._change_note(note_id(_NOTES[name]), lambda text: change(text or b""))
