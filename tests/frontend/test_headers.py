"""Header blocks: the same as the hpack library reads them, bounded, and remembered only while that is sound."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimaran_etcd.h2.frames import ConnectionViolation, ErrorCode
from trimaran_etcd.h2.headers import Fields, HeaderDecoder, literal

NAMES = st.sampled_from(["grpc-timeout", "x", ":path", "user-agent", "token", "content-type", "te"])
VALUES = st.one_of(st.sampled_from(["", "a", "trailers", "b" * 200, "c" * 3000]), st.text("abcdef0123 ~", max_size=40))
LISTS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


def decoder(list_bytes_max: int = 65_536) -> HeaderDecoder[Fields]:
    return HeaderDecoder(lambda fields: fields, list_bytes_max)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(LISTS, st.booleans(), st.sampled_from([None, None, None, 0, 100, 4096])), max_size=25))
def test_blocks_mean_what_the_encoder_meant(blocks: list[tuple[list[tuple[str, str]], bool, int | None]]) -> None:
    """RFC 7541: through any changes of the table, with the lookup in between."""
    encoder, ours = hpack.Encoder(), decoder()
    for fields, huffman, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        decoded = ours.decode(encoder.encode(fields, huffman=huffman))
        expected = [(name.encode(), value.encode()) for name, value in fields]
        assert list(decoded.head) == [field for field in expected if field[0] != b"grpc-timeout"]
        timeouts = [value for name, value in fields if name == "grpc-timeout"]
        assert decoded.timeout == (timeouts[-1] if timeouts else "")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_decode_as_the_library_decodes_them(block: bytes) -> None:
    """Differential: the same fields, or both refuse."""
    try:
        theirs = [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]
    except hpack.HPACKError:
        with pytest.raises(ConnectionViolation):
            decoder().decode(block)
        return
    except (IndexError, ValueError):  # the library lets some of its own out
        theirs = []
        with pytest.raises(ConnectionViolation):
            decoder().decode(block)
        return
    assert list(decoder().decode(block).head) == theirs


def test_indexed_block_is_parsed_once() -> None:
    """What makes a request of eight octets cheap: docs/design.md, "What it costs"."""
    parsed: list[Fields] = []

    def parse(fields: Fields) -> Fields:
        parsed.append(fields)
        return fields

    encoder, ours = hpack.Encoder(), HeaderDecoder(parse, 65_536)
    fields = [(":method", "POST"), (":path", "/a"), ("te", "trailers")]
    first = ours.decode(encoder.encode(fields))
    blocks = {encoder.encode(fields) for _ in range(10)}
    assert len(blocks) == 1
    assert all(ours.decode(block).head is first.head for block in blocks)
    assert len(parsed) == 1
    for number in range(10):
        assert ours.decode(encoder.encode([*fields, ("grpc-timeout", f"{number}m")])).head is first.head
    assert len(parsed) == 1


def test_remembered_block_is_forgotten_when_the_table_changes() -> None:
    """The same octets mean another field once an entry has been added."""
    ours = decoder()
    add = b"\x40"
    ours.decode(add + b"\x01a\x01b")
    assert ours.decode(b"\xbe").head == ((b"a", b"b"),)
    ours.decode(add + b"\x01c\x01d")
    assert ours.decode(b"\xbe").head == ((b"c", b"d"),)
    assert ours.decode_trailers(add + b"\x01e\x01f") == ""
    assert ours.decode(b"\xbe").head == ((b"e", b"f"),)
    ours.decode(b"\x20")
    with pytest.raises(ConnectionViolation):
        ours.decode(b"\xbe")


def test_memory_of_blocks_is_bounded() -> None:
    ours = decoder()
    for number in range(1000):
        ours.decode(literal(b"x", b"%d" % number))
    assert len(ours._blocks) <= 128
    assert len(ours._heads) <= 128


def test_list_is_bounded_while_it_is_decoded() -> None:
    """CVE-2016-6581."""
    ours = decoder(10_000)
    ours.decode(b"\x40" + literal(b"a", b"b" * 3000)[1:])
    with pytest.raises(ConnectionViolation) as caught:
        ours.decode(b"\xbe" * 10_000)
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 256, 20_000])
def test_literals_of_any_length_come_back(length: int) -> None:
    """RFC 7541 5.1, 5.2."""
    block = literal(b"n", b"v" * length)
    assert hpack.Decoder().decode(block, raw=True) == [(b"n", b"v" * length)]
    assert decoder().decode(block).head == ((b"n", b"v" * length),)
