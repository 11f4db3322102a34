"""The plugin's side of the seam: options and listeners made from what the kernel configured."""

from __future__ import annotations

import pluggy

from trimaran.hooks.frontend import Frontend, FrontendOptions, FrontendPlugin, Served
from trimaran_etcd.frontend import EtcdFrontend
from trimaran_etcd.listeners import open_listeners
from trimaran_etcd.options import EtcdOptions

hookimpl = pluggy.HookimplMarker("trimaran")


@hookimpl
def trimaran_frontend() -> FrontendPlugin:
    return FrontendPlugin(
        "etcd", "etcd's gRPC API over HTTP/2, and GET /version and /health, on one port", open_frontend, EtcdOptions
    )


def open_frontend(served: Served, options: FrontendOptions) -> Frontend:
    """Bind the listeners. Raises FrontendError."""
    own = options.options if isinstance(options.options, EtcdOptions) else EtcdOptions()
    return EtcdFrontend(served, open_listeners(options.urls, options.tls, own.client_crl_file), own)
