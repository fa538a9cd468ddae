"""Requests to one store: synchronous, or awaited under an event loop (`depot_lite.concurrency.greenlets`).

obstore's own threads do the work in either case. A process that is forked after their start has none of them and would
wait for ever, so it refuses every request.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

import obstore
from obstore.store import ObjectStore

from depot_lite.concurrency.greenlets import in_greenlet, wait_for
from depot_lite.errors import ConfigurationError
from depot_lite.io.objects.silence import Silence
from depot_lite.io.objectstore.errors import ERRORS, OBSTORE_ERRORS, seconds_of
from depot_lite.io.objectstore.options import Stores

P = ParamSpec("P")
T = TypeVar("T")

#: The least size of a chunk of a body, and the number of entries in a page of a listing.
_CHUNK: Final = 256 * 1024
_PAGE: Final = 1000


class _Process:
    """The use of obstore in this process and in its parent before the fork."""

    used = False
    forked = False

    def fork(self) -> None:
        self.forked = self.used

    def begin(self) -> None:
        """Record the use of obstore; raise ConfigurationError if it was used before a fork, after which it hangs."""
        if self.forked:
            raise ConfigurationError(
                "obstore was used before this process was forked, and cannot be after it: "
                "let workers load the application (no preloading), or start them by spawning"
            )
        self.used = True


_process: Final = _Process()
os.register_at_fork(after_in_child=_process.fork)


class StoreClient:
    """Requests to one store, synchronous or awaited."""

    def __init__(self, stores: Stores, concurrency: int, silence: Silence) -> None:
        self.store = stores.store
        self._stores = stores
        self._parts_at_once = concurrency
        self._silence = silence

    def _ask(
        self, call: Callable[P, T], awaitable: Callable[P, Awaitable[T]], /, *args: P.args, **options: P.kwargs
    ) -> T:
        _process.begin()
        with self._listening():
            return wait_for(awaitable(*args, **options)) if in_greenlet() else call(*args, **options)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note whether the server answers."""
        began = time.monotonic()
        try:
            yield
        except OBSTORE_ERRORS as error:
            if ERRORS.nobody_answers(error):
                self._silence.missed(began)
            else:
                self._silence.heard()
            raise
        self._silence.heard()

    @contextmanager
    def _sending(self) -> Iterator[None]:
        """Note whether the server answers. Errors of parts only say how long they took."""
        with self._listening():
            try:
                yield
            except OSError as error:
                if seconds_of(error) >= self._silence.patience.timeout / 2:
                    raise TimeoutError(str(error)) from error
                raise

    def put(
        self, key: str, data: bytes, attributes: dict[str, str] | None, mode: obstore.PutMode = "overwrite"
    ) -> None:
        """Store an object with one request; ``create`` replaces none, and a version replaces only that one."""
        self._ask(
            obstore.put,
            obstore.put_async,
            self._stores.uploading,
            key,
            data,
            attributes=cast(Any, attributes),
            mode=mode,
            use_multipart=False,
        )

    def upload(self, key: str, attributes: dict[str, str] | None, part_size: int) -> PartsUpload:
        """Begin to store an object in parts."""
        _process.begin()
        options: dict[str, Any] = {
            "attributes": attributes,
            "buffer_size": part_size,
            "max_concurrency": self._parts_at_once,
        }
        return PartsUpload(self._stores.uploading, key, options, self._sending)

    def get(self, key: str, **options: Any) -> obstore.GetResult:
        """Return an object, whose bytes are on their way; or a range of it, or only its attributes."""
        return self._ask(obstore.get, obstore.get_async, self.store, key, options=cast(Any, options))

    def body(self, result: obstore.GetResult, size: int = _CHUNK) -> Any:
        """Return the body of an answer, for `following`, in chunks of at least ``size`` bytes."""
        return result.stream(min_chunk_size=size)

    def following(self, stream: Any) -> Any:
        """Return the next chunk of a body, or the next page of a listing; None at the end."""
        _process.begin()
        if not in_greenlet():
            return next(cast(Iterator[Any], stream), None)
        return wait_for(anext(cast(AsyncIterator[Any], stream), None))

    def delete(self, keys: list[str]) -> None:
        """Delete objects. Some stores raise if one is missing."""
        self._ask(obstore.delete, obstore.delete_async, self.store, keys)

    def copy(self, source: str, key: str) -> None:
        """Let the store copy an object."""
        self._ask(obstore.copy, obstore.copy_async, self._stores.copying, source, key)

    def pages(self, prefix: str, size: int = _PAGE) -> Iterator[list[obstore.ObjectMeta]]:
        """Yield the objects below a prefix, page by page."""
        _process.begin()
        stream = obstore.list(self.store, prefix=prefix or None, chunk_size=size)
        while (page := self.following(stream)) is not None:
            yield page

    def sign(self, key: str, expiry: Any) -> str:
        """Return a URL that obstore signs."""
        _process.begin()
        return obstore.sign(cast(Any, self.store), "GET", key, expiry)


class PartsUpload:
    """An upload in parts. Its object appears when it is finished."""

    def __init__(
        self,
        store: ObjectStore,
        key: str,
        options: dict[str, Any],
        listening: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._listening = listening
        self._awaited = in_greenlet()
        self._writer: Any = (
            obstore.open_writer_async(store, key, **options)
            if self._awaited
            else obstore.open_writer(store, key, **options)
        )

    def _done(self, result: Any) -> None:
        if self._awaited:
            wait_for(result)

    def write(self, data: bytes) -> None:
        """Send some bytes, once there are enough for a part."""
        with self._listening():
            self._done(self._writer.write(data))

    def finish(self) -> None:
        """Complete the upload, so that the object appears."""
        with self._listening():
            self._done(self._writer.close())

    def abort(self, error: BaseException) -> None:
        """Remove the parts. If that fails too, the first error counts."""
        details: tuple[type[BaseException], BaseException, TracebackType | None] = (
            type(error),
            error,
            error.__traceback__,
        )
        with suppress(Exception), self._listening():
            self._done(self._writer.__exit__(*details) if not self._awaited else self._writer.__aexit__(*details))
