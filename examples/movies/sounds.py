"""Soundtracks: a few bars of sine waves, as WAV."""

from __future__ import annotations

import array
import io
import math
import sys
import wave
from typing import Final

from movies.films import Film

_RATE: Final = 11025
#: Seconds of a note.
_NOTE: Final = 0.5


def soundtrack(film: Film) -> bytes:
    """Return the theme of a film, half a second for each note."""
    samples = array.array("h")
    for note in film.theme:
        samples.extend(_note(220 * 2 ** (note / 12)))
    if sys.byteorder == "big":
        samples.byteswap()
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _note(pitch: float) -> list[int]:
    """Return a note with an overtone, plucked: it begins at once and dies away."""
    count, turn = int(_RATE * _NOTE), math.tau * pitch / _RATE
    found = []
    for step in range(count):
        loud = min(step / 80, 1) * (1 - step / count) ** 2
        found.append(int(12000 * loud * (math.sin(turn * step) + 0.4 * math.sin(2 * turn * step))))
    return found
