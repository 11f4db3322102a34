"""The plugin loader: finds by name what a configuration asks for, and nothing else.

Plugins are entry points of a group per kind; the built-in ones are found exactly as a stranger's are. One `Plugins` per
node, so that two nodes in a process stay apart. A plugin object may be given in place of a name.

Errors are `PluginError`s that say what is installed and what to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import pluggy

from trimaran.hooks import spec
from trimaran.hooks.frontend import FRONTEND_API_VERSION, FrontendPlugin
from trimaran.hooks.storage import STORAGE_API_VERSION, StoragePlugin


class PluginError(Exception):
    """A plugin is missing, ambiguous, cannot be imported, or does not fit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """A kind of plugin: its entry-point group is `trimaran.<name>`, its hook `trimaran_<name>`."""

    name: str
    declaration: type
    api_version: int

    @property
    def group(self) -> str:
        return f"trimaran.{self.name}"

    @property
    def hook(self) -> str:
        return f"trimaran_{self.name}"


STORAGE: Final = Kind("storage", StoragePlugin, STORAGE_API_VERSION)
FRONTEND: Final = Kind("frontend", FrontendPlugin, FRONTEND_API_VERSION)
KINDS: Final[Sequence[Kind]] = (STORAGE, FRONTEND)


class Plugins:
    """The plugins of one node."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(spec.PROJECT)
        self._manager.add_hookspecs(spec)

    def storage(self, plugin: str | StoragePlugin) -> StoragePlugin:
        return plugin if isinstance(plugin, StoragePlugin) else self._load(STORAGE, plugin)

    def frontend(self, plugin: str | FrontendPlugin) -> FrontendPlugin:
        return plugin if isinstance(plugin, FrontendPlugin) else self._load(FRONTEND, plugin)

    def _load(self, kind: Kind, name: str) -> Any:
        registered = f"{kind.name}.{name}"
        module = self._manager.get_plugin(registered)
        if module is None:
            module = _import(kind, _find(kind, name))
            self._manager.register(module, registered)
            try:
                self._manager.check_pending()
            except pluggy.PluginValidationError as error:
                raise PluginError(f"plugin {registered} does not fit the hooks of this trimaran: {error}") from error
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        declaration = self._manager.subset_hook_caller(kind.hook, others)()
        if not isinstance(declaration, kind.declaration):
            raise PluginError(
                f"plugin {registered} ({module!r}) must implement {kind.hook}() returning a "
                f"{kind.declaration.__name__}, and returned {declaration!r}"
            )
        version = declaration.api_version  # type: ignore[attr-defined]
        if version != kind.api_version:
            raise PluginError(
                f"plugin {registered} was written for version {version} of the {kind.name} seam, this trimaran has "
                f"{kind.api_version}: install versions of both that agree"
            )
        return declaration


def installed(kind: Kind) -> list[EntryPoint]:
    """What is installed of a kind, by name. Nothing is imported."""
    return sorted(entry_points(group=kind.group), key=lambda point: (point.name, _distribution(point)))


def make_options(plugin: StoragePlugin | FrontendPlugin, values: Mapping[str, Any]) -> Any:
    """The plugin's options from its table of the configuration. Raises PluginError for a key or value it does not take."""
    if plugin.options_type is None:
        if values:
            raise PluginError(f"plugin {plugin.name} takes no options, and was given: {', '.join(sorted(values))}")
        return None
    known = {field.name for field in dataclasses.fields(plugin.options_type)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise PluginError(
            f"plugin {plugin.name} does not know the option {', '.join(unknown)}; it knows {', '.join(sorted(known))}"
        )
    try:
        return plugin.options_type(**values)
    except (TypeError, ValueError) as error:
        raise PluginError(f"options of plugin {plugin.name}: {error}") from error


def _find(kind: Kind, name: str) -> EntryPoint:
    points = installed(kind)
    found = [point for point in points if point.name == name]
    if not found:
        names = ", ".join(sorted({point.name for point in points})) or "none"
        raise PluginError(
            f"no {kind.name} plugin is called {name!r}; installed: {names}. "
            f"A plugin is installed with its package and found by the entry-point group {kind.group!r}"
        )
    if len(found) > 1:
        distributions = " and ".join(_distribution(point) for point in found)
        raise PluginError(f"{kind.name} plugin {name!r} comes from {distributions}: uninstall all but one")
    return found[0]


def _import(kind: Kind, point: EntryPoint) -> Any:
    try:
        return point.load()
    except ImportError as error:
        raise PluginError(
            f"{kind.name} plugin {point.name!r} ({point.value}, from {_distribution(point)}) cannot be imported: {error}. "
            f"If a package is missing, install the extra: pip install '{_distribution(point)}[{point.name}]'"
        ) from error


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown distribution"
