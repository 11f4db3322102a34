"""trimaran_etcd: the client frontend. etcd's gRPC API over HTTP/2, and GET /version and /health, on one port.

h2/            HTTP/2 framing, sans-IO
grpc.py        gRPC headers, statuses, timeouts, gzip
call.py        one RPC, and the session of a connection
http1.py       the HTTP/1.1 that shares the port
tls.py         TLS over memory
wire.py        one connection's socket
frontend.py    accept loops, deadlines, the graceful end
listeners.py   client URLs to sockets
plugin.py      what the kernel's loader finds
"""

from __future__ import annotations

from trimaran_etcd.frontend import EtcdFrontend
from trimaran_etcd.h2.connection import Limits
from trimaran_etcd.listeners import Listener, open_listeners
from trimaran_etcd.options import EtcdOptions
from trimaran_etcd.plugin import trimaran_frontend

__all__ = ["EtcdFrontend", "EtcdOptions", "Limits", "Listener", "open_listeners", "trimaran_frontend"]
