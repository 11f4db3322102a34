"""The seams: hook specifications, the Protocols of each kind of plugin, and the loader."""

from trimaran.hooks.spec import hookimpl, hookspec

__all__ = ["hookimpl", "hookspec"]
