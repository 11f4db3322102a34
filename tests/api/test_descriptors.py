"""What is committed beside the .proto text is what that text says, and says what etcd's own says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from trimaran.api import descriptors, stub

_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


def _message(prefix: str, message: DescriptorProto) -> Iterator[str]:
    name = prefix + message.name
    yield f"message {name}"
    for field in message.field:
        kind = field.type_name[1:] or _TYPES[field.type]
        many = "repeated " if field.label == FieldDescriptorProto.LABEL_REPEATED else ""
        oneof = f" oneof {message.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else ""
        yield f"field {name}.{field.name} {field.number} {many}{kind}{oneof}"
    for enum in message.enum_type:
        yield from _enum(f"{name}.", enum)
    for nested in message.nested_type:
        yield from _message(f"{name}.", nested)


def _enum(prefix: str, enum: EnumDescriptorProto) -> Iterator[str]:
    return (f"value {prefix}{enum.name}.{value.name} {value.number}" for value in enum.value)


def _rpcs(file: FileDescriptorProto) -> Iterator[str]:
    for service in file.service:
        for method in service.method:
            sent = "stream " * method.client_streaming + method.input_type[1:]
            got = "stream " * method.server_streaming + method.output_type[1:]
            yield f"rpc {file.package}.{service.name}.{method.name} {sent} -> {got}"


def _declarations(files: FileDescriptorSet) -> Iterator[str]:
    for file in files.file:
        for message in file.message_type:
            yield from _message(f"{file.package}.", message)
        for enum in file.enum_type:
            yield from _enum(f"{file.package}.", enum)
        yield from _rpcs(file)


def test_every_declaration_is_etcds_and_none_is_missing() -> None:
    """etcd 3.7 api/*/*.proto, v3lock.proto, v3election.proto; grpc health/v1/health.proto."""
    golden = Path(__file__).with_name("etcd_3_7_wire.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(_declarations(descriptors.FILE_SET)) == sorted(golden[1:])


def test_descriptor_set_is_what_protoc_makes_of_the_proto_text(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs protoc (grpcio-tools)")
    from trimaran.api import build

    build.main(tmp_path)
    rebuilt = FileDescriptorSet.FromString((tmp_path / "descriptors.binpb").read_bytes())
    # Compared as messages: releases of protoc may order the bytes of one file differently.
    assert rebuilt == descriptors.FILE_SET, "run `python -m trimaran.api.build`"
    committed = descriptors.SET_PATH.with_name("messages.pyi").read_text(encoding="utf-8")
    assert (tmp_path / "messages.pyi").read_text(encoding="utf-8") == committed, "run `python -m trimaran.api.build`"


def test_protoc_failure_names_the_sources(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("grpc_tools", reason="needs protoc (grpcio-tools)")
    from trimaran.api import build

    bad = tmp_path / "trimaran/api/proto/bad.proto"
    bad.parent.mkdir(parents=True)
    bad.write_text('syntax = "proto3"; message M { Missing m = 1; }', encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"trimaran/api/proto/bad\.proto"):
        build.file_set(tmp_path)
    assert "Missing" in capfd.readouterr().err


def test_messages_live_in_a_pool_of_their_own() -> None:
    from google.protobuf.descriptor_pool import Default

    assert descriptors.POOL is not Default()
    with pytest.raises(KeyError):
        Default().FindFileByName(descriptors.FILES[0].name)


def test_stub_refuses_a_field_type_it_was_not_written_for() -> None:
    files = FileDescriptorSet()
    message = files.file.add(name="a.proto").message_type.add(name="M")
    message.field.add(name="f", number=1, type=FieldDescriptorProto.TYPE_FLOAT)
    with pytest.raises(KeyError):
        stub.stub_text(files)


def test_stub_wraps_a_comment_that_is_longer_than_a_line() -> None:
    files = FileDescriptorSet()
    file = files.file.add(name="a.proto")
    file.message_type.add(name="M")
    file.source_code_info.location.add(path=[4, 0], leading_comments=" word" * 60)
    text = stub.stub_text(files)
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("word") == 60
