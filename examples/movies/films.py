"""The seven films of the archive. None of them was ever shot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Film:
    """A film, and the parameters of its pictures and sounds."""

    title: str
    year: int
    #: The subject of its pictures, a name in ``motifs.MOTIFS``.
    motif: str
    #: Its colours: upper sky, lower sky, foreground, and light.
    colours: tuple[str, str, str, str]
    #: The notes of its theme, in semitones above the A below middle C.
    theme: tuple[int, ...]
    #: Its first line of dialogue.
    line: str
    trailer: bool = True

    @property
    def slug(self) -> str:
        """The title in the form for file names."""
        return self.title.lower().replace("'", "").replace(" ", "-")


FILMS: Final = (
    Film(
        "The Lighthouse Keeper's Radio",
        1962,
        "sea",
        ("#0b132b", "#3a506b", "#1c2541", "#ffd166"),
        (0, 7, 12, 7, 3, 10),
        "Nobody has called this frequency since the war.",
    ),
    Film(
        "Paper Rockets",
        1974,
        "stars",
        ("#10002b", "#7b2cbf", "#240046", "#ff9e00"),
        (0, 4, 7, 11, 12, 11),
        "You folded the wings the wrong way round. Again.",
    ),
    Film(
        "Nine Bridges",
        1988,
        "arches",
        ("#ffb703", "#fb8500", "#9b2226", "#fff3b0"),
        (0, 5, 9, 12, 9, 5),
        "I count eight. Who has taken the ninth?",
    ),
    Film(
        "A Winter of Glass",
        1996,
        "peaks",
        ("#caf0f8", "#48cae4", "#03045e", "#ffffff"),
        (0, 3, 7, 10, 14, 10),
        "Do not breathe on it. It remembers.",
        trailer=False,
    ),
    Film(
        "Tin Orchestra",
        2003,
        "rings",
        ("#283618", "#606c38", "#dda15e", "#fefae0"),
        (0, 2, 4, 7, 9, 12),
        "The second violin has rusted. We open in an hour.",
    ),
    Film(
        "Midnight Cartographer",
        2011,
        "contours",
        ("#001219", "#005f73", "#0a9396", "#e9d8a6"),
        (0, 1, 5, 7, 8, 5),
        "This street was not here when I drew it.",
    ),
    Film(
        "Sunday in Orbit",
        2024,
        "planet",
        ("#03071e", "#370617", "#d00000", "#ffba08"),
        (0, 7, 9, 12, 16, 12),
        "Sixteen sunrises, and still no breakfast.",
    ),
)
