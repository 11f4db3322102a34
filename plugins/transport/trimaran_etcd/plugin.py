"""The plugin's side of the seam: options and listeners made from what the kernel configured."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy
import trio

from trimaran.hooks.frontend import FrontendError, FrontendOptions, FrontendPlugin, Served
from trimaran_etcd.frontend import EtcdFrontend
from trimaran_etcd.listeners import Listener, ListenError, TlsFiles, open_listeners
from trimaran_etcd.options import EtcdOptions

hookimpl = pluggy.HookimplMarker("trimaran")


@hookimpl
def trimaran_frontend() -> FrontendPlugin:
    return FrontendPlugin(
        "etcd", "etcd's gRPC API over HTTP/2, and GET /version and /health, on one port", open_frontend, EtcdOptions
    )


def open_frontend(served: Served, options: FrontendOptions) -> OpenFrontend:
    """Bind the listeners. Raises FrontendError."""
    files = options.tls
    tls = TlsFiles(files.cert_file, files.key_file, files.trusted_ca_file, files.client_cert_auth)
    try:
        listeners = open_listeners(options.urls, tls if tls.cert_file else None)
    except ListenError as error:
        raise FrontendError(str(error)) from error
    return OpenFrontend(EtcdFrontend(served, options.options), listeners)


class OpenFrontend:
    """A frontend with its listeners: what the kernel calls a Frontend."""

    def __init__(self, frontend: EtcdFrontend, listeners: Sequence[Listener]) -> None:
        self._frontend = frontend
        self._listeners = listeners
        self._ended = trio.Event()
        # A name with several addresses gives several listeners of one URL.
        self.urls: Sequence[str] = list(dict.fromkeys(listener.url for listener in listeners))

    async def serve(self) -> None:
        try:
            await self._frontend.serve(self._listeners)
        finally:
            self._ended.set()

    async def drain(self) -> None:
        await self._frontend.stop()
        await self._ended.wait()
