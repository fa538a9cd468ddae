"""The values of options: shares, rates, parts and limits, read from the words of a command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from depot_lite.errors import ConfigurationError
from depot_lite.io.sizes import size_of
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.limits import DeletionLimit

T = TypeVar("T")


def parse_share(text: str) -> float:
    """Return a share greater than 0 and at most 1, from ``1%`` or ``0.01``.

    >>> parse_share("1%"), parse_share("0.5")
    (0.01, 0.5)
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ConfigurationError(f"expected a share such as 1% or 0.01, more than 0 and at most 100%, got {text!r}")
    return share


def parse_rate(text: str) -> int:
    """Return bytes per second, from ``20MB``, ``20 MiB/s`` or a bare number.

    >>> parse_rate("20MB/s")
    20000000
    """
    rate = size_of("rate", text.strip().removesuffix("/s"))
    if not rate:
        raise ConfigurationError(f"expected a rate of at least 1 byte per second, got {text!r}")
    return rate


def parse_limit(text: str) -> str:
    """Return the text of a limit of deletions, ``100`` or ``10%``, when it is one."""
    DeletionLimit(text)
    return text


def parse_part(text: str) -> Part:
    """Return one of several parts, from ``3/16``.

    >>> parse_part("3/16")
    Part(number=3, of=16)
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise ConfigurationError(f"expected a part such as 3/16, got {text!r}")
    return Part(int(number), int(of))


def argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser for argparse, which prints the message of an ArgumentTypeError only."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument
