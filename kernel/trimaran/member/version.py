"""The versions a member reports.

The API version is the newest etcd minor whose RPCs are all served, computed from the methods and not written down, so
that it cannot promise what answers UNIMPLEMENTED. Clients decide by it which RPCs to send.
"""

from __future__ import annotations

from collections.abc import Collection

from trimaran.api.services import level_held

#: Reported while not even etcd 3.0's RPCs are all served.
NO_LEVEL = "0.0.0"


def api_version(served: Collection[str]) -> str:
    """The API level, as "3.N.0", that these RPC paths hold whole."""
    return level_held(served) or NO_LEVEL


def storage_version(version: str) -> str:
    """How etcd names the layout that goes with an API version: its minor, "3.N.0"."""
    return version.rpartition(".")[0] + ".0"
