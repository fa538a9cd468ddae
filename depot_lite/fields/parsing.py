"""The JSON of rows as data, parsed by msgspec if it is installed."""

from __future__ import annotations

import json
import json.scanner
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

# json.loads() without its options: (text, start) -> (data, end); StopIteration if it is no JSON.
_scan: Final = json.scanner.make_scanner(json.JSONDecoder())  # type: ignore[arg-type]  # typeshed names the wrong class


def parse_by_json(text: str) -> Any:
    """Return the data of JSON text, and raise StopIteration or ValueError if it is none."""
    data, end = _scan(text, 0)
    if end != len(text):
        raise ValueError("more than JSON")
    return data


#: Returns the data of JSON text, and raises any error if it is none, or for text that only `json` accepts, such as NaN.
parse: Callable[[str], Any] = parse_by_json
#: Returns the row of a file with the usual keys, and raises any error for other text; None without msgspec.
parse_plain: Callable[[str], PlainRow] | None = None

# msgspec takes less than half the time. It reads the same values as `json`, also integers of any size: orjson makes
# floats of large ones.
try:
    from msgspec import Struct
    from msgspec.json import Decoder
except ImportError:
    if TYPE_CHECKING:
        raise
else:

    class PlainRow(Struct, forbid_unknown_fields=True, gc=False):
        """A row that has the keys of an `UploadedFile` without metadata, and no others, all of the right types."""

        depot_name: str
        files: list[str]
        file_id: str
        path: str
        filename: str | None
        content_type: str | None
        size: int | None
        checksum: str | None
        uploaded_at: str | None
        _public_url: str | None

    parse = Decoder().decode
    parse_plain = Decoder(PlainRow).decode


def parsed(text: str) -> Any:
    """Return the data of the JSON in a row; None for blanks, and the text itself if it is no JSON."""
    try:
        return parse(text)
    except Exception:  # msgspec, json and the text itself have a dozen ways to be no JSON
        if not text.strip():  # columns of other libraries keep None as empty text
            return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
