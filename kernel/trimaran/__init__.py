"""trimaran: an etcd v3-compatible coordination store, as a server, a kit of plugins, or a part of your own program."""

from importlib.metadata import version as _version

__version__ = _version("trimaran")
