"""Analyzers, which find facts about files: how long a film lasts, how many pages a document has.

::

    class Movie(Base):
        trailer: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(analyzers=[Dimensions(), Duration()]))

    movie.trailer.facts["duration"]

They are called at the flush, before the file is stored, with the content as it was handed in; those with
``run="later"`` after the COMMIT, with the stored file. What they find is kept in the row under the key ``facts``. An
analyzer never keeps a file from being stored: one that fails gives no facts, and a line in the log.

``duration``
    seconds, to the millisecond
``width``, ``height``
    pixels, as the picture is displayed: a film that was turned has the sides after turning
``bitrate``
    bits per second, the average
``pages``
    the number of pages
``title``, ``artist``, ``album``
    text, up to 200 characters
"""

from __future__ import annotations

import json
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Final, Literal, cast

from depot_lite import images, media
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MetaRefused
from depot_lite.fields.interfaces import ANALYZED, DepotFileInfo
from depot_lite.fields.meta import plain_meta
from depot_lite.fields.validators.candidate import Candidate, StoredCandidate
from depot_lite.fields.validators.refusals import candidate_of
from depot_lite.io.content import encodable
from depot_lite.io.fileid import FILE_ID
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.vocabulary import matches

__all__ = ["Analyzer", "AudioTags", "Dimensions", "Duration", "PdfPages"]

_log: Final = logging.getLogger("depot_lite")

_RECORDINGS: Final = ("audio/*", "video/*", "application/ogg")


class Analyzer(ABC):
    r"""The base class of analyzers.

    One of your own returns the facts that you name::

        class Lines(Analyzer):
            content_types = ("text/*",)

            def facts_of(self, file):
                with file.open() as opened:
                    return {"lines": opened.read(1_000_000).count(b"\n")}

    Its time and memory are its own concern: it should read a bounded number of bytes.

    Args:
        run: ``"now"``, the default, calls it at the flush, ``"later"`` after the COMMIT. It is then part of the job
            that makes later variants (`DepotManager.set_process_later`).

    Raises:
        ConfigurationError: ``run`` is something else.
    """

    #: The types of the files that it is called for, such as ``"video/*"``; empty for files of every type.
    content_types: ClassVar[Sequence[str]] = ()
    run: Literal["now", "later"] = "now"

    def __init__(self, *, run: Literal["now", "later"] | None = None) -> None:
        if run is not None:
            self.run = run
        self.check_run()

    def check_run(self) -> None:
        """Raise ConfigurationError if ``run``, which a class may set as well, is neither ``"now"`` nor ``"later"``."""
        if self.run not in ("now", "later"):
            raise ConfigurationError(f"{type(self).__name__}: run={self.run!r}: expected 'now' or 'later'")

    @property
    def name(self) -> str:
        """The name by which rows remember that it was called for their file: that of the class.

        If an analyzer comes to find other facts, give it another name: `depot_lite.maintenance.add_missing_facts` then
        calls it for all files.
        """
        return type(self).__name__

    @abstractmethod
    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Return the facts about a file by their names, with values that JSON can keep. It may raise anything.

        After an `OSError` it is called again, since a storage or a disk has failed. Pillow and gzip raise that for
        broken files, too: raise a ValueError in its place, or the file is read by each job.
        """

    def __repr__(self) -> str:
        """Show the name of the class, and whether it runs later."""
        return f"{type(self).__name__}({'' if self.run == 'now' else f'run={self.run!r}'})"


class Dimensions(Analyzer):
    """``width`` and ``height`` of images (extra ``images``), and of films in MP4, QuickTime, WebM, Matroska and AVI."""

    content_types = ("image/*", "video/*")

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Read the header of the image or the film."""
        if not matches(file.content_type, "image/*"):
            found = _recording(file)
            return _known(width=found.width, height=found.height)
        with file.open() as opened:
            image = images.probe(opened, formats=images.FORMATS, max_pixels=None)
        return {"width": image.width, "height": image.height}


class Duration(Analyzer):
    """``duration`` and ``bitrate`` of sound and films (`depot_lite.media` lists the formats)."""

    content_types = _RECORDINGS

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Read the headers."""
        found = _recording(file)
        return _known(duration=found.duration, bitrate=found.bitrate)


class AudioTags(Analyzer):
    """``title``, ``artist`` and ``album`` of sound and films: whatever their makers have written there."""

    content_types = _RECORDINGS

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Read the tags."""
        return _recording(file).tags


class PdfPages(Analyzer):
    """``pages`` of PDFs, if their cross-references are sound and not encrypted."""

    content_types = ("application/pdf",)

    def facts_of(self, file: Candidate) -> Mapping[str, Any]:
        """Read the number of pages."""
        with file.open() as opened:
            return {"pages": media.count_pages(opened)}


def _recording(file: Candidate) -> media.Recording:
    def read() -> media.Recording:
        with file.open() as opened:
            found = media.read_recording(opened)
        if found.problem and not (found.tags or found.duration or found.width):
            raise media.Unreadable(found.problem)
        return found

    return file.cached(media.read_recording, read)


def _known(**facts: Any) -> dict[str, Any]:
    return {name: each for name, each in facts.items() if each is not None}


#: Those of the library.
ALL: Final = (Dimensions(), Duration(), AudioTags(), PdfPages())


# --- running them -----------------------------------------------------------------------------------------------------

#: Text that maintenance would take for the path of a file of the row: a hostile tag must not name the file of others.
_PATH: Final = re.compile(f"/{FILE_ID}")

#: Errors of a storage, a disk or an installation, which say nothing about the file.
_PASSING: Final = (OSError, MemoryError, ConfigurationError)


@dataclass(slots=True)
class Findings:
    """The result of analyzing one file."""

    facts: dict[str, Any] = field(default_factory=dict)
    #: The names of the analyzers that were called and need not be called again, whether they found something or not.
    analyzed: list[str] = field(default_factory=list)
    #: The first error of an analyzer that cannot read such a file; None if all could.
    unreadable: Exception | None = None
    #: The first error that has nothing to do with the file, such as one of the storage: its analyzer is called again.
    failed: Exception | None = None


def analyze(value: DepotFileInfo, analyzers: Sequence[Analyzer]) -> None:
    """Set the facts of a pending value that are found at the flush. The copy of a value that has facts keeps them.

    Raises:
        InvalidContent: the content is a stream that cannot be read; it is copied to a temporary file first.
        ValidationError: the stream has more bytes than its limit allows.
    """
    seen = analyzed(value)
    called = [each for each in analyzers if each.run == "now" and each.name not in seen]
    if not value.pending or not called:
        return
    candidate = candidate_of(value)
    try:
        found = findings(candidate, called)
    finally:
        candidate.close()
    value.update(keys_of(found, value))


def analyze_stored(value: DepotFileInfo, analyzers: Sequence[Analyzer]) -> Findings:
    """Return the facts about the file of a stored value. It raises nothing: see `Findings.failed`."""
    candidate = StoredCandidate(value, lambda: Depots.get_file(value["path"]))
    try:
        return findings(candidate, analyzers)
    except Exception as error:
        return Findings(failed=error)
    finally:
        candidate.close()


def analyzed(value: DepotFileInfo) -> list[str]:
    """Return the names of the analyzers that were called for a value."""
    names = value.get(ANALYZED)
    return names if isinstance(names, list) else []


def missing_analyzers(
    value: DepotFileInfo, analyzers: Sequence[Analyzer], run: Sequence[str] = ("now", "later")
) -> list[Analyzer]:
    """Return the analyzers for the type of a stored file that were not called for it, of those that run at a time."""
    if value.pending or value.is_damaged:
        return []
    seen, media_type = analyzed(value), str(value.get("content_type") or OCTET_STREAM)
    return [each for each in analyzers if each.run in run and each.name not in seen and _is_for(each, media_type)]


def keys_of(found: Findings, value: DepotFileInfo) -> dict[str, Any]:
    """Return the keys of a value that findings change; empty if others have called the same analyzers before."""
    seen = analyzed(value)
    names = [each for each in found.analyzed if each not in seen]
    if not names:
        return {}
    facts = {**(value.get("facts") or {}), **found.facts}
    return {ANALYZED: [*seen, *names], **({"facts": facts} if facts else {})}


def findings(file: Candidate, analyzers: Sequence[Analyzer] = ALL) -> Findings:
    """Return the facts that analyzers find about a file; of a fact that several find, the last one's.

    Raises:
        InvalidContent: as from `analyze`.
        ValidationError: as from `analyze`.
    """
    found, media_type = Findings(), file.content_type
    called = [each for each in analyzers if _is_for(each, media_type)]
    if called:
        file.spool()
    for each in called:
        _call(each, file, found)
    return found


def _is_for(analyzer: Analyzer, media_type: str) -> bool:
    return not analyzer.content_types or any(matches(media_type, each) for each in analyzer.content_types)


def _call(analyzer: Analyzer, file: Candidate, found: Findings) -> None:
    try:
        facts = plain_meta(analyzer.facts_of(file))
        text = json.dumps(facts, ensure_ascii=False)
        text.encode()  # databases keep neither lone surrogates nor, in PostgreSQL, the character zero
        if "\\u0000" in text or _PATH.search(text):
            raise ValueError("it has text that no row should have")
        found.facts.update(facts)
    except _PASSING as error:
        _log.info("%r failed for %r: %r", analyzer, file.filename, error)
        found.failed = found.failed or error
        return
    except (media.Unreadable, MetaRefused, ValueError) as error:
        _log.debug("%r found nothing in %r: %s", analyzer, file.filename, error)
        found.unreadable = found.unreadable or error
    except Exception as error:
        _log.info("%r failed for %r: %r", analyzer, file.filename, error)
        found.unreadable = found.unreadable or error
    found.analyzed.append(analyzer.name)


# --- for people -------------------------------------------------------------------------------------------------------

#: How many facts are shown, and how many characters of each: a row may hold anything.
_MOST, _LONGEST = 20, 200


def shown_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    r"""Return facts as text for people, by names for people.

    >>> shown_facts({"duration": 3723.4, "width": 1920, "height": 1080, "bitrate": 128000, "pages": 1, "lines": 7})
    {'dimensions': '1920 \xd7 1080', 'duration': '1:02:03', 'bitrate': '128 kbit/s', 'pages': '1 page', 'lines': '7'}
    """
    found = dict[str, str]()
    if _is_number(facts.get("width")) and _is_number(facts.get("height")):
        found["dimensions"] = f"{facts['width']} × {facts['height']}"  # noqa: RUF001  # the multiplication sign
    for name, each in islice(facts.items(), _MOST):
        if name in _SHOWN and _is_number(each):
            found[name] = _SHOWN[name](each)
        elif not ("dimensions" in found and name in ("width", "height")):
            found[encodable(name[:_LONGEST])] = encodable(str(each)[:_LONGEST])
    return found


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast(float, value) < 1e12


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_SHOWN: Final[dict[str, Callable[[float], str]]] = {
    "duration": _clock,
    "bitrate": lambda bits: f"{round(bits / 1000)} kbit/s",
    "pages": lambda pages: f"{pages} page{'' if pages == 1 else 's'}",
}
