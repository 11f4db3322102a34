"""protobuf's own KeyValue and Event, in a pool of the tests', from etcd's field numbers."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _messages() -> tuple[Any, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="kv.proto", package="p", syntax="proto3")
    kv = file.message_type.add(name="KeyValue")
    for number, name in enumerate(("key", "create_revision", "mod_revision", "version", "value", "lease"), 1):
        kind = kinds.TYPE_BYTES if name in ("key", "value") else kinds.TYPE_INT64
        kv.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    event = file.message_type.add(name="Event")
    event.field.add(name="type", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL)
    for number, name in ((2, "kv"), (3, "prev_kv")):
        event.field.add(
            name=name, number=number, type=kinds.TYPE_MESSAGE, type_name=".p.KeyValue", label=kinds.LABEL_OPTIONAL
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return (
        message_factory.GetMessageClass(pool.FindMessageTypeByName("p.KeyValue")),
        message_factory.GetMessageClass(pool.FindMessageTypeByName("p.Event")),
    )


KeyValue, Event = _messages()
