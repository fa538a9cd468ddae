"""Frames and ledgers: what one transaction has to do with, and what becomes of it when the transaction ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.ledger import Frame, Ledger


def test_a_born_file_is_condemned_until_a_row_names_it() -> None:
    """A row may never be written for it: the flush fails, or the statement matches nothing."""
    frame = Frame()
    frame.bear("default/1", "origin")
    assert (frame.condemned, frame.born) == (["default/1"], {"default/1": "origin"})
    frame.name("default/1")
    assert (frame.condemned, frame.born) == ([], {"default/1": "origin"})


def test_the_last_word_on_a_file_counts() -> None:
    """Replaced and put back, or put back and replaced again."""
    frame = Frame()
    frame.condemn("default/1")
    frame.name("default/1")
    assert frame.condemned == []
    frame.condemn("default/1")
    assert frame.condemned == ["default/1"]


def test_a_condemned_file_of_another_transaction_is_not_born_here() -> None:
    """A rollback must not delete it: its row is there again."""
    frame = Frame()
    frame.condemn("default/1")
    assert frame.born == {}


def test_a_released_savepoint_has_the_last_word() -> None:
    """What happened in it happened later than what the enclosing transaction had done."""
    ledger = Ledger()
    ledger.frame("outer").condemn("default/1")
    ledger.frame("outer").name("default/2")
    ledger.frame("inner").name("default/1")
    ledger.frame("inner").condemn("default/2")
    ledger.frame("inner").bear("default/3", "origin")
    ledger.merge("inner", "outer")
    frame = ledger.take("outer")
    assert frame is not None
    assert sorted(frame.condemned) == ["default/2", "default/3"]
    assert frame.born == {"default/3": "origin"}
    assert not ledger


def test_a_rolled_back_savepoint_takes_its_frame_along() -> None:
    """The enclosing transaction's frame is as it was before."""
    ledger = Ledger()
    ledger.frame("outer").name("default/1")
    ledger.frame("inner").condemn("default/1")
    taken = ledger.take("inner")
    assert taken is not None
    assert taken.condemned == ["default/1"]
    assert ledger.frame("outer").condemned == []


def test_a_transaction_without_a_frame_has_nothing_to_take() -> None:
    ledger = Ledger()
    assert ledger.take("unknown") is None
    ledger.merge("unknown", "outer")
    assert not ledger
    assert ledger.transactions() == []


def test_a_frame_stays_until_it_is_taken() -> None:
    """Asked for twice it is the same; taken once it is gone."""
    ledger = Ledger()
    frame = ledger.frame("transaction")
    assert ledger.frame("transaction") is frame
    assert bool(ledger)
    assert ledger.transactions() == ["transaction"]
    assert ledger.take("transaction") is frame
    assert ledger.take("transaction") is None


def test_a_frame_is_put_into_an_enclosing_transaction() -> None:
    """That has one already, or has none yet."""
    ledger, ended = Ledger(), Frame()
    ended.bear("default/1", "origin")
    ledger.put("outer", ended)
    ledger.frame("outer").name("default/1")
    again = Frame()
    again.condemn("default/1")
    ledger.put("outer", again)
    assert ledger.frame("outer").condemned == ["default/1"]
    assert ledger.frame("outer").born == {"default/1": "origin"}


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["bear", "name", "condemn"]), st.sampled_from("abc")))
)
def test_merging_is_the_same_as_having_done_it_outside(steps: list[tuple[int, str, str]]) -> None:
    """Three savepoints one after the other, each released, are one transaction that did all of it in that order."""
    ordered = sorted(steps, key=lambda step: step[0])
    ledger, plain = Ledger(), Frame()
    for savepoint in range(3):
        for number, action, path in ordered:
            if number == savepoint:
                arguments = (path, "origin") if action == "bear" else (path,)
                getattr(ledger.frame(savepoint), action)(*arguments)
                getattr(plain, action)(*arguments)
        ledger.merge(savepoint, "outer")
    merged = ledger.frame("outer")
    assert sorted(merged.condemned) == sorted(plain.condemned)
    assert merged.born == plain.born


def test_a_frame_takes_no_other_attributes() -> None:
    """There is one for each transaction of each session that touches a file: it stays small."""
    with pytest.raises(AttributeError):
        Frame().note = "x"  # type: ignore[attr-defined]  # which is the point
