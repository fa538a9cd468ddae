"""Scripts: a title page and a scene, as PDF or as plain text."""

from __future__ import annotations

from movies.films import Film

#: The indentation of a line in characters, and its text.
Line = tuple[int, str]


def scene(film: Film) -> list[Line]:
    """Return the first scene of a film."""
    return [
        (0, f"INT. {film.motif.upper()} - NIGHT"),
        (0, ""),
        (0, "Darkness. Somebody looks for a match and finds it."),
        (0, ""),
        (24, "SHE"),
        (12, film.line),
        (0, ""),
        (24, "HE"),
        (18, "(without turning round)"),
        (12, "That is how it always begins."),
        (0, ""),
        (48, "CUT TO:"),
    ]


def script_pdf(film: Film) -> bytes:
    """Return the script of a film as a PDF of two pages."""
    title = [(0, "")] * 16 + [(14, film.title.upper()), (0, ""), (14, f"A script, {film.year}")]
    return pdf([title, scene(film)])


def script_text(film: Film) -> bytes:
    """Return the script of a film as text."""
    lines = [(0, film.title.upper()), (0, ""), *scene(film)]
    return "".join(f"{' ' * indent}{text}".rstrip() + "\n" for indent, text in lines).encode()


def pdf(pages: list[list[Line]]) -> bytes:
    """Return a PDF of pages in Courier."""
    numbers = [4 + 2 * each for each in range(len(pages))]
    kids = " ".join(f"{each} 0 R" for each in numbers)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
    ]
    for number, lines in zip(numbers, pages, strict=True):
        content = _content(lines)
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >>"
            b" /Contents %d 0 R >>" % (number + 1),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    return _file_of(objects)


def _content(lines: list[Line]) -> bytes:
    """Return the operators that write lines from the top of a page."""
    operators = [b"BT /F1 12 Tf 16 TL 72 760 Td"]
    for indent, text in lines:
        line = (" " * indent + text).encode("cp1252", "replace")
        operators.append(b"(%s) Tj T*" % line.replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)"))
    return b"\n".join([*operators, b"ET"])


def _file_of(objects: list[bytes]) -> bytes:
    """Return a PDF file of numbered objects, the first of which is the catalogue."""
    data, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % count + table + trailer
