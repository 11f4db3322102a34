"""The two servers of a differential test, started: which programs they are, and with which flags."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.differential.pair import Pair
from tests.differential.wire import Link
from tests.servers import Server, etcd, running, trimaran

REFERENCE_VARIABLE = "TRIMARAN_REFERENCE_ETCD"
SELF_VARIABLE = "TRIMARAN_DIFFERENTIAL_SELF"


def trimaran_side(directory: Path, *flags: str, storage: str = "sqlite") -> Server:
    if os.environ.get(SELF_VARIABLE):
        # A second etcd, so that a run without trimaran shows which cases are not determined by their requests.
        return etcd(directory, *flags, program=os.environ.get(SELF_VARIABLE))
    return trimaran(directory, "--storage", storage, *flags)


@contextlib.contextmanager
def running_pair(directory: Path, *flags: str, storage: str = "sqlite") -> Iterator[Pair]:
    """Start both servers with the same flags, and stop them at the end of the block."""
    reference = etcd(directory / "etcd", *flags, program=os.environ.get(REFERENCE_VARIABLE))
    other = trimaran_side(directory / "trimaran", *flags, storage=storage)
    with running(reference), running(other):
        links = [Link(server.address) for server in (reference, other)]
        try:
            yield Pair(*links)
        finally:
            for link in links:
                link.close()
