"""Rendering: variants on demand are made, once per process, and stored beside their originals.

The id of the file is derived from the original's and the recipe, so that two processes that make the same variant store
one file. A version of it is never half visible, since storages have none. When it is stored, the original is looked for
once more: it may have been deleted meanwhile, with all variants that existed then.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import PurePath
from typing import Final

from depot_lite.concurrency.pools import ThreadPool
from depot_lite.errors import ImageRefused, ImagesBusy, StoredFileNotFound
from depot_lite.focus import split_point
from depot_lite.io.content import Content
from depot_lite.io.fileid import check_file_id, derived_id, is_derived_id, is_upload_id
from depot_lite.io.interfaces import StoredFile
from depot_lite.registry import Depot
from depot_lite.renditions import Declaration, declarations, declared_names

_log: Final = logging.getLogger("depot_lite")

#: Variants that are made at a time; some of them wait for their storage, or for memory (`depot_lite.images.budget`).
_AT_ONCE: Final = max(4, os.cpu_count() or 1)

#: Variants that may wait for their turn.
_MOST: Final = 1000

#: Seconds for which a file that was refused is not decoded again, and how many of them are remembered.
_REMEMBERED: Final = 300.0
_MOST_REMEMBERED: Final = 1000

#: Fingerprints of recipes without a declaration that are logged: anybody can invent others.
_MOST_LOGGED: Final = 100

_POOL: Final = ThreadPool("depot_lite variants", _AT_ONCE, awaited=True)
_lock: Final = threading.Lock()
#: Storage and id of the variants that are being made.
_making: Final[dict[tuple[int, str], Future[None]]] = {}
#: Depot and id of the variants that could not be made -> when, and why.
_refused: Final[OrderedDict[tuple[str, str], tuple[float, str]]] = OrderedDict()
_unknown: Final[set[str]] = set()


def make(depot: Depot, file_id: str, fingerprint: str) -> Future[None]:
    """Return the future of making a variant, which is done when its file can be read. It must not be cancelled.

    Calls before its end get the same one. It raises:

    - StoredFileNotFound: there is no such original, it is a variant on demand itself, or the recipe is not declared in
      this process.
    - ImageRefused: the original is no image, or breaks a limit. It is not decoded again for some minutes.
    - ImagesBusy: too many other images are being decoded.
    - StorageFailed: the storage failed.
    """
    variant = derived_id(file_id, fingerprint)
    key = id(depot.storage), variant
    error = _known_error(depot, file_id, fingerprint)
    with _lock:
        if error is None and (known := _making.get(key)) is not None:
            return known
        if error is None and len(_making) >= _MOST:
            error = ImagesBusy(f"{depot.name}/{variant} was not made: {_MOST} others wait")
        future: Future[None] = Future()
        if error is not None:
            future.set_exception(error)
            return future
        _making[key] = future
    context = contextvars.copy_context()
    try:
        _POOL.submit(context.run, _run, key, future, depot, file_id, fingerprint)
    except BaseException as failed:  # the system has no more threads
        _finish(key, future, failed)
    return future


def made_file(depot: Depot, file_id: str, fingerprint: str) -> StoredFile:
    """Return the file of a variant, which is made if it is not there.

    Raises:
        StoredFileNotFound: it cannot be made, or its original does not exist.
        ImagesBusy: too many other images are being decoded.
        StorageFailed: the storage failed.
    """
    variant = derived_id(file_id, fingerprint)
    try:
        return depot.storage.get(variant)
    except StoredFileNotFound:
        pass
    try:
        make(depot, file_id, fingerprint).result()
    except ImageRefused as error:
        raise StoredFileNotFound(f"file {variant} cannot be made of {depot.name}/{file_id}: {error}") from error
    return depot.storage.get(variant)


def _known_error(depot: Depot, file_id: str, fingerprint: str) -> Exception | None:
    """Return the error of a variant that cannot be made, as far as it is known without the storage."""
    original = check_file_id(file_id)
    if is_derived_id(original) or is_upload_id(original):
        # Else one image would have as many files as a client asks for, and nothing would delete them with it.
        return StoredFileNotFound(f"{depot.name}/{file_id} is no original, so it has no variants")
    if not declarations(fingerprint):
        _log_unknown(depot, file_id, fingerprint)
        return StoredFileNotFound(f"no column declares a recipe with the fingerprint {fingerprint}")
    with _lock:
        when, reason = _refused.get((depot.name, derived_id(file_id, fingerprint)), (0.0, ""))
    return ImageRefused(reason, rule="decodable") if when and time.monotonic() < when + _REMEMBERED else None


def _log_unknown(depot: Depot, file_id: str, fingerprint: str) -> None:
    fingerprint, _ = split_point(fingerprint)
    with _lock:
        if fingerprint in _unknown or len(_unknown) >= _MOST_LOGGED:
            return
        _unknown.add(fingerprint)
    known = ", ".join(f"{each} ({name})" for each, name in declared_names().items()) or "none"
    _log.warning(
        "a variant of %s/%s was requested, but no column in this process declares its recipe %s on demand: import the "
        "models where files are served, unless the recipe has changed. Declared: %s",
        depot.name,
        file_id,
        fingerprint,
        known,
    )


def _run(key: tuple[int, str], future: Future[None], depot: Depot, file_id: str, fingerprint: str) -> None:
    error: BaseException | None = None
    try:
        _make(depot, file_id, fingerprint)
    except BaseException as failed:
        error = failed
    if isinstance(error, ImageRefused):
        _remember(depot, file_id, key[1], error)
    _finish(key, future, error)


def _finish(key: tuple[int, str], future: Future[None], error: BaseException | None) -> None:
    # Out of the dictionary first, so that later calls find the file, or try again.
    with _lock:
        _making.pop(key, None)
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _make(depot: Depot, file_id: str, fingerprint: str) -> None:
    storage, variant = depot.storage, derived_id(file_id, fingerprint)
    if storage.exists(variant):  # since the request looked for it
        return
    with storage.get(file_id) as original:
        content = _rendered(original, declarations(fingerprint))
    storage.save(content, file_id=variant)
    if not storage.exists(file_id):
        storage.delete(variant)
        raise StoredFileNotFound(f"file {file_id} was deleted from {storage!r} while a variant of it was made")


def _rendered(original: StoredFile, declared: tuple[Declaration, ...]) -> Content:
    """Return the rendition of an original, by the first class of values that accepts it."""
    refusals: list[ImageRefused] = []
    for each in declared:
        try:
            rendition = each.maker.rendition_of(original, each.recipe)
        except ImageRefused as error:
            refusals.append(error)
            continue
        name = f"{PurePath(original.filename).stem}-{each.name}{rendition.extension}"
        return Content.of(rendition.data, name, rendition.content_type)
    raise refusals[0]


def _remember(depot: Depot, file_id: str, variant: str, error: ImageRefused) -> None:
    with _lock:
        _refused[depot.name, variant] = time.monotonic(), error.message
        _refused.move_to_end((depot.name, variant))
        while len(_refused) > _MOST_REMEMBERED:
            _refused.popitem(last=False)
    _log.warning("no variant of %s/%s can be made: %s", depot.name, file_id, error.message)


def _forget_parent() -> None:
    _making.clear()  # its threads are not in the child
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_parent)
