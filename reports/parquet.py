"""Apache Parquet, as little of it as a flat table takes: plain values, uncompressed, one page a column and group.

Written by hand because the usual library weighs more than the rest of the product's table handling together. Every
reader takes these files: format version 1, columns optional, definition levels in runs, values PLAIN.
Source: https://github.com/apache/parquet-format (parquet.thrift, Encodings.md).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

MAGIC = b"PAR1"
CREATED_BY = "deepfake-detection"

# parquet.thrift: Type, ConvertedType, FieldRepetitionType, Encoding, CompressionCodec, PageType
_INT64, _DOUBLE, _BYTE_ARRAY = 2, 5, 6
_UTF8, _TIMESTAMP_MICROS = 0, 10
_OPTIONAL = 1
_PLAIN, _RLE = 0, 3
_UNCOMPRESSED = 0
_DATA_PAGE = 0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Type:
    physical: int
    converted: int | None
    encode: Callable[[Any], bytes]


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "replace")
    return struct.pack("<I", len(encoded)) + encoded


def _moment(value: datetime) -> bytes:
    return struct.pack("<q", (value - _EPOCH) // timedelta(microseconds=1))


TEXT = Type(_BYTE_ARRAY, _UTF8, _text)
WHOLE = Type(_INT64, None, lambda value: struct.pack("<q", value))
REAL = Type(_DOUBLE, None, lambda value: struct.pack("<d", value))
MOMENT = Type(_INT64, _TIMESTAMP_MICROS, _moment)


def write(columns: Mapping[str, Type], groups: Iterator[list[dict[str, Any]]]) -> Iterator[bytes]:
    """Yield a file of all rows; each list of rows becomes a row group. A missing value is None."""
    yield MAGIC
    position, written, count = len(MAGIC), [], 0
    for rows in groups:
        if not rows:
            continue
        chunks = []
        for name, kind in columns.items():
            data = _page([row[name] for row in rows], kind)
            chunks.append(_ColumnChunk(name, kind, position, len(data), len(rows)))
            position += len(data)
            yield data
        written.append((chunks, len(rows)))
        count += len(rows)
    footer = _footer(columns, written, count)
    yield footer + struct.pack("<I", len(footer)) + MAGIC


@dataclass(frozen=True)
class _ColumnChunk:
    name: str
    kind: Type
    offset: int
    size: int
    values: int


def _page(values: list[Any], kind: Type) -> bytes:
    levels = _levels([value is not None for value in values])
    content = struct.pack("<I", len(levels)) + levels
    content += b"".join(kind.encode(value) for value in values if value is not None)
    header = _struct(
        (1, _i32(_DATA_PAGE)),
        (2, _i32(len(content))),  # uncompressed_page_size
        (3, _i32(len(content))),  # compressed_page_size
        (5, (_STRUCT, _struct((1, _i32(len(values))), (2, _i32(_PLAIN)), (3, _i32(_RLE)), (4, _i32(_RLE))))),
    )
    return header + content


def _levels(present: list[bool]) -> bytes:
    """Definition levels, 0 or 1, as runs of the RLE/bit-packing hybrid: length << 1, then the level in one byte."""
    runs: list[list[int]] = []
    for level in map(int, present):
        if runs and runs[-1][0] == level:
            runs[-1][1] += 1
        else:
            runs.append([level, 1])
    return b"".join(_varint(length << 1) + bytes([level]) for level, length in runs)


# The footer, in Thrift's compact protocol -----------------------------------------------------------------------------

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
Field = tuple[int, tuple[int, bytes]]


def _footer(columns: Mapping[str, Type], groups: list[tuple[list[_ColumnChunk], int]], rows: int) -> bytes:
    root = _struct((4, _binary("schema")), (5, _i32(len(columns))))
    schema = [root, *(_schema_element(name, kind) for name, kind in columns.items())]
    return _struct(
        (1, _i32(1)),  # version
        (2, _list(_STRUCT, schema)),
        (3, _i64(rows)),
        (4, _list(_STRUCT, [_row_group(chunks, count) for chunks, count in groups])),
        (6, _binary(CREATED_BY)),
    )


def _schema_element(name: str, kind: Type) -> bytes:
    converted: list[Field] = [] if kind.converted is None else [(6, _i32(kind.converted))]
    return _struct((1, _i32(kind.physical)), (3, _i32(_OPTIONAL)), (4, _binary(name)), *converted)


def _row_group(chunks: list[_ColumnChunk], rows: int) -> bytes:
    columns = [_column_chunk(chunk) for chunk in chunks]
    return _struct((1, _list(_STRUCT, columns)), (2, _i64(sum(chunk.size for chunk in chunks))), (3, _i64(rows)))


def _column_chunk(chunk: _ColumnChunk) -> bytes:
    metadata = _struct(
        (1, _i32(chunk.kind.physical)),
        (2, _list(_I32, [_zigzag(_PLAIN), _zigzag(_RLE)])),
        (3, _list(_BINARY, [_binary(chunk.name)[1]])),
        (4, _i32(_UNCOMPRESSED)),
        (5, _i64(chunk.values)),
        (6, _i64(chunk.size)),
        (7, _i64(chunk.size)),
        (9, _i64(chunk.offset)),
    )
    return _struct((2, _i64(chunk.offset)), (3, (_STRUCT, metadata)))


def _struct(*fields: Field) -> bytes:
    parts, previous = [], 0
    for number, (kind, content) in fields:
        parts.append(bytes([(number - previous) << 4 | kind]) + content)
        previous = number
    return b"".join(parts) + b"\x00"


def _list(kind: int, items: list[bytes]) -> tuple[int, bytes]:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return _LIST, head + b"".join(items)


def _i32(value: int) -> tuple[int, bytes]:
    return _I32, _zigzag(value)


def _i64(value: int) -> tuple[int, bytes]:
    return _I64, _zigzag(value)


def _binary(value: str) -> tuple[int, bytes]:
    encoded = value.encode()
    return _BINARY, _varint(len(encoded)) + encoded


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
