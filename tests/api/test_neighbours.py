"""Beside other packages that carry etcd's messages, in one process, in either order.

Each case is a process of its own: a descriptor pool cannot be emptied, and the implementation is chosen at import.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import trimaran.api

_KERNEL = Path(trimaran.api.__path__[0]).parent.parent
_USE = """
from trimaran.api import messages
put = messages.PutRequest(key=b"k", value=b"v", lease=1 << 62)
txn = messages.TxnRequest(success=[messages.RequestOp(request_put=put)])
read = messages.TxnRequest.FromString(txn.SerializeToString())
assert read.success[0].request_put == put, read
from trimaran.api.services import RPCS
assert RPCS["/etcdserverpb.KV/Put"].request is messages.PutRequest
"""


def _run(code: str, implementation: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(_KERNEL), os.environ.get("PYTHONPATH", "")]),
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
    }
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_messages_work_under_either_implementation_of_protobuf(implementation: str) -> None:
    done = _run(_USE, implementation)
    assert done.returncode == 0, done.stderr


# etcd3 0.12's generated code is from before protobuf 3.20, which only the pure-Python implementation still takes.
@pytest.mark.parametrize(("neighbour", "implementation"), [("etcd3", "python"), ("aetcd", "upb"), ("aetcd", "python")])
@pytest.mark.parametrize("order", ["neighbour first", "trimaran first"])
def test_messages_work_beside(neighbour: str, implementation: str, order: str) -> None:
    if find_spec(neighbour) is None:
        pytest.skip(f"{neighbour} is not installed")
    use_neighbour = f"import {neighbour}"
    code = "\n".join([use_neighbour, _USE] if order == "neighbour first" else [_USE, use_neighbour])
    done = _run(code, implementation)
    assert done.returncode == 0, done.stderr


def test_a_shared_pool_would_not_do() -> None:
    """The control: the same declarations in the default pool do collide with a neighbour's."""
    if find_spec("aetcd") is None:
        pytest.skip("aetcd is not installed")
    code = """
import aetcd
from google.protobuf.descriptor_pool import Default
from trimaran.api.descriptors import FILE_SET
for file in FILE_SET.file:
    Default().AddSerializedFile(file.SerializeToString())
"""
    done = _run(code, "upb")
    assert done.returncode != 0
    assert "duplicate symbol" in done.stderr
