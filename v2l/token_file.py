"""an image's codes ⇄ one small file: format version 1, in docs/token-files.md.

All integers are little-endian. The codes are packed with as many bits each as the number of reachable codes
needs. They are compressed by zlib where that makes the file smaller. A CRC-32 of everything before it ends
the file, so that a changed byte is found.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.files import write_file
from v2l.tokens import CodeStream

MAGIC, VERSION = b"V2L\xf1", 1
SCALES = ("own", "model")  # as the file's byte numbers them
HEAD = struct.Struct("<4sBB8sIIBB")  # magic, version, scale, fingerprint, height, width, coding, streams
STREAM = struct.Struct("<IHH")  # reachable codes, rows, columns
CHECKSUM = struct.Struct("<I")
PACKED, ZLIB = 0, 1  # the byte "coding"
MAX_PIXELS = 178_956_970  # as Pillow's decompression-bomb limit; a file that claims more is refused
OTHER_FILE = "a file that v2l encode wrote"


@dataclass(frozen=True)
class TokenFile:
    """What a token file holds.

    Attributes:
        tokenizer: name of the tokenizer in the registry.
        fingerprint: 16 hexadecimal digits of the checkpoint.
        size: (height, width) of the picture in pixels.
        scale: "own" or "model": the scale at which the picture was encoded.
        streams: the codes, in the tokenizer's order.
    """

    tokenizer: str
    fingerprint: str
    size: tuple[int, int]
    scale: str
    streams: tuple[CodeStream, ...]

    def to_bytes(self) -> bytes:
        """The whole file.

        Raises:
            V2LError: the grid has more than 65,535 rows or columns.
        """
        packed = b"".join(pack(stream) for stream in self.streams)
        deflated = zlib.compress(packed, 9)
        coding, payload = (ZLIB, deflated) if len(deflated) < len(packed) else (PACKED, packed)
        name = self.tokenizer.encode()
        scale, fingerprint = SCALES.index(self.scale), bytes.fromhex(self.fingerprint)
        count = len(self.streams)
        head = HEAD.pack(MAGIC, VERSION, scale, fingerprint, *self.size, coding, count)
        content = head + bytes([len(name)]) + name + b"".join(map(_stream_head, self.streams)) + payload
        return content + CHECKSUM.pack(zlib.crc32(content))

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> Self:
        """Read what `to_bytes` gave.

        Args:
            content: the whole file.
            where: its path, for error lines.

        Raises:
            V2LError: it is no token file, of another version, truncated, changed, or it holds a code outside
                of its codebook.
        """
        if not content.startswith(MAGIC):
            raise V2LError(f"{where} is no token file", OTHER_FILE, "v2l encode photo.jpg -o photo.v2l")
        body, checksum = content[: -CHECKSUM.size], content[-CHECKSUM.size :]
        if len(content) <= HEAD.size + CHECKSUM.size or CHECKSUM.pack(zlib.crc32(body)) != checksum:
            raise V2LError(
                f"{where} is damaged: it is truncated, or a byte was changed ({len(content):,} bytes)",
                OTHER_FILE,
                "v2l encode photo.jpg -o photo.v2l",
            )
        try:
            return cls._parse(body, where)
        except (struct.error, IndexError) as error:  # a head that ends too early
            raise V2LError(f"{where} is no token file ({error})", OTHER_FILE) from error

    @classmethod
    def _parse(cls, body: bytes, where: str) -> Self:
        """The file without its checksum."""
        _, version, scale, fingerprint, height, width, coding, count = HEAD.unpack_from(body)
        if version != VERSION or scale >= len(SCALES) or coding not in (PACKED, ZLIB):
            raise V2LError(f"{where} has format version {version}", f"version {VERSION}", "a newer v2l")
        name_end = HEAD.size + 1 + body[HEAD.size]
        heads_end = name_end + count * STREAM.size
        heads = list(STREAM.iter_unpack(body[name_end:heads_end]))
        _check_sizes(where, height * width, heads)
        payload = _unpacked(where, body[heads_end:], coding, sum(map(_packed_size, heads)))
        name = body[HEAD.size + 1 : name_end].decode("utf-8", "replace")
        streams = tuple(_streams(where, payload, heads))
        return cls(name, fingerprint.hex(), (height, width), SCALES[scale], streams)

    def write(self, target: str | Path) -> int:
        """Write the file, whole or not at all; returns its size in bytes.

        Raises:
            V2LError: the place cannot be written.
        """
        content = self.to_bytes()
        with write_file(target) as temporary:
            temporary.write_bytes(content)
        return len(content)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file from the disk.

        Raises:
            V2LError: as `from_bytes`, or the file cannot be read.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise V2LError(f"cannot read {path}: {error.strerror}", OTHER_FILE) from error
        return cls.from_bytes(content, str(path))


def code_bits(size: int) -> int:
    """Bits of one code of a codebook with `size` reachable codes: log2, rounded up."""
    return max(1, (size - 1).bit_length())


def pack(stream: CodeStream) -> bytes:
    """The codes of one stream, most significant bit first; zero bits fill the last byte."""
    width = code_bits(stream.size)
    codes = stream.rows.reshape(-1, 1).cpu().numpy().astype(np.uint32)
    bits = codes >> np.arange(width - 1, -1, -1, dtype=np.uint32) & 1  # (N, width)
    return np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()


def unpack(payload: bytes, size: int, count: int) -> Tensor:
    """What `pack` gave ──► (count,) int64."""
    width = code_bits(size)
    bits = np.unpackbits(np.frombuffer(payload, dtype=np.uint8), count=count * width).reshape(count, width)
    codes = np.zeros(count, dtype=np.int64)
    for column in bits.T:  # most significant bit first
        codes = 2 * codes + column
    return torch.from_numpy(codes)


def _stream_head(stream: CodeStream) -> bytes:
    rows, columns = stream.rows.shape
    if max(rows, columns) > 0xFFFF:
        raise V2LError(
            f"got a grid of {columns:,} × {rows:,} tokens", "at most 65,535 a side", "--scale model"
        )
    return STREAM.pack(stream.size, rows, columns)


def _packed_size(head: tuple[int, int, int]) -> int:
    """Bytes of one stream before compression."""
    size, rows, columns = head
    return -(-rows * columns * code_bits(size) // 8)


def _check_sizes(where: str, pixels: int, heads: Sequence[tuple[int, int, int]]) -> None:
    """Refuse a file that claims a picture, or a grid, that no memory holds."""
    tokens = sum(rows * columns for _, rows, columns in heads)
    if not heads or not 0 < pixels <= MAX_PIXELS or not 0 < tokens <= MAX_PIXELS:
        raise V2LError(f"{where} claims {pixels:,} pixels and {tokens:,} tokens", f"1 to {MAX_PIXELS:,}")


def _unpacked(where: str, payload: bytes, coding: int, size: int) -> bytes:
    """The packed codes, `size` bytes of them; more than that is never unpacked."""
    try:
        packed = zlib.decompressobj().decompress(payload, size + 1) if coding == ZLIB else payload
    except zlib.error:
        packed = b""
    if len(packed) != size:
        raise V2LError(f"{where} holds {len(packed):,} bytes of codes", f"{size:,}, by its own head")
    return packed


def _streams(where: str, payload: bytes, heads: Sequence[tuple[int, int, int]]) -> list[CodeStream]:
    streams, start = [], 0
    for head in heads:
        size, rows, columns = head
        end = start + _packed_size(head)
        codes = unpack(payload[start:end], size, rows * columns)
        if len(codes) and int(codes.max()) >= size:
            raise V2LError(f"{where} holds the code {int(codes.max())}", f"0 to {size - 1}, its codebook's")
        streams.append(CodeStream(codes.view(rows, columns), size))
        start = end
    return streams
