"""Looking into ZIP archives and OLE files, the containers of most documents."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from depot_lite.io.media_types.sample import Finding, Sample
from depot_lite.io.media_types.vocabulary import ancestors, canonical, runs, valid_media_type

# --- ZIP --------------------------------------------------------------------------------------------------------------

_ZIP: Final = "application/zip"
_END_SIZE: Final = 1024
_PART_SIZE: Final = 64 * 1024
_ODF: Final = "application/vnd.oasis.opendocument"
_OOXML: Final = "application/vnd.openxmlformats-officedocument"
_WORD, _SHEET, _SLIDES = (
    f"{_OOXML}.wordprocessingml.document",
    f"{_OOXML}.spreadsheetml.sheet",
    f"{_OOXML}.presentationml.presentation",
)

# The type of a main part, without ".main+xml" -> the type of the file.
_MAIN_PARTS: Final = {
    f"{_OOXML}.wordprocessingml.document": _WORD,
    f"{_OOXML}.wordprocessingml.template": f"{_OOXML}.wordprocessingml.template",
    "application/vnd.ms-word.document.macroenabled": "application/vnd.ms-word.document.macroenabled.12",
    "application/vnd.ms-word.template.macroenabledtemplate": "application/vnd.ms-word.template.macroenabled.12",
    f"{_OOXML}.spreadsheetml.sheet": _SHEET,
    f"{_OOXML}.spreadsheetml.template": f"{_OOXML}.spreadsheetml.template",
    "application/vnd.ms-excel.sheet.macroenabled": "application/vnd.ms-excel.sheet.macroenabled.12",
    "application/vnd.ms-excel.template.macroenabled": "application/vnd.ms-excel.template.macroenabled.12",
    "application/vnd.ms-excel.addin.macroenabled": "application/vnd.ms-excel.addin.macroenabled.12",
    "application/vnd.ms-excel.sheet.binary.macroenabled": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    f"{_OOXML}.presentationml.presentation": _SLIDES,
    f"{_OOXML}.presentationml.slideshow": f"{_OOXML}.presentationml.slideshow",
    f"{_OOXML}.presentationml.template": f"{_OOXML}.presentationml.template",
    "application/vnd.ms-powerpoint.presentation.macroenabled": (
        "application/vnd.ms-powerpoint.presentation.macroenabled.12"
    ),
    "application/vnd.ms-powerpoint.slideshow.macroenabled": "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
    "application/vnd.ms-powerpoint.template.macroenabled": "application/vnd.ms-powerpoint.template.macroenabled.12",
    "application/vnd.ms-powerpoint.addin.macroenabled": "application/vnd.ms-powerpoint.addin.macroenabled.12",
    **{
        f"application/vnd.ms-visio.{kind}{macro}": f"application/vnd.ms-visio.{kind}{macro}.main+xml"
        for kind in ("drawing", "template", "stencil")
        for macro in ("", ".macroenabled")
    },
}
_CONTENT_TYPE: Final = re.compile(rb'ContentType\s*=\s*["\']([^"\'<>]{1,200}?)\.main(?:\+xml)?["\']', re.IGNORECASE)
_PACKAGES: Final = (
    (b"vnd.ms-package.3dmanufacturing-3dmodel+xml", "model/3mf"),
    (b"vnd.ms-package.xps-fixeddocumentsequence+xml", "application/oxps"),
    (b"vnd.openxps-fixeddocumentsequence", "application/oxps"),
)
_FOLDERS: Final = (
    ("word/", _WORD),
    ("xl/", _SHEET),
    ("ppt/", _SLIDES),
    ("visio/", "application/vnd.ms-visio.drawing.main+xml"),
    ("3D/", "model/3mf"),
)

# Entries by which a kind is recognised: a pattern for one name; several patterns have to match names.
_ENTRIES: Final = tuple(
    (tuple(re.compile(pattern) for pattern in patterns), media_type)
    for media_type, *patterns in (
        ("application/appx", r"AppxManifest\.xml"),
        ("application/appxbundle", r"AppxMetadata/AppxBundleManifest\.xml"),
        ("application/oxps", r"FixedDocSeq\.fdseq|FixedDocumentSequence\.fdseq"),
        ("application/vnd.android.package-archive", r"AndroidManifest\.xml", r"classes\d*\.dex|resources\.arsc|res/.+"),
        ("application/vnd.apple.numbers", r"Index/(?:CalculationEngine.*\.iwa|Tables/.+)"),
        ("application/vnd.apple.keynote", r"Index/(?:Slide|MasterSlide|TemplateSlide).*\.iwa|index\.apxl(?:\.gz)?"),
        ("application/vnd.apple.pages", r"Index/Document\.iwa"),
        ("application/x-ios-app", r"Payload/[^/]+\.app/.*"),
        ("application/vnd.google-earth.kmz", r"[^/]+\.kml"),
        ("application/x-vsix", r"extension\.vsixmanifest"),
        ("application/vnd.nuget.package", r"[^/]+\.nuspec"),
        ("application/x-wheel+zip", r"[^/]+\.dist-info/WHEEL"),
        ("application/x-python-egg", r"EGG-INFO/PKG-INFO"),
        ("application/vnd.sketch", r"document\.json", r"meta\.json", r"pages/.*"),
        ("application/vnd.anki", r"collection\.anki2.*"),
        ("application/x-freecad", r"Document\.xml", r"GuiDocument\.xml|.+\.brp"),
        ("application/x-pytorch", r"[^/]+/data\.pkl"),
        ("application/x-keras", r"model\.weights\.h5"),
        ("application/x-qgz", r"[^/]+\.qgs"),
        ("application/x-musescore", r"[^/]+\.mscx"),
        ("application/vnd.ms-officetheme", r"theme/theme/themeManager\.xml"),
        ("application/x-xpinstall", r"install\.rdf|META-INF/mozilla\.rsa"),
        ("application/epub+zip", r"META-INF/container\.xml", r".+\.opf"),
        ("application/vnd.recordare.musicxml", r"META-INF/container\.xml", r"[^/]+\.(?:xml|musicxml)"),
        ("application/java-archive", r"META-INF/MANIFEST\.MF"),
        ("application/x-npz", r"[^/]+\.npy"),
    )
)


def zip_archive(sample: Sample) -> Finding:
    """Return the type by the ``mimetype`` entry, the content types part, or the names of the entries."""
    entries = dict(_listed(sample) or _walked(sample.head))
    first = next(iter(entries), None)
    if "mimetype" in entries:
        stored = _part(sample, entries["mimetype"])[:256].decode("latin-1").strip()
        named = canonical(valid_media_type(stored) or "")
        if _ZIP in ancestors(named):
            return Finding(named)
    if "[Content_Types].xml" in entries:
        types = _part(sample, entries["[Content_Types].xml"])
        for match in _CONTENT_TYPE.finditer(types):
            found = _MAIN_PARTS.get(match[1].decode("latin-1").lower())
            if found is not None:
                # Programs that save a template as a document keep the type of its main part.
                return Finding(found, (found,))
        for part, package in _PACKAGES:
            if part in types:
                return Finding(package)
        # The types were not readable: the folder of the main part tells the program.
        folder = next((found for name, found in _FOLDERS if any(each.startswith(name) for each in entries)), None)
        if folder is not None:
            return Finding(folder, (folder,))
    for patterns, media_type in _ENTRIES:
        if all(any(pattern.fullmatch(name) for name in entries) for pattern in patterns):
            return Finding(media_type, (media_type,) if runs(media_type) else (_ZIP,))
    if first is not None and first.endswith((".usdc", ".usda", ".usd")):
        return Finding("model/vnd.usdz+zip", (_ZIP,))
    return Finding(_ZIP, (_ZIP,))


def _listed(sample: Sample) -> list[tuple[str, int]]:
    """Return names and positions of the entries from the list at the end of an archive, in their order in the file."""
    tail, length = sample.tail(_END_SIZE), sample.length
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or length is None or len(tail) < end + 22:
        return []
    size, start = struct.unpack_from("<II", tail, end + 12)
    data, position, found = sample.at(start, min(size, _PART_SIZE)), 0, []
    while data.startswith(b"PK\x01\x02", position) and position + 46 <= len(data):
        name, extra, comment = struct.unpack_from("<HHH", data, position + 28)
        (offset,) = struct.unpack_from("<I", data, position + 42)
        found.append((data[position + 46 : position + 46 + name].decode("utf-8", "replace"), offset))
        position += 46 + name + extra + comment
    return sorted(found, key=lambda each: each[1])


def _walked(head: bytes) -> Iterator[tuple[str, int]]:
    """Yield names and positions of the entries in the first bytes of an archive."""
    position = 0
    while head.startswith(b"PK\x03\x04", position) and position + 30 <= len(head):
        flags, method = struct.unpack_from("<HH", head, position + 6)
        size, _, name, extra = struct.unpack_from("<IIHH", head, position + 18)
        data = position + 30 + name + extra
        yield head[position + 30 : position + 30 + name].decode("utf-8", "replace"), position
        if flags & 8 and not size:
            if not method:
                return  # a stored entry of unknown size: what follows may be entries of an archive inside
            position = head.find(b"PK\x03\x04", data)
        else:
            position = data + size


def _part(sample: Sample, offset: int) -> bytes:
    """Return the beginning of an entry, decompressed."""
    header = sample.at(offset, 30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        return b""
    flags, method = struct.unpack_from("<HH", header, 6)
    size, _, name, extra = struct.unpack_from("<IIHH", header, 18)
    size = _PART_SIZE if flags & 8 and not size else min(size, _PART_SIZE)
    data = sample.at(offset + 30 + name + extra, size) or sample.head[offset + 30 + name + extra :][:size]
    if method == 0:
        return data
    try:
        return zlib.decompressobj(-15).decompress(data, 4 * _PART_SIZE) if method == 8 else b""
    except zlib.error:
        return b""


# --- OLE --------------------------------------------------------------------------------------------------------------

_OLE: Final = "application/x-ole-storage"
# Documents with a password are encrypted inside an OLE file.
_ENCRYPTED: Final = (_OLE, _WORD, _SHEET, _SLIDES)
_STREAMS: Final = {
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "Book": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
    "VisioDocument": "application/vnd.visio",
    "__properties_version1.0": "application/vnd.ms-outlook",
    "__nameid_version1.0": "application/vnd.ms-outlook",
    "Quill": "application/x-mspublisher",
    "MatOST": "application/vnd.ms-works",
    "BodyText": "application/x-hwp",
    "StarWriterDocument": "application/vnd.stardivision.writer",
    "StarCalcDocument": "application/vnd.stardivision.calc",
    "StarDrawDocument3": "application/vnd.stardivision.impress",
    "RevitPreview4.0": "application/vnd.autodesk.revit",
    "SwDocContentMgr": "application/x-solidworks",
    "ClassDirectory3": "application/x-3dsmax",
    "Catalog": "application/x-thumbs-db",
}
_CLASSES: Final = {
    "84100c0000000000c000000000000046": "application/x-msi",
    "86100c0000000000c000000000000046": "application/x-msi",
    "82100c0000000000c000000000000046": "application/x-msi",
    "3a8fb774c8c8d111be1100c04fb6faf1": "application/vnd.ms-project",
    "0006f04600000000c000000000000046": "application/vnd.ms-outlook",
    "0112020000000000c000000000000046": "application/x-mspublisher",
}


def _tree(entries: list[bytes]) -> set[int]:
    """Return the numbers of the root's own entries."""
    waiting, seen = [int.from_bytes(entries[0][76:80], "little")] if entries else [], set[int]()
    while waiting:
        number = waiting.pop()
        if 0 < number < len(entries) and number not in seen:
            seen.add(number)
            waiting += struct.unpack_from("<II", entries[number], 68)
    return seen


def _entry_name(entry: bytes) -> str:
    size = min(int.from_bytes(entry[64:66], "little"), 64)
    is_used = size > 0 and entry[66] in (1, 2, 5)
    return entry[: size - 2].decode("utf-16-le", "replace").lstrip("\x01\x02\x05") if is_used else ""


def ole_file(sample: Sample) -> Finding:
    """Return the type by the names of the streams, or by the class of the root."""
    if len(sample.head) < 512:
        return Finding(_OLE, _ENCRYPTED)
    shift, first = struct.unpack_from("<H", sample.head, 30)[0], struct.unpack_from("<I", sample.head, 48)[0]
    if shift not in (9, 12) or first > 0xFFFFFFF0:
        return Finding(_OLE, _ENCRYPTED)
    directory = sample.at((first + 1) << shift, 4096)
    entries = [directory[start : start + 128] for start in range(0, len(directory) - 127, 128)]
    # Those of the root alone, since a document may contain others; all of them if its tree cannot be read.
    own = _tree(entries) or {*range(len(entries))}
    names = {name for number, entry in enumerate(entries) if number in own and (name := _entry_name(entry))}
    found = next((_CLASSES[each] for each in (entry[80:96].hex() for entry in entries[:1]) if each in _CLASSES), None)
    if "EncryptedPackage" in names:
        return Finding(_OLE, _ENCRYPTED)
    found = next((media_type for name, media_type in _STREAMS.items() if name in names), found)
    # Without a known name, it may be any kind of this container.
    return Finding(found, (found,)) if found else Finding(_OLE, (_OLE,) if names else _ENCRYPTED)
