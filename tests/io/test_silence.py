"""How long a server may be silent: the arithmetic of waiting, without a server."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from depot_lite.errors import ConfigurationError, StorageTimeout
from depot_lite.io.objects.silence import DEFAULT, Patience, Silence


def test_patience_is_made_of_options() -> None:
    patience = Patience.of("1m", timedelta(minutes=5))
    assert patience == DEFAULT
    assert (patience.connect, patience.read, patience.limit) == (5.0, 20.0, 40.0)
    assert Patience.of(3, 3).connect == 1.0


@pytest.mark.parametrize(
    ("timeout", "copy_timeout", "named"), [(0, 1, "timeout=0"), (1, "soon", "copy_timeout='soon'")]
)
def test_patience_is_a_positive_duration(timeout: object, copy_timeout: object, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Patience.of(timeout, copy_timeout)


def test_the_silence_lasts_from_the_first_request_in_vain() -> None:
    """A request that begins later, or a connection that is refused at once, does not end it."""
    silence, now = Silence(DEFAULT), time.monotonic()
    assert silence.missed(now - 100) >= 100
    assert silence.missed(now) >= 100
    with pytest.raises(StorageTimeout, match=r"cannot delete: the server has not answered for 1.. seconds"):
        silence.check("delete")


def test_an_answer_ends_the_silence() -> None:
    silence, now = Silence(DEFAULT), time.monotonic()
    silence.check("delete")
    silence.missed(now - 100)
    silence.heard()
    silence.check("delete")
    assert silence.missed(now - 100) < 100


def test_after_a_pause_a_silence_begins_anew() -> None:
    """Nothing is known of a server that was not asked for longer than a request waits."""
    silence, now = Silence(DEFAULT), time.monotonic()
    silence.missed(now - 100)
    assert silence.missed(now + DEFAULT.read + 1000) < 0
    silence.check("delete")


def test_a_short_silence_is_none_yet() -> None:
    silence = Silence(DEFAULT)
    silence.missed(time.monotonic() - DEFAULT.timeout / 2)
    silence.check("delete")


@pytest.mark.parametrize(
    ("waited", "silence", "next_one", "is_enough"),
    [(0, 0, 20, False), (20, 20, 20, False), (21, 21, 20, True), (0, 20, 20, False), (0, 30, 20, True)],
)
def test_a_request_is_repeated_within_the_limit(
    waited: float, silence: float, next_one: float, is_enough: bool
) -> None:
    """Four fifths of the silence count as waiting, however busy the machine was."""
    assert Silence(DEFAULT).is_enough(waited, silence, next_one) is is_enough


def test_a_request_that_fails_at_once_has_not_waited() -> None:
    assert [Silence(DEFAULT).is_silence(waited) for waited in (0.0, 0.9, 1.0)] == [False, False, True]
    assert Silence(Patience(0.6, 1.0)).is_silence(0.1)
