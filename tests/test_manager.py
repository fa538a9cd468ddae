"""DepotManager: names, settings, aliases, errors, threads."""

from __future__ import annotations

import configparser
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import depot_lite.settings
from depot_lite import (
    AlreadyConfigured,
    ConfigurationError,
    DepotManager,
    FileStorage,
    InvalidFileId,
    StoredFileNotFound,
    UnknownBackend,
    UnknownDepot,
)
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.registry import differences

MEMORY = "depot_lite.io.memory.MemoryFileStorage"
THIS = __name__


class PickyStorage(MemoryFileStorage):
    """A storage with options of each kind, which quotes the values that it refuses."""

    def __init__(self, bucket: str, *, secret_key: str = "", url: str = "") -> None:
        super().__init__()
        if bucket == "refused":
            raise ValueError(f"bucket {bucket!r} refused with secret {secret_key!r} at {url!r}")
        if bucket == "typed":
            raise TypeError("a bucket has no type")
        self.bucket = bucket


class NotAStorage:
    """A class that a wrong dotted name may lead to."""


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    """Begin with no depot, and leave the manager as it was."""
    snapshot = DepotManager._snapshot()
    DepotManager._clear()
    yield
    DepotManager._restore(snapshot)


@pytest.fixture(autouse=True)
def this_module_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the storages of this file be found by dotted name, however pytest was told to import it."""
    monkeypatch.setitem(sys.modules, "storages_of_tests", sys.modules[THIS])


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make a module with this name and source, for the time of the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        # Registered first, so that whatever the import leaves is taken away again.
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]

    return write


def memory(name: str) -> FileStorage:
    return DepotManager.configure(name, MemoryFileStorage())


class TestFind:
    def test_a_depot_is_found_by_its_name_by_an_alias_and_as_the_default(self) -> None:
        storage = DepotManager.configure("media", MemoryFileStorage(), visibility="private")
        memory("archive")
        DepotManager.alias("current", "media")
        DepotManager.alias("photos", "current")
        found = DepotManager.find("photos")
        assert (found.name, found.storage, found.visibility) == ("media", storage, "private")
        assert DepotManager.find("media") is DepotManager.find() is found
        DepotManager.alias("current", "archive")
        assert DepotManager.find("photos").name == "archive"
        DepotManager.set_default("photos")
        assert DepotManager.find().name == "archive"


class TestConfigure:
    def test_the_first_depot_becomes_the_default(self) -> None:
        first, second = memory("first"), memory("second")
        assert DepotManager.get_default() == "first"
        assert DepotManager.get() is first
        assert DepotManager.get("second") is second

    def test_settings_may_be_strings(self, tmp_path: Path) -> None:
        """An .ini file, whose values are all strings, configures a depot that works."""
        parser = configparser.ConfigParser()
        parser.read_string(f"[app]\ndebug = true\ndepot.storage_path = {tmp_path}\ndepot.durable = false\n")
        depot = DepotManager.configure("default", parser["app"])
        file_id = depot.create(b"hello", "hello.txt")
        assert [str(each) for each in depot.list()] == [file_id]

    def test_the_backend_is_local_where_none_is_named(self, tmp_path: Path) -> None:
        depot = DepotManager.configure("default", {"depot.storage_path": tmp_path})
        assert isinstance(depot, LocalFileStorage)
        assert depot.storage_path == str(tmp_path)

    @pytest.mark.parametrize("backend", [MEMORY, "depot.io.memory.MemoryFileStorage", MemoryFileStorage])
    def test_a_backend_is_a_class_or_its_name_also_filedepots(self, backend: object) -> None:
        assert type(DepotManager.configure("default", {"depot.backend": backend})) is MemoryFileStorage

    def test_a_backend_may_be_anybodys_class(self) -> None:
        settings = {"depot.backend": "storages_of_tests.PickyStorage", "depot.bucket": "b"}
        depot = DepotManager.configure("default", settings)
        assert isinstance(depot, PickyStorage)
        assert depot.bucket == "b"

    def test_a_ready_storage_is_taken_as_it_is(self) -> None:
        storage = MemoryFileStorage()
        assert DepotManager.configure("default", storage) is storage
        assert DepotManager.get("default") is storage

    @pytest.mark.parametrize("prefix", ["", "files.", "depot.archive."])
    def test_the_prefix_is_whatever_the_settings_have(self, prefix: str, tmp_path: Path) -> None:
        depot = DepotManager.configure("default", {f"{prefix}storage_path": tmp_path}, prefix=prefix)
        assert isinstance(depot, LocalFileStorage)

    def test_the_settings_are_left_as_they_were(self) -> None:
        settings = {"depot.backend": MEMORY, "depot.anything": "1", "other": "2"}
        before = dict(settings)
        DepotManager.configure("default", settings)
        assert settings == before

    def test_from_config_configures_nothing(self) -> None:
        depot = DepotManager.from_config({"depot.backend": MEMORY})
        assert depot.get(depot.create(b"alone")).read() == b"alone"
        with pytest.raises(ConfigurationError):
            DepotManager.get()

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (LocalFileStorage, "depot_lite.io.local.LocalFileStorage"),
            (Path("media"), "media"),
            (10, "10"),
            (0.5, "0.5"),
            (True, "true"),
        ],
    )
    def test_the_same_settings_may_be_text(self, one: object, other: object) -> None:
        assert differences({"option": one}, {"option": other}) == differences({"option": other}, {"option": one}) == ""
        for different in (None, 11, "false", False, Path("other"), "1", FileStorage):
            assert differences({"option": one}, {"option": different}) == "option"

    def test_a_depot_is_configured_again_with_a_path_as_text(self, tmp_path: Path) -> None:
        storage = DepotManager.configure("default", {"depot.backend": LocalFileStorage, "depot.storage_path": tmp_path})
        settings = {"depot.backend": "depot_lite.io.local.LocalFileStorage", "depot.storage_path": str(tmp_path)}
        assert DepotManager.configure("default", settings) is storage
        with pytest.raises(AlreadyConfigured, match="with another storage_path:"):
            DepotManager.configure("default", {**settings, "depot.storage_path": str(tmp_path / "other")})

    def test_a_name_is_taken_once(self) -> None:
        storage = memory("default")
        with pytest.raises(
            AlreadyConfigured,
            match=r"depot 'default' has already been configured, with another .*in tests, use .*temporary_depots",
        ):
            memory("default")
        assert DepotManager.get("default") is storage

    def test_a_name_that_is_an_alias_is_taken_too(self) -> None:
        memory("default")
        DepotManager.alias("uploads", "default")
        with pytest.raises(AlreadyConfigured, match="'uploads' is an alias of 'default'"):
            memory("uploads")

    @pytest.mark.parametrize("name", ["", "a/b", "/", ".", "..", "a\nb", "nul\0", "del\x7f", None, 3])
    def test_a_name_that_cannot_be_in_a_path_is_refused(self, name: Any) -> None:
        memory("default")
        with pytest.raises(ConfigurationError, match="name of a depot"):
            memory(name)
        with pytest.raises(ConfigurationError, match="name of a"):
            DepotManager.alias(name, "default")

    @pytest.mark.parametrize("name", ["default", "a.b", "...", "with space", "größe", "a:b"])
    def test_other_names_are_taken(self, name: str) -> None:
        file_id = memory(name).create(b"x")
        assert DepotManager.get_file(f"{name}/{file_id}").read() == b"x"

    def test_a_depot_that_failed_leaves_nothing(self) -> None:
        with pytest.raises(ConfigurationError):
            DepotManager.configure("default", {"depot.backend": PickyStorage})
        storage = memory("default")
        assert DepotManager.get() is storage


class TestSettingsThatCannotWork:
    def refusal(self, settings: Any, prefix: str = "depot.") -> ConfigurationError:
        with pytest.raises(ConfigurationError) as caught:
            DepotManager.configure("photos", settings, prefix)
        assert "depot 'photos'" in str(caught.value)
        return caught.value

    def test_an_unknown_option_is_named_beside_those_there_are(self) -> None:
        error = self.refusal({"depot.backend": PickyStorage, "depot.bucket": "b", "depot.bukket": "c"})
        assert "unknown option 'bukket'; the options are 'bucket', 'secret_key', 'url'" in str(error)

    def test_a_class_that_takes_anything_gets_anything(self) -> None:
        DepotManager.configure("photos", {"depot.backend": MEMORY, "depot.whatever": "1"})

    def test_a_missing_option_is_named(self) -> None:
        assert "option 'bucket' is missing" in str(self.refusal({"depot.backend": PickyStorage}))
        assert "option 'storage_path' is missing" in str(self.refusal({}))

    @pytest.mark.parametrize("bucket", ["refused", "typed"])
    def test_what_the_storage_refuses_is_chained(self, bucket: str) -> None:
        error = self.refusal({"depot.backend": PickyStorage, "depot.bucket": bucket})
        assert isinstance(error.__cause__, ValueError | TypeError)
        assert str(error.__cause__) in str(error)

    def test_a_storages_own_configuration_error_names_the_depot_too(self) -> None:
        error = self.refusal({"depot.storage_path": ""})
        assert isinstance(error.__cause__, ConfigurationError)

    @pytest.mark.parametrize("option", ["secret_key", "url"])
    def test_a_secret_is_in_no_message_and_no_traceback(self, option: str) -> None:
        secret = "mongodb://me:hunter2hunter2@host/"
        error = self.refusal({"depot.backend": PickyStorage, "depot.bucket": "refused", f"depot.{option}": secret})
        shown = "".join(traceback.format_exception(error))
        assert f"<{option}>" in str(error)
        # The line of the traceback that shows this file's source is not meant: there is no secret in it.
        assert "hunter2" not in shown

    def test_the_value_of_an_unknown_option_is_not_told(self) -> None:
        error = self.refusal({"depot.backend": PickyStorage, "depot.bucket": "b", "depot.pasword": "hunter2"})
        assert "hunter2" not in str(error)

    def test_settings_without_the_prefix_get_a_hint(self) -> None:
        error = self.refusal({"storage_path": "/media", "backend": MEMORY})
        assert "none of the 2 settings begins with 'depot.'" in str(error)
        assert "'depot.storage_path'" in str(error)

    @pytest.mark.parametrize("settings", [None, "depot", ["depot.backend"], MemoryFileStorage])
    def test_settings_that_are_none_are_refused(self, settings: object) -> None:
        assert "expected a settings dictionary or a storage, got" in str(self.refusal(settings))


class TestBackendsThatCannotBeLoaded:
    def refusal(self, backend: object) -> ConfigurationError:
        with pytest.raises(ConfigurationError) as caught:
            DepotManager.configure("photos", {"depot.backend": backend})
        assert "depot 'photos'" in str(caught.value)
        return caught.value

    @pytest.mark.parametrize("backend", ["", "Storage", "a..b", ".io.local.LocalFileStorage", "a.b c", "../x.Y"])
    def test_what_is_no_dotted_name_is_refused(self, backend: str) -> None:
        error = self.refusal(backend)
        assert isinstance(error, UnknownBackend)
        assert f"{backend!r} is not the dotted name of a class" in str(error)

    @pytest.mark.parametrize(
        ("backend", "missing"),
        [
            ("no_such_package.Storage", "no_such_package"),
            ("no_such_package.storages.Storage", "no_such_package"),
            ("depot_lite.io.no_such_module.Storage", "depot_lite.io.no_such_module"),
            ("depot_lite.errors.below.Storage", "depot_lite.errors.below"),
        ],
    )
    def test_a_module_that_is_not_there_is_named_beside_what_there_is(self, backend: str, missing: str) -> None:
        error = self.refusal(backend)
        assert isinstance(error, UnknownBackend)
        assert f"there is no module {missing!r}" in str(error)
        assert MEMORY in str(error)

    def test_a_class_that_is_not_there_is_named(self) -> None:
        error = self.refusal("depot_lite.io.local.S3Storage")
        assert isinstance(error, UnknownBackend)
        assert "depot_lite.io.local has no class 'S3Storage'" in str(error)

    @pytest.mark.parametrize(
        "backend", ["storages_of_tests.NotAStorage", NotAStorage, "storages_of_tests.MEMORY", 3, None]
    )
    def test_what_is_no_storage_class_is_refused(self, backend: object) -> None:
        error = self.refusal(backend)
        assert isinstance(error, UnknownBackend)
        assert "is not a subclass of FileStorage" in str(error)

    def test_an_unfinished_storage_class_is_refused(self) -> None:
        assert "abstract" in str(self.refusal(FileStorage))

    @pytest.mark.parametrize("missing", ["no_such_library", "no_such_library.client"])
    def test_an_import_that_fails_inside_a_backend_is_told_from_a_missing_backend(
        self, missing: str, write_module: Callable[[str, str], None]
    ) -> None:
        write_module("lame_backend", f"import {missing}\n")
        error = self.refusal("lame_backend.Storage")
        assert not isinstance(error, UnknownBackend)
        assert isinstance(error.__cause__, ModuleNotFoundError)
        assert "importing lame_backend failed: No module named 'no_such_library'" in str(error)

    def test_a_name_that_an_import_does_not_find_is_told_too(self, write_module: Callable[[str, str], None]) -> None:
        write_module("old_backend", "from os import no_such_name\n")
        error = self.refusal("old_backend.Storage")
        assert isinstance(error.__cause__, ImportError)
        assert "importing old_backend failed: cannot import name 'no_such_name'" in str(error)

    def test_a_missing_extra_is_named(
        self, write_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A backend of ours whose library is not installed says how to install it."""
        write_module("lame_backend", "import no_such_library\n")
        monkeypatch.setitem(depot_lite.settings._EXTRAS, "lame_backend", "s3")
        assert "pip install 'depot_lite[s3]'" in str(self.refusal("lame_backend.Storage"))


class TestGet:
    def test_an_unknown_depot_is_named_beside_those_there_are(self) -> None:
        memory("default")
        DepotManager.alias("uploads", "default")
        with pytest.raises(UnknownDepot) as caught:
            DepotManager.get("defualt")
        assert str(caught.value) == "there is no depot 'defualt'; configured: 'default', 'uploads' (alias of 'default')"

    @pytest.mark.parametrize("ask", [DepotManager.get, DepotManager.get_default])
    def test_the_default_of_nothing_is_an_error(self, ask: Callable[[], object]) -> None:
        with pytest.raises(ConfigurationError, match=r"no depot has been configured: call DepotManager\.configure"):
            ask()

    def test_a_name_is_unknown_where_nothing_is_configured(self) -> None:
        with pytest.raises(UnknownDepot, match=r"there is no depot 'default'; none has been configured"):
            DepotManager.get("default")

    def test_filedepots_except_clauses_go_on_working(self) -> None:
        with pytest.raises(RuntimeError):
            DepotManager.get_default()
        with pytest.raises(RuntimeError):
            DepotManager.set_default("nowhere")
        with pytest.raises(ValueError, match="nowhere"):
            DepotManager.alias("uploads", "nowhere")


class TestDefault:
    def test_it_can_be_set(self) -> None:
        memory("first")
        second = memory("second")
        DepotManager.set_default("second")
        assert DepotManager.get_default() == "second"
        assert DepotManager.get() is second

    def test_an_unknown_one_is_refused_and_the_old_one_stays(self) -> None:
        memory("first")
        with pytest.raises(UnknownDepot):
            DepotManager.set_default("second")
        assert DepotManager.get_default() == "first"

    def test_an_alias_moves_it(self) -> None:
        """A default that is an alias follows it, and its name is always that of a real depot."""
        memory("first")
        second = memory("second")
        DepotManager.alias("uploads", "first")
        DepotManager.set_default("uploads")
        assert DepotManager.get_default() == "first"
        DepotManager.alias("uploads", "second")
        assert DepotManager.get_default() == "second"
        assert DepotManager.get() is second

    def test_a_later_depot_does_not_take_it(self) -> None:
        memory("first")
        DepotManager.alias("uploads", "first")
        DepotManager.set_default("uploads")
        memory("second")
        assert DepotManager.get_default() == "first"


class TestAlias:
    def test_it_leads_to_its_depot(self) -> None:
        storage = memory("default")
        DepotManager.alias("uploads", "default")
        assert DepotManager.get("uploads") is storage
        assert DepotManager.resolve_alias("uploads") == "default"
        assert DepotManager.resolve_alias("default") == "default"

    def test_it_may_lead_to_an_alias(self) -> None:
        memory("a")
        memory("b")
        DepotManager.alias("uploads", "a")
        DepotManager.alias("photos", "uploads")
        assert DepotManager.resolve_alias("photos") == "a"
        DepotManager.alias("uploads", "b")
        assert DepotManager.resolve_alias("photos") == "b"

    def test_an_unknown_name_is_an_error_and_not_none(self) -> None:
        with pytest.raises(UnknownDepot, match="'nowhere'"):
            DepotManager.resolve_alias("nowhere")

    def test_a_depots_name_is_refused(self) -> None:
        first = memory("first")
        memory("second")
        with pytest.raises(AlreadyConfigured, match="'first' is a depot"):
            DepotManager.alias("first", "second")
        assert DepotManager.get("first") is first

    def test_a_name_that_leads_nowhere_is_refused(self) -> None:
        memory("default")
        with pytest.raises(UnknownDepot, match="'nowhere'"):
            DepotManager.alias("uploads", "nowhere")
        with pytest.raises(UnknownDepot, match="'uploads'"):
            DepotManager.get("uploads")

    def test_it_never_leads_back_to_itself(self) -> None:
        memory("default")
        for alias, name in [("a", "default"), ("b", "a"), ("c", "b")]:
            DepotManager.alias(alias, name)
        for alias, name in [("a", "a"), ("a", "b"), ("a", "c"), ("b", "c")]:
            with pytest.raises(ConfigurationError, match="back to itself"):
                DepotManager.alias(alias, name)
        assert DepotManager.resolve_alias("c") == "default"

    def test_uploads_move_and_old_files_stay(self) -> None:
        """Pointing an alias at a new depot sends new files there; the paths of the old ones still lead to them."""
        old, new = memory("old"), memory("new")
        DepotManager.alias("uploads", "old")
        old_path = f"{DepotManager.resolve_alias('uploads')}/{DepotManager.get('uploads').create(b'old')}"
        DepotManager.alias("uploads", "new")
        new_path = f"{DepotManager.resolve_alias('uploads')}/{DepotManager.get('uploads').create(b'new')}"
        assert (len(list(old.list())), len(list(new.list()))) == (1, 1)
        assert DepotManager.get_file(old_path).read() == b"old"
        assert DepotManager.get_file(new_path).read() == b"new"


class TestGetFile:
    def test_a_path_leads_to_its_file_also_through_an_alias(self) -> None:
        file_id = memory("default").create(b"hello", "hello.txt")
        DepotManager.alias("uploads", "default")
        for depot_name in ("default", "uploads"):
            stored = DepotManager.get_file(f"{depot_name}/{file_id}")
            assert (stored.filename, stored.read()) == ("hello.txt", b"hello")

    @pytest.mark.parametrize(
        "path",
        ["", "/", "default", "default/", "/{id}", "default/{id}/", "default/../{id}", "default//{id}", "{id}", None, 3],
    )
    def test_a_malformed_path_is_refused(self, path: Any) -> None:
        file_id = memory("default").create(b"hello")
        with pytest.raises(InvalidFileId):
            DepotManager.get_file(path.format(id=file_id) if isinstance(path, str) else path)

    def test_an_unknown_depot_and_a_missing_file_are_told_apart(self) -> None:
        depot = memory("default")
        file_id = depot.create(b"hello")
        depot.delete(file_id)
        with pytest.raises(StoredFileNotFound):
            DepotManager.get_file(f"default/{file_id}")
        with pytest.raises(UnknownDepot):
            DepotManager.get_file(f"nowhere/{file_id}")


class Urls:
    """A middleware of somebody else, who only knows URLs."""

    def url_for(self, path: str) -> str:
        return f"/files/{path}"


class TestMiddleware:
    def test_it_gives_the_urls(self) -> None:
        urls = Urls()
        DepotManager.set_middleware(urls)
        assert DepotManager.get_middleware() is urls
        assert DepotManager.url_for("default/1") == "/files/default/1"

    def test_a_second_one_is_refused(self) -> None:
        first = Urls()
        DepotManager.set_middleware(first)
        with pytest.raises(AlreadyConfigured, match=r"has already been registered: .*in tests, use .*temporary_depots"):
            DepotManager.set_middleware(Urls())
        with pytest.raises(AlreadyConfigured, match="has already been registered"):
            DepotManager.make_middleware(lambda environ, start_response: [])
        assert DepotManager.get_middleware() is first

    def test_none_is_an_error_that_says_what_to_do(self) -> None:
        message = (
            r"call DepotManager\.make_middleware \(WSGI\) or make_asgi_middleware \(ASGI\) when the application starts"
        )
        with pytest.raises(ConfigurationError, match=message):
            DepotManager.url_for("default/1")

    @pytest.mark.parametrize("name", ["make_middleware", "make_asgi_middleware"])
    def test_an_unknown_option_is_refused_with_the_known_ones(self, name: str) -> None:
        make = getattr(DepotManager, name)
        with pytest.raises(ConfigurationError) as caught:
            make(None, mount="/files", proxy=True)
        unknown, _, known = str(caught.value).partition("; the options are ")
        assert unknown.endswith(": unknown option mount")
        own = {"replace_wsgi_filewrapper"} if name == "make_middleware" else set()
        shared = {"mountpoint", "cache_max_age", "base_url", "proxy", "authorize", "x_sendfile", "x_accel_redirect"}
        shared |= {"uploads_at_once", "upload_idle", "upload_rate"}
        assert {*known.split(", ")} == own | shared
        make(None, proxy=True)


class Awaited:
    """A hook that has to be awaited, and does not look like it."""

    async def __call__(self, paths: list[str]) -> None:
        """Delete nothing, unless somebody awaits."""


async def awaited(paths: list[str]) -> None:
    """Delete nothing, unless somebody awaits."""


class TestDeleteLater:
    def test_there_is_none_until_it_is_set_and_the_last_one_counts(self) -> None:
        assert DepotManager.get_delete_later() is None
        first: list[list[str]] = []
        second: list[list[str]] = []
        for taken in (first, second):
            DepotManager.set_delete_later(taken.append)
        hook = DepotManager.get_delete_later()
        assert hook is not None
        hook(["default/1"])
        assert (first, second) == ([], [["default/1"]])
        DepotManager.set_delete_later(None)
        assert DepotManager.get_delete_later() is None

    @pytest.mark.parametrize("hook", [awaited, partial(awaited), Awaited(), Awaited().__call__])
    def test_what_has_to_be_awaited_is_refused(self, hook: Any) -> None:
        """Nothing would await it after a COMMIT, so that no file would ever be deleted."""
        DepotManager.set_delete_later(print)
        with pytest.raises(ConfigurationError, match="has to be awaited"):
            DepotManager.set_delete_later(hook)
        assert DepotManager.get_delete_later() is print

    @pytest.mark.parametrize("hook", ["tasks.delete_files", 3, [], False])
    def test_what_cannot_be_called_is_refused(self, hook: Any) -> None:
        with pytest.raises(
            ConfigurationError, match=re.escape(f"expected a function that takes a list of paths, got {hook!r}")
        ):
            DepotManager.set_delete_later(hook)

    def test_a_task_learns_what_it_could_not_delete(self) -> None:
        """A depot that its worker does not know keeps nothing else, and is told by path, so that it can try again."""
        depot = memory("default")
        DepotManager.alias("uploads", "default")
        one, two = depot.create(b"one"), depot.create(b"two")
        paths = [f"default/{one}", f"uploads/{two}", "elsewhere/1", "elsewhere/2"]
        for _ in range(2):  # a queue may run a task twice
            failed = DepotManager.delete_files(paths)
            assert {path: type(error) for path, error in failed.items()} == dict.fromkeys(paths[2:], UnknownDepot)
            assert list(depot.list()) == []


class TestSnapshot:
    def test_everything_is_restored(self) -> None:
        storage = memory("default")
        DepotManager.alias("uploads", "default")
        DepotManager.set_middleware(Urls())
        DepotManager.set_delete_later(print)
        snapshot = DepotManager._snapshot()
        DepotManager._clear()
        assert DepotManager.get_delete_later() is None
        memory("other")
        DepotManager.alias("elsewhere", "other")
        DepotManager._restore(snapshot)
        assert DepotManager.get() is DepotManager.get("uploads") is storage
        assert DepotManager.url_for("x") == "/files/x"
        assert DepotManager.get_delete_later() is print
        for gone in ("other", "elsewhere"):
            with pytest.raises(UnknownDepot):
                DepotManager.get(gone)

    def test_clear_forgets_everything(self) -> None:
        memory("default")
        DepotManager.set_middleware(Urls())
        DepotManager._clear()
        for ask in (DepotManager.get, DepotManager.get_default, DepotManager.get_middleware):
            with pytest.raises(ConfigurationError):
                ask()

    def test_a_subclass_has_no_depots_of_its_own(self) -> None:
        class Mine(DepotManager):
            pass

        storage = Mine.configure("default", MemoryFileStorage())
        assert DepotManager.get("default") is storage
        memory("second")
        assert Mine.get("second") is DepotManager.get("second")


def test_the_functions_of_filedepot_are_there() -> None:
    """Who imports the module's functions configures and finds the same depots."""
    manager = depot_lite.manager
    storage = manager.configure("default", MemoryFileStorage())
    other = manager.configure("other", MemoryFileStorage())
    assert manager.get_depot() is storage
    manager.set_default("other")
    assert manager.get_depot() is other
    assert manager.get_file(f"other/{other.create(b'x')}").read() == b"x"


class SlowStorage(MemoryFileStorage):
    """A storage that lets other threads run while it is built, and counts how often it is."""

    def __init__(self, built: list[int]) -> None:
        super().__init__()
        for _ in range(20):
            os.sched_yield()
        built.append(1)


class WaitingStorage(MemoryFileStorage):
    """A storage that is ready when somebody else says so."""

    def __init__(self, started: threading.Event, go_on: threading.Event) -> None:
        super().__init__()
        started.set()
        assert go_on.wait(30)


def together(tasks: Iterable[Callable[[], object]]) -> list[BaseException | None]:
    """Run all at the same time; return what each raised."""
    tasks = list(tasks)
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], object]) -> None:
        barrier.wait(30)
        task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [each.exception() for each in [pool.submit(run, task) for task in tasks]]


class TestThreads:
    @pytest.mark.parametrize("same", [True, False])
    def test_of_many_that_configure_one_name_one_builds_a_storage(self, same: bool) -> None:
        for _ in range(10):
            DepotManager._clear()
            built: list[int] = []
            settings = [
                {"depot.backend": SlowStorage, "depot.built": built, "depot.visibility": "public" if same else each}
                for each in ("public", "private") * 4
            ]
            raised = together([partial(DepotManager.configure, "default", each) for each in settings])
            assert [type(each) for each in raised if each is not None] == [] if same else [AlreadyConfigured] * 4
            assert len(built) == 1

    def test_no_change_is_lost(self) -> None:
        names = [f"depot{number}" for number in range(8)]
        settings = {"depot.backend": SlowStorage, "depot.built": []}
        assert together([partial(DepotManager.configure, name, settings) for name in names]) == [None] * 8
        for name in names:
            assert isinstance(DepotManager.get(name), SlowStorage)

    def test_who_reads_does_not_wait_for_a_depot_that_is_being_built(self) -> None:
        storage = memory("default")
        started, go_on = threading.Event(), threading.Event()
        settings = {"depot.backend": WaitingStorage, "depot.started": started, "depot.go_on": go_on}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(DepotManager.configure, "second", settings)
            try:
                assert started.wait(30)
                assert DepotManager.get() is storage
                with pytest.raises(UnknownDepot):
                    DepotManager.get("second")
            finally:
                go_on.set()
            assert waiting.result(30) is DepotManager.get("second")

    def test_a_storage_may_configure_another_while_it_is_built(self) -> None:
        class Pair(MemoryFileStorage):
            def __init__(self) -> None:
                super().__init__()
                memory("inner")

        outer = DepotManager.configure("outer", {"depot.backend": Pair})
        assert DepotManager.get("outer") is outer
        assert isinstance(DepotManager.get("inner"), MemoryFileStorage)
