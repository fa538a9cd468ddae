"""Signatures: requests that they permit, and all others."""

from __future__ import annotations

import string
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot_lite.errors import ConfigurationError
from depot_lite.signing import Grant, Signer, positive_seconds, rounded

OLD = "the key of last year"
NEW = "the key of this year"
PATH = "default/b3a1c6de"
#: A time that every step of these tests divides, so that URLs made then begin to work then.
NOON = 1_800_000_000.0


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock, to noon at first."""

    def _at(seconds_after_noon: float) -> None:
        monkeypatch.setattr(time, "time", lambda: NOON + seconds_after_noon)

    _at(0)
    return _at


def changed(query: str, **parameters: str) -> str:
    return urlencode({**dict(parse_qsl(query, keep_blank_values=True)), **parameters})


def other(text: str) -> str:
    """Return the text with its first character changed; the last one of base 64 may say nothing."""
    return ("A" if text[0] != "A" else "B") + text[1:]


class TestKeys:
    @pytest.mark.parametrize("keys", [(), ("",), ("fifteen letters",), (NEW, "short"), (b"\x00" * 15,)])
    def test_one_that_could_be_guessed_is_refused(self, keys: tuple[str | bytes, ...]) -> None:
        with pytest.raises(ConfigurationError, match=r"at least 16 bytes, such as secrets\.token_urlsafe\(32\)"):
            Signer(*keys)

    @pytest.mark.parametrize(
        ("keys", "got"), [((), "none"), ((NEW, "key"), "one of 3 bytes"), ((b"",), "one of 0 bytes")]
    )
    def test_the_message_has_the_length_of_the_shortest(self, keys: tuple[str | bytes, ...], got: str) -> None:
        with pytest.raises(ConfigurationError, match=f"; got {got}$"):
            Signer(*keys)

    def test_the_length_is_counted_in_bytes(self) -> None:
        assert Signer("ü" * 8).grant(PATH, Signer(("ü" * 8).encode()).query(PATH)) == Grant()

    def test_the_first_signs_and_all_are_accepted(self) -> None:
        """So a key is changed: the new one in front, the old one dropped when its signatures have expired."""
        before, during, after = Signer(OLD), Signer(NEW, OLD), Signer(NEW)
        assert during.grant(PATH, before.query(PATH)) == Grant()
        assert after.grant(PATH, during.query(PATH)) == Grant()
        assert before.grant(PATH, during.query(PATH)) is None
        assert after.grant(PATH, before.query(PATH)) is None
        assert during.facts("upload", before.token("upload", {"a": 1}, 60)) == {"a": 1}
        assert after.facts("upload", before.token("upload", {"a": 1}, 60)) is None

    def test_they_are_not_shown(self) -> None:
        assert repr(Signer(NEW, OLD)) == "<Signer with 2 keys>"


class TestQuery:
    def test_it_allows_reading_one_file(self) -> None:
        query = Signer(NEW).query(PATH)
        assert [name for name, _ in parse_qsl(query)] == ["expires", "signature"]
        assert Signer(NEW).grant(PATH, query) == Grant(download=False, filename=None)
        assert Signer(NEW).grant("default/another", query) is None
        assert Signer(NEW).grant("archive/b3a1c6de", query) is None

    def test_what_it_allows_besides_is_part_of_it(self) -> None:
        query = Signer(NEW).query(PATH, download=True, filename="plan.pdf")
        assert Signer(NEW).grant(PATH, query) == Grant(download=True, filename="plan.pdf")
        assert Signer(NEW).grant(PATH, Signer(NEW).query(PATH, filename="")) == Grant(filename="")

    @pytest.mark.parametrize(
        "parameters",
        [
            {"expires": "99999999999"},
            {"expires": ""},
            {"download": "0"},
            {"download": ""},
            {"name": "virus.exe"},
            {"name": ""},
            {"signature": ""},
            {"signature": "="},
            {"signature": "ü"},
            {"signature": "\x00"},
            {"signature": "A" * 100_000},
        ],
        ids=str,
    )
    def test_whatever_is_changed_in_it_it_is_refused(self, parameters: dict[str, str]) -> None:
        query = Signer(NEW).query(PATH, download=True, filename="plan.pdf")
        assert Signer(NEW).grant(PATH, changed(query, **parameters)) is None

    @pytest.mark.parametrize("name", ["expires", "download", "name", "signature"])
    def test_whatever_is_taken_out_of_it_it_is_refused(self, name: str) -> None:
        query = Signer(NEW).query(PATH, download=True, filename="plan.pdf")
        kept = [pair for pair in parse_qsl(query) if pair[0] != name]
        assert Signer(NEW).grant(PATH, urlencode(kept)) is None

    @pytest.mark.parametrize("added", [{"download": "1"}, {"name": "virus.exe"}])
    def test_nothing_that_counts_can_be_added(self, added: dict[str, str]) -> None:
        assert Signer(NEW).grant(PATH, changed(Signer(NEW).query(PATH), **added)) is None

    def test_the_signature_of_another_url_is_refused(self) -> None:
        one, another = (dict(parse_qsl(Signer(NEW).query(PATH, each))) for each in (1000, 9000))
        assert Signer(NEW).grant(PATH, urlencode({**another, "signature": one["signature"]})) is None

    def test_each_character_of_the_signature_counts(self) -> None:
        query, _, signature = Signer(NEW).query(PATH).partition("&signature=")
        for position in range(len(signature) - 1):
            wrong = signature[:position] + other(signature[position:])
            assert Signer(NEW).grant(PATH, f"{query}&signature={wrong}") is None

    @pytest.mark.parametrize("name", ["expires", "download", "name", "signature", "utm_source"])
    def test_nothing_may_be_said_twice(self, name: str) -> None:
        """Which of the two would count is not left to the parser."""
        query = changed(Signer(NEW).query(PATH, download=True, filename="a.txt"), utm_source="mail")
        value = dict(parse_qsl(query))[name]
        for twice in (f"{query}&{name}={quote(value)}", f"{name}=x&{query}"):
            assert Signer(NEW).grant(PATH, twice) is None

    def test_what_a_newsletter_adds_to_links_does_no_harm(self) -> None:
        query = Signer(NEW).query(PATH)
        assert Signer(NEW).grant(PATH, f"utm_source=mail&{query}&fbclid=") == Grant()

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "signature",
            "signature=x",
            "&&&",
            "=",
            "a=1&" * 100_000,
            "signature=" + "x" * 1_000_000,
            "%ff=%fe",
            "ü=ü",
        ],
        ids=["nothing", "a name", "a value", "separators", "no name", "many", "long", "no UTF-8", "not ASCII"],
    )
    def test_what_is_no_query_of_ours_is_refused(self, query: str) -> None:
        assert Signer(NEW).grant(PATH, query) is None

    def test_no_utf_8_beside_a_good_signature_is_refused(self) -> None:
        assert Signer(NEW).grant(PATH, f"{Signer(NEW).query(PATH)}&x=%ff") is None

    @given(st.text(), st.text(min_size=1), st.booleans())
    def test_names_and_paths_may_hold_any_character(self, name: str, path: str, download: bool) -> None:
        """Half a character of UTF-16 becomes a question mark: no URL can hold it."""
        query = Signer(NEW).query(path, filename=name, download=download)
        assert query.isascii()
        assert Signer(NEW).grant(path, query) == Grant(download, name.encode(errors="replace").decode())

    @given(st.text(st.sampled_from("\ud800\udfffaü😀"), min_size=1))
    def test_half_a_character_is_no_error(self, name: str) -> None:
        granted = Signer(NEW).grant(PATH, Signer(NEW).query(PATH, filename=name))
        assert granted == Grant(filename=name.encode(errors="replace").decode())

    @given(st.text(st.sampled_from(string.ascii_letters + "&=;%+#?/ü"), min_size=1))
    def test_no_name_can_pass_for_parameters(self, name: str) -> None:
        first = Signer(NEW).query(PATH, filename=name)
        assert dict(parse_qsl(first))["name"] == name
        assert len(parse_qsl(first)) == 3


class TestExpiry:
    def test_it_works_until_then_and_not_a_moment_longer(self, at: Callable[[float], None]) -> None:
        query = Signer(NEW).query(PATH, 400)
        for moment in (0, 1, 400, 499.9):
            at(moment)
            assert Signer(NEW).grant(PATH, query) == Grant()
        for moment in (500, 501, 1e9):
            at(moment)
            assert Signer(NEW).grant(PATH, query) is None

    def test_it_tells_how_many_seconds_are_left(self, at: Callable[[float], None]) -> None:
        query = Signer(NEW).query(PATH, 400)
        for moment, left in ((0, 500), (0.5, 499), (499, 1), (499.9, 0)):
            at(moment)
            granted = Signer(NEW).grant(PATH, query)
            assert granted is not None
            assert granted.left == left

    def test_it_is_an_hour_where_nobody_says(self, at: Callable[[float], None]) -> None:
        query = Signer(NEW).query(PATH)
        at(3600)
        assert Signer(NEW).grant(PATH, query) == Grant()
        at(3600 + 900)
        assert Signer(NEW).grant(PATH, query) is None

    def test_a_second_works_for_a_second(self, at: Callable[[float], None]) -> None:
        at(0.9)
        query = Signer(NEW).query(PATH, 1)
        at(1.9)
        assert Signer(NEW).grant(PATH, query) == Grant()
        at(2)
        assert Signer(NEW).grant(PATH, query) is None

    @pytest.mark.parametrize(
        "wrong",
        [0, -1, 0.5, timedelta(0), timedelta(milliseconds=999), timedelta(days=-1), "1 hour", [5], float("inf")],
    )
    def test_no_time_at_all_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"expires_in=.*: expected a positive number of seconds"):
            Signer(NEW).query(PATH, wrong)

    def test_seconds_and_a_timedelta_are_the_same(self, at: Callable[[float], None]) -> None:
        assert Signer(NEW).query(PATH, timedelta(minutes=5)) == Signer(NEW).query(PATH, 300)
        assert positive_seconds(timedelta(hours=2), 1) == 7200
        assert positive_seconds(None, 7) == 7

    def test_the_same_url_comes_for_a_fourth_of_the_time(self, at: Callable[[float], None]) -> None:
        """So that a browser finds the file in its cache when the page is made again."""
        first = Signer(NEW).query(PATH, 400)
        for moment, same in ((1, True), (99.9, True), (100, False), (199, False)):
            at(moment)
            assert (Signer(NEW).query(PATH, 400) == first) is same

    @given(st.integers(0, 2**40), st.integers(1, 10**7), st.none() | st.integers(0, 10**7))
    def test_rounding_never_shortens_and_lengthens_by_a_fourth_at_most(
        self, now: int, expires_in: int, more: int | None
    ) -> None:
        longest = None if more is None else expires_in + more
        start, expiry = rounded(now, expires_in, longest)
        assert start <= now
        assert start + expiry <= now + expires_in + max(1, expires_in // 4)
        if longest is None or more:
            assert start + expiry >= now + expires_in
        if longest is not None:
            assert expiry <= longest


class TestTokens:
    def test_the_facts_come_back(self) -> None:
        facts = {"path": PATH, "size": [1, None, 2.5], "name": "Grüße 😀", "expires_in": "x"}
        assert Signer(NEW).facts("upload", Signer(NEW).token("upload", facts, 60)) == facts

    def test_they_can_stand_in_a_url(self) -> None:
        token = Signer(NEW).token("upload", {"name": "?&=/ü" * 50}, 60)
        assert quote(token, safe="") == token

    def test_they_expire(self, at: Callable[[float], None]) -> None:
        token = Signer(NEW).token("upload", {"a": 1}, timedelta(minutes=1))
        at(59.9)
        assert Signer(NEW).facts("upload", token) == {"a": 1}
        at(60)
        assert Signer(NEW).facts("upload", token) is None

    def test_one_purpose_is_not_another(self) -> None:
        token = Signer(NEW).token("upload", {"a": 1}, 60)
        assert Signer(NEW).facts("download", token) is None
        assert Signer(NEW).facts("", token) is None
        assert Signer(NEW).facts("url", token) is None

    def test_a_url_is_no_token_and_a_token_no_url(self) -> None:
        """Though the same keys sign both."""
        query = dict(parse_qsl(Signer(NEW).query(PATH)))
        payload, _, signature = Signer(NEW).token("url", {}, 60).rpartition(".")
        assert Signer(NEW).facts("url", f"{payload}.{query['signature']}") is None
        assert Signer(NEW).grant(PATH, changed(Signer(NEW).query(PATH), signature=signature)) is None

    def test_each_part_is_signed(self) -> None:
        payload, _, signature = Signer(NEW).token("upload", {"a": 1}, 60).rpartition(".")
        longer = Signer(NEW).token("upload", {"a": 2}, 600).rpartition(".")[0]
        for wrong in (
            f"{other(payload)}.{signature}",
            f"{longer}.{signature}",
            f"{payload}=.{signature}",
            f"ü{payload}.{signature}",
            f"{payload}.{other(signature)}",
            f"{payload}.",
            f".{signature}",
            payload,
            "",
            ".",
            "ü.ü",
            "\x00",
        ):
            assert Signer(NEW).facts("upload", wrong) is None

    def test_what_a_stranger_wrote_is_not_even_read(self) -> None:
        """JSON that nests a hundred thousand times is more than a parser takes."""
        from_a_stranger = Signer("the key of a stranger").token("upload", {"a": 1}, 60)
        assert Signer(NEW).facts("upload", from_a_stranger) is None
        assert Signer(NEW).facts("upload", "W1tb" * 100_000 + ".x") is None

    def test_what_the_caller_gave_is_not_changed(self) -> None:
        facts = {"a": 1}
        Signer(NEW).token("upload", facts, 60)
        assert facts == {"a": 1}

    def test_no_time_at_all_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="expires_in=0"):
            Signer(NEW).token("upload", {}, 0)
