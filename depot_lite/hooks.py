"""`LaterHooks`: the functions that take work after a COMMIT, for a task queue: deletions, and later variants."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal

from depot_lite.errors import ConfigurationError
from depot_lite.registry import CurrentConfiguration


class LaterHooks(CurrentConfiguration):
    """The hooks that take work after a COMMIT; part of `DepotManager`."""

    @classmethod
    def set_delete_later(cls, hook: Callable[[list[str]], object] | None) -> None:
        """Let a function take the files that a COMMIT has condemned, instead of deleting them immediately.

        The function passes their paths (``depot_name/file_id``) to a task queue, whose task calls `delete_files`. It is
        called after the outermost COMMIT, with at most 1000 paths at a time, in the thread that committed; under
        ``AsyncSession`` in a thread beside the event loop. Its result is ignored. If it raises, the error is logged and
        the files are deleted immediately. Files of a transaction that rolled back, and adopted direct uploads, never go
        through it.

        Args:
            hook: the function, which replaces the previous one; None deletes in the thread that commits again.

        Raises:
            ConfigurationError: ``hook`` cannot be called, or has to be awaited.
        """
        if hook is not None:
            check_hook("delete_later", hook, "a list of paths")
        with cls._lock:
            cls._set(delete_later=hook)

    @classmethod
    def get_delete_later(cls) -> Callable[[list[str]], object] | None:
        """Return the function set by `set_delete_later`, None if files are deleted immediately."""
        return cls._state.delete_later

    @classmethod
    def set_process_later(cls, hook: Callable[..., object] | None, *, fallback: Literal["now", "none"] = "now") -> None:
        """Let a function take files whose variants or facts are made after a COMMIT, instead of making them there.

        The function passes its arguments to a task queue, whose task calls `depot_lite.maintenance.make_variants` with
        them. It is called after the outermost COMMIT, once for each stored file with ``make="later"`` variants or
        ``run="later"`` analyzers, in the thread that committed; under ``AsyncSession`` in a thread beside the event
        loop. Its result is ignored. Files of a transaction that rolled back never go through it.

        It gets four JSON values: the model, as ``"package.module:Class"``; the primary key, as a list, or None if it is
        not known or has no form in JSON; the name of the attribute; and the path of the file.

        Args:
            hook: the function, which replaces the previous one; with None variants and facts are made before
                ``commit()`` returns.
            fallback: if the hook raises, the error is logged, and variants and facts are made at once (``"now"``), or
                left to `make_missing_variants` and `add_missing_facts` of `depot_lite.maintenance` (``"none"``).

        Raises:
            ConfigurationError: ``hook`` cannot be called, or has to be awaited, or ``fallback`` is something else.
        """
        if hook is not None:
            check_hook("process_later", hook, "a model, a primary key, an attribute and a path")
        if fallback not in ("now", "none"):
            raise ConfigurationError(f"process_later: fallback={fallback!r}: expected 'now' or 'none'")
        with cls._lock:
            cls._set(process_later=hook, processes_if_refused=fallback == "now")

    @classmethod
    def get_process_later(cls) -> Callable[..., object] | None:
        """Return the function set by `set_process_later`, None if variants and facts are made immediately."""
        return cls._state.process_later

    @classmethod
    def _processes_if_refused(cls) -> bool:
        return cls._state.processes_if_refused


def check_hook(name: str, hook: object, arguments: str) -> None:
    """Raise ConfigurationError if a hook cannot be called after a COMMIT.

    Args:
        name: of the hook, for messages.
        hook: called there.
        arguments: the arguments that it is called with, for messages.
    """
    if not callable(hook):
        raise ConfigurationError(f"{name}: expected a function that takes {arguments}, got {hook!r}")
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        raise ConfigurationError(
            f"{name}: {hook!r} has to be awaited, but nothing awaits it after a COMMIT: expected an ordinary "
            "function, also under AsyncSession, where it runs in a thread"
        )
