"""The number of pages of a PDF (ISO 32000-1), read from its cross-references without rendering it."""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import Final

from depot_lite.media.reader import Reader, Unreadable

#: A reference, by the numbers of the object, and everything else as it is written.
Dictionary = dict[bytes, list[bytes]]

_TAIL: Final = 2048
#: The bytes of an object; dictionaries are short.
_OBJECT: Final = 64 * 1024
_MAX_STREAM: Final = 256 * 1024
_MAX_UNPACKED: Final = 2 * 1024**2
#: Cross-references of one file: one for each time that it was saved.
_MAX_SECTIONS: Final = 200
_MAX_PAGES: Final = 10_000_000
_ENTRY: Final = 20

_TOKEN: Final = re.compile(
    rb"<<|>>|[\[\]{}]|/[^\s()<>\[\]{}/%]*|\((?:[^\\()]|\\.)*\)?|<[0-9A-Fa-f\s]*>|%[^\r\n]*|[^\s()<>\[\]{}/%]+|\S",
    re.DOTALL,
)
_OBJECT_START: Final = re.compile(rb"\s*(\d+)\s+\d+\s+obj\b")
_SUBSECTION: Final = re.compile(rb"\s*(\d+) +(\d+) *(?:\r\n|\n|\r)|\s*trailer")
_STREAM_START: Final = re.compile(rb"stream(?:\r\n|\n|\r)")


def count_pages(reader: Reader) -> int:
    """Return the number of pages.

    Raises:
        Unreadable: it is no PDF, is broken, or its cross-references are encrypted.
    """
    document = _Document(reader)
    catalog = document.object(document.root)
    pages = document.object(_reference(catalog, b"/Pages"))
    count = _number(pages, b"/Count")
    if not 0 < count < _MAX_PAGES:
        raise Unreadable("it has no pages")
    return count


class _Document:
    """The objects of a file, by their numbers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # Positions count from the mark, in front of which there may be other bytes.
        self._origin = reader.at(0, 1024).find(b"%PDF-")
        if self._origin < 0:
            raise Unreadable("it has no mark")
        #: The sections, the latest first: a table by its position, or the entries of a stream.
        self._sections: list[int | _Entries] = []
        self.root = self._read_sections()

    def _read_sections(self) -> int:
        tail = self._reader.at(max(0, self._reader.size - _TAIL), _TAIL)
        start = re.match(rb"\s*(\d+)", tail[tail.rfind(b"startxref") + 9 :]) if b"startxref" in tail else None
        root, seen, waiting = 0, set[int](), [int(start[1])] if start else []
        while waiting and len(seen) < _MAX_SECTIONS:
            position = waiting.pop()
            if position in seen:
                continue
            seen.add(position)
            trailer = self._read_section(position + self._origin)
            root = root or (_reference(trailer, b"/Root") if b"/Root" in trailer else 0)
            # The stream of a hybrid file comes before the former sections.
            waiting += [_number(trailer, each) for each in (b"/Prev", b"/XRefStm") if each in trailer]
        if not root:
            raise Unreadable("it has no catalog")
        return root

    def _read_section(self, position: int) -> Dictionary:
        if self._reader.at(position, 4) != b"xref":
            dictionary, data = self._stream(position)
            self._sections.append(_Entries(dictionary, data))
            return dictionary
        self._sections.append(position + 4)
        found = self._in_table(position + 4, -1)
        return _dictionary(self._reader.at(found[1], _OBJECT))

    def _in_table(self, position: int, number: int) -> tuple[bytes, int]:
        """Return the entry of an object in a table, or b"" and the position of the trailer."""
        while True:
            head = _SUBSECTION.match(self._reader.at(position, 64))
            if head is None:
                raise Unreadable("its cross-references are broken")
            position += head.end()
            if head[1] is None:
                return b"", position
            first, count = int(head[1]), int(head[2])
            if first <= number < first + count:
                return self._reader.exactly(position + (number - first) * _ENTRY, _ENTRY), position
            position += count * _ENTRY

    def object(self, number: int) -> Dictionary:
        """Return the dictionary of an object."""
        for section in self._sections:
            if isinstance(section, int):
                entry = self._in_table(section, number)[0]
                if entry[17:18] == b"n":
                    return self._dictionary_at(_integer(entry[:10]) + self._origin, number)
            elif (found := section.find(number)) is not None:
                kind, second, third = found
                if kind == 1:
                    return self._dictionary_at(second + self._origin, number)
                if kind == 2:
                    return self._packed(second, third, number)
        raise Unreadable("an object is missing")

    def _dictionary_at(self, position: int, number: int) -> Dictionary:
        data = self._reader.at(position, _OBJECT)
        start = _OBJECT_START.match(data)
        if start is None or int(start[1]) != number:
            raise Unreadable("an object is not where it should be")
        return _dictionary(data[start.end() :])

    def _packed(self, stream: int, index: int, number: int) -> Dictionary:
        """Return an object inside a stream of objects (section 7.5.7), which itself is in none."""
        entries = (each.find(stream) for each in self._sections if isinstance(each, _Entries))
        entry = next((each for each in entries if each is not None), None)
        if entry is None or entry[0] != 1:
            raise Unreadable("a stream of objects is missing")
        dictionary, data = self._stream(entry[1] + self._origin)
        first = _number(dictionary, b"/First")
        numbers = data[:first].split(None, 2 * index + 2)[2 * index : 2 * index + 2]
        if len(numbers) < 2 or _integer(numbers[0]) != number:
            raise Unreadable("an object is not where it should be")
        return _dictionary(data[first + _integer(numbers[1]) :][:_OBJECT])

    def _stream(self, position: int) -> tuple[Dictionary, bytes]:
        """Return the dictionary and the unpacked bytes of the stream at a position."""
        head = self._reader.at(position, _OBJECT)
        object_start, stream_start = _OBJECT_START.match(head), _STREAM_START.search(head)
        if object_start is None or stream_start is None:
            raise Unreadable("its cross-references are broken")
        dictionary = _dictionary(head[object_start.end() : stream_start.start()])
        # Its length may stand in another object. What follows it is not unpacked.
        length = dictionary.get(b"/Length", [])
        size = _integer(length[0]) if len(length) == 1 else _MAX_STREAM
        data = self._reader.at(position + stream_start.end(), min(size, _MAX_STREAM))
        return dictionary, _unpacked(dictionary, data)


# --- syntax -----------------------------------------------------------------------------------------------------------


def _dictionary(data: bytes) -> Dictionary:
    """Return the entries of the dictionary at the start of the data, as the words of their values."""
    found, depth = Dictionary(), 0
    key: bytes | None = None
    for match in _TOKEN.finditer(data):
        word = match[0]
        if word.startswith(b"%"):
            continue
        if depth == 0 and word != b"<<":
            break
        if word in (b"<<", b"["):
            depth += 1
        elif word in (b">>", b"]"):
            depth -= 1
            if depth == 0:
                return found
        if depth == 1 and word.startswith(b"/") and (key is None or found[key]):
            key = word
            found[key] = []
        elif key is not None:
            found[key].append(word)
    raise Unreadable("it has no dictionary where one should be")


def _integer(word: bytes) -> int:
    if not re.fullmatch(rb"\d{1,18}", word):
        raise Unreadable("it has something else where a number should be")
    return int(word)


def _number(dictionary: Dictionary, key: bytes) -> int:
    return _integer((dictionary.get(key) or [b""])[0])


def _reference(dictionary: Dictionary, key: bytes) -> int:
    words = dictionary.get(key, [])
    if len(words) != 3 or words[2] != b"R":
        raise Unreadable(f"it has no {key.decode()}")
    return _integer(words[0])


# --- streams ----------------------------------------------------------------------------------------------------------


def _unpacked(dictionary: Dictionary, data: bytes) -> bytes:
    """Return the bytes of a stream, decompressed within bounds, and without its predictor."""
    filters = [each for each in dictionary.get(b"/Filter", []) if each not in (b"[", b"]")]
    if not filters:
        return data
    if filters != [b"/FlateDecode"]:
        raise Unreadable("it is compressed in another way")
    try:
        unpacked = zlib.decompressobj().decompress(data, _MAX_UNPACKED)
    except zlib.error as error:
        raise Unreadable(f"it cannot be decompressed: {error}") from error
    parameters = dictionary.get(b"/DecodeParms", [])
    values = dict(pairwise(parameters))
    if _integer(values.get(b"/Predictor", b"1")) < 10:
        return unpacked
    return _without_predictor(unpacked, _integer(values.get(b"/Columns", b"1")))


def _without_predictor(data: bytes, columns: int) -> bytes:
    """Undo the predictors of PNG for rows of bytes: none, the byte to the left, and the one above."""
    if not 0 < columns <= 64:
        raise Unreadable("its cross-references are broken")
    above, rows = bytes(columns), []
    for start in range(0, len(data) - columns, columns + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + columns])
        if kind not in (0, 1, 2):
            raise Unreadable("its cross-references are predicted in another way")
        for index in range(columns) if kind else ():
            before = above[index] if kind == 2 else (row[index - 1] if index else 0)
            row[index] = row[index] + before & 0xFF
        above = bytes(row)
        rows.append(above)
    return b"".join(rows)


class _Entries:
    """The entries of a stream of cross-references (section 7.5.8)."""

    def __init__(self, dictionary: Dictionary, data: bytes) -> None:
        self._widths = [_integer(each) for each in dictionary.get(b"/W", [])[1:-1]]
        if len(self._widths) != 3 or not 0 < sum(self._widths) <= 32:
            raise Unreadable("its cross-references are broken")
        numbers = [_integer(each) for each in dictionary.get(b"/Index", [])[1:-1]]
        self._index = list(zip(numbers[::2], numbers[1::2], strict=False)) or [(0, _number(dictionary, b"/Size"))]
        self._data = data

    def find(self, number: int) -> tuple[int, int, int] | None:
        """Return the kind of an object's entry and its two values, None if it has none."""
        before, size = 0, sum(self._widths)
        for first, count in self._index:
            if first <= number < first + count:
                start = (before + number - first) * size
                entry = self._data[start : start + size]
                if len(entry) < size:
                    return None
                one, two, _ = self._widths
                kind = int.from_bytes(entry[:one], "big") if one else 1
                return kind, int.from_bytes(entry[one : one + two], "big"), int.from_bytes(entry[one + two :], "big")
            before += count
        return None
