"""File ids: new ones differ, and nothing but a canonical UUID passes the check."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from depot_lite.errors import InvalidFileId
from depot_lite.io.fileid import check_file_id, new_file_id

_GOOD = "b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70"


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


@pytest.mark.parametrize(
    "bad",
    [
        "",
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
    with pytest.raises(InvalidFileId, match="is not a file id"):
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
def test_what_passes_cannot_be_abused_as_a_path(value: str) -> None:
    """Whatever passes consists of 36 lower-case hexadecimal digits and dashes: one path component, never a dot."""
    try:
        passed = check_file_id(value)
    except InvalidFileId:
        return
    assert passed == value
    assert re.fullmatch(r"[0-9a-f-]{36}", passed, re.ASCII)
    assert (Path("/depot") / passed).resolve().parent == Path("/depot")


@given(st.uuids())
def test_the_canonical_text_of_every_uuid_passes(value: uuid.UUID) -> None:
    """The check is no narrower than its claim."""
    assert check_file_id(str(value)) == str(value)
