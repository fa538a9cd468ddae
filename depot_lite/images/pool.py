"""`WorkerPool`: the worker processes of one kind, shared by the threads of this process."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from depot_lite.errors import ConfigurationError, ImageRefused, ImagesBusy
from depot_lite.images.budget import MAX_WAIT
from depot_lite.images.processes import BadAnswer, Options, Question, Unanswered, WorkerProcess

_log = logging.getLogger("depot_lite")


class WorkerPool:
    """The worker processes of one kind, started when they are needed. A context manager that ends them."""

    #: The class of its processes.
    process: ClassVar[type[WorkerProcess]] = WorkerProcess

    def __init__(self, options: Options) -> None:
        self.options = options
        self._workers: list[WorkerProcess] = []
        self.reset()

    def reset(self) -> None:
        """Forget the workers: after a fork, they are those of the parent process."""
        for worker in self._workers:
            worker.forget()
        self._workers = []
        self._idle: list[WorkerProcess] = []
        self._closed = False
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self.options.workers)
        # One worker is left to small images, unless there is only one.
        self._free_for_large = threading.BoundedSemaphore(max(1, self.options.workers - 1))

    def ask(self, question: Question, *, large: bool) -> Any:
        """Return the answer of a worker that is free.

        Args:
            large: whether one worker is left to others.

        Raises:
            ImageRefused: as from the function that is called; by the rule ``"memory"``, ``"time"`` or ``"decodable"``
                also if the worker reached a limit or crashed.
            ImagesBusy: all workers were busy for too long.
            ConfigurationError: a worker cannot start.
        """
        with self._entered(self._free_for_large) if large else contextlib.nullcontext(), self._entered(self._free):
            return self._ask(question)

    @contextlib.contextmanager
    def _entered(self, semaphore: threading.BoundedSemaphore) -> Iterator[None]:
        if not semaphore.acquire(timeout=MAX_WAIT):
            raise ImagesBusy(f"the {self.process.subject} was not decoded: others were, for {MAX_WAIT:g} seconds")
        try:
            yield
        finally:
            semaphore.release()

    def _ask(self, question: Question) -> Any:
        worker, is_new = self._take()
        try:
            return self._answer(worker, question)
        except Unanswered:
            if is_new or worker.has_begun:
                raise worker.refusal() from None
        # It was ended while it was idle, for lack of memory, say. An image at which a worker ends has no second one.
        worker, _ = self._take(new=True)
        try:
            return self._answer(worker, question)
        except Unanswered:
            raise worker.refusal() from None

    def _answer(self, worker: WorkerProcess, question: Question) -> Any:
        keep = False
        try:
            answer = worker.ask(question)
            keep = True
            return answer
        except (ImageRefused, ConfigurationError):
            keep = True
            raise
        except BadAnswer as error:
            subject = self.process.subject
            _log.warning("a worker for %ss gave an invalid answer, and was ended", subject, exc_info=error)
            raise ImageRefused(f"the {subject} is broken or truncated", rule="decodable") from None
        finally:
            with self._lock:
                keep = keep and not self._closed
                if keep:
                    self._idle.append(worker)
            if not keep:
                self._end(worker)

    def _take(self, *, new: bool = False) -> tuple[WorkerProcess, bool]:
        with self._lock:
            while self._idle and not new:
                worker = self._idle.pop()
                if worker.is_alive:
                    return worker, False
                self._workers.remove(worker)
                worker.end()
        worker = self.process(self.options)
        with self._lock:
            self._workers.append(worker)
        return worker, True

    def _end(self, worker: WorkerProcess) -> None:
        with self._lock:
            if worker in self._workers:
                self._workers.remove(worker)
        worker.end()

    def close(self) -> None:
        """End the workers, each when it has done its work."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            self._end(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
