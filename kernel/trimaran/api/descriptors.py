"""The descriptor pool: what the .proto text says, in a form protobuf can use.

Owns the private pool that all messages of trimaran live in. Private, because two packages that register one file or
one full name in the default pool end the process's import with a conflict, and `etcd3` and `aetcd` register
`etcdserverpb` there. No generated `_pb2` module, because each is tied to the protobuf releases near its protoc; a
serialized FileDescriptorSet is not.
Invariant: descriptors.binpb is what `python -m trimaran.api.build` makes of proto/*.proto (a test holds it).
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

SET_PATH = Path(__file__).with_name("descriptors.binpb")


#: What protoc made of each .proto file; a file stands after those it imports.
FILE_SET = FileDescriptorSet.FromString(SET_PATH.read_bytes())
POOL = DescriptorPool()


def _load() -> list[FileDescriptor]:
    for file in FILE_SET.file:
        POOL.AddSerializedFile(file.SerializeToString())
    return [POOL.FindFileByName(file.name) for file in FILE_SET.file]


#: The same files, as descriptors of the pool.
FILES = tuple(_load())
