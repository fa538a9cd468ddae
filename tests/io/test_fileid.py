"""File ids: new ones differ, and nothing but a canonical UUID passes the check, and what stands for one."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from depot_lite.errors import InvalidFileId
from depot_lite.io.fileid import FILE_ID, check_file_id, id_of_object_id, new_file_id, object_id_in

_GOOD = "b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70"
_OBJECT_ID = "507f1f77bcf86cd799439011"
_AS_UUID = "507f1f77-bcf8-0000-0000-6cd799439011"


def test_new_ids_are_random_uuids_in_canonical_form_and_differ() -> None:
    """A thousand new ids are a thousand version 4 UUIDs."""
    ids = {new_file_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {uuid.UUID(each).version for each in ids} == {4}
    assert all(check_file_id(each) == each == str(uuid.UUID(each)) for each in ids)


def test_an_id_made_by_filedepot_passes() -> None:
    """Those of filedepot are version 1 in the same form."""
    old = str(uuid.uuid1())
    assert check_file_id(old) == old


def test_an_object_id_becomes_a_uuid_that_nobody_makes() -> None:
    """Those of filedepot in GridFS; the version is 0, and the variant is not that of RFC 9562."""
    assert check_file_id(_OBJECT_ID) == check_file_id(_AS_UUID) == id_of_object_id(_OBJECT_ID) == _AS_UUID
    assert object_id_in(_AS_UUID) == _OBJECT_ID
    assert uuid.UUID(_AS_UUID).variant != uuid.RFC_4122
    assert {object_id_in(new_file_id()) for _ in range(100)} == {object_id_in(str(uuid.uuid1()))} == {None}


@given(st.binary(min_size=12, max_size=12))
def test_every_object_id_is_had_back(value: bytes) -> None:
    passed = check_file_id(value.hex())
    assert str(uuid.UUID(passed)) == passed
    assert object_id_in(passed) == value.hex()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"see {_GOOD}, {_OBJECT_ID}.", [_GOOD, _OBJECT_ID]),
        (f'"default/{_OBJECT_ID}"', [_OBJECT_ID]),
        (f"{'ab' * 12}{_GOOD}", [_GOOD]),  # 24 digits must not hide the beginning of a UUID
        (f"{'ab' * 12}-{_GOOD}", [_GOOD]),
        (f"sha256:{'0f' * 32}", []),
        (f"crc32:0123abcd {_OBJECT_ID.upper()}", []),
    ],
)
def test_ids_are_found_in_text(text: str, found: list[str]) -> None:
    """Not in the middle of a longer word, such as a checksum."""
    assert re.findall(FILE_ID, text) == found


@pytest.mark.parametrize(
    "bad",
    [
        "",
        _OBJECT_ID.upper(),
        f"{_OBJECT_ID}\n",
        f"{_OBJECT_ID}0",
        _OBJECT_ID[:-1],
        ".",
        "..",
        "../../etc/passwd",
        f"../{_GOOD}",
        f"{_GOOD}/..",
        f"{_GOOD}\n",
        f"{_GOOD}\x00",
        f" {_GOOD}",
        _GOOD.upper(),
        _GOOD.replace("-", ""),
        f"{{{_GOOD}}}",
        f"urn:uuid:{_GOOD}",
        _GOOD.replace("0", "\u0660"),  # ARABIC-INDIC DIGIT ZERO, a digit to str.isdigit
        _GOOD.encode(),
        uuid.UUID(_GOOD),
        Path(_GOOD),
        None,
        7,
        [_GOOD],
    ],
    ids=repr,
)
def test_every_other_spelling_is_refused(bad: object) -> None:
    """Traversal, NUL, line breaks, other alphabets, and the other forms that uuid.UUID takes."""
    with pytest.raises(InvalidFileId, match="expected a file id"):
        check_file_id(bad)


def test_the_message_of_a_long_value_stays_short() -> None:
    """A megabyte from a URL must not fill the log."""
    with pytest.raises(InvalidFileId) as caught:
        check_file_id("x" * 1_000_000)
    assert len(str(caught.value)) < 200


@given(
    st.text(alphabet=st.sampled_from("0123456789abcdefABCDEF-./\\\x00%~\n\u0660"), max_size=40) | st.text(max_size=40)
)
@example(_GOOD)
@example(_OBJECT_ID)
def test_what_passes_cannot_be_abused_as_a_path(value: str) -> None:
    """Whatever passes consists of 36 lower-case hexadecimal digits and dashes: one path component, never a dot."""
    try:
        passed = check_file_id(value)
    except InvalidFileId:
        return
    assert passed in {value, id_of_object_id(value)}
    assert re.fullmatch(r"[0-9a-f-]{36}", passed, re.ASCII)
    assert (Path("/depot") / passed).resolve().parent == Path("/depot")


@given(st.uuids())
def test_the_canonical_text_of_every_uuid_passes(value: uuid.UUID) -> None:
    """The check is no narrower than its claim."""
    assert check_file_id(str(value)) == str(value)
