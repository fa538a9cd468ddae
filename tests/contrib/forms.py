"""Forms as browsers fill them in and send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

#: A name of a file, as an attacker thinks of it.
NASTY = '"><img src=x onerror=alert(1)>.png'
BOUNDARY = "the-boundary"


@dataclass
class Part:
    """One part of a form: text, or a file."""

    name: str
    value: str | bytes
    filename: str | None = None
    content_type: str = "application/octet-stream"

    def encoded(self) -> bytes:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{self.name}"'
        if self.filename is not None:
            head += f'; filename="{self.filename.replace(chr(34), "%22")}"\r\nContent-Type: {self.content_type}'
        value = self.value.encode() if isinstance(self.value, str) else self.value
        return head.encode() + b"\r\n\r\n" + value + b"\r\n"


def encoded(parts: list[Part]) -> dict[str, Any]:
    """Return body and headers of a form."""
    body = b"".join(each.encoded() for each in parts) + f"--{BOUNDARY}--\r\n".encode()
    return {"content": body, "headers": {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}}


@dataclass
class Form:
    """The inputs of a page in their order, with their values; a file input has none before it is filled in."""

    parts: list[Part]

    @classmethod
    def of(cls, html: str) -> Form:
        reader = _Inputs()
        reader.feed(html)
        return cls(reader.found)

    def values(self, name: str) -> list[str]:
        return [each.value for each in self.parts if each.name == name and isinstance(each.value, str) and each.value]

    def set(self, name: str, value: str) -> Form:
        """Type something into an input."""
        for each in self.parts:
            if each.name == name:
                each.value = value
        return self

    def choose(self, name: str, *files: tuple[str, bytes]) -> Form:
        """Choose files in a file input."""
        place = next(index for index, each in enumerate(self.parts) if each.name == name and each.filename is not None)
        self.parts[place : place + 1] = [Part(name, data, filename) for filename, data in files]
        return self

    def uncheck(self, value: str) -> Form:
        """Take out a file."""
        self.parts.remove(next(each for each in self.parts if each.value == value))
        return self

    def press(self, name: str, value: str) -> dict[str, Any]:
        """Return the fields that are sent when a button is pressed."""
        return encoded([*self.parts, Part(name, value)])


@dataclass
class _Inputs(HTMLParser):
    found: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, kind = given.get("name"), given.get("type", "text")
        if tag != "input" or not name or kind in ("submit", "button") or "disabled" in given:
            return
        if kind in ("checkbox", "radio") and "checked" not in given:
            return
        self.found.append(Part(name, given.get("value") or "", "" if kind == "file" else None))
