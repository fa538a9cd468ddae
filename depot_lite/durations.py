"""Durations: read from options and from the command line, and written for people."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from depot_lite.errors import ConfigurationError

_SHORT: Final = re.compile(r"(\d+(?:\.\d+)?) ?([smhdw]?)", re.ASCII | re.IGNORECASE)
_ISO: Final = re.compile(
    r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII | re.IGNORECASE
)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_ISO_SECONDS: Final = (604800, 86400, 3600, 60, 1)
#: A century. Anything longer is a mistake, and a date that far back may lie before the year 1.
_LONGEST: Final = 100 * 366 * 86400


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``90s``, ``10m``, ``24h``, ``7d`` or ``PT1H30M`` stands for; a bare number is seconds.

    >>> parse_duration("24h"), parse_duration("PT90S")
    (datetime.timedelta(days=1), datetime.timedelta(seconds=90))

    Raises:
        ConfigurationError: the text is not a duration, or longer than a century.
    """
    seconds = -1.0
    if found := _SHORT.fullmatch(text.strip()):
        seconds = float(found[1]) * _SECONDS[found[2].lower()]
    elif (found := _ISO.fullmatch(text.strip())) and any(found.groups()):
        seconds = sum(float(number or 0) * unit for number, unit in zip(found.groups(), _ISO_SECONDS, strict=True))
    if not 0 <= seconds <= _LONGEST:
        raise ConfigurationError(f"expected a duration such as 90s, 10m, 24h, 7d or PT1H30M, got {text!r}")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Return a duration in the form that the command line takes.

    >>> format_duration(timedelta(hours=24)), format_duration(timedelta(minutes=90)), format_duration(timedelta(days=2))
    ('24h', '90m', '2d')
    """
    seconds = duration.total_seconds()
    for unit, size, least in (("d", 86400, 2), ("h", 3600, 1), ("m", 60, 1)):
        if seconds >= size * least and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def format_elapsed(seconds: float) -> str:
    """Return how long a job took or will take, to two digits or two units.

    >>> format_elapsed(0.42), format_elapsed(75), format_elapsed(7500), format_elapsed(200000)
    ('0.4 s', '1:15 min', '2:05 h', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def format_playing_time(seconds: float) -> str:
    """Return how long sound or films last, in hours and smaller units.

    >>> format_playing_time(42.4), format_playing_time(83), format_playing_time(11520), format_playing_time(5e6)
    ('42 s', '1 min 23 s', '3 h 12 min', '1,388 h 53 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def format_age(age: timedelta) -> str:
    """Return an age in whole numbers of its largest unit.

    >>> format_age(timedelta(hours=24)), format_age(timedelta(days=2)), format_age(timedelta(minutes=59))
    ('24 hours', '2 days', '59 minutes')
    """
    seconds = int(age.total_seconds())
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= unit * (2 if name == "days" else 1):
            count = seconds // unit
            return f"{count} {name if count != 1 else name[:-1]}"
    return f"{max(seconds, 0)} seconds"
