"""The hooks a plugin implements: one per kind, synchronous, called once while a node is assembled.

Each returns a declaration (a frozen dataclass) with a factory. Everything hot or asynchronous is a method of what the
factory returns, typed by that kind's Protocol; no hook is called on a hot path.
"""

from __future__ import annotations

import pluggy

from trimaran.hooks.frontend import FrontendPlugin
from trimaran.hooks.storage import StoragePlugin

#: pluggy's name for this project; plugins make their marker with `pluggy.HookimplMarker("trimaran")`.
PROJECT = "trimaran"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def trimaran_storage() -> StoragePlugin:  # type: ignore[empty-body]
    """Declare a storage plugin (entry-point group `trimaran.storage`). See trimaran.hooks.storage."""


@hookspec(firstresult=True)
def trimaran_frontend() -> FrontendPlugin:  # type: ignore[empty-body]
    """Declare a frontend plugin (entry-point group `trimaran.frontend`). See trimaran.hooks.frontend."""
