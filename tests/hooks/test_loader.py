"""The loader finds plugins by name and says what is wrong when it cannot."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from trimaran.hooks import hookimpl, loader
from trimaran.hooks.loader import PluginError, Plugins, make_options
from trimaran.hooks.storage import STORAGE_API_VERSION, StoragePlugin


@dataclass(frozen=True)
class Options:
    page_bytes: int = 4096

    def __post_init__(self) -> None:
        if self.page_bytes < 512:
            raise ValueError(f"page_bytes is {self.page_bytes}; at least 512")


def declaration(name: str = "mine", **changes: Any) -> StoragePlugin:
    return StoragePlugin(name, "for tests", None, None, **changes)


def plugin_module(name: str, declared: object) -> ModuleType:
    module = ModuleType(name)

    @hookimpl
    def trimaran_storage() -> object:
        return declared

    module.trimaran_storage = trimaran_storage  # type: ignore[attr-defined]
    return module


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that entry points are installed: install(("name", module or a name that cannot be imported), ...)."""

    def pretend(*points: tuple[str, ModuleType | str]) -> None:
        made = []
        for name, target in points:
            value = target if isinstance(target, str) else target.__name__
            if isinstance(target, ModuleType):
                monkeypatch.setitem(sys.modules, value, target)
            made.append(EntryPoint(name, value, "trimaran.storage"))
        monkeypatch.setattr(loader, "entry_points", lambda group: made if group == "trimaran.storage" else [])

    return pretend


def test_a_plugin_is_loaded_by_name_and_only_that_one(install: Any) -> None:
    mine = declaration()
    install(("mine", plugin_module("mine_plugin", mine)), ("other", "a_module_that_is_not_there"))
    assert Plugins().storage("mine") is mine


def test_two_plugins_of_one_kind_each_answer_for_themselves(install: Any) -> None:
    first, second = declaration("first"), declaration("second")
    install(("first", plugin_module("first_plugin", first)), ("second", plugin_module("second_plugin", second)))
    plugins = Plugins()
    assert plugins.storage("first") is first
    assert plugins.storage("second") is second
    assert plugins.storage("first") is first


def test_a_declaration_may_be_passed_in_place_of_a_name() -> None:
    mine = declaration()
    assert Plugins().storage(mine) is mine


def test_a_missing_plugin_is_told_with_what_is_installed(install: Any) -> None:
    install(("b", "x"), ("a", "x"))
    with pytest.raises(PluginError, match=r"no storage plugin is called 'mine'; installed: a, b\."):
        Plugins().storage("mine")


def test_an_ambiguous_plugin_is_told(install: Any) -> None:
    install(("mine", "x"), ("mine", "y"))
    with pytest.raises(PluginError, match="uninstall all but one"):
        Plugins().storage("mine")


def test_a_plugin_whose_import_fails_names_the_extra(install: Any) -> None:
    install(("mine", "a_module_that_is_not_there"))
    with pytest.raises(
        PluginError, match=r"cannot be imported: No module named 'a_module_that_is_not_there'.*\[mine\]"
    ):
        Plugins().storage("mine")


def test_a_plugin_of_another_version_of_the_seam_is_refused(install: Any) -> None:
    install(("mine", plugin_module("old_plugin", declaration(api_version=STORAGE_API_VERSION + 1))))
    with pytest.raises(PluginError, match="was written for version"):
        Plugins().storage("mine")


def test_a_plugin_that_declares_nothing_is_refused(install: Any) -> None:
    install(("mine", plugin_module("empty_plugin", None)))
    with pytest.raises(PluginError, match=r"must implement trimaran_storage\(\)"):
        Plugins().storage("mine")


def test_a_plugin_with_a_hook_that_does_not_exist_is_refused(install: Any) -> None:
    module = plugin_module("odd_plugin", declaration())

    @hookimpl
    def trimaran_storrage() -> None: ...

    module.trimaran_storrage = trimaran_storrage  # type: ignore[attr-defined]
    install(("mine", module))
    with pytest.raises(PluginError, match="does not fit the hooks"):
        Plugins().storage("mine")


def test_options_are_made_by_the_plugins_own_dataclass() -> None:
    plugin = declaration(options_type=Options)
    assert make_options(plugin, {"page_bytes": 1024}) == Options(1024)
    assert make_options(plugin, {}) == Options()
    with pytest.raises(PluginError, match="does not know the option pages; it knows page_bytes"):
        make_options(plugin, {"pages": 1})
    with pytest.raises(PluginError, match="page_bytes is 1; at least 512"):
        make_options(plugin, {"page_bytes": 1})
    assert make_options(declaration(), {}) is None
    with pytest.raises(PluginError, match="takes no options"):
        make_options(declaration(), {"a": 1})
