"""The first page of a PDF, by pypdfium2 (the PDF library of Chromium)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused

if TYPE_CHECKING:
    from PIL import Image

#: The longest side of a page, in pixels.
_SIDE: Final = 2000


def library() -> Any:
    """Return the library, imported at the first call.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise ConfigurationError("previews of PDF need pypdfium2: pip install 'depot_lite[pdf]'") from error
    return pypdfium2


def first_page(file: BinaryIO) -> Image.Image:
    """Return the first page on white, with annotations and the contents of its forms. Scripts do not run.

    Raises:
        ImageRefused: the document has no first page, or is encrypted.
    """
    pdfium = library()
    try:
        document = pdfium.PdfDocument(file)
        document.init_forms()
        page = document[0]
        width, height = page.get_size()
        if not (width > 0 and height > 0):
            raise ImageRefused("the page has no size", rule="decodable")
        bitmap = page.render(scale=_SIDE / max(width, height), fill_color=(255, 255, 255, 255), rev_byteorder=True)
    except pdfium.PdfiumError as error:
        raise ImageRefused("the document is encrypted or broken", rule="decodable") from error
    picture: Image.Image = bitmap.to_pil().convert("RGB")
    for each in (bitmap, page, document):
        each.close()
    return picture
