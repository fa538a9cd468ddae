"""`WithThumbnailFilter`: a thumbnail stored with the file, as in filedepot."""

from __future__ import annotations

from depot_lite import images
from depot_lite.depots import Depots
from depot_lite.fields.interfaces import FileFilter
from depot_lite.fields.upload import UploadedFile, at_hand
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.content import Content


class WithThumbnailFilter(FileFilter):
    """A thumbnail with each image, described by the keys ``thumb_128x128_id``, ``..._path`` and ``..._url``.

    A column may have several, of different sizes. Each decodes the image again; for the ``variants`` of an
    `UploadedImage` it is decoded once.

    Args:
        size: the maximum width and height in pixels, which become part of the keys.
        format: one of `depot_lite.images.recipes.OUTPUT_FORMATS`.

    Raises:
        ConfigurationError: the size or the format is invalid.
    """

    def __init__(self, size: tuple[int, int] = (128, 128), format: str = "PNG") -> None:  # noqa: A002  # filedepot's name
        self.thumbnail_size = size
        self.thumbnail_format = format
        width, height = size
        self._recipe = Thumbnail(width, height, format=format)
        self._name = f"thumb_{width}x{height}"

    def on_save(self, uploaded_file: UploadedFile) -> None:
        """Make the thumbnail and store it.

        The row keeps the URL of the middleware, without a host, since a URL of the storage may expire; None if there is
        no middleware, or the depot is private, so that this one would expire too. The attribute has the present URL.

        Raises:
            ImageRefused: the file is not an image, is truncated, or has too many pixels.
        """
        content = Content.of(uploaded_file.original_content)
        if content.rereadable:
            thumbnail = self._render(content)
        else:  # a stream, which was consumed when the file was stored
            with Depots.get_file(uploaded_file["path"]) as stored:
                thumbnail = self._render(Content.of(stored))
        filename = f"{self._name}.{self.thumbnail_format.lower()}"
        path, file_id = uploaded_file.store_content(thumbnail.data, filename, thumbnail.content_type)
        uploaded_file[f"{self._name}_id"] = file_id
        uploaded_file[f"{self._name}_path"] = path
        lasting = Depots.has_middleware() and Depots.visibility(uploaded_file["depot_name"]) != "private"
        uploaded_file[f"{self._name}_url"] = Depots.path_for(path) if lasting else None  # filedepot's key

    def _render(self, content: Content) -> images.Rendition:
        with at_hand(content) as source, source.open() as file:
            return images.render(file, {self._name: self._recipe})[1][self._name]
